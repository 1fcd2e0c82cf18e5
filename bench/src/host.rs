//! The machine that numbers were taken on, and what is started on it.

use std::fmt;
use std::fs;
use std::io;
use std::process::Command;
use std::time::SystemTime;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// What a figure depends on besides the programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Host {
    /// As /proc/cpuinfo names it.
    pub(crate) cpu: String,
    /// CPUs that may be used.
    pub(crate) cpus: usize,
    /// Release of the kernel, without what its builder appended.
    pub(crate) kernel: String,
    /// When, in UTC: YYYY-MM-DD.
    pub(crate) date: String,
}

impl Host {
    /// This machine, now.
    #[must_use]
    pub(crate) fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let cpu = model.map_or("unknown", |line| line.trim_start_matches(['\t', ' ', ':']));
        let release = uring::kernel_release();
        let kernel = release.split('-').next().unwrap_or(&release);
        Self {
            cpu: cpu.to_owned(),
            cpus: uring::allowed_cpus().map_or(0, |cpus| cpus.len()),
            kernel: kernel.to_owned(),
            date: today(),
        }
    }

    /// What kind of machine it is, for names of files: `amd-epyc-2-cpus`.
    #[must_use]
    pub(crate) fn kind(&self) -> String {
        let letters = |letter: char| letter.is_ascii_alphanumeric();
        let text = format!("{} {} cpus", self.cpu, self.cpus).to_lowercase();
        let words = text.split(|letter| !letters(letter)).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }

    /// YYYY-MM-DD.
    #[must_use]
    pub(crate) fn date(&self) -> &str {
        &self.date
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cpus, kernel, date } = self;
        write!(f, "{date}: {cpu}, {cpus} CPUs, Linux {kernel}")
    }
}

/// Builds the balancer beside this program, so that what is measured is what is in the tree; with the features
/// that this program's dependencies have, or its library would be built twice.
///
/// # Errors
/// When the build fails.
pub(crate) fn build_evenkeel() -> io::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let what = ["build", "--release", "-p", "evenkeel", "-p", "bench", "--bin", "evenkeel"];
    let built = Command::new(cargo).args(what).status()?;
    if built.success() { Ok(()) } else { Err(io::Error::other("evenkeel does not build")) }
}

/// Keeps this thread, and what it starts without a place of its own, off the balancer's CPU.
///
/// # Errors
/// As sched_setaffinity(2).
pub(crate) fn keep_off(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    for other in uring::allowed_cpus()?.into_iter().filter(|&other| other != cpu) {
        set.set(other)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or(&now).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_machine_fits_a_file_name() {
        let [cpu, kernel, date] =
            ["Xeon(R) E5-2670 @ 2.6GHz", "6.1", "2026-01-01"].map(str::to_owned);
        let host = Host { cpu, cpus: 8, kernel, date };
        assert_eq!(host.kind(), "xeon-r-e5-2670-2-6ghz-8-cpus");
    }
}

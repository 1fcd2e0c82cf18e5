//! Where and with what a run takes place: this machine, as the kernel describes it.

use std::fs;
use std::time::SystemTime;

use super::Env;

/// The moment that a run begins at.
#[derive(Clone, Debug)]
pub struct Start {
    time: SystemTime,
    processors: Option<Processors>,
}

impl Start {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self { time: SystemTime::now(), processors: processors() }
    }

    /// Fills what is not known yet of `env`, at the end of the run that began here.
    pub fn describe(&self, env: &mut Env) {
        let cpuinfo = read("/proc/cpuinfo");
        let stat = read("/proc/stat");
        fill(&mut env.started_at, || humantime::format_rfc3339_millis(self.time).to_string());
        fill(&mut env.version, || env!("CARGO_PKG_VERSION").to_owned());
        fill(&mut env.kernel, || read("/proc/sys/kernel/osrelease").trim().to_owned());
        fill(&mut env.cpu_model, || cpu_model(&cpuinfo));
        fill(&mut env.congestion_control, || {
            read("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_owned()
        });
        if env.cpus == 0 {
            env.cpus = online(&stat);
        }
        if env.steal.is_none() {
            env.steal = self.processors.zip(processors_of(&stat)).and_then(stolen);
        }
    }
}

/// What all processors have done since the machine started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Processors {
    all: u64,
    stolen: u64,
}

fn processors() -> Option<Processors> {
    processors_of(&read("/proc/stat"))
}

/// The first line of /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq,
/// steal; what follows is in user and nice already.
fn processors_of(stat: &str) -> Option<Processors> {
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .map_while(|ticks| ticks.parse().ok())
        .take(8)
        .collect();
    Some(Processors { all: ticks.iter().sum(), stolen: *ticks.get(7)? })
}

fn stolen((before, after): (Processors, Processors)) -> Option<f64> {
    let all = after.all.checked_sub(before.all).filter(|&ticks| ticks > 0)?;
    Some(after.stolen.checked_sub(before.stolen)? as f64 / all as f64)
}

fn online(stat: &str) -> u32 {
    let is_processor = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|sign: char| sign.is_ascii_digit()))
    };
    u32::try_from(stat.lines().filter(is_processor).count()).unwrap_or(u32::MAX)
}

/// x86 has a name there; other architectures have only numbers.
fn cpu_model(cpuinfo: &str) -> String {
    let value = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    value("model name").or_else(|| value("Model")).unwrap_or_else(|| std::env::consts::ARCH.into())
}

fn fill(text: &mut String, with: impl FnOnce() -> String) {
    if text.is_empty() {
        *text = with();
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  10 0 20 60 5 0 1 4 7 7\ncpu0 5 0\ncpu1 5 0\nintr 1\nctxt 2\n";

    #[test]
    fn the_kernels_counts_are_read() {
        let now = processors_of(STAT).expect("counts");
        assert_eq!(now, Processors { all: 100, stolen: 4 });
        assert_eq!(online(STAT), 2);
        let later = Processors { all: 300, stolen: 14 };
        assert_eq!(stolen((now, later)), Some(0.05));
        assert_eq!(stolen((now, now)), None);
        assert_eq!(processors_of("intr 1"), None);
        assert_eq!(cpu_model("processor : 0\nmodel name\t: A CPU @ 1 GHz\n"), "A CPU @ 1 GHz");
        assert_eq!(cpu_model(""), std::env::consts::ARCH);
    }

    #[test]
    fn this_machine_is_described_and_what_is_known_stays() {
        let mut env = Env { kernel: "of another machine".to_owned(), ..Env::default() };
        Start::now().describe(&mut env);
        assert_eq!(env.kernel, "of another machine");
        assert!(env.cpus > 0 && !env.cpu_model.is_empty(), "{env:?}");
        assert!(humantime::parse_rfc3339(&env.started_at).is_ok(), "{env:?}");
        assert_eq!(env.version, env!("CARGO_PKG_VERSION"));
    }
}

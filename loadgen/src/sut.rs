//! What the system under test uses while it is measured: read from /proc or from its cgroup.
//!
//! Everything is a difference of two readings, one when the measured time begins and one when it
//! ends, so what was used before does not count. The readings are taken outside the workers.

mod cgroup;
mod network;
mod process;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::report::{Phase, Report, Sut};
use cgroup::Cgroup;
use network::Counters;
use process::Usage;

/// The system under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process with its descendants.
    Pid(u32),
    /// The same, its number read from a file when the observation begins.
    PidFile(PathBuf),
    /// All processes of a cgroup, version 1 or 2.
    Cgroup(PathBuf),
}

/// Why a [`Target`] cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum SutError {
    /// Nobody has this number.
    #[error(
        "there is no process {0} to observe; look with `ps -e`, and give the number of one that runs"
    )]
    NoProcess(u32),
    /// The file is not there, or holds no number.
    #[error("no process number in {path}: {why}; it should hold one, such as 4711", path = .path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The directory is no cgroup that counts processor time.
    #[error(
        "{path} is no cgroup that counts processor time: {source}; give its directory, in version 2 \
         such as /sys/fs/cgroup/NAME, in version 1 such as /sys/fs/cgroup/cpuacct/NAME",
        path = .path.display()
    )]
    NoCgroup {
        /// The directory.
        path: PathBuf,
        /// What was missing.
        source: io::Error,
    },
    /// What is there may not be read.
    #[error("cannot read what {what} uses: {source}; try it as its owner or as root")]
    Unreadable {
        /// The process or cgroup.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Watches a [`Target`] and TCP's counters over the measured time.
#[derive(Debug)]
pub struct Observer {
    source: Option<Source>,
    before: Option<Usage>,
    begin: Option<Reading>,
    end: Option<Reading>,
    phase: Phase,
}

/// Where readings come from.
#[derive(Clone, Debug)]
enum Source {
    Process(u32),
    Cgroup(Cgroup),
}

/// One look at everything.
#[derive(Clone, Debug)]
struct Reading {
    /// `None` when there is no target, or when it is gone.
    usage: Option<Usage>,
    network: Option<Counters>,
}

impl Observer {
    /// Reads what is used before the load.
    ///
    /// # Errors
    /// A [`SutError`] when there is no such process or cgroup, or it may not be looked at.
    pub fn new(target: Option<Target>) -> Result<Self, SutError> {
        let source = target.map(Source::find).transpose()?;
        let unreadable =
            |what: &Source, source| SutError::Unreadable { what: what.to_string(), source };
        let read = |source: &Source| source.read(None).map_err(|error| unreadable(source, error));
        let before = source.as_ref().map(read).transpose()?;
        Ok(Self { source, before, begin: None, end: None, phase: Phase::Connecting })
    }

    /// Tells in which phase the run is; readings are taken when the measured time begins and ends.
    pub fn on_phase(&mut self, phase: Phase) {
        if self.phase < Phase::Measuring && phase >= Phase::Measuring {
            self.begin();
        }
        if self.phase < Phase::Draining && phase >= Phase::Draining {
            self.end();
        }
        self.phase = phase;
    }

    /// The measured time begins.
    pub fn begin(&mut self) {
        self.begin = Some(self.look());
    }

    /// The measured time is over.
    pub fn end(&mut self) {
        self.end = Some(self.look());
    }

    /// Writes what was used in between into `report`; of a target that ended meanwhile only that,
    /// since what is left of it is no figure.
    pub fn finish(mut self, report: &mut Report) {
        // A run that was stopped early may have missed a phase.
        let end = self.end.take().unwrap_or_else(|| self.look());
        let begin = self.begin.take().unwrap_or_else(|| end.clone());
        report.network = begin.network.zip(end.network).map(|(begin, end)| end.since(&begin));
        let Some((source, before)) = self.source.as_ref().zip(self.before.as_ref()) else { return };
        let first = begin.usage.as_ref().unwrap_or(before);
        let cost = Cost { before, begin: first, end: end.usage.as_ref().unwrap_or(first) };
        let mut sut = cost.of(report);
        sut.what = match loss(first, end.usage.as_ref()) {
            None => source.to_string(),
            Some(Loss::Some(lost)) => format!("{source}, {lost} of its processes ended meanwhile"),
            Some(Loss::All) => {
                (sut.cpu_us_per_request, sut.cpu_s_per_gb) = (None, None);
                (sut.bytes_per_connection, sut.ended) = (None, true);
                source.to_string()
            }
        };
        report.sut = Some(sut);
    }

    fn look(&self) -> Reading {
        let known =
            self.begin.as_ref().and_then(|begin| begin.usage.as_ref()).or(self.before.as_ref());
        let usage = self.source.as_ref().and_then(|source| source.read(known).ok());
        Reading { usage, network: Counters::read().ok() }
    }
}

/// What is no longer there of a target. Servers that start a process for each task lose some all
/// the time, and their parents keep what those used; without any process there is no figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Some(usize),
    All,
}

fn loss(begin: &Usage, end: Option<&Usage>) -> Option<Loss> {
    let still = |one: &&(u32, u64)| end.is_some_and(|end| end.processes.contains(one));
    let (were, are) = (begin.processes.len(), begin.processes.iter().filter(still).count());
    match end {
        None => Some(Loss::All),
        Some(end) if were > 0 && end.processes.is_empty() => Some(Loss::All),
        Some(_) => (are < were).then(|| Loss::Some(were - are)),
    }
}

/// The readings that a cost is made from.
struct Cost<'a> {
    before: &'a Usage,
    begin: &'a Usage,
    end: &'a Usage,
}

impl Cost<'_> {
    #[expect(clippy::cast_precision_loss, reason = "2^53 ns of processor time are 104 days")]
    fn of(&self, report: &Report) -> Sut {
        let cpu_ns = self.end.cpu_ns.saturating_sub(self.begin.cpu_ns) as f64;
        let per = |amount: f64, count: u64| (count > 0).then(|| amount / count as f64);
        let bytes = report.totals.bytes_in + report.totals.bytes_out;
        let bulk = report.stream.is_some();
        let growth = self.end.resident_bytes as f64 - self.before.resident_bytes as f64;
        let (voluntary, involuntary) = self.end.switches_since(self.begin).unzip();
        Sut {
            what: String::new(),
            ended: false,
            cpu_s: cpu_ns / 1e9,
            cpu_us_per_request: per(cpu_ns / 1e3, report.totals.ok).filter(|_| !bulk),
            // Nanoseconds a byte are seconds a gigabyte.
            cpu_s_per_gb: per(cpu_ns, bytes).filter(|_| bulk),
            resident_before_bytes: self.before.resident_bytes,
            resident_bytes: self.end.resident_bytes,
            bytes_per_connection: per(growth, report.generator.connections_established.into()),
            voluntary_switches: voluntary,
            involuntary_switches: involuntary,
        }
    }
}

impl Source {
    fn find(target: Target) -> Result<Self, SutError> {
        let pid = match target {
            Target::Cgroup(path) => {
                let no_cgroup = |source| SutError::NoCgroup { path: path.clone(), source };
                return Cgroup::open(&path).map(Self::Cgroup).map_err(no_cgroup);
            }
            Target::Pid(pid) => pid,
            Target::PidFile(path) => pid_in(&path)?,
        };
        if process::exists(pid) { Ok(Self::Process(pid)) } else { Err(SutError::NoProcess(pid)) }
    }

    fn read(&self, known: Option<&Usage>) -> io::Result<Usage> {
        match self {
            Self::Process(pid) => Usage::of_tree(*pid, known),
            Self::Cgroup(cgroup) => cgroup.read(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "pid {pid}"),
            Self::Cgroup(cgroup) => write!(f, "cgroup {}", cgroup.path().display()),
        }
    }
}

fn pid_in(path: &Path) -> Result<u32, SutError> {
    let refuse = |why: String| SutError::PidFile { path: path.to_owned(), why };
    let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    text.trim().parse().map_err(|_| refuse(format!("it holds `{}`", text.trim())))
}

impl FromStr for Target {
    type Err = String;

    /// `4711`, `@/run/balancer.pid` or `cgroup:/sys/fs/cgroup/balancer`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("cgroup:") {
            return Ok(Self::Cgroup(path.into()));
        }
        if let Some(path) = text.strip_prefix('@') {
            return Ok(Self::PidFile(path.into()));
        }
        let pid = text.parse().ok().filter(|&pid| pid > 0).map(Self::Pid);
        pid.ok_or_else(|| format!("`{text}` is none of PID, @pidfile and cgroup:DIR"))
    }
}

#[cfg(test)]
mod tests;

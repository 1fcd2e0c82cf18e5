//! What `stream` and `hold` have in common: workers that connect, meet, and begin at one time; how
//! their run is told; and what a report says besides their figures.

mod connects;
mod here;
mod meeting;
mod teller;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use socket2::SockAddr;
use uring::SetupError;

pub(crate) use connects::{Connects, How};
pub(crate) use here::{env, local_ports, resident_bytes, thread_cpu_ns};
pub(crate) use meeting::{Meeting, Pass, WAITING_TURN_NS};
pub(crate) use teller::Teller;

use crate::load::failure::Failure;
use crate::pin::PinError;
use crate::report::Phase;

/// How connections end that a run closes itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Close {
    /// In order, which leaves the local port in TIME_WAIT.
    #[default]
    Fin,
    /// With a reset, which leaves nothing.
    Rst,
}

impl Close {
    /// What it is called in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
        }
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No connection ever stood.
    #[error("cannot connect to {address}: {why}")]
    CannotConnect {
        /// Where to.
        address: String,
        /// What the connects met, and what to do about it.
        why: &'static str,
    },
    /// The descriptors do not suffice.
    #[error(
        "{connections} connections do not fit the limit of {limit} open files: raise it with \
         `ulimit -n {needed}`, or use fewer connections, for example {fit}",
        needed = .connections + DESCRIPTORS_BESIDES,
        fit = .limit.saturating_sub(DESCRIPTORS_BESIDES)
    )]
    TooManyConnections {
        /// As many as were asked for.
        connections: u64,
        /// What RLIMIT_NOFILE allows.
        limit: u64,
    },
    /// The connections cannot be made as was asked.
    #[error("cannot come from {source_address}: {error}; `ip address` shows what this machine has")]
    Source {
        /// The local address.
        source_address: IpAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel does not have this congestion control, or does not let us use it.
    #[error(
        "cannot use congestion control `{name}`: {error}; \
         `sysctl net.ipv4.tcp_available_congestion_control` lists what there is"
    )]
    Congestion {
        /// What was asked for.
        name: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// A worker got no ring.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// A worker could not be kept on the processor that was asked for.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The kernel gave something up that a run needs.
    #[error("cannot go on: {0}")]
    Kernel(#[from] io::Error),
}

impl RunError {
    pub(crate) fn cannot_connect(address: &SockAddr, failure: Option<Failure>) -> Self {
        let why = failure.map_or("no connect ended", Failure::why_no_connection);
        Self::CannotConnect { address: address_text(address), why }
    }
}

/// The measured time, and the phases around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start_ns: u64,
    pub(crate) measure_from_ns: u64,
    pub(crate) until_ns: u64,
}

impl Window {
    pub(crate) fn new(start_ns: u64, warm_up: Duration, duration: Duration) -> Self {
        let measure_from_ns = start_ns + nanoseconds(warm_up);
        Self { start_ns, measure_from_ns, until_ns: measure_from_ns + nanoseconds(duration) }
    }

    pub(crate) const fn measures(&self, now_ns: u64) -> bool {
        self.measure_from_ns <= now_ns && now_ns < self.until_ns
    }

    pub(crate) const fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.until_ns
    }

    /// The phase at this time, when it began, and when it ends.
    pub(crate) const fn phase(&self, now_ns: u64) -> (Phase, u64, u64) {
        if now_ns < self.measure_from_ns {
            (Phase::WarmUp, self.start_ns, self.measure_from_ns)
        } else if now_ns < self.until_ns {
            (Phase::Measuring, self.measure_from_ns, self.until_ns)
        } else {
            (Phase::Draining, self.until_ns, u64::MAX)
        }
    }
}

/// How many of `total` the worker of this index has; shares differ by one at the most.
pub(crate) fn share(total: u32, index: usize, workers: usize) -> u32 {
    let (index, workers) = (index as u64, workers.max(1) as u64);
    let share = u64::from(total) / workers + u64::from(index < u64::from(total) % workers);
    u32::try_from(share).expect("a share is not above the whole")
}

/// How long an interval of the report is: a second, or as long as keeps them below a hundred.
pub(crate) fn interval_length(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs().div_ceil(INTERVALS_MAX).max(1))
}

/// `host:port`, or `unix:` and the path.
pub(crate) fn address_text(address: &SockAddr) -> String {
    let path = || address.as_pathname().map(|path| format!("unix:{}", path.display()));
    let socket = address.as_socket().map(|address| address.to_string());
    socket.or_else(path).unwrap_or_else(|| "an address of an unknown family".to_owned())
}

/// How many connections can be open beside what the program has open itself.
///
/// # Errors
/// [`RunError::TooManyConnections`] when `connections` are more.
pub(crate) fn check_limit(connections: u64) -> Result<(), RunError> {
    let limit = uring::raise_nofile_limit()?.now;
    if connections + DESCRIPTORS_BESIDES > limit {
        return Err(RunError::TooManyConnections { connections, limit });
    }
    Ok(())
}

/// As many of `connections` as fit the limit of open files.
pub(crate) fn as_many_as_fit(connections: u32) -> Result<u32, RunError> {
    let limit = uring::raise_nofile_limit()?.now;
    let fit = limit.saturating_sub(DESCRIPTORS_BESIDES);
    Ok(connections.min(u32::try_from(fit).unwrap_or(u32::MAX)))
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

pub(crate) fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

/// A rate a second; 0 for no time.
#[expect(clippy::cast_precision_loss, reason = "2^53 events are years of load")]
pub(crate) fn per_second(count: u64, elapsed_s: f64) -> f64 {
    if elapsed_s > 0.0 { count as f64 / elapsed_s } else { 0.0 }
}

/// Standard streams, rings, and what a program that embeds this has open itself.
const DESCRIPTORS_BESIDES: u64 = 64;
/// A histogram for each is some hundred kilobytes.
const INTERVALS_MAX: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (total, workers) in [(1, 1), (7, 3), (15_000, 2), (2, 5)] {
            let shares: Vec<u32> = (0..workers).map(|index| share(total, index, workers)).collect();
            assert_eq!(shares.iter().sum::<u32>(), total, "{shares:?}");
        }
    }

    #[test]
    fn a_window_is_measured_from_the_warm_up_to_just_before_its_end() {
        let window = Window::new(100, Duration::from_nanos(10), Duration::from_nanos(5));
        let phases = [109, 110, 114, 115].map(|now_ns| window.phase(now_ns).0);
        assert_eq!(phases, [Phase::WarmUp, Phase::Measuring, Phase::Measuring, Phase::Draining]);
        let measured: Vec<u64> = (90..130).filter(|&now_ns| window.measures(now_ns)).collect();
        assert_eq!(measured, [110, 111, 112, 113, 114]);
        assert!(!window.is_over(114) && window.is_over(115));
    }

    #[test]
    fn intervals_are_seconds_and_at_most_a_hundred() {
        for (duration, length) in [(0, 1), (10, 1), (100, 1), (101, 2), (3600, 36)] {
            let length = Duration::from_secs(length);
            assert_eq!(interval_length(Duration::from_secs(duration)), length, "{duration}");
        }
    }
}

//! Connections that are opened one after another: so many at a time, so many a second, each within
//! its time.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::{SockAddr, SockRef};
use uring::{ConnectOptions, Op, Owner, Ring, Token};

use super::nanoseconds;
use crate::load::failure::Failure;

/// The connects of one worker.
#[derive(Debug)]
pub(crate) struct Connects {
    address: SockAddr,
    sources: Vec<IpAddr>,
    congestion: Option<String>,
    timeout_ns: u64,
    /// Between two connects, where they are paced.
    gap_ns: Option<f64>,
    began_ns: u64,
    /// The next to be opened, and how many there are.
    next: u32,
    total: u32,
    in_flight: u32,
    established: u32,
    failed: u32,
    last_failure: Option<Failure>,
    /// When a connection was established last.
    progress_ns: u64,
    /// Whom to look at when the time of a connect is over, in the order in which they began.
    begun: VecDeque<(u32, u64)>,
}

/// How a worker's connections are made.
#[derive(Clone, Debug)]
pub(crate) struct How {
    pub(crate) address: SockAddr,
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) congestion: Option<String>,
    pub(crate) timeout: Duration,
    /// Connects a second.
    pub(crate) rate: Option<f64>,
}

impl Connects {
    pub(crate) fn new(how: How, total: u32, now_ns: u64) -> Self {
        Self {
            address: how.address,
            sources: how.sources,
            congestion: how.congestion,
            timeout_ns: nanoseconds(how.timeout),
            gap_ns: how.rate.map(|rate| 1e9 / rate),
            began_ns: now_ns,
            next: 0,
            total,
            in_flight: 0,
            established: 0,
            failed: 0,
            last_failure: None,
            progress_ns: now_ns,
            begun: VecDeque::new(),
        }
    }

    /// Who shall be opened now, if somebody shall.
    pub(crate) fn next(&mut self, now_ns: u64) -> Option<u32> {
        let may =
            self.next < self.total && self.in_flight < IN_FLIGHT_MAX && !self.is_hopeless(now_ns);
        if !may || self.due_ns() > now_ns {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// Opens it; the completion comes as that of `Owner::slot(index)`.
    pub(crate) fn open(
        &mut self,
        ring: &mut Ring,
        index: u32,
        now_ns: u64,
    ) -> Result<OwnedFd, Failure> {
        let socket = self.socket(index).map_err(|error| {
            let failure = Failure::from_errno(uring::errno(&error));
            self.note_failed(failure);
            failure
        })?;
        ring.connect(&socket, &self.address, Owner::slot(index));
        self.in_flight += 1;
        self.begun.push_back((index, now_ns));
        Ok(socket)
    }

    /// A socket of the kind that is asked for, not yet connected.
    fn socket(&self, index: u32) -> std::io::Result<OwnedFd> {
        let sources = self.sources.len().max(1);
        let source = self.sources.get(index as usize % sources).copied();
        let options = ConnectOptions { source, ..ConnectOptions::default() };
        let socket = uring::stream_socket(&self.address, &options)?;
        if let Some(name) = &self.congestion {
            SockRef::from(&socket).set_tcp_congestion(name.as_bytes())?;
        }
        Ok(socket)
    }

    pub(crate) fn on_established(&mut self, now_ns: u64) {
        self.in_flight -= 1;
        self.established += 1;
        self.progress_ns = now_ns;
    }

    pub(crate) fn on_failed(&mut self, failure: Failure) {
        self.in_flight -= 1;
        self.note_failed(failure);
    }

    fn note_failed(&mut self, failure: Failure) {
        self.failed += 1;
        self.last_failure = Some(failure);
    }

    /// Gives up the connects whose time is over; each ends with `ECANCELED`, unless it has just
    /// been established.
    pub(crate) fn cancel_overdue(
        &mut self,
        ring: &mut Ring,
        now_ns: u64,
        is_connecting: impl Fn(u32) -> bool,
    ) {
        while let Some(&(index, since_ns)) = self.begun.front() {
            let connecting = is_connecting(index);
            if connecting && now_ns < since_ns + self.timeout_ns {
                return;
            }
            if connecting {
                ring.cancel(Token { op: Op::Connect, owner: Owner::slot(index) });
            }
            self.begun.pop_front();
        }
    }

    /// Whether all that will ever be opened has been, well or badly.
    pub(crate) fn is_settled(&self, now_ns: u64) -> bool {
        self.in_flight == 0 && (self.next == self.total || self.is_hopeless(now_ns))
    }

    /// A first wave without a success, or nothing but failures for as long as one may take: more of
    /// the same would not help.
    fn is_hopeless(&self, now_ns: u64) -> bool {
        let nobody = self.established == 0 && self.failed >= IN_FLIGHT_MAX.min(self.total);
        let fails = self.failed >= IN_FLIGHT_MAX;
        nobody || (fails && now_ns.saturating_sub(self.progress_ns) > self.timeout_ns)
    }

    /// When there is something to do that no completion tells.
    pub(crate) fn wake_ns(&self) -> u64 {
        let due_ns = match self.next < self.total && self.in_flight < IN_FLIGHT_MAX {
            true => self.due_ns(),
            false => u64::MAX,
        };
        let over_ns = self.begun.front().map_or(u64::MAX, |&(_, since)| since + self.timeout_ns);
        due_ns.min(over_ns)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are times")]
    fn due_ns(&self) -> u64 {
        let gap_ns = self.gap_ns.unwrap_or(0.0);
        self.began_ns + (gap_ns * f64::from(self.next)) as u64
    }

    pub(crate) const fn established(&self) -> u32 {
        self.established
    }

    pub(crate) const fn last_failure(&self) -> Option<Failure> {
        self.last_failure
    }
}

impl How {
    /// Whether sockets can be made like this, before any worker tries it many times.
    pub(crate) fn check(&self) -> Result<(), super::RunError> {
        let plain = uring::stream_socket(&self.address, &ConnectOptions::default())?;
        if let Some(name) = &self.congestion {
            SockRef::from(&plain)
                .set_tcp_congestion(name.as_bytes())
                .map_err(|error| super::RunError::Congestion { name: name.clone(), error })?;
        }
        for &source_address in &self.sources {
            let options =
                ConnectOptions { source: Some(source_address), ..ConnectOptions::default() };
            uring::stream_socket(&self.address, &options)
                .map_err(|error| super::RunError::Source { source_address, error })?;
        }
        Ok(())
    }
}

/// Connects in flight at a time; below the backlog of any server that means it.
const IN_FLIGHT_MAX: u32 = 100;

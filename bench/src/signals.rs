//! SIGINT and SIGTERM end the run in order, so that nothing that was started stays.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};

/// Whether the run shall end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop(&'static AtomicBool);

impl Stop {
    /// Waits for the end signals from now on; must come before any other thread is started.
    ///
    /// # Errors
    /// As pthread_sigmask(3).
    pub(crate) fn on_signals() -> io::Result<Self> {
        static STOP: AtomicBool = AtomicBool::new(false);
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        signals.thread_block()?;
        let wait = move || {
            // EINVAL is the only error of sigwait(3), for a signal number that does not exist.
            let _ = signals.wait();
            STOP.store(true, Ordering::Relaxed);
            let _ = signals.wait();
            std::process::exit(INTERRUPTED.into());
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(Self(&STOP))
    }

    /// For those who look by themselves.
    #[must_use]
    pub(crate) const fn flag(self) -> &'static AtomicBool {
        self.0
    }

    /// Nothing, or the end.
    ///
    /// # Errors
    /// `Interrupted` once the run shall end.
    pub(crate) fn check(self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        Ok(())
    }
}

/// What shells answer for a program that SIGINT ended.
pub(crate) const INTERRUPTED: u8 = 130;

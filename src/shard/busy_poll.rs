//! Looking for work before sleeping, as both drivers of real sockets do it.

use std::io;
use std::time::Duration;

use crate::core::spin::Spin;

use super::driver::Counts;

/// Whether this shard looks before it sleeps, and what that brought.
#[derive(Debug, Default)]
pub(super) struct BusyPoll {
    spin: Option<Spin>,
    found: u64,
    vain: u64,
}

impl BusyPoll {
    /// Looks for at most `time` each time; without one, never.
    pub(super) fn new(time: Option<Duration>) -> Self {
        Self { spin: time.map(Spin::new), ..Self::default() }
    }

    /// Lets `look` look for at most the time that it is given, which says whether there is
    /// something; if not, or while looking does not pay, lets `sleep` wait for it.
    pub(super) fn wait<T>(
        &mut self,
        on: &mut T,
        timeout: Option<Duration>,
        look: impl FnOnce(&mut T, Duration) -> io::Result<bool>,
        sleep: impl FnOnce(&mut T, Option<Duration>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(spin) = &mut self.spin else { return sleep(on, timeout) };
        let Some(time) = spin.time() else {
            let started_ns = uring::monotonic_ns();
            sleep(on, timeout)?;
            spin.slept(Duration::from_nanos(uring::monotonic_ns() - started_ns));
            return Ok(());
        };
        let found = look(on, timeout.map_or(time, |timeout| timeout.min(time)))?;
        spin.looked(found);
        *if found { &mut self.found } else { &mut self.vain } += 1;
        if found { Ok(()) } else { sleep(on, timeout) }
    }

    pub(super) fn counts(&self) -> Counts {
        vec![("busy_poll_found", self.found), ("busy_poll_vain", self.vain)]
    }
}

//! How many accepts a listener keeps armed, and when it holds back.

use std::time::{Duration, Instant};

use uring::Errno;

/// The accepts of one listener.
#[derive(Debug, Default)]
pub(super) struct Accepts {
    armed: u32,
    /// Descriptors or memory ran out: nothing is armed until then, or until a connection closes.
    paused_until: Option<Instant>,
}

impl Accepts {
    /// How many accepts to arm now.
    pub(super) fn to_arm(&mut self) -> u32 {
        let missing = if self.paused_until.is_some() { 0 } else { ARMED - self.armed };
        self.armed += missing;
        missing
    }

    /// An accept ended. Out of descriptors, the connection stays queued and the next accept would
    /// fail at once: arming again without a pause would spin.
    pub(super) fn on_ended(&mut self, failure: Option<Errno>, now: Instant) {
        self.armed -= 1;
        match failure {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                self.paused_until = Some(now + PAUSE);
            }
            // ECONNABORTED and the like: that client is gone, the next one is not.
            Some(_) | None => {}
        }
    }

    /// A connection closed: there is a descriptor again.
    pub(super) fn on_closed(&mut self) {
        self.paused_until = None;
    }

    /// Ends the pause if it is over; answers when to look again.
    pub(super) fn resume(&mut self, now: Instant) -> Option<Instant> {
        self.paused_until = self.paused_until.filter(|&until| now < until);
        self.paused_until
    }
}

/// A batch of connections is accepted in one turn; each armed accept costs the kernel a request.
const ARMED: u32 = 32;
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_accept_is_armed_again() {
        let mut accepts = Accepts::default();
        let now = Instant::now();
        assert_eq!(accepts.to_arm(), ARMED);
        assert_eq!(accepts.to_arm(), 0);
        accepts.on_ended(None, now);
        accepts.on_ended(Some(Errno::ECONNABORTED), now);
        assert_eq!(accepts.to_arm(), 2);
    }

    #[test]
    fn without_descriptors_nothing_is_armed_until_one_is_free_or_time_passed() {
        let now = Instant::now();
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
            let mut accepts = Accepts::default();
            accepts.to_arm();
            accepts.on_ended(Some(errno), now);
            assert_eq!(accepts.to_arm(), 0, "{errno}");
            assert_eq!(accepts.resume(now), Some(now + PAUSE));
            accepts.on_closed();
            assert_eq!(accepts.to_arm(), 1, "{errno}");
            accepts.on_ended(Some(errno), now);
            assert_eq!(accepts.resume(now + PAUSE), None);
            assert_eq!(accepts.to_arm(), 1, "{errno}");
        }
    }
}

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
    /// How many accepts to arm now; they count as armed. A pause that is over ends here.
    pub(super) fn arm_missing(&mut self, now: Instant) -> u32 {
        self.paused_until = self.paused_until.filter(|&until| now < until);
        let missing = if self.paused_until.is_some() { 0 } else { ARMED - self.armed };
        self.armed += missing;
        missing
    }

    /// An accept ended. Out of descriptors, the connection stays queued and the next accept would
    /// fail at once: arming again without a pause would spin.
    pub(super) fn on_ended(&mut self, failure: Option<Errno>, now: Instant) {
        self.armed -= 1;
        // After ECONNABORTED and the like that client is gone, and the next one is not.
        // EINVAL: nobody listens there any more, or not yet again.
        if let Some(
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EINVAL,
        ) = failure
        {
            self.paused_until = Some(now + PAUSE);
        }
    }

    /// The listener listens again.
    pub(super) fn on_listening(&mut self) {
        self.paused_until = None;
    }

    /// A connection closed: there is a descriptor again.
    pub(super) fn on_closed(&mut self) {
        self.paused_until = None;
    }

    /// When the pause is over, if there is one.
    pub(super) fn resume_at(&self) -> Option<Instant> {
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
        assert_eq!(accepts.arm_missing(now), ARMED);
        assert_eq!(accepts.arm_missing(now), 0);
        accepts.on_ended(None, now);
        accepts.on_ended(Some(Errno::ECONNABORTED), now);
        assert_eq!(accepts.arm_missing(now), 2);
    }

    #[test]
    fn without_descriptors_nothing_is_armed_until_one_is_free_or_time_passed() {
        let now = Instant::now();
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::EINVAL] {
            let mut accepts = Accepts::default();
            accepts.arm_missing(now);
            accepts.on_ended(Some(errno), now);
            assert_eq!(accepts.arm_missing(now), 0, "{errno}");
            assert_eq!(accepts.resume_at(), Some(now + PAUSE));
            accepts.on_closed();
            assert_eq!(accepts.arm_missing(now), 1, "{errno}");
            accepts.on_ended(Some(errno), now);
            assert_eq!(accepts.arm_missing(now + PAUSE), 1, "{errno}");
            assert_eq!(accepts.resume_at(), None);
        }
    }
}

//! Whether a shard looks for completions for a while before it sleeps: worth it when they come
//! within that while, and only a hot processor when they do not.

use std::time::Duration;

/// What spinning has brought lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spin {
    /// How long to look.
    time: Duration,
    /// Times in a row that nothing came.
    vain: u32,
    /// While it rests: waits in a row that spinning would have shortened.
    missed: u32,
    resting: bool,
}

impl Spin {
    /// Looks for at most `time`, to begin with.
    #[must_use]
    pub const fn new(time: Duration) -> Self {
        Self { time, vain: 0, missed: 0, resting: false }
    }

    /// How long to look now, if at all.
    #[must_use]
    pub fn time(&self) -> Option<Duration> {
        (!self.resting).then_some(self.time)
    }

    /// The look is over, and something came, or not.
    pub fn looked(&mut self, something_came: bool) {
        self.vain = if something_came { 0 } else { self.vain + 1 };
        if self.vain == VAIN_LOOKS {
            *self = Self { resting: true, ..Self::new(self.time) };
        }
    }

    /// A sleep without a look before it is over, and took so long.
    pub fn slept(&mut self, time: Duration) {
        self.missed = if time <= self.time { self.missed + 1 } else { 0 };
        if self.missed == MISSED_LOOKS {
            *self = Self::new(self.time);
        }
    }
}

/// Looks in vain before it rests. Traffic that pauses now and then goes on being looked for.
const VAIN_LOOKS: u32 = 16;

/// Short sleeps before it looks again.
const MISSED_LOOKS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_micros(50);
    const SHORT: Duration = TIME;
    const LONG: Duration = Duration::from_micros(51);

    fn resting() -> Spin {
        let mut spin = Spin::new(TIME);
        (0..VAIN_LOOKS).for_each(|_| spin.looked(false));
        spin
    }

    #[test]
    fn it_looks_until_it_was_in_vain_often_enough() {
        let mut spin = Spin::new(TIME);
        for _ in 1..VAIN_LOOKS {
            spin.looked(false);
            assert_eq!(spin.time(), Some(TIME));
        }
        spin.looked(false);
        assert_eq!(spin.time(), None);
    }

    #[test]
    fn one_success_starts_the_count_again() {
        let mut spin = Spin::new(TIME);
        for _ in 0..10 {
            (1..VAIN_LOOKS).for_each(|_| spin.looked(false));
            spin.looked(true);
        }
        assert_eq!(spin.time(), Some(TIME));
    }

    #[test]
    fn it_looks_again_when_sleeps_are_short_in_a_row() {
        let mut spin = resting();
        for _ in 0..10 {
            (1..MISSED_LOOKS).for_each(|_| spin.slept(SHORT));
            spin.slept(LONG);
        }
        assert_eq!(spin.time(), None);
        (0..MISSED_LOOKS).for_each(|_| spin.slept(SHORT));
        assert_eq!(spin.time(), Some(TIME));
    }

    #[test]
    fn an_idle_shard_rests() {
        let mut spin = resting();
        (0..1000).for_each(|_| spin.slept(LONG));
        assert_eq!(spin.time(), None);
    }
}

//! What time it is on the wall at a moment of the shards' clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::core::moment::Moment;

/// How far the wall's clock is ahead of the other, which nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    ahead_ns: i64,
}

impl Wall {
    /// As it is now. Somebody may set the clock at any time, so this does not hold for ever.
    #[must_use]
    pub fn now() -> Self {
        // What an interruption between the two would be worth is halved.
        let before = uring::monotonic_ns();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let after = uring::monotonic_ns();
        Self::of(Moment::from_ns(before + (after - before) / 2), wall)
    }

    /// Both clocks at the same time: `wall` since 1970.
    #[must_use]
    pub fn of(moment: Moment, wall: Duration) -> Self {
        let ns = |ns: u128| i64::try_from(ns).unwrap_or(i64::MAX);
        Self { ahead_ns: ns(wall.as_nanos()) - ns(moment.ns().into()) }
    }

    /// A clock of tests, whose moments count from so long after 1970.
    #[cfg(test)]
    pub(super) const fn ahead(seconds: i64) -> Self {
        Self { ahead_ns: seconds * 1_000_000_000 }
    }

    /// The time of a moment.
    #[must_use]
    pub const fn time(self, moment: Moment) -> Time {
        Time { ns: moment.ns().saturating_add_signed(self.ahead_ns) }
    }
}

/// A time of day, in UTC, to the millisecond: `2026-11-30T07:45:01.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Since 1970.
    ns: u64,
}

impl Time {
    /// So long before.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { ns: self.ns.saturating_sub(ns) }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Later than humantime knows only on a clock that is centuries wrong.
        let time = UNIX_EPOCH + Duration::from_nanos(self.ns);
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_its_time() {
        let at_start = Duration::from_secs(1_796_024_701);
        let wall = Wall::of(Moment::from_ns(5_000_000_000), at_start);
        let moment = Moment::from_ns(5_123_456_789);
        assert_eq!(wall.time(moment).to_string(), "2026-11-30T07:45:01.123Z");
        let before = wall.time(moment).before(Duration::from_millis(124));
        assert_eq!(before.to_string(), "2026-11-30T07:45:00.999Z");
    }

    #[test]
    fn a_clock_that_was_set_is_followed_and_durations_do_not_care() {
        let moment = Moment::from_ns(1_000_000_000);
        let hour = Duration::from_secs(3600);
        let (old, new) = (Wall::of(moment, hour), Wall::of(moment, hour * 2));
        assert_eq!(old.time(moment).to_string(), "1970-01-01T01:00:00.000Z");
        assert_eq!(new.time(moment).to_string(), "1970-01-01T02:00:00.000Z");
        let length = Duration::from_secs(1);
        assert_eq!(new.time(moment).before(length).to_string(), "1970-01-01T01:59:59.000Z");
    }

    #[test]
    fn now_is_now() {
        let now = Wall::now().time(Moment::from_ns(uring::monotonic_ns()));
        let system = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        assert!(system.as_nanos().abs_diff(now.ns.into()) < 1_000_000_000);
    }

    #[test]
    fn a_clock_before_1970_or_after_2554_is_written_somehow() {
        let wall = Wall::of(Moment::from_ns(10), Duration::ZERO);
        assert_eq!(wall.time(Moment::from_ns(5)).to_string(), "1970-01-01T00:00:00.000Z");
        let _ = wall.time(Moment::NEVER).to_string();
    }
}

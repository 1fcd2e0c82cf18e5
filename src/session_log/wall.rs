//! What time it is on the wall at a moment of the shards' clock, and how it is written.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrayvec::ArrayString;

use crate::core::moment::Moment;
use crate::shard::record::Record;

use super::append;

/// How far the wall's clock is ahead of the other, which nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wall {
    ahead_ns: i64,
}

impl Wall {
    /// As it is now. Somebody may set the clock at any time, so this does not hold for ever.
    pub(super) fn now() -> Self {
        // What an interruption between the two would be worth is halved.
        let before = uring::monotonic_ns();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let after = uring::monotonic_ns();
        Self::of(Moment::from_ns(before + (after - before) / 2), wall)
    }

    /// Both clocks at the same time: `wall` since 1970.
    pub(super) fn of(moment: Moment, wall: Duration) -> Self {
        let ns = |ns: u128| i64::try_from(ns).unwrap_or(i64::MAX);
        Self { ahead_ns: ns(wall.as_nanos()) - ns(moment.ns().into()) }
    }

    /// A clock of tests, whose moments count from so long after 1970.
    #[cfg(test)]
    pub(super) const fn ahead(seconds: i64) -> Self {
        Self { ahead_ns: seconds * 1_000_000_000 }
    }

    /// The time of a moment.
    pub(super) const fn time(self, moment: Moment) -> Time {
        Time { ns: moment.ns().saturating_add_signed(self.ahead_ns) }
    }
}

/// A time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    /// Since 1970.
    ns: u64,
}

impl Time {
    /// So long before.
    pub(super) fn before(self, duration: Duration) -> Self {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { ns: self.ns.saturating_sub(ns) }
    }
}

/// Writes when sessions began and ended, in UTC, to the millisecond: `2026-11-30T07:45:01.123Z`. Of a busy log
/// most lines are of the same second, so the text of the last one is kept.
#[derive(Debug)]
pub(super) struct Times {
    /// The clock that it goes by.
    pub(super) wall: Wall,
    began: Second,
    ended: Second,
}

/// A second, as it was written.
#[derive(Debug)]
struct Second {
    since_1970: u64,
    /// Without what comes after the seconds.
    text: ArrayString<32>,
}

impl Times {
    pub(super) fn new(wall: Wall) -> Self {
        Self { wall, began: Second::of(0), ended: Second::of(0) }
    }

    /// Appends when the client was accepted. The wall's clock may have been set since; the length counts.
    pub(super) fn began(&mut self, into: &mut Vec<u8>, record: &Record) {
        let length = record.ended.since(record.began);
        self.began.write(into, self.wall.time(record.ended).before(length));
    }

    /// Appends when the session was over.
    pub(super) fn ended(&mut self, into: &mut Vec<u8>, record: &Record) {
        self.ended.write(into, self.wall.time(record.ended));
    }
}

impl Second {
    fn of(since_1970: u64) -> Self {
        let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(since_1970));
        let mut text = ArrayString::new();
        write!(text, "{time}").expect("a time has twenty letters");
        text.pop();
        Self { since_1970, text }
    }

    fn write(&mut self, into: &mut Vec<u8>, time: Time) {
        let second = time.ns / 1_000_000_000;
        if second != self.since_1970 {
            *self = Self::of(second);
        }
        let ms = time.ns / 1_000_000 % 1000;
        into.extend_from_slice(self.text.as_bytes());
        into.push(b'.');
        append::padded(into, ms, 3);
        into.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(time: Time) -> String {
        let mut bytes = Vec::new();
        Second::of(0).write(&mut bytes, time);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_moment_has_its_time() {
        let at_start = Duration::from_secs(1_796_024_701);
        let wall = Wall::of(Moment::from_ns(5_000_000_000), at_start);
        let moment = Moment::from_ns(5_123_456_789);
        assert_eq!(written(wall.time(moment)), "2026-11-30T07:45:01.123Z");
        let before = wall.time(moment).before(Duration::from_millis(124));
        assert_eq!(written(before), "2026-11-30T07:45:00.999Z");
    }

    #[test]
    fn a_second_that_is_kept_is_that_of_the_time() {
        let mut second = Second::of(0);
        for ms in [1_796_024_701_009, 1_796_024_701_099, 1_796_024_702_000, 1_796_024_701_999, 0] {
            let time = Time { ns: ms * 1_000_000 };
            let mut bytes = Vec::new();
            second.write(&mut bytes, time);
            let shown = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms));
            assert_eq!(String::from_utf8(bytes).expect("text"), shown.to_string());
        }
    }

    #[test]
    fn a_clock_that_was_set_is_followed_and_durations_do_not_care() {
        let moment = Moment::from_ns(1_000_000_000);
        let hour = Duration::from_secs(3600);
        let (old, new) = (Wall::of(moment, hour), Wall::of(moment, hour * 2));
        assert_eq!(written(old.time(moment)), "1970-01-01T01:00:00.000Z");
        assert_eq!(written(new.time(moment)), "1970-01-01T02:00:00.000Z");
        let length = Duration::from_secs(1);
        assert_eq!(written(new.time(moment).before(length)), "1970-01-01T01:59:59.000Z");
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
        assert_eq!(written(wall.time(Moment::from_ns(5))), "1970-01-01T00:00:00.000Z");
        let _ = written(wall.time(Moment::NEVER));
    }
}

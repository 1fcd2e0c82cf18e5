//! How much one client may have: sessions at a time, and new connections in a period.
//!
//! The rate is kept by the generic cell rate algorithm (ITU-T I.371, annex A): one number for each
//! client, the moment at which all that it has had would have come if it had come evenly.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::moment::Moment;

/// What one client may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at a time.
    pub sessions: Option<NonZeroU32>,
    /// New connections.
    pub pace: Option<Pace>,
}

/// So many events in a period, as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The distance of two events that come evenly.
    interval_ns: u64,
    /// How far the events may be ahead of that, the one that is asked about included.
    burst_ns: u64,
}

impl Pace {
    /// `events` in each `period`, and up to so many at once.
    ///
    /// In any stretch of time there are at most `events` more than evenly `events` in a period.
    #[must_use]
    pub fn new(events: NonZeroU32, period: Duration) -> Self {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up: never more than was asked for.
        let interval_ns = period_ns.div_ceil(u64::from(events.get()));
        Self { interval_ns, burst_ns: interval_ns.saturating_mul(u64::from(events.get())) }
    }

    /// How long after its last event a client is as good as one that never came.
    #[must_use]
    pub const fn memory(self) -> Duration {
        Duration::from_nanos(self.burst_ns)
    }
}

/// What a client has had: nothing is remembered of it once this moment is past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The theoretical arrival time of the next event.
    until: Moment,
}

impl Spent {
    /// One more event, `now`; `None` if it is too early for that, and then nothing is spent.
    #[must_use]
    pub fn after(self, now: Moment, pace: Pace) -> Option<Self> {
        let interval = Duration::from_nanos(pace.interval_ns);
        let ahead = self.until.since(now).saturating_add(interval);
        let in_time = ahead <= Duration::from_nanos(pace.burst_ns);
        in_time.then(|| Self { until: self.until.max(now) + interval })
    }

    /// Whether the client is as good as one that never came.
    #[must_use]
    pub fn is_nothing(self, now: Moment) -> bool {
        self.until <= now
    }
}

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 address, because that is the
/// least that a host is given (RFC 6177) and it may use each address of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKey {
    /// The address.
    V4(u32),
    /// The upper half of the address.
    V6(u64),
}

impl From<IpAddr> for ClientKey {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.into()),
            IpAddr::V6(ip) => Self::V6(upper_half(ip)),
        }
    }
}

fn upper_half(ip: Ipv6Addr) -> u64 {
    u64::try_from(u128::from(ip) >> 64).expect("64 bits are left")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(events: u32, period: Duration) -> Pace {
        Pace::new(NonZeroU32::new(events).expect("some"), period)
    }

    /// Whether each of the events at these milliseconds is let through.
    fn check(pace: Pace, table: &[(u64, bool)]) {
        let mut spent = Spent::default();
        for &(ms, through) in table {
            let after = spent.after(Moment::from_ns(ms * 1_000_000), pace);
            assert_eq!(after.is_some(), through, "at {ms} ms of {table:?}");
            spent = after.unwrap_or(spent);
        }
    }

    #[test]
    fn as_many_as_the_rate_says_may_come_at_once() {
        let pace = pace(3, Duration::from_secs(3));
        check(pace, &[(0, true), (0, true), (0, true), (0, false), (999, false), (1000, true)]);
    }

    #[test]
    fn who_waits_a_period_has_the_whole_burst_again_and_no_more() {
        let pace = pace(2, Duration::from_secs(1));
        let wait = [(0, true), (0, true), (0, false), (10_000, true), (10_000, true)];
        check(pace, &wait);
        check(pace, &[&wait[..], &[(10_000, false), (10_499, false), (10_500, true)]].concat());
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let pace = pace(1, Duration::from_secs(1));
        let hammering = (1..1000).map(|ms| (ms, false));
        let table: Vec<_> =
            [(0, true)].into_iter().chain(hammering).chain([(1000, true)]).collect();
        check(pace, &table);
    }

    #[test]
    fn a_rate_of_one_in_an_age_lets_one_through() {
        let table = [(0, true), (u64::MAX / 2_000_000, false)];
        check(pace(1, Duration::MAX), &table);
        check(pace(u32::MAX, Duration::from_nanos(1)), &[(5, true)]);
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_a_64() {
        let key = |ip: &str| ClientKey::from(ip.parse::<IpAddr>().expect("an address"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("::1"), key("0.0.0.0"));
    }

    proptest! {
        /// Whatever is tried: from one event to any later one there are at most the burst and what
        /// comes evenly meanwhile.
        #[test]
        fn no_stretch_of_time_has_more_than_the_burst_and_the_rate(
            events in 1..20_u32,
            period_ms in 1..5000_u64,
            gaps_us in proptest::collection::vec(0..300_000_u64, 1..200),
        ) {
            let pace = pace(events, Duration::from_millis(period_ms));
            let (mut spent, mut now, mut through) = (Spent::default(), 0, Vec::new());
            for gap in gaps_us {
                now += gap * 1000;
                if let Some(after) = spent.after(Moment::from_ns(now), pace) {
                    spent = after;
                    through.push(now);
                }
            }
            let period_ns = period_ms * 1_000_000;
            for (first, from) in through.iter().enumerate() {
                for (more, to) in through[first..].iter().enumerate() {
                    let evenly = (to - from) * u64::from(events) / period_ns;
                    prop_assert!((more as u64) < u64::from(events) + evenly);
                }
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(
            events in 1..50_u32,
            late_us in proptest::collection::vec(0..100_000_u64, 1..100),
        ) {
            let pace = pace(events, Duration::from_secs(1));
            let (mut spent, mut now) = (Spent::default(), 0);
            for late in late_us {
                let after = spent.after(Moment::from_ns(now), pace);
                prop_assert!(after.is_some());
                spent = after.unwrap_or_default();
                prop_assert!(!spent.is_nothing(Moment::from_ns(now)));
                now += 1_000_000_000_u64.div_ceil(events.into()) + late * 1000;
                prop_assert!(spent.is_nothing(Moment::from_ns(now)));
            }
        }
    }
}

//! What one shard has seen of the connections of one backend's sessions.

use crate::core::bottleneck::{Interval, Pair, Sums, Waited};

use super::counters::Counter;

/// Sums of the intervals in which sessions were watched; one shard writes.
#[derive(Debug, Default)]
pub struct TcpTally {
    samples: Counter,
    /// In the order of [`Waited::parts`].
    waited_us: [Counter; Waited::PARTS],
    client_segments: Counter,
    client_retransmits: Counter,
    backend_segments: Counter,
    backend_retransmits: Counter,
    client_rtt: Smoothed,
    backend_rtt: Smoothed,
}

/// What several shards have seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSum {
    /// All of it.
    pub sums: Sums,
    /// Round trips to clients.
    pub client_rtt: RttSum,
    /// Round trips to the backend.
    pub backend_rtt: RttSum,
}

/// Smoothed round trips of several shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RttSum {
    us: u64,
    shards: u64,
}

impl TcpTally {
    /// A session was watched for an interval; only the owning shard may say so.
    pub fn add(&self, interval: &Interval) {
        let sums = interval.sums();
        self.samples.add(sums.samples);
        for (counter, us) in self.waited_us.iter().zip(sums.waited.parts()) {
            counter.add(us);
        }
        self.client_segments.add(sums.client_segments);
        self.client_retransmits.add(sums.client_retransmits);
        self.backend_segments.add(sums.backend_segments);
        self.backend_retransmits.add(sums.backend_retransmits);
        self.client_rtt.note(interval.client);
        self.backend_rtt.note(interval.backend);
    }

    /// Adds it to that of other shards.
    pub fn add_to(&self, sum: &mut TcpSum) {
        let waited = std::array::from_fn(|part| self.waited_us[part].value());
        let own = Sums {
            samples: self.samples.value(),
            waited: Waited::of_parts(waited),
            client_segments: self.client_segments.value(),
            client_retransmits: self.client_retransmits.value(),
            backend_segments: self.backend_segments.value(),
            backend_retransmits: self.backend_retransmits.value(),
        };
        sum.sums = sum.sums.plus(&own);
        self.client_rtt.add_to(&mut sum.client_rtt);
        self.backend_rtt.add_to(&mut sum.backend_rtt);
    }
}

impl RttSum {
    /// The mean over the shards that have seen any.
    #[must_use]
    pub fn us(&self) -> Option<u64> {
        self.us.checked_div(self.shards)
    }
}

/// A round trip that follows the last dozen samples; none is 0.
#[derive(Debug, Default)]
struct Smoothed(Counter);

impl Smoothed {
    fn note(&self, pair: Option<Pair>) {
        let Some(Pair { after, .. }) = pair.filter(|pair| pair.after.rtt_us > 0) else { return };
        let (old, new) = (self.0.value(), u64::from(after.rtt_us));
        self.0.set(if old == 0 { new } else { (old * 7 + new) / 8 });
    }

    fn add_to(&self, sum: &mut RttSum) {
        let us = self.0.value();
        sum.us += us;
        sum.shards += u64::from(us > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::bottleneck::{Floor, Sample};

    #[test]
    fn intervals_are_summed_and_round_trips_smoothed() {
        let tallies = [TcpTally::default(), TcpTally::default(), TcpTally::default()];
        let pair = |rtt_us| {
            let after = Sample { rtt_us, segments_sent: 10, retransmits: 1, ..Sample::default() };
            Some(Pair { before: Sample::default(), after })
        };
        let interval = |rtt_us| Interval {
            us: 100,
            client: None,
            backend: pair(rtt_us),
            floor: Floor::Backend,
        };
        [80, 160].iter().for_each(|&rtt_us| tallies[0].add(&interval(rtt_us)));
        tallies[1].add(&interval(20));
        let mut sum = TcpSum::default();
        tallies.iter().for_each(|tally| tally.add_to(&mut sum));
        let Sums { samples, waited, backend_segments, backend_retransmits, .. } = sum.sums;
        assert_eq!((samples, backend_segments, backend_retransmits), (3, 30, 3));
        assert_eq!(waited, Waited { backend_answer: 300, ..Waited::default() });
        let Sums { client_segments, client_retransmits, .. } = sum.sums;
        assert_eq!((client_segments, client_retransmits), (0, 0));
        // 80 and an eighth of the way to 160; and 20 in another shard.
        assert_eq!((sum.backend_rtt.us(), sum.client_rtt.us()), (Some((90 + 20) / 2), None));
    }
    #[test]
    fn each_sum_has_its_own_counter() {
        let pair = |segments_sent, retransmits| {
            let after = Sample { segments_sent, retransmits, ..Sample::default() };
            Some(Pair { before: Sample::default(), after })
        };
        let tally = TcpTally::default();
        tally.add(&Interval {
            us: 1,
            client: pair(100, 2),
            backend: pair(30, 4),
            floor: Floor::Client,
        });
        let mut sum = TcpSum::default();
        tally.add_to(&mut sum);
        let Sums { client_segments, client_retransmits, .. } = sum.sums;
        let Sums { backend_segments, backend_retransmits, .. } = sum.sums;
        assert_eq!([client_segments, client_retransmits], [100, 2]);
        assert_eq!([backend_segments, backend_retransmits], [30, 4]);
    }
}

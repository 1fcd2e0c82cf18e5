//! What each shard counts of each backend and each listener. It outlives configurations, and a backend
//! that is removed and added again goes on where it was: a count never goes back.
//!
//! One shard writes, without a locked instruction; sums over shards are made by who reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::core::Direction;
use crate::core::bottleneck::Ended;
use crate::core::session::EndReason;

use super::counters::Counter;
use super::histogram::{Distribution, Histogram};
use super::tcp_tally::{TcpSum, TcpTally};

/// What one shard counts of one backend.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes delivered from buffers, by direction.
    pub copied: [Counter; 2],
    /// Bytes delivered from pipes, by direction.
    pub spliced: [Counter; 2],
    /// Sessions that ended with this backend, in the order of [`EndReason::ALL`].
    pub ended: [Counter; EndReason::ALL.len()],
    /// Sessions that came from another backend while they ran.
    pub moved_here: Counter,
    /// From the connect to the connection.
    pub connect: Histogram,
    /// From the connection to the backend's first byte.
    pub first_byte: Histogram,
    /// From the last byte that was sent to the backend to the next that came from it.
    pub response: Histogram,
    /// From the accepted client to the end.
    pub session: Histogram,
    /// What the kernel says of its connections and of its clients'.
    pub tcp: TcpTally,
}

/// What all shards count of one backend.
#[derive(Debug)]
pub struct Tallies {
    shards: Vec<Arc<CachePadded<Tally>>>,
    /// Connections that were made.
    pub connected: AtomicU64,
    /// Connections that could not be made.
    pub failed: AtomicU64,
    /// Times that active checks took it down or brought it up.
    pub transitions: AtomicU64,
    /// Times that it was ejected.
    pub ejections: AtomicU64,
    /// Failed connects that would have ejected it, had enough others been left.
    pub fail_opens: AtomicU64,
}

/// The same over all shards.
#[derive(Clone, Debug, Default)]
pub struct TallySum {
    /// Bytes delivered from buffers, by direction.
    pub copied: [u64; 2],
    /// Bytes delivered from pipes, by direction.
    pub spliced: [u64; 2],
    /// In the order of [`EndReason::ALL`].
    pub ended: [u64; EndReason::ALL.len()],
    /// Sessions that came from another backend.
    pub moved_here: u64,
    /// From the connect to the connection.
    pub connect: Distribution,
    /// From the connection to the first byte.
    pub first_byte: Distribution,
    /// From the last byte sent to the next received.
    pub response: Distribution,
    /// From the accepted client to the end.
    pub session: Distribution,
    /// What the kernel says of its connections and of its clients'.
    pub tcp: TcpSum,
}

impl Tallies {
    /// Nothing yet, in so many shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            connected: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            transitions: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            fail_opens: AtomicU64::new(0),
        }
    }

    /// What `shard` counts.
    ///
    /// # Panics
    /// For a shard that there is not.
    #[must_use]
    pub fn of(&self, shard: usize) -> &Arc<CachePadded<Tally>> {
        &self.shards[shard]
    }

    /// Bytes over all shards, by direction and path: copied and spliced.
    #[must_use]
    pub fn bytes(&self) -> [(u64, u64); 2] {
        Direction::BOTH.map(|direction| {
            let place = direction as usize;
            let of = |one: &Arc<CachePadded<Tally>>| {
                (one.copied[place].value(), one.spliced[place].value())
            };
            let add = |sum: (u64, u64), one: (u64, u64)| (sum.0 + one.0, sum.1 + one.1);
            self.shards.iter().map(of).fold((0, 0), add)
        })
    }

    /// Takes over what was counted of a backend that is gone for good, but for its distributions. Nobody
    /// may count in either meanwhile.
    pub(crate) fn absorb(&self, gone: &Self) {
        let (own, sum) = (&self.shards[0], gone.sum());
        let pairs = [
            (&own.copied[..], &sum.copied[..]),
            (&own.spliced[..], &sum.spliced[..]),
            (&own.ended[..], &sum.ended[..]),
        ];
        for (counters, counts) in pairs {
            counters.iter().zip(counts).for_each(|(counter, count)| counter.add(*count));
        }
        own.moved_here.add(sum.moved_here);
        for (counter, gone) in [
            (&self.connected, &gone.connected),
            (&self.failed, &gone.failed),
            (&self.transitions, &gone.transitions),
            (&self.ejections, &gone.ejections),
            (&self.fail_opens, &gone.fail_opens),
        ] {
            counter.fetch_add(gone.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// What the kernel says of its connections, over all shards.
    #[must_use]
    pub fn tcp(&self) -> TcpSum {
        let mut sum = TcpSum::default();
        self.shards.iter().for_each(|one| one.tcp.add_to(&mut sum));
        sum
    }

    /// Sessions that have ended, as far as that is known without their distributions.
    pub fn ended_sessions(&self) -> Ended {
        let mut ended = Ended::default();
        for one in &self.shards {
            ended.sessions += one.ended.iter().map(Counter::value).sum::<u64>();
            ended.us += one.session.sum_ns() / 1000;
            ended.first_byte_us += (one.connect.sum_ns() + one.first_byte.sum_ns()) / 1000;
        }
        ended
    }

    /// Over all shards.
    #[must_use]
    pub fn sum(&self) -> TallySum {
        let mut sum = TallySum::default();
        for one in &self.shards {
            add(&mut sum.copied, &one.copied);
            add(&mut sum.spliced, &one.spliced);
            add(&mut sum.ended, &one.ended);
            sum.moved_here += one.moved_here.value();
            one.connect.add_to(&mut sum.connect);
            one.first_byte.add_to(&mut sum.first_byte);
            one.response.add_to(&mut sum.response);
            one.session.add_to(&mut sum.session);
            one.tcp.add_to(&mut sum.tcp);
        }
        sum
    }
}

impl TallySum {
    /// Bytes by path, of one direction: copied and spliced.
    #[must_use]
    pub const fn bytes(&self, direction: Direction) -> (u64, u64) {
        (self.copied[direction as usize], self.spliced[direction as usize])
    }
}

/// What one shard counts of one listener.
#[derive(Debug, Default)]
pub struct ListenerTally {
    /// Connections accepted, by this shard.
    pub accepted: Counter,
    /// Sessions ended, in the order of [`EndReason::ALL`].
    pub ended: [Counter; EndReason::ALL.len()],
}

/// What all shards count of one listener.
#[derive(Debug)]
pub struct ListenerTallies(Vec<CachePadded<ListenerTally>>);

impl ListenerTallies {
    /// Nothing yet, in so many shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| CachePadded::default()).collect())
    }

    /// What `shard` counts.
    ///
    /// # Panics
    /// For a shard that there is not.
    #[must_use]
    pub fn of(&self, shard: usize) -> &ListenerTally {
        &self.0[shard]
    }

    /// Takes over what was counted at an address that is gone for good. Nobody may count in either
    /// meanwhile.
    pub(crate) fn absorb(&self, gone: &Self) {
        let own = &self.0[0];
        own.accepted.add(gone.accepted());
        own.ended.iter().zip(gone.ended()).for_each(|(counter, count)| counter.add(count));
    }

    /// Connections accepted, over all shards.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.0.iter().map(|one| one.accepted.value()).sum()
    }

    /// Sessions ended over all shards, in the order of [`EndReason::ALL`].
    #[must_use]
    pub fn ended(&self) -> [u64; EndReason::ALL.len()] {
        let mut ended = [0; EndReason::ALL.len()];
        self.0.iter().for_each(|one| add(&mut ended, &one.ended));
        ended
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn add(sums: &mut [u64], counters: &[Counter]) {
    sums.iter_mut().zip(counters).for_each(|(sum, one)| *sum += one.value());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_over_all_shards() {
        let tallies = Tallies::new(2);
        for (shard, bytes) in [(0, 5), (1, 7)] {
            let tally = tallies.of(shard);
            tally.copied[Direction::ClientToBackend as usize].add(bytes);
            tally.spliced[Direction::BackendToClient as usize].add(10 * bytes);
            tally.ended[EndReason::Finished as usize].add(1);
            tally.connect.record_ns(1000 * bytes);
        }
        let sum = tallies.sum();
        assert_eq!(sum.bytes(Direction::ClientToBackend), (12, 0));
        assert_eq!(sum.bytes(Direction::BackendToClient), (0, 120));
        assert_eq!(sum.ended[EndReason::Finished as usize], 2);
        assert_eq!((sum.connect.count(), sum.session.count()), (2, 0));
    }

    #[test]
    fn listeners_are_summed_as_well() {
        let tallies = ListenerTallies::new(2);
        tallies.of(0).accepted.add(3);
        tallies.of(1).accepted.add(4);
        tallies.of(1).ended[EndReason::Killed as usize].add(1);
        assert_eq!(tallies.accepted(), 7);
        assert_eq!(tallies.ended()[EndReason::Killed as usize], 1);
    }
}

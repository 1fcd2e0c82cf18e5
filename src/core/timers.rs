//! One deadline for each slot of a table, in a hierarchical wheel.
//!
//! Five levels of 64 buckets: the first holds what is due in the next 64 ms, a bucket a
//! millisecond; each further level is 64 times coarser. Arming, moving and disarming cost the same
//! few writes however many deadlines there are, because a bucket is a list threaded through the
//! table of nodes. A deadline is never early and at most one tick late.
//!
//! After G. Varghese and A. Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 7.

#![expect(
    clippy::cast_possible_truncation,
    reason = "levels and buckets are below 64; a tick is cut to its bucket on purpose"
)]

use super::moment::Moment;

/// The wheel. It keeps one node for each slot that ever had a deadline.
#[derive(Debug)]
pub struct Timers {
    /// The tick up to which everything has been handed out.
    elapsed: u64,
    levels: [Level; LEVELS],
    nodes: Vec<Node>,
    armed: usize,
}

#[derive(Clone, Debug)]
struct Level {
    /// A bit for each bucket that is not empty.
    occupied: u64,
    heads: [u32; BUCKETS],
}

#[derive(Clone, Copy, Debug)]
struct Node {
    previous: u32,
    next: u32,
    /// `level * BUCKETS + bucket`, or [`NOWHERE`].
    place: u16,
    deadline_tick: u64,
}

/// A bucket and the tick at which it has to be looked at.
struct Expiry {
    level: usize,
    bucket: usize,
    tick: u64,
}

impl Default for Timers {
    fn default() -> Self {
        let empty = Level { occupied: 0, heads: [NONE; BUCKETS] };
        let levels = std::array::from_fn(|_| empty.clone());
        Self { elapsed: 0, levels, nodes: Vec::new(), armed: 0 }
    }
}

impl Timers {
    /// A wheel with room for `capacity` slots before its table has to move.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { nodes: Vec::with_capacity(capacity), ..Self::default() }
    }

    /// Sets the deadline of `slot`, instead of the one that it may have had.
    pub fn arm(&mut self, slot: u32, deadline: Moment) {
        self.disarm(slot);
        if self.nodes.len() <= slot as usize {
            self.nodes.resize(slot as usize + 1, Node::IDLE);
        }
        self.nodes[slot as usize].deadline_tick = deadline.ns().div_ceil(TICK_NS);
        self.insert(slot);
        self.armed += 1;
    }

    /// Takes the deadline of `slot` away, if it has one.
    pub fn disarm(&mut self, slot: u32) {
        let armed = self.nodes.get(slot as usize).is_some_and(|node| node.place != NOWHERE);
        if armed {
            self.unlink(slot);
            self.armed -= 1;
        }
    }

    /// Hands out one slot whose deadline is not after `now`; its deadline is gone.
    pub fn pop_due(&mut self, now: Moment) -> Option<u32> {
        let now_tick = now.ns() / TICK_NS;
        loop {
            let Some(expiry) = self.next_expiry().filter(|expiry| expiry.tick <= now_tick) else {
                self.elapsed = self.elapsed.max(now_tick);
                return None;
            };
            self.elapsed = self.elapsed.max(expiry.tick);
            let slot = self.levels[expiry.level].heads[expiry.bucket];
            if expiry.level == 0 {
                self.unlink(slot);
                self.armed -= 1;
                return Some(slot);
            }
            self.cascade(expiry);
        }
    }

    /// The earliest moment at which [`Timers::pop_due`] may have something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        self.next_expiry().map(|expiry| Moment::from_ns(expiry.tick.saturating_mul(TICK_NS)))
    }

    /// Slots that have a deadline.
    #[must_use]
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no slot has a deadline.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// The deadline of `slot`, rounded up to a tick.
    #[cfg(test)]
    pub(crate) fn deadline(&self, slot: u32) -> Option<Moment> {
        let node = self.nodes.get(slot as usize).filter(|node| node.place != NOWHERE)?;
        Some(Moment::from_ns(node.deadline_tick.saturating_mul(TICK_NS)))
    }

    fn next_expiry(&self) -> Option<Expiry> {
        // A lower level is always due before a higher one: it holds what shares the higher bits.
        (0..LEVELS).find_map(|level| self.level_expiry(level))
    }

    fn level_expiry(&self, level: usize) -> Option<Expiry> {
        let occupied = self.levels[level].occupied;
        if occupied == 0 {
            return None;
        }
        let shift = shift_of(level);
        let current = bucket_of(self.elapsed, level);
        let ahead = occupied.rotate_right(current as u32).trailing_zeros() as usize;
        let bucket = (current + ahead) % BUCKETS;
        let turn_ticks = 1_u64 << (shift + BUCKET_BITS);
        let turn_start = self.elapsed & !(turn_ticks - 1);
        let mut tick = turn_start + ((bucket as u64) << shift);
        // Only the last level reaches past its own turn (see `insert`).
        if bucket < current {
            tick += turn_ticks;
        }
        Some(Expiry { level, bucket, tick })
    }

    /// Spreads a bucket over the finer levels, now that its time has come.
    fn cascade(&mut self, Expiry { level, bucket, .. }: Expiry) {
        let mut slot = std::mem::replace(&mut self.levels[level].heads[bucket], NONE);
        self.levels[level].occupied &= !(1 << bucket);
        while slot != NONE {
            let next = self.nodes[slot as usize].next;
            self.insert(slot);
            slot = next;
        }
    }

    fn insert(&mut self, slot: u32) {
        let deadline = self.nodes[slot as usize].deadline_tick;
        // What is past is due now; what is beyond the wheel waits in its last bucket and is sorted
        // again when that comes round.
        let tick = deadline.clamp(self.elapsed, self.elapsed.saturating_add(HORIZON_TICKS));
        let level = level_of(self.elapsed, tick);
        let bucket = bucket_of(tick, level);
        let head = std::mem::replace(&mut self.levels[level].heads[bucket], slot);
        self.levels[level].occupied |= 1 << bucket;
        if head != NONE {
            self.nodes[head as usize].previous = slot;
        }
        let node = &mut self.nodes[slot as usize];
        (node.previous, node.next) = (NONE, head);
        node.place = u16::try_from(level * BUCKETS + bucket).expect("320 places");
    }

    fn unlink(&mut self, slot: u32) {
        let Node { previous, next, place, .. } = self.nodes[slot as usize];
        let (level, bucket) = (usize::from(place) / BUCKETS, usize::from(place) % BUCKETS);
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
        } else {
            self.levels[level].heads[bucket] = next;
            if next == NONE {
                self.levels[level].occupied &= !(1 << bucket);
            }
        }
        self.nodes[slot as usize].place = NOWHERE;
    }
}

impl Node {
    const IDLE: Self = Self { previous: NONE, next: NONE, place: NOWHERE, deadline_tick: 0 };
}

/// The level whose buckets tell `tick` and `elapsed` apart: that of the highest bit they differ in.
fn level_of(elapsed: u64, tick: u64) -> usize {
    let differing = (elapsed ^ tick) | (BUCKETS as u64 - 1);
    let highest = u64::BITS - 1 - differing.leading_zeros();
    ((highest / BUCKET_BITS) as usize).min(LEVELS - 1)
}

fn bucket_of(tick: u64, level: usize) -> usize {
    (tick >> shift_of(level)) as usize % BUCKETS
}

/// Ticks in a bucket of `level`, as a power of two.
const fn shift_of(level: usize) -> u32 {
    BUCKET_BITS * level as u32
}

/// A millisecond: deadlines are hundreds of milliseconds and more, and a wake-up costs microseconds.
const TICK_NS: u64 = 1_000_000;
const BUCKET_BITS: u32 = 6;
const BUCKETS: usize = 1 << BUCKET_BITS;
const _: () = assert!(BUCKETS == u64::BITS as usize, "one bit of `occupied` for each bucket");
/// 64^5 ms are 12 days.
const LEVELS: usize = 5;
/// One bucket less than a whole turn of the last level, so that its buckets are never ambiguous.
const HORIZON_TICKS: u64 = (BUCKETS as u64 - 1) << shift_of(LEVELS - 1);
const NONE: u32 = u32::MAX;
const NOWHERE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at_ms(ms: u64) -> Moment {
        Moment::from_ns(ms * TICK_NS)
    }

    #[test]
    fn nothing_is_due_in_an_empty_wheel() {
        let mut timers = Timers::default();
        assert_eq!(timers.next_due(), None);
        assert_eq!(timers.pop_due(at_ms(1_000_000)), None);
    }

    #[test]
    fn a_deadline_is_never_early() {
        let mut timers = Timers::default();
        timers.arm(3, Moment::from_ns(5 * TICK_NS + 1));
        assert_eq!(timers.pop_due(Moment::from_ns(5 * TICK_NS + 1)), None);
        assert_eq!(timers.pop_due(at_ms(6)), Some(3));
        assert!(timers.is_empty());
    }

    #[test]
    fn what_is_past_is_due_now() {
        let mut timers = Timers::default();
        assert_eq!(timers.pop_due(at_ms(500)), None);
        timers.arm(1, at_ms(20));
        assert_eq!(timers.pop_due(at_ms(500)), Some(1));
    }

    #[test]
    fn a_deadline_beyond_the_horizon_comes_in_its_time() {
        let mut timers = Timers::default();
        let year = at_ms(365 * 24 * 3_600_000);
        timers.arm(0, year);
        while let Some(due) = timers.next_due().filter(|&due| due < year) {
            assert_eq!(timers.pop_due(due), None, "at {due:?}");
        }
        assert_eq!(timers.pop_due(year), Some(0));
    }

    #[test]
    fn an_idle_hour_takes_a_handful_of_wake_ups() {
        let mut timers = Timers::default();
        let deadline = at_ms(3_600_000 + 777);
        (0..200).for_each(|slot| timers.arm(slot, deadline));
        let mut wake_ups = 0;
        while let Some(due) = timers.next_due().filter(|&due| due < deadline) {
            assert_eq!(timers.pop_due(due), None);
            wake_ups += 1;
        }
        assert!(wake_ups <= LEVELS, "{wake_ups} wake-ups");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u32, u64),
        Disarm(u32),
        Advance(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let far = prop_oneof![0..100_u64, 0..10_000_u64, 0..10_000_000_u64, 0..2_000_000_000_u64];
        let step = prop_oneof![
            3 => (0..40_u32, far.clone()).prop_map(|(slot, ms)| Step::Arm(slot, ms)),
            1 => (0..40_u32).prop_map(Step::Disarm),
            2 => far.prop_map(Step::Advance),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        /// Against a sorted map: the same slots, in the same turn, and a wake-up before each.
        #[test]
        fn the_wheel_agrees_with_a_sorted_map(steps in steps()) {
            let (mut timers, mut model, mut now) = (Timers::default(), BTreeMap::new(), at_ms(0));
            for step in steps {
                match step {
                    Step::Arm(slot, ms) => {
                        let deadline = now + Duration::from_millis(ms);
                        timers.arm(slot, deadline);
                        model.insert(slot, deadline);
                    }
                    Step::Disarm(slot) => {
                        timers.disarm(slot);
                        model.remove(&slot);
                    }
                    Step::Advance(ms) => now = now + Duration::from_millis(ms),
                }
                if let Some(first) = model.values().min() {
                    prop_assert!(timers.next_due().is_some_and(|due| due <= *first.max(&now)));
                }
                let mut due: Vec<u32> = std::iter::from_fn(|| timers.pop_due(now)).collect();
                due.sort_unstable();
                let expected: Vec<u32> =
                    model.iter().filter(|&(_, &at)| at <= now).map(|(&slot, _)| slot).collect();
                prop_assert_eq!(due, expected);
                model.retain(|_, &mut at| at > now);
                prop_assert_eq!(timers.len(), model.len());
            }
        }
    }
}

//! The faults of one backend at work: which of them a request meets, and when its reply may leave.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::inject::{Delay, Fault, Windows};
use super::replies::{Act, Fate};

/// The faults of one backend, shared by its threads: a request has one number among all of them.
#[derive(Debug)]
pub(super) struct Rules {
    faults: Vec<Counted>,
    seed: u64,
    requests: AtomicU64,
    first_connection: OnceLock<Instant>,
}

/// A fault, and how often it happened.
#[derive(Debug)]
struct Counted {
    fault: Fault,
    times: AtomicU64,
}

impl Rules {
    /// Those faults, if there are any; `seed` decides what is random.
    pub(super) fn new(faults: impl IntoIterator<Item = Fault>, seed: u64) -> Option<Self> {
        let counted = |fault| Counted { fault, times: AtomicU64::new(0) };
        let faults: Vec<Counted> = faults.into_iter().map(counted).collect();
        (!faults.is_empty()).then(|| Self {
            faults,
            seed,
            requests: AtomicU64::new(0),
            first_connection: OnceLock::new(),
        })
    }

    /// A connection is accepted: how long it is left alone.
    pub(super) fn on_connection(&self, now: Instant) -> Duration {
        self.first_connection.get_or_init(|| now);
        let delay = |one: &Counted| match one.fault {
            Fault::AcceptDelay(delay) => one.happened(delay),
            _ => Duration::ZERO,
        };
        self.faults.iter().map(delay).sum()
    }

    /// What becomes of the next request. Of several faults that take its answer, the first one
    /// that was named happens; delays add up.
    pub(super) fn fate(&self) -> Fate {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fate = Fate::FAIR;
        for one in &self.faults {
            let (share, act) = match one.fault {
                Fault::Error(share) => (share, Act::Error),
                Fault::Close(share) => (share, Act::Close),
                Fault::Reset(share) => (share, Act::Reset),
                Fault::Drop(share) => (share, Act::Drop),
                Fault::Delay(delay) => {
                    fate.delay += one.happened(self.delay(delay, number));
                    continue;
                }
                Fault::Stall(_) | Fault::SlowRead(_) | Fault::AcceptDelay(_) | Fault::Refuse(_) => {
                    continue;
                }
            };
            if fate.act == Act::Answer && share.hits(number) {
                fate.act = one.happened(act);
            }
        }
        fate
    }

    fn delay(&self, delay: Delay, number: u64) -> Duration {
        match delay {
            Delay::Constant(delay) => delay,
            Delay::Uniform(from, to) => {
                let span = u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX);
                // By number and not by turn, so that threads change nothing.
                let random = u128::from(scramble(self.seed ^ scramble(number)));
                let part = u64::try_from((random * (u128::from(span) + 1)) >> 64);
                from + Duration::from_nanos(part.expect("less than the span"))
            }
            Delay::Bimodal(fast, slow, share) => {
                if share.hits(number) {
                    slow
                } else {
                    fast
                }
            }
        }
    }

    /// When a reply may leave that could at `at`; a stall that it meets is counted.
    pub(super) fn release_at(&self, at: Instant) -> Instant {
        let end = self.stall_end(at);
        if end != at {
            let stall = self.faults.iter().find(|one| matches!(one.fault, Fault::Stall(_)));
            stall.inspect(|one| one.happened(()));
        }
        end
    }

    /// When the stall ends that there is at `at`; without one, `at`.
    pub(super) fn stall_end(&self, mut at: Instant) -> Instant {
        // Where windows of several stalls meet, the end of one may lie in another.
        while let Some(end) = self.faults.iter().find_map(|one| match &one.fault {
            Fault::Stall(windows) => self.end_of_open(windows, at),
            _ => None,
        }) {
            at = end;
        }
        at
    }

    /// How long after a receive of so many bytes the next one may come.
    pub(super) fn read_pause(&self, bytes: u32) -> Duration {
        let pause = |one: &Counted| match one.fault {
            Fault::SlowRead(rate) => {
                one.happened(Duration::from_nanos(u64::from(bytes) * 1_000_000_000 / rate))
            }
            _ => Duration::ZERO,
        };
        self.faults.iter().map(pause).max().unwrap_or_default()
    }

    /// Whether nobody shall listen now.
    pub(super) fn refuses(&self, now: Instant) -> bool {
        self.refusals().any(|windows| self.end_of_open(windows, now).is_some())
    }

    /// When that may change next. Threads look often until one of them has a first connection.
    pub(super) fn next_refusal(&self, now: Instant) -> Option<Instant> {
        let since = self.since(now);
        let change = |windows: &Windows| match since {
            Some(since) => windows.next_change(since).map(|next| now + next.saturating_sub(since)),
            None => Some(now + LOOK),
        };
        self.refusals().filter_map(change).min()
    }

    /// Whether there will be times at which nobody listens.
    pub(super) fn has_refusals(&self) -> bool {
        self.refusals().next().is_some()
    }

    /// How often each fault happened, by its word.
    pub(super) fn injected(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for one in &self.faults {
            *all.entry(one.fault.word()).or_default() += one.times.load(Ordering::Relaxed);
        }
        all
    }

    /// A window of refusals has begun.
    pub(super) fn count_refusal(&self) {
        let refusal = self.faults.iter().find(|one| matches!(one.fault, Fault::Refuse(_)));
        refusal.inspect(|one| one.happened(()));
    }

    fn refusals(&self) -> impl Iterator<Item = &Windows> {
        self.faults.iter().filter_map(|one| match &one.fault {
            Fault::Refuse(windows) => Some(windows),
            _ => None,
        })
    }

    fn end_of_open(&self, windows: &Windows, at: Instant) -> Option<Instant> {
        let since = self.since(at)?;
        windows.end_of_open(since).map(|end| at + (end - since))
    }

    fn since(&self, at: Instant) -> Option<Duration> {
        self.first_connection.get().map(|&first| at.saturating_duration_since(first))
    }
}

impl Counted {
    /// It happens: that much.
    fn happened<T>(&self, what: T) -> T {
        self.times.fetch_add(1, Ordering::Relaxed);
        what
    }
}

/// Spreads the bits of `value` (the finalizer of splitmix64).
fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// How late a thread may be to learn that another one has had the first connection.
const LOOK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::super::inject::Injection;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rules(specs: &[&str]) -> Rules {
        let fault = |spec: &&str| spec.parse::<Injection>().expect(spec).fault;
        Rules::new(specs.iter().map(fault), 7).expect("there are some")
    }

    fn fates(rules: &Rules, requests: usize) -> Vec<Fate> {
        (0..requests).map(|_| rules.fate()).collect()
    }

    #[test]
    fn without_faults_there_are_no_rules() {
        assert!(Rules::new([], 0).is_none());
    }

    #[test]
    fn the_first_fault_that_was_named_takes_the_answer() {
        let rules = rules(&["drop every 4", "error every 2", "close every 7", "reset 10%"]);
        let acts: Vec<Act> = fates(&rules, 10).iter().map(|fate| fate.act).collect();
        use Act::{Answer, Close, Drop, Error, Reset};
        let _ = Reset;
        assert_eq!(
            acts,
            [Answer, Error, Answer, Drop, Answer, Error, Close, Drop, Answer, Error],
            "the tenth is an error and not a reset"
        );
        let injected = rules.injected();
        let counts: Vec<(&str, u64)> = injected.into_iter().collect();
        assert_eq!(counts, [("close", 1), ("drop", 2), ("error", 3), ("reset", 0)]);
    }

    #[test]
    fn of_threads_that_share_a_backend_each_request_has_its_own_number() {
        let rules = rules(&["drop every 10", "error 1%"]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| fates(&rules, 2500));
            }
        });
        let counts: Vec<(&str, u64)> = rules.injected().into_iter().collect();
        // Each hundredth is a tenth too, and is dropped.
        assert_eq!(counts, [("drop", 1000), ("error", 0)]);
    }

    #[test]
    fn delays_add_up_and_every_tenth_is_slow() {
        let rules = rules(&["delay 1ms 90% 100ms 10%", "delay 2ms"]);
        let delays: Vec<Duration> = fates(&rules, 20).iter().map(|fate| fate.delay).collect();
        let mut expected = [3 * MS; 20];
        (expected[9], expected[19]) = (102 * MS, 102 * MS);
        assert_eq!(delays, expected);
    }

    #[test]
    fn uniform_delays_are_spread_over_their_range_and_the_same_for_a_seed() {
        let delays = |rules: &Rules| -> Vec<Duration> {
            fates(rules, 9000).iter().map(|fate| fate.delay).collect()
        };
        let first = delays(&rules(&["delay 1ms..10ms"]));
        assert_eq!(first, delays(&rules(&["delay 1ms..10ms"])));
        assert!(first.iter().all(|delay| (MS..=10 * MS).contains(delay)));
        for tenth in 1..10 {
            let range = tenth * MS..(tenth + 1) * MS;
            let inside = first.iter().filter(|delay| range.contains(delay)).count();
            // 1000 are expected, and 30 is the standard deviation.
            assert!((850..1150).contains(&inside), "{inside} in {range:?}");
        }
        let same = delays(&rules(&["delay 3ms..3ms"]));
        assert!(same.iter().all(|delay| *delay == 3 * MS));
    }

    #[test]
    fn what_would_leave_in_a_stall_leaves_at_its_end() {
        let rules = rules(&["stall 1s at 5s every 10s", "stall 500ms at 6s"]);
        let start = Instant::now();
        assert_eq!(rules.release_at(start), start, "nobody is connected yet");
        rules.on_connection(start);
        rules.on_connection(start + 3000 * MS);
        for (at, leaves) in [
            (0, 0),
            (4999, 4999),
            (5000, 6500),
            (5999, 6500),
            (6100, 6500),
            (6500, 6500),
            (15_001, 16_000),
            (16_000, 16_000),
        ] {
            assert_eq!(rules.release_at(start + at * MS), start + leaves * MS, "{at} ms");
        }
    }

    #[test]
    fn reads_and_new_connections_are_held_up() {
        let rules = rules(&["slow-read 64k/s", "accept-delay 10ms"]);
        assert_eq!(rules.read_pause(16_000), 250 * MS);
        assert_eq!(rules.on_connection(Instant::now()), 10 * MS);
        assert_eq!(rules.fate(), Fate::FAIR);
    }

    #[test]
    fn nobody_listens_from_the_first_connection_on_as_said() {
        let rules = rules(&["refuse at 5s for 2s every 10s"]);
        let start = Instant::now();
        assert!(!rules.refuses(start + 5000 * MS));
        assert_eq!(rules.next_refusal(start), Some(start + LOOK));
        rules.on_connection(start);
        for (at, refuses, next) in [
            (0, false, 5000),
            (5000, true, 7000),
            (6999, true, 7000),
            (7000, false, 15_000),
            (16_000, true, 17_000),
        ] {
            assert_eq!(rules.refuses(start + at * MS), refuses, "{at} ms");
            assert_eq!(rules.next_refusal(start + at * MS), Some(start + next * MS), "{at} ms");
        }
    }
}

//! Whether the balancer grew: the first steady tenth of a run beside its last, and what is left when
//! all clients are gone. Values only.

use std::fmt;

use serde::Serialize;

use super::sample::Sample;
use super::tally::Tally;

/// What a run showed.
#[derive(Clone, Debug)]
pub(super) struct Evidence<'a> {
    /// Before the first client.
    pub(super) before: Sample,
    /// While the load was steady.
    pub(super) steady: &'a [Sample],
    /// When all clients had left.
    pub(super) after: Sample,
    /// What the clients did.
    pub(super) tally: &'a Tally,
    /// Connections that brought wrong bytes to a backend.
    pub(super) wrong_at_backends: u64,
}

/// One figure and what it may be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Check {
    what: &'static str,
    before: f64,
    after: f64,
    /// How far `after` may lie above `before`.
    allowed: f64,
    passed: bool,
}

impl Evidence<'_> {
    /// Every figure; nothing can be said without a steady sample.
    pub(super) fn judge(&self) -> Vec<Check> {
        let (first, last) = self.tenths();
        let rise = |what, of: fn(&Sample) -> u64, allowed: fn(f64, f64) -> f64| {
            let (before, after) = (median(first, of), median(last, of));
            let sessions = median(last, |sample| sample.sessions);
            Check::new(what, before, after, allowed(before, sessions))
        };
        let pipes = median(first, |sample| sample.pipe_fds);
        let (before, after) = (self.before, self.after);
        let wrong = self.tally.wrong + self.wrong_at_backends;
        let sessions = self.tally.sessions_total();
        vec![
            rise("VmRSS, KiB", |sample| sample.rss_kib, memory_allowance),
            rise("RssAnon, KiB", |sample| sample.rss_anon_kib, memory_allowance),
            rise("descriptors", |sample| sample.fds, descriptor_allowance),
            rise("descriptors of pipes", |sample| sample.pipe_fds, |_, _| PIPE_FDS_ALLOWED),
            rise("threads", |sample| sample.threads, |_, _| 0.0),
            Check::new("descriptors at the end", before.fds as f64, after.fds as f64, 0.0),
            // A pool may keep what the load needed, but no more.
            Check::new(
                "descriptors of pooled pipes at the end",
                pipes.max(before.pipe_fds as f64),
                after.pipe_fds as f64,
                PIPE_FDS_ALLOWED,
            ),
            Check::new("answers with wrong bytes", 0.0, wrong as f64, 0.0),
            Check::new(
                "errors",
                0.0,
                self.tally.errors_total() as f64,
                (sessions as f64 / SESSIONS_PER_ERROR).floor(),
            ),
        ]
    }

    fn tenths(&self) -> (&[Sample], &[Sample]) {
        let tenth = (self.steady.len() / 10).max(1).min(self.steady.len());
        (&self.steady[..tenth], &self.steady[self.steady.len() - tenth..])
    }
}

impl Check {
    fn new(what: &'static str, before: f64, after: f64, allowed: f64) -> Self {
        Self { what, before, after, allowed, passed: after <= before + allowed }
    }

    /// Whether the figure is within its allowance.
    pub(super) fn passed(&self) -> bool {
        self.passed
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, before, after, allowed, passed } = self;
        let word = if *passed { "ok  " } else { "GREW" };
        let rise = after - before;
        write!(
            f,
            "{word} {what:<40} {before:>9.0} -> {after:>9.0} ({rise:+.0}, allowed {allowed:.0})"
        )
    }
}

/// At most `count` samples of all, evenly, the first and the last among them.
pub(super) fn thinned(samples: &[Sample], count: usize) -> Vec<Sample> {
    if samples.len() <= count {
        return samples.to_vec();
    }
    let last = samples.len() - 1;
    (0..count).map(|index| samples[index * last / (count - 1)]).collect()
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> f64 {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    // The lower one of two in the middle: a value that was really seen.
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(0) as f64
}

/// 2 %, or a MiB: 32 buffers more are in use in one moment than in another.
fn memory_allowance(before: f64, _sessions: f64) -> f64 {
    (before * 0.02).max(1024.0)
}

/// Two for each session that is open in one moment and not in another: 1 % of them, or 16.
fn descriptor_allowance(_before: f64, sessions: f64) -> f64 {
    2.0 * (sessions * 0.01).max(16.0)
}

/// 32 pipes: streams and slow readers come and go.
const PIPE_FDS_ALLOWED: f64 = 64.0;

/// A machine with more work than CPUs may let one connection time out; a fault does it often.
const SESSIONS_PER_ERROR: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use super::*;

    const AT_REST: Sample = Sample {
        at_s: 0.0,
        sessions: 0,
        rss_kib: 9_000,
        rss_anon_kib: 6_000,
        fds: 20,
        pipe_fds: 0,
        threads: 6,
        cpu_s: 0.0,
    };

    fn busy(index: u64) -> Sample {
        let jitter = index * 7 % 5;
        let sessions = 1000 + jitter;
        let (fds, rss_kib) = (20 + 2 * sessions, 30_000 + jitter);
        Sample { sessions, fds, rss_kib, rss_anon_kib: rss_kib - 3000, pipe_fds: 40, ..AT_REST }
    }

    /// What fails when a steady run is changed like this.
    fn failed(
        change: impl Fn(u64, &mut Sample),
        after: Sample,
        tally: &Tally,
    ) -> Vec<&'static str> {
        let mut steady: Vec<Sample> = (0..100).map(busy).collect();
        (0..).zip(&mut steady).for_each(|(index, sample)| change(index, sample));
        let evidence =
            Evidence { before: AT_REST, steady: &steady, after, tally, wrong_at_backends: 0 };
        evidence.judge().iter().filter(|check| !check.passed()).map(|check| check.what).collect()
    }

    fn tally(sessions: u64, errors: u64, wrong: u64) -> Tally {
        let sessions = [("short".to_owned(), sessions)].into();
        let errors = [("short echo: ECONNRESET".to_owned(), errors)].into();
        Tally { sessions, errors, wrong, ..Tally::default() }
    }

    #[test]
    fn each_kind_of_growth_is_seen_and_nothing_else() {
        let fine = tally(10_000, 3, 0);
        let same = |_, _: &mut Sample| {};
        assert_eq!(failed(same, AT_REST, &fine), [""; 0]);
        let leak = |index, sample: &mut Sample| {
            sample.rss_kib += 20 * index;
            sample.rss_anon_kib += 20 * index;
        };
        assert_eq!(failed(leak, AT_REST, &fine), ["VmRSS, KiB", "RssAnon, KiB"]);
        let leak = |index, sample: &mut Sample| sample.fds += index;
        assert_eq!(failed(leak, AT_REST, &fine), ["descriptors"]);
        let leak = |index, sample: &mut Sample| sample.pipe_fds += index;
        assert_eq!(failed(leak, AT_REST, &fine), ["descriptors of pipes"]);
        let leak = |index, sample: &mut Sample| sample.threads += index / 50;
        assert_eq!(failed(leak, AT_REST, &fine), ["threads"]);
        let left = Sample { fds: AT_REST.fds + 1, ..AT_REST };
        assert_eq!(failed(same, left, &fine), ["descriptors at the end"]);
        let left = Sample { pipe_fds: 200, ..AT_REST };
        assert_eq!(failed(same, left, &fine), ["descriptors of pooled pipes at the end"]);
        assert_eq!(failed(same, AT_REST, &tally(10_000, 0, 1)), ["answers with wrong bytes"]);
        assert_eq!(failed(same, AT_REST, &tally(10_000, 11, 0)), ["errors"]);
    }

    #[test]
    fn one_moment_that_stands_out_is_no_growth() {
        let peak = |index, sample: &mut Sample| {
            if index == 97 {
                sample.rss_kib *= 2;
                sample.fds *= 2;
            }
        };
        assert_eq!(failed(peak, AT_REST, &tally(1, 0, 0)), [""; 0]);
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let samples: Vec<Sample> = (0..1000).map(busy).collect();
        let few = thinned(&samples, 200);
        assert_eq!((few.len(), few[0], few[199]), (200, samples[0], samples[999]));
        assert_eq!(thinned(&samples[..5], 200).len(), 5);
    }
}

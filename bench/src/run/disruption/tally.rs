//! What the outcomes of all requests come to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::clients::{Failure, Outcome, Record};

/// The requests of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// That were answered rightly.
    ok: u64,
    /// The others, by what their clients saw.
    failed: BTreeMap<Failure, u64>,
    /// The longest time without a right answer for those that come and go, or for those that stay.
    pub(super) longest_gap: Duration,
}

impl Tally {
    /// # Panics
    /// When a request is not accounted for.
    pub(super) fn of(record: &Record) -> Self {
        let mut failed = BTreeMap::new();
        let mut ok = 0;
        for outcome in record.all() {
            match outcome.result {
                Ok(_) => ok += 1,
                Err(failure) => *failed.entry(failure).or_insert(0) += 1,
            }
        }
        let kinds = [&record.coming, &record.staying];
        let kinds = kinds.into_iter().filter(|outcomes| !outcomes.is_empty());
        let gaps = kinds.map(|outcomes| longest_gap(record.from, record.to, outcomes));
        let tally = Self { ok, failed, longest_gap: gaps.max().unwrap_or_default() };
        assert_eq!(record.intended, tally.ok + tally.failed(), "each request has one outcome");
        tally
    }

    /// All that were not answered rightly.
    pub(super) fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// `1540 requests: 12 refused, 4 reset`.
    pub(super) fn text(&self) -> String {
        let kinds = self.failed.iter().map(|(kind, count)| format!("{count} {}", kind.text()));
        let kinds: Vec<String> = kinds.collect();
        format!("of {} requests {}", self.ok + self.failed(), kinds.join(", "))
    }
}

impl Failure {
    const fn text(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed early",
            Self::TimedOut => "timed out",
            Self::WrongAnswer => "answered wrongly",
            Self::Other => "failed otherwise",
        }
    }
}

/// Those that failed though they began after `moment`.
pub(super) fn failed_after(record: &Record, moment: Instant) -> usize {
    let failed = record.all().filter(|outcome| outcome.result.is_err());
    failed.filter(|outcome| outcome.begun > moment).count()
}

/// Between `from`, the right answers, and `to`; an answer that came after `to` ends no gap.
fn longest_gap(from: Instant, to: Instant, outcomes: &[Outcome]) -> Duration {
    let right = outcomes.iter().filter(|outcome| outcome.result.is_ok());
    let within = right.map(|outcome| outcome.done).filter(|&done| done > from && done < to);
    let mut moments: Vec<Instant> = within.chain([from, to]).collect();
    moments.sort_unstable();
    moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(
        coming: &[(u64, Result<usize, Failure>)],
        staying: &[(u64, Result<usize, Failure>)],
    ) -> Record {
        let from = Instant::now();
        let at = |ms| from + Duration::from_millis(ms);
        let outcomes = |all: &[(u64, _)]| {
            all.iter()
                .map(|&(ms, result)| Outcome { begun: at(ms), done: at(ms), result })
                .collect()
        };
        let (coming, staying): (Vec<_>, Vec<_>) = (outcomes(coming), outcomes(staying));
        let intended = (coming.len() + staying.len()) as u64;
        Record { from, to: at(1000), intended, coming, staying }
    }

    #[test]
    fn a_failed_request_ends_no_gap() {
        let refused = Err(Failure::Refused);
        let tally =
            Tally::of(&record(&[(100, Ok(1)), (300, refused), (500, Ok(2)), (900, Ok(1))], &[]));
        assert_eq!((tally.failed(), tally.longest_gap), (1, Duration::from_millis(400)));
    }

    #[test]
    fn answers_come_in_any_order() {
        let tally = Tally::of(&record(&[(900, Ok(1)), (200, Ok(1)), (600, Ok(1))], &[]));
        assert_eq!(tally.longest_gap, Duration::from_millis(400));
    }

    #[test]
    fn the_time_before_the_first_and_after_the_last_answer_counts() {
        assert_eq!(Tally::of(&record(&[(700, Ok(1))], &[])).longest_gap.as_millis(), 700);
        assert_eq!(Tally::of(&record(&[(200, Ok(1))], &[])).longest_gap.as_millis(), 800);
        let late = record(&[(10, Ok(1)), (1500, Ok(1)), (2500, Err(Failure::TimedOut))], &[]);
        let tally = Tally::of(&late);
        assert_eq!((tally.failed(), tally.longest_gap.as_millis()), (1, 990));
    }

    #[test]
    fn who_stays_does_not_hide_that_nobody_may_come() {
        let often: Vec<_> = (1..100).map(|index| (index * 10, Ok(1))).collect();
        let record = record(&[(10, Ok(1)), (400, Err(Failure::Refused)), (990, Ok(1))], &often);
        assert_eq!(Tally::of(&record).longest_gap.as_millis(), 980);
    }

    #[test]
    fn failures_are_told_by_kind() {
        let [reset, refused] = [Failure::Reset, Failure::Refused].map(Err);
        let tally = Tally::of(&record(&[(1, reset), (2, refused), (3, Ok(1))], &[(4, reset)]));
        assert_eq!(tally.text(), "of 4 requests 1 refused, 2 reset");
    }

    #[test]
    fn who_began_before_the_moment_is_not_blamed_on_what_came_after() {
        let reset = Err(Failure::Reset);
        let record = record(&[(100, reset), (300, reset), (400, Ok(1))], &[(500, reset)]);
        let after = |ms| failed_after(&record, record.from + Duration::from_millis(ms));
        assert_eq!([0, 100, 400, 500].map(after), [3, 2, 1, 0]);
    }

    #[test]
    #[should_panic(expected = "each request has one outcome")]
    fn a_request_that_is_lost_by_the_bench_is_noticed() {
        let lost = Record { intended: 2, ..record(&[(1, Ok(1))], &[]) };
        let _ = Tally::of(&lost);
    }
}

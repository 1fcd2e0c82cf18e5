//! Finding the highest rate that passes: which rate is tried next, and when it is enough.
//!
//! The rate doubles from where it starts until a trial does not pass (or halves until one does);
//! then the gap between the highest that passes and the lowest that does not is halved in
//! proportion until it is as small as asked for. Trials are noisy, so a rate is refused by two of
//! three trials, and the answer itself has to pass twice.

/// What a trial at one rate came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// The target carried it.
    Pass,
    /// The target did not.
    Fail,
    /// The generator was at its limit, so nothing is known about the target.
    Unjudged,
}

/// The search so far.
#[derive(Clone, Debug)]
pub struct Search {
    from: f64,
    floor: f64,
    ceiling: f64,
    precision: f64,
    /// In order of their rates.
    tried: Vec<Tried>,
    trials: usize,
}

/// One rate and how its trials went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Requests a second.
    pub rate_per_s: f64,
    /// Trials that passed.
    pub passed: u32,
    /// Trials that failed.
    pub failed: u32,
    /// Trials that could not be judged.
    pub unjudged: u32,
}

type Tried = Bound;

/// What the search has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// The highest rate that the target carried.
    pub highest_passing: Option<Bound>,
    /// The lowest that did not pass.
    pub lowest_failing: Option<Bound>,
    /// What bounds the answer from above.
    pub limit: Limit,
}

/// What bounds the answer from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The target: the answer is its capacity.
    Target,
    /// The generator: the target can do at least the answer.
    Generator,
    /// The highest rate that was allowed: the target can do at least that.
    Ceiling,
    /// Nothing passed, down to the lowest rate that was tried.
    NothingPassed,
    /// The search was ended before it was done.
    Unfinished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Passes,
    /// One trial did not pass; others may yet outvote it.
    Doubtful,
    Refused,
}

impl Search {
    /// A search that begins at `from`, never goes above `ceiling`, and ends when the bounds are
    /// within `precision` (0.05 is five per cent) of one another.
    #[must_use]
    pub fn new(from: f64, ceiling: f64, precision: f64) -> Self {
        let ceiling = ceiling.round().max(1.0);
        let from = from.round().clamp(1.0, ceiling);
        let floor = (from / DESCENT).round().max(1.0);
        let precision = precision.max(PRECISION_MIN);
        Self { from, floor, ceiling, precision, tried: Vec::new(), trials: 0 }
    }

    /// The rate of the next trial; `None` when the search is done.
    #[must_use]
    pub fn next_rate(&self) -> Option<f64> {
        if self.trials >= TRIALS_MAX {
            return None;
        }
        match (self.low(), self.high()) {
            (None, None) => Some(self.from),
            (Some(low), None) if low.rate_per_s < self.ceiling => {
                Some((low.rate_per_s * STEP).min(self.ceiling))
            }
            (Some(low), None) => confirmation(low),
            (low, Some(high))
                if needs_another(high, low.is_some() || high.rate_per_s <= self.floor) =>
            {
                Some(high.rate_per_s)
            }
            (None, Some(high)) if high.rate_per_s <= self.floor => None,
            (None, Some(high)) => Some((high.rate_per_s / STEP).round().max(self.floor)),
            (Some(low), Some(high)) => self.between(low, high),
        }
    }

    /// Takes in how the trial at `rate_per_s` went.
    pub fn on_trial(&mut self, rate_per_s: f64, vote: Vote) {
        self.trials += 1;
        let at = self.tried.partition_point(|one| one.rate_per_s < rate_per_s);
        if self.tried.get(at).is_none_or(|one| one.rate_per_s > rate_per_s) {
            self.tried.insert(at, Bound { rate_per_s, passed: 0, failed: 0, unjudged: 0 });
        }
        let tried = &mut self.tried[at];
        match vote {
            Vote::Pass => tried.passed += 1,
            Vote::Fail => tried.failed += 1,
            Vote::Unjudged => tried.unjudged += 1,
        }
    }

    /// What is known now.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let (low, high) = (self.low().copied(), self.high().copied());
        let limit = match (low, high) {
            _ if self.next_rate().is_some() || self.trials >= TRIALS_MAX => Limit::Unfinished,
            // One failure with a healthy generator is the target's.
            (_, Some(high)) if high.failed == 0 => Limit::Generator,
            (None, _) => Limit::NothingPassed,
            (Some(_), Some(_)) => Limit::Target,
            (Some(_), None) => Limit::Ceiling,
        };
        Finding { highest_passing: low, lowest_failing: high, limit }
    }

    fn between(&self, low: &Tried, high: &Tried) -> Option<f64> {
        let middle = (low.rate_per_s * high.rate_per_s).sqrt().round();
        let close = high.rate_per_s <= low.rate_per_s * (1.0 + self.precision);
        let new = middle > low.rate_per_s && middle < high.rate_per_s;
        if close || !new { confirmation(low) } else { Some(middle) }
    }

    /// The lowest rate that does not pass; what passed above it was luck.
    fn high(&self) -> Option<&Tried> {
        self.tried.iter().find(|one| one.standing() != Standing::Passes)
    }

    /// The highest rate that passes below that.
    fn low(&self) -> Option<&Tried> {
        self.tried.iter().take_while(|one| one.standing() == Standing::Passes).last()
    }
}

impl Bound {
    fn standing(&self) -> Standing {
        let against = self.failed + self.unjudged;
        match (self.passed, against) {
            (passed, _) if passed >= 2 => Standing::Passes,
            (_, 0) => Standing::Passes,
            (_, 1) => Standing::Doubtful,
            _ => Standing::Refused,
        }
    }
}

/// Whether a rate needs another trial: it has passed once, or it is about to become a bound.
fn needs_another(high: &Tried, near: bool) -> bool {
    high.standing() == Standing::Doubtful && (near || high.passed > 0)
}

/// The answer's own second trial.
fn confirmation(low: &Tried) -> Option<f64> {
    (low.passed < 2).then_some(low.rate_per_s)
}

/// The rate grows and shrinks by this while only one bound is known.
const STEP: f64 = 2.0;
/// The search gives up at this part of where it began.
const DESCENT: f64 = 1024.0;
/// Below that two trials differ more than two rates.
const PRECISION_MIN: f64 = 0.001;
/// Doubling forty times and halving the gap twenty, each three times, would be more; an end for
/// targets whose answers have no order.
const TRIALS_MAX: usize = 150;

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;

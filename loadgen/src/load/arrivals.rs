//! When the requests of an open loop are due: a schedule that is fixed before the first of them.
//!
//! The load is a rate over time, and its integral counts requests: request n is due when the
//! integral reaches n. With constant arrivals n is a whole number, and the workers take turns at
//! them; with random ones each worker draws its own. Nothing here depends on when a request was
//! really sent, and a constant schedule makes no due time from another one, so errors of rounding do
//! not add up.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::SeedableRng as _;
use rand_distr::{Distribution as _, Exp1};
use rand_pcg::Pcg64;

use super::si;

/// How requests are spread over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// As those of many clients who know nothing of each other.
    Poisson,
}

/// Requests a second, of all workers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// At the beginning, from 0; from above 0 unless the rate changes.
    pub from_per_s: f64,
    /// At the end of the ramp and from there on, above 0.
    pub to_per_s: f64,
}

/// Why a text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not a number, or not two.
    #[error(
        "`{0}` is not a rate: write requests a second such as 1000, 2.5k or 1M, or a ramp 1k:5k"
    )]
    NotARate(String),
    /// Nothing would ever be sent, or nothing more from some time on.
    #[error("a rate of 0 sends nothing: only a ramp may begin with it, such as 0:5k")]
    Zero,
    /// More than one a nanosecond.
    #[error("`{0}` is more than 1000M requests a second, and times are whole nanoseconds")]
    TooHigh(String),
}

/// Why a text names no arrivals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of arrivals: write constant or poisson")]
pub struct ArrivalsError(String);

/// The due times of one worker's requests, in order, from the moment when the load began.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    curve: Curve,
    sequence: Sequence,
    due_ns: u64,
}

/// Which requests are this worker's, as positions in the integral of the rate.
#[derive(Clone, Debug)]
enum Sequence {
    /// Every `step`th of all.
    Turns { next: u64, step: u64 },
    /// At random, one in `mean_gap`.
    Random { next: f64, mean_gap: f64, rng: Box<Pcg64> },
}

/// The rate over time: a straight line for as long as the ramp takes, then level.
#[derive(Clone, Copy, Debug)]
struct Curve {
    from_per_s: f64,
    to_per_s: f64,
    ramp_s: f64,
    /// Requests that are due before the end of the ramp.
    in_ramp: f64,
}

impl Rate {
    /// One that does not change.
    #[must_use]
    pub const fn constant(per_s: f64) -> Self {
        Self { from_per_s: per_s, to_per_s: per_s }
    }

    /// Whether it differs between beginning and end.
    #[must_use]
    pub fn is_ramp(self) -> bool {
        self.from_per_s.total_cmp(&self.to_per_s).is_ne()
    }
}

impl Schedule {
    /// The part of one of `workers` workers in `rate`, which has reached its end after `ramp`; what
    /// is random comes from `seed`.
    pub(super) fn new(
        arrivals: Arrivals,
        rate: Rate,
        ramp: Duration,
        seed: u64,
        worker_index: usize,
        workers: usize,
    ) -> Self {
        let curve = Curve::new(rate, ramp);
        let sequence = match arrivals {
            Arrivals::Constant => {
                Sequence::Turns { next: worker_index as u64, step: workers as u64 }
            }
            Arrivals::Poisson => Sequence::random(seed, worker_index, workers),
        };
        let mut schedule = Self { curve, sequence, due_ns: 0 };
        schedule.settle();
        schedule
    }

    /// When the next request is due.
    pub(super) fn peek_ns(&self) -> u64 {
        self.due_ns
    }

    /// That request is taken; the one after it is next.
    pub(super) fn advance(&mut self) {
        self.sequence.advance();
        self.settle();
    }

    fn settle(&mut self) {
        self.due_ns = self.curve.reaches_ns(self.sequence.position());
    }
}

impl Sequence {
    #[expect(clippy::cast_precision_loss, reason = "there are not that many workers")]
    fn random(seed: u64, worker_index: usize, workers: usize) -> Self {
        let mut seeds = Pcg64::seed_from_u64(seed);
        // Each worker takes as many words of the same sequence as it needs for a seed: generators
        // that differ in their stream only are too much alike.
        seeds.advance(worker_index as u128 * SEED_WORDS);
        let mut sequence = Self::Random {
            next: 0.0,
            mean_gap: workers as f64,
            rng: Box::new(Pcg64::from_rng(&mut seeds)),
        };
        // The first request has a gap before it like any other.
        sequence.advance();
        sequence
    }

    #[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^52 requests")]
    fn position(&self) -> f64 {
        match self {
            Self::Turns { next, .. } => *next as f64,
            Self::Random { next, .. } => *next,
        }
    }

    fn advance(&mut self) {
        match self {
            Self::Turns { next, step } => *next += *step,
            Self::Random { next, mean_gap, rng } => {
                let gap: f64 = Exp1.sample(rng.as_mut());
                *next += gap * *mean_gap;
            }
        }
    }
}

impl Curve {
    fn new(rate: Rate, ramp: Duration) -> Self {
        let Rate { from_per_s, to_per_s } = rate;
        let ramp_s = if rate.is_ramp() { ramp.as_secs_f64() } else { 0.0 };
        Self { from_per_s, to_per_s, ramp_s, in_ramp: (from_per_s + to_per_s) / 2.0 * ramp_s }
    }

    /// When so many requests have been due, to the nearest nanosecond.
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond 500 years stays there")]
    #[expect(clippy::cast_sign_loss, reason = "time begins at 0")]
    fn reaches_ns(&self, requests: f64) -> u64 {
        let due_ns = if requests >= self.in_ramp {
            self.ramp_s * 1e9 + (requests - self.in_ramp) * 1e9 / self.to_per_s
        } else {
            self.reaches_in_ramp_s(requests) * 1e9
        };
        due_ns.round() as u64
    }

    /// The solution of `from t + slope t² / 2 = requests`, in the form that subtracts nothing from
    /// something of nearly the same size.
    fn reaches_in_ramp_s(&self, requests: f64) -> f64 {
        let slope = (self.to_per_s - self.from_per_s) / self.ramp_s;
        let per_s_then =
            (self.from_per_s * self.from_per_s + 2.0 * slope * requests).max(0.0).sqrt();
        let sum_per_s = self.from_per_s + per_s_then;
        // Only the very first request of a ramp from 0 is due while nothing is.
        if sum_per_s > 0.0 { 2.0 * requests / sum_per_s } else { 0.0 }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once(':').unwrap_or((text, text));
        let per_s = |part| match si::decimal(part) {
            None => Err(RateError::NotARate(text.to_owned())),
            Some(per_s) if per_s > PER_S_MAX => Err(RateError::TooHigh(part.to_owned())),
            Some(per_s) => Ok(per_s),
        };
        let rate = Self { from_per_s: per_s(from)?, to_per_s: per_s(to)? };
        if rate.to_per_s > 0.0 { Ok(rate) } else { Err(RateError::Zero) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&short(self.from_per_s))?;
        if self.is_ramp() { write!(f, ":{}", short(self.to_per_s)) } else { Ok(()) }
    }
}

/// With a suffix where that leaves one decimal at most.
fn short(per_s: f64) -> String {
    let suffixes = [(1e6, "M"), (1e3, "k")];
    let fits = |&(unit, _): &(f64, _)| per_s >= unit && per_s % (unit / 10.0) == 0.0;
    match suffixes.iter().find(|suffix| fits(suffix)) {
        Some((unit, suffix)) => format!("{}{suffix}", per_s / unit),
        None => per_s.to_string(),
    }
}

impl FromStr for Arrivals {
    type Err = ArrivalsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "constant" => Ok(Self::Constant),
            "poisson" => Ok(Self::Poisson),
            _ => Err(ArrivalsError(text.to_owned())),
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        })
    }
}

/// One a nanosecond.
const PER_S_MAX: f64 = 1e9;
/// Words of 64 bits in the seed of a [`Pcg64`].
const SEED_WORDS: u128 = 4;

#[cfg(test)]
#[path = "arrivals_tests.rs"]
mod tests;

//! After how many requests a connection is replaced by a new one.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use rand_distr::{Distribution as _, Exp1};
use rand_pcg::Pcg64;

use super::si;

/// How many requests a connection carries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Lifetime {
    /// All that there are.
    #[default]
    Forever,
    /// Always so many.
    Fixed(NonZeroU64),
    /// At random, at least one: after each request it ends with the same probability, so that old
    /// connections are no nearer to their end than young ones.
    Geometric {
        /// Requests on average, from 1.
        mean: f64,
    },
}

/// Why a text is no lifetime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a number of requests for a connection: write a number from 1 such as 100, \
     geo:100 for a random one with that mean, or forever"
)]
pub struct LifetimeError(String);

impl Lifetime {
    /// How many requests the next connection carries; nothing if there is no bound.
    #[expect(clippy::cast_possible_truncation, reason = "what is beyond 2^64 stays there")]
    #[expect(clippy::cast_sign_loss, reason = "neither part of the quotient is below zero")]
    pub(super) fn draw(&self, rng: &mut Pcg64) -> Option<u64> {
        match *self {
            Self::Forever => None,
            Self::Fixed(requests) => Some(requests.get()),
            Self::Geometric { mean } => {
                // The whole units in an exponential time are geometric. With a mean of 1 the unit is
                // infinite, and there are none.
                let unit = -(-1.0 / mean).ln_1p();
                let time: f64 = Exp1.sample(rng);
                Some(((time / unit) as u64).saturating_add(1))
            }
        }
    }
}

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lifetime = match text.strip_prefix("geo:") {
            Some(mean) => {
                si::decimal(mean).filter(|&mean| mean >= 1.0).map(|mean| Self::Geometric { mean })
            }
            None if text == "forever" => Some(Self::Forever),
            None => si::whole(text).and_then(NonZeroU64::new).map(Self::Fixed),
        };
        lifetime.ok_or_else(|| LifetimeError(text.to_owned()))
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::Fixed(requests) => requests.fmt(f),
            Self::Geometric { mean } => write!(f, "geo:{mean}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rand::SeedableRng as _;

    fn draws(text: &str) -> Vec<Option<u64>> {
        let lifetime: Lifetime = text.parse().expect(text);
        let mut rng = Pcg64::seed_from_u64(7);
        (0..100_000).map(|_| lifetime.draw(&mut rng)).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "not that many requests")]
    fn mean(draws: &[Option<u64>]) -> f64 {
        let requests: u64 = draws.iter().flatten().sum();
        requests as f64 / draws.len() as f64
    }

    #[test]
    fn lifetimes_are_read_as_they_are_shown() {
        for (text, shown) in [
            ("100", "100"),
            ("10k", "10000"),
            ("geo:100", "geo:100"),
            ("geo:2.5", "geo:2.5"),
            ("forever", "forever"),
        ] {
            let lifetime: Lifetime = text.parse().expect(text);
            assert_eq!(lifetime.to_string(), shown);
            assert_eq!(shown.parse(), Ok(lifetime));
        }
        for text in ["", "0", "-1", "1.5", "geo:", "geo:0.9", "geo:x", "poisson:3"] {
            let error = text.parse::<Lifetime>().expect_err(text).to_string();
            assert!(error.contains("geo:100"), "{error}");
        }
    }

    #[test]
    fn without_a_bound_there_is_none_and_a_fixed_one_is_always_the_same() {
        assert!(draws("forever").iter().all(Option::is_none));
        assert!(draws("3").iter().all(|&draw| draw == Some(3)));
    }

    #[test]
    fn random_lifetimes_have_their_mean_and_are_never_empty() {
        for (text, expected) in [("geo:1", 1.0), ("geo:2.5", 2.5), ("geo:100", 100.0)] {
            let draws = draws(text);
            assert!(draws.iter().all(|&draw| draw >= Some(1)), "{text}");
            // The standard deviation of a geometric draw is below its mean, so that of this mean is
            // below 0.32 %: five times that.
            let mean = mean(&draws);
            assert!((mean / expected - 1.0).abs() < 0.016, "{text}: {mean}");
        }
    }

    #[test]
    fn an_old_connection_ends_as_likely_as_a_young_one() {
        let draws = draws("geo:4");
        for age in 0..10 {
            let reached = draws.iter().filter(|&&draw| draw > Some(age)).count();
            let ended = draws.iter().filter(|&&draw| draw == Some(age + 1)).count();
            // A quarter of those who got there, give or take five standard deviations.
            #[expect(clippy::cast_precision_loss, reason = "not that many")]
            let (reached, ended) = (reached as f64, ended as f64);
            let deviation = (reached * 0.25 * 0.75).sqrt();
            assert!((ended - reached / 4.0).abs() < 5.0 * deviation, "{ended} of {reached}");
        }
    }
}

//! By the client's address: weighted rendezvous.
//!
//! Every backend has a score for every client, and the highest score wins. A score depends on the
//! client and that one backend, so when a backend leaves only its own clients move, and one that
//! comes takes clients from the others but moves none between them. With h in (0, 1) hashed from
//! both, -weight / ln(h) is the score that makes the chance to win proportional to the weight
//! (Schindelhauer and Schomaker, Weighted Distributed Hash Tables, SPAA 2005).

use crate::core::BackendId;

use super::Pool;
use super::eligible::Eligible;
use super::hash::mixed;

pub(super) fn source_hash<P: Pool>(eligible: &Eligible<'_, P>) -> Option<BackendId> {
    let key = eligible.request.key;
    let scored = eligible.seats().map(|seat| (seat, mixed(key, seat.identity)));
    let winner = if eligible.tier.is_even {
        // With equal weights the highest hash has the highest score.
        scored.max_by_key(|&(_, hash)| hash)
    } else {
        scored.max_by(|(seat, hash), (other, others)| {
            score(seat.weight, *hash).total_cmp(&score(other.weight, *others))
        })
    };
    winner.map(|(seat, _)| seat.backend)
}

fn score(weight: u32, hash: u64) -> f64 {
    // The middle of one of 2^52 equal parts of (0, 1): never an end, and exact in an f64.
    let part = f64::from_bits(ONE | hash >> 12) - 1.0 + HALF_A_PART;
    -f64::from(weight) / ln(part)
}

/// The natural logarithm of something in (0, 1), by operations whose results IEEE 754 prescribes to
/// the last bit: `f64::ln` may differ from machine to machine, and then so would the backend.
fn ln(x: f64) -> f64 {
    // x = m * 2^e with m in [1/sqrt(2), sqrt(2)), and ln(m) = 2 atanh((m - 1) / (m + 1)).
    let above = x.to_bits().cast_signed() - SQRT_HALF.cast_signed();
    let exponent = above >> MANTISSA_BITS;
    let m = f64::from_bits((above.cast_unsigned() & MANTISSA) + SQRT_HALF);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = (0..=SERIES).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    let exponent = i32::try_from(exponent).expect("an exponent has 11 bits");
    2.0 * s * series + f64::from(exponent) * std::f64::consts::LN_2
}

/// The bits of 1.0, and of the square root of one half.
const ONE: u64 = 1.0_f64.to_bits();
const SQRT_HALF: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
const HALF_A_PART: f64 = f64::EPSILON / 2.0;

/// The term after s^21 is less than 2^-53 of the first: |s| is at most 0.172.
const SERIES: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        let mut rng = fastrand::Rng::with_seed(7);
        let near_the_ends = [HALF_A_PART, 1.0 - HALF_A_PART, 0.5, std::f64::consts::FRAC_1_SQRT_2];
        for x in near_the_ends.into_iter().chain((0..10_000).map(|_| rng.f64() + HALF_A_PART)) {
            let error = (ln(x) - x.ln()).abs() / x.ln().abs();
            assert!(error < 1e-14, "{x}: {} {}", ln(x), x.ln());
        }
    }

    #[test]
    fn the_lowest_and_the_highest_hash_have_a_score() {
        for hash in [0, u64::MAX] {
            let score = score(1, hash);
            assert!(score.is_finite() && score > 0.0, "{hash:#x}: {score}");
        }
    }
}

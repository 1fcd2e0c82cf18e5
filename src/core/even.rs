//! Even shards: the kernel spreads connections over listeners by a hash, which is even for many
//! connections and may be very uneven for a few.

/// The shard that should take a connection which `own` has accepted, if that is another one: the one
/// with the fewest sessions, if `own` would have noticeably more.
///
/// With few sessions one more is noticeable, with many an eighth: then the hash is as good, and
/// moving connections only costs.
#[must_use]
pub fn elsewhere(own: usize, sessions: &[u32]) -> Option<usize> {
    let others = (1..sessions.len()).map(|step| (own + step) % sessions.len());
    let least = others.min_by_key(|&shard| sessions[shard])?;
    let noticeable = 1 + sessions[least] / 8;
    (sessions[own] >= sessions[least] + noticeable).then_some(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_where_fewest_are_if_that_is_noticeable() {
        for (sessions, to) in [
            (&[0, 0][..], None),
            (&[1, 0], Some(1)),
            (&[1, 1], None),
            (&[0, 5], None),
            (&[3, 2, 1], Some(2)),
            (&[8, 8], None),
            (&[9, 8], None),
            (&[10, 8], Some(1)),
            (&[1100, 1000], None),
            (&[1126, 1000], Some(1)),
            (&[7], None),
        ] {
            assert_eq!(elsewhere(0, sessions), to, "{sessions:?}");
        }
    }

    #[test]
    fn equals_take_turns_from_the_next_one_on() {
        assert_eq!(elsewhere(1, &[2, 3, 2]), Some(2));
        assert_eq!(elsewhere(2, &[2, 2, 3]), Some(0));
    }

    /// Whatever the hash does, a few connections end up even.
    #[test]
    fn long_connections_are_spread_within_one() {
        for seed in 0..100 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut sessions = [0_u32; 4];
            for _ in 0..8 {
                let hashed = rng.usize(..4);
                sessions[elsewhere(hashed, &sessions).unwrap_or(hashed)] += 1;
            }
            assert_eq!(sessions, [2; 4], "seed {seed}");
        }
    }
}

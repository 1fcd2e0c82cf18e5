//! Shards pick at the same time, and their turns are shared: the shares are exact all the same.

use std::sync::atomic::{AtomicU32, Ordering};

use evenkeel::core::BackendId;
use evenkeel::core::balance::{
    Algorithm, By, Member, Pick, Picked, Pool, Request, Standing, Tables, Tried, pick,
};
use fastrand::Rng;

struct Shared {
    tables: Tables,
    standings: [Standing; 5],
    turn: AtomicU32,
}

impl Pool for Shared {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn standing(&self, backend: BackendId) -> Standing {
        self.standings[usize::from(backend.0)]
    }

    fn connections(&self, _: BackendId) -> u32 {
        0
    }

    fn warmth(&self, _: BackendId) -> u32 {
        256
    }

    fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

#[test]
fn shares_are_exact_however_many_shards_pick_at_the_same_time() {
    let mut standings = [Standing::Ready; 5];
    check(standings, [5, 1, 3, 1, 2]);
    // The turns of the one that is out are passed over, so the last schedule ends where it began.
    standings[1] = Standing::Out;
    check(standings, [5, 0, 3, 1, 2]);
}

fn check(standings: [Standing; 5], expected: [u64; 5]) {
    let names = ["a", "b", "c", "d", "e"];
    let members: Vec<Member<'_>> = names
        .into_iter()
        .zip([5, 1, 3, 1, 2])
        .map(|(name, weight)| Member { name, weight, backup: false })
        .collect();
    let tables = Tables::new(Algorithm::RoundRobin, &members);
    let pool = Shared { tables, standings, turn: AtomicU32::new(0) };
    let picks = SCHEDULES * expected.iter().sum::<u64>() / SHARDS;
    let mut shares = [0; 5];
    std::thread::scope(|scope| {
        let shards: Vec<_> = (0..SHARDS)
            .map(|seed| {
                scope.spawn({
                    let pool = &pool;
                    move || shard(pool, seed, picks)
                })
            })
            .collect();
        for of_shard in shards.into_iter().map(|shard| shard.join().expect("a shard picks")) {
            shares.iter_mut().zip(of_shard).for_each(|(sum, share)| *sum += share);
        }
    });
    assert_eq!(shares, expected.map(|share| share * SCHEDULES));
}

/// What the backends got of one shard.
fn shard(pool: &Shared, seed: u64, picks: u64) -> [u64; 5] {
    let mut rng = Rng::with_seed(seed);
    let mut shares = [0; 5];
    for _ in 0..picks {
        let request = Request { key: 0, tried: &Tried::NOBODY, sticky: None };
        match pick(pool, &request, &mut rng) {
            Picked::Backend(Pick { backend, by: By::Algorithm(Algorithm::RoundRobin) }) => {
                shares[usize::from(backend.0)] += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    shares
}

const SHARDS: u64 = 4;
/// As many as make the shards overlap.
const SCHEDULES: u64 = 20_000;

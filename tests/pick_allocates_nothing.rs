//! Picking is on the path of every connection of every shard, so it allocates nothing: counted by an
//! allocator, in every algorithm and in every way that a pick can take.

use std::cell::Cell;

use allocation_counter::measure;
use evenkeel::core::BackendId;
use evenkeel::core::balance::{
    Algorithm, Member, Picked, Pool, Request, Standing, Tables, Tried, pick,
};
use fastrand::Rng;

struct Fixed {
    tables: Tables,
    standings: [Standing; BACKENDS],
    warmth: u32,
    turn: Cell<u32>,
}

impl Pool for Fixed {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn standing(&self, backend: BackendId) -> Standing {
        self.standings[usize::from(backend.0)]
    }

    fn connections(&self, backend: BackendId) -> u32 {
        u32::from(backend.0) / 8
    }

    fn warmth(&self, _: BackendId) -> u32 {
        self.warmth
    }

    fn next_turn(&self) -> u32 {
        self.turn.replace(self.turn.get().wrapping_add(1))
    }
}

#[test]
fn no_pick_allocates() {
    use Standing::{Ejected, Full, Out, Ready};
    let mut few = [Out; BACKENDS];
    (few[3], few[60]) = (Ready, Ready);
    let situations =
        [[Ready; BACKENDS], few, [Full; BACKENDS], [Ejected; BACKENDS], [Out; BACKENDS]];
    for algorithm in ALL {
        for standings in situations {
            for warmth in [256, 2] {
                let mut pool = pool(algorithm);
                (pool.standings, pool.warmth) = (standings, warmth);
                let allocations = allocations_of_picks(&pool);
                assert_eq!(allocations, 0, "{algorithm} {:?} {warmth}", standings[0]);
            }
        }
    }
}

#[test]
fn an_allocation_would_be_counted() {
    let counted = measure(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!(counted.count_total, 1);
}

fn allocations_of_picks(pool: &Fixed) -> u64 {
    let mut rng = Rng::with_seed(7);
    let counted = measure(|| {
        for key in 0..50 {
            let mut tried = Tried::NOBODY;
            let sticky = (key % 5 == 0).then_some(BackendId(3));
            while let Picked::Backend(picked) =
                pick(pool, &Request { key, tried: &tried, sticky }, &mut rng)
            {
                tried.add(picked.backend);
            }
        }
    });
    counted.count_total
}

fn pool(algorithm: Algorithm) -> Fixed {
    let names: Vec<String> = (0..BACKENDS).map(|id| format!("10.0.0.{id}:80")).collect();
    let weight = |id| if id % 3 == 0 { 200 } else { 1 };
    let members: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(id, name)| Member { name, weight: weight(id), backup: id >= 60 })
        .collect();
    let tables = Tables::new(algorithm, &members);
    Fixed { tables, standings: [Standing::Ready; BACKENDS], warmth: 256, turn: Cell::new(0) }
}

const BACKENDS: usize = 64;

const ALL: [Algorithm; 8] = [
    Algorithm::Auto,
    Algorithm::RoundRobin,
    Algorithm::LeastConnections,
    Algorithm::Random,
    Algorithm::P2c,
    Algorithm::SourceHash,
    Algorithm::Maglev,
    Algorithm::First,
];

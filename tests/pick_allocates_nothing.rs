//! Picking is on the path of every connection of every shard, so it allocates nothing: counted by an
//! allocator, in every algorithm and in every way that a pick can take.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use evenkeel::core::BackendId;
use evenkeel::core::balance::{
    Algorithm, Member, Picked, Pool, Request, Standing, Tables, Tried, pick,
};
use fastrand::Rng;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it came; the counter is a thread's
// own, needs no allocation and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller promises what `System` asks for, and this is the same layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` is from `alloc` above, and so from `System`, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(7)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

fn allocations_of_picks(pool: &Fixed) -> u32 {
    let mut rng = Rng::with_seed(7);
    let before = ALLOCATIONS.get();
    for key in 0..50 {
        let mut tried = Tried::NOBODY;
        let sticky = (key % 5 == 0).then_some(BackendId(3));
        while let Picked::Backend(picked) =
            pick(pool, &Request { key, tried: &tried, sticky }, &mut rng)
        {
            tried.add(picked.backend);
        }
    }
    ALLOCATIONS.get() - before
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

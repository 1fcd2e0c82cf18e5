//! Every algorithm in every standing.

use fastrand::Rng;

use super::fixed::{Fixed, NEW};
use super::*;

/// What a row of the table expects.
#[derive(Clone, Copy)]
enum Expected {
    /// One of these, by the algorithm.
    OneOf(&'static [u16]),
    /// One of these, as the last resort.
    LastResort(&'static [u16]),
    Full,
    Nobody,
}

/// Two primaries and two backups, R(eady), F(ull), E(jected) or O(ut), under every algorithm.
const TABLE: &[(&str, Expected)] = &[
    ("RR/RR", Expected::OneOf(&[0, 1])),
    ("RF/RR", Expected::OneOf(&[0])),
    ("ER/RR", Expected::OneOf(&[1])),
    ("OR/RR", Expected::OneOf(&[1])),
    // Busy primaries are worth waiting for: backups are no overflow.
    ("FF/RR", Expected::Full),
    ("FE/RR", Expected::Full),
    ("OF/RR", Expected::Full),
    ("EE/RR", Expected::OneOf(&[2, 3])),
    ("EO/FR", Expected::OneOf(&[3])),
    ("OO/RE", Expected::OneOf(&[2])),
    ("EO/FF", Expected::Full),
    ("OO/FE", Expected::Full),
    ("EE/EE", Expected::LastResort(&[0, 1])),
    ("OE/EE", Expected::LastResort(&[1])),
    ("OO/EO", Expected::LastResort(&[2])),
    ("OO/EE", Expected::LastResort(&[2, 3])),
    ("OO/OO", Expected::Nobody),
];

#[test]
fn every_algorithm_picks_among_the_same_in_every_standing() {
    for algorithm in ALL {
        let mut pool = Fixed::with_backups(algorithm, &MEMBERS[..4]);
        for &(letters, expected) in TABLE {
            pool.standings = letters.chars().filter(|&letter| letter != '/').map(of).collect();
            let mut seen = Vec::new();
            for key in 0..200 {
                let picked = pool.picked_for(&Request { key, ..NEW });
                assert!(is_as(expected, algorithm, picked), "{letters} {algorithm}: {picked:?}");
                seen.push(picked);
            }
            let spreads = match expected {
                Expected::OneOf(ids) | Expected::LastResort(ids) => ids.len() > 1,
                Expected::Full | Expected::Nobody => false,
            };
            let spread = seen.iter().any(|picked| picked != &seen[0]);
            let hashes = matches!(algorithm, Algorithm::SourceHash | Algorithm::Maglev);
            assert!(!spreads || !hashes || spread, "{letters} {algorithm}: always {:?}", seen[0]);
        }
    }
}

#[test]
fn whatever_stands_and_whoever_was_tried_a_pick_follows_the_rules() {
    for algorithm in ALL {
        let mut pool = Fixed::with_backups(algorithm, &MEMBERS);
        let mut rng = Rng::with_seed(7);
        for situation in 0..4_usize.pow(5) * 32 {
            let (standings, tried) = (situation % 4_usize.pow(5), situation / 4_usize.pow(5));
            pool.standings = (0..5).map(|id| STANDINGS[standings / 4_usize.pow(id) % 4]).collect();
            let mut list = Tried::NOBODY;
            (0..5).filter(|id| tried >> id & 1 == 1).for_each(|id| list.add(BackendId(id)));
            let sticky = Some(BackendId(rng.u16(..10))).filter(|id| id.0 < 6);
            let request = Request { key: rng.u64(..), tried: &list, sticky };
            let picked = pick(&pool, &request, &mut rng);
            assert!(
                follows_the_rules(&pool, &request, picked),
                "{algorithm} {:?} {request:?}: {picked:?}",
                pool.standings
            );
        }
    }
}

/// The rules, in another way than `pick` has them.
fn follows_the_rules(pool: &Fixed, request: &Request<'_>, picked: Picked) -> bool {
    let standing = |id: u16| match pool.standings[usize::from(id)] {
        _ if request.tried.contains(BackendId(id)) => Standing::Out,
        standing => standing,
    };
    let sticks = request.sticky.filter(|id| id.0 < 5 && standing(id.0) == Standing::Ready);
    if let Some(backend) = sticks {
        return picked == Picked::Backend(Pick { backend, by: By::Sticky });
    }
    let has = |tier: [u16; 2], wanted| tier.into_iter().any(|id| standing(id) == wanted);
    let (primaries, backups) = ([0, 1], [2, 3]);
    let is_healthy = |tier| has(tier, Standing::Ready) || has(tier, Standing::Full);
    let tier = if is_healthy(primaries) || !is_healthy(backups) { primaries } else { backups };
    match picked {
        Picked::Backend(Pick { backend, by: By::Algorithm(_) }) => {
            tier.contains(&backend.0) && standing(backend.0) == Standing::Ready
        }
        Picked::Backend(Pick { backend, by: By::LastResort }) => {
            let tier = if has(primaries, Standing::Ejected) { primaries } else { backups };
            let nobody_is_healthy = !is_healthy(primaries) && !is_healthy(backups);
            nobody_is_healthy
                && tier.contains(&backend.0)
                && standing(backend.0) == Standing::Ejected
        }
        Picked::Backend(Pick { by: By::Sticky, .. }) => false,
        Picked::Full => !has(tier, Standing::Ready) && has(tier, Standing::Full),
        Picked::Nobody => (0..4).all(|id| standing(id) == Standing::Out),
    }
}

fn is_as(expected: Expected, algorithm: Algorithm, picked: Picked) -> bool {
    match (expected, picked) {
        (Expected::OneOf(ids), Picked::Backend(Pick { backend, by: By::Algorithm(by) })) => {
            let auto = matches!(by, Algorithm::RoundRobin | Algorithm::LeastConnections);
            let is_said = if algorithm == Algorithm::Auto { auto } else { by == algorithm };
            ids.contains(&backend.0) && is_said
        }
        (Expected::LastResort(ids), Picked::Backend(Pick { backend, by: By::LastResort })) => {
            ids.contains(&backend.0)
        }
        (Expected::Full, Picked::Full) | (Expected::Nobody, Picked::Nobody) => true,
        _ => false,
    }
}

fn of(letter: char) -> Standing {
    match letter {
        'R' => Standing::Ready,
        'F' => Standing::Full,
        'E' => Standing::Ejected,
        'O' => Standing::Out,
        other => panic!("{other} is no standing"),
    }
}

const STANDINGS: [Standing; 4] =
    [Standing::Ready, Standing::Full, Standing::Ejected, Standing::Out];

/// Two primaries, two backups, and one primary that drains.
const MEMBERS: [(u16, bool); 5] = [(1, false), (3, false), (1, true), (1, true), (0, false)];

use std::num::NonZeroU32;
use std::sync::Barrier;
use std::thread::scope;

use super::*;
use crate::core::health::enough_left;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u32) -> Moment {
    Moment::default() + SECOND * seconds
}

fn policy(after: u32) -> EjectionConfig {
    let after = NonZeroU32::new(after).expect("a test says 1 or more");
    EjectionConfig { after, first: SECOND * 10, longest: SECOND * 300 }
}

fn ejected() -> Condition {
    let condition = Condition::default();
    let verdict = condition.connect_failed(at(1), &policy(1), || true);
    assert_eq!(verdict, Verdict::Ejected(SECOND * 10));
    condition
}

#[test]
fn it_is_up_until_something_speaks_against_it() {
    let condition = Condition::default();
    assert_eq!(condition.health(at(0)), Health::Up);
    assert_eq!(ejected().health(at(2)), Health::Ejected);
    assert_eq!(ejected().health(at(11)), Health::Up);
    assert!(condition.set_up(false, at(3)));
    assert_eq!(condition.health(at(3)), Health::Down);
    // Down is what a report says of one that is both.
    let both = ejected();
    both.set_up(false, at(2));
    assert_eq!(both.health(at(2)), Health::Down);
}

#[test]
fn a_change_of_the_checks_is_told_once_and_counted() {
    let condition = Condition::default();
    assert!(!condition.set_up(true, at(1)));
    assert_eq!((condition.up_since(), condition.down_since()), (None, None));
    assert!(condition.set_up(false, at(2)));
    assert!(!condition.set_up(false, at(3)));
    assert_eq!((condition.up_since(), condition.down_since()), (None, Some(at(2))));
    assert!(condition.set_up(true, at(4)));
    assert_eq!((condition.up_since(), condition.down_since()), (Some(at(4)), None));
    assert_eq!(condition.totals().transitions, 2);
}

#[test]
fn failures_while_it_is_ejected_do_not_prolong_it() {
    let condition = ejected();
    for second in 1..11 {
        let verdict = condition.connect_failed(at(second), &policy(1), || true);
        assert_eq!(verdict, Verdict::Counted);
    }
    assert_eq!(condition.ejected_until(at(10)), Some(at(11)));
    assert_eq!(condition.ejected_until(at(11)), None);
    assert_eq!(condition.totals().ejections, 1);
}

#[test]
fn a_success_ends_an_ejection_and_says_so_once() {
    let condition = ejected();
    assert!(condition.connect_succeeded(at(3)));
    assert!(!condition.connect_succeeded(at(3)));
    assert!(!condition.clear_ejection(at(3)), "it has ended");
    assert_eq!(condition.health(at(3)), Health::Up);
}

#[test]
fn a_success_starts_the_count_of_failures_again() {
    let condition = Condition::default();
    for second in 1..10 {
        let verdict = condition.connect_failed(at(second), &policy(2), || true);
        assert_eq!(verdict, Verdict::Counted);
        assert!(!condition.connect_succeeded(at(second)));
    }
}

#[test]
fn failing_open_is_counted_and_changes_nothing() {
    let condition = Condition::default();
    for second in 1..4 {
        let verdict = condition.connect_failed(at(second), &policy(1), || false);
        assert_eq!(verdict, Verdict::FailOpen);
        assert_eq!(condition.health(at(second)), Health::Up);
    }
    let totals = ConditionTotals { fail_opens: 3, ..ConditionTotals::default() };
    assert_eq!(condition.totals(), totals);
}

#[test]
fn an_ejection_that_turns_out_to_be_one_too_many_is_taken_back() {
    // The others are enough when it is asked first, and no longer when it is asked again.
    let answers = std::cell::Cell::new(true);
    let condition = Condition::default();
    let verdict = condition.connect_failed(at(1), &policy(1), || answers.replace(false));
    assert_eq!(verdict, Verdict::FailOpen);
    assert_eq!(condition.health(at(1)), Health::Up);
    let totals = ConditionTotals { fail_opens: 1, ..ConditionTotals::default() };
    assert_eq!(condition.totals(), totals);
}

#[test]
fn it_warms_up_after_it_was_down_or_ejected() {
    let warmth = |condition: &Condition, seconds| condition.warmth(at(seconds), SECOND * 8);
    let fresh = Condition::default();
    assert_eq!(warmth(&fresh, 0), 256);
    assert_eq!(warmth(&fresh, 1), 256);
    let risen = Condition::default();
    risen.set_up(false, at(50));
    risen.set_up(true, at(100));
    for (seconds, expected) in [(100, 1), (101, 32), (104, 128), (107, 224), (108, 256)] {
        assert_eq!(warmth(&risen, seconds), expected, "{seconds}");
    }
    assert_eq!(risen.warmth(at(100), Duration::ZERO), 256);
    // By its time, and early.
    for (seconds, expected) in [(11, 1), (15, 128), (19, 256)] {
        assert_eq!(warmth(&ejected(), seconds), expected, "{seconds}");
    }
    let early = ejected();
    early.clear_ejection(at(3));
    for (seconds, expected) in [(3, 1), (7, 128), (11, 256)] {
        assert_eq!(warmth(&early, seconds), expected, "{seconds}");
    }
}

#[test]
fn of_many_shards_that_fail_at_the_same_time_one_ejects() {
    const SHARDS: u32 = 4;
    for _ in 0..200 {
        let (condition, barrier) = (Condition::default(), Barrier::new(SHARDS as usize));
        let fail = || {
            barrier.wait();
            // Together they fail often enough for exactly one ejection, and for many of them.
            let fails = (0..3).map(|_| condition.connect_failed(at(1), &policy(4), || true));
            fails.filter(|verdict| matches!(verdict, Verdict::Ejected(_))).count()
        };
        let told: usize = scope(|threads| {
            let shards: Vec<_> = (0..SHARDS).map(|_| threads.spawn(fail)).collect();
            shards.into_iter().map(|shard| shard.join().expect("it does not panic")).sum()
        });
        assert_eq!((told, condition.totals().ejections), (1, 1));
    }
}

#[test]
fn shards_that_eject_different_backends_never_leave_fewer_than_half() {
    const BACKENDS: usize = 4;
    for _ in 0..500 {
        let pool: [Condition; BACKENDS] = Default::default();
        let barrier = Barrier::new(BACKENDS);
        let others_up = |me: usize| {
            let others = (0..BACKENDS).filter(|&other| other != me);
            others.filter(|&other| pool[other].health(at(1)) == Health::Up).count()
        };
        let fail = |me: usize| {
            barrier.wait();
            pool[me].connect_failed(at(1), &policy(1), || enough_left(others_up(me), BACKENDS))
        };
        scope(|threads| {
            (0..BACKENDS).for_each(|me| {
                threads.spawn(move || fail(me));
            });
        });
        let up = pool.iter().filter(|one| one.health(at(1)) == Health::Up).count();
        assert!(up * 2 >= BACKENDS, "{up} of {BACKENDS} are left");
    }
}

#[test]
fn of_many_that_see_an_ejection_end_one_is_told() {
    for _ in 0..200 {
        let (condition, barrier) = (ejected(), Barrier::new(3));
        let succeed = || {
            barrier.wait();
            usize::from(condition.connect_succeeded(at(2)))
        };
        let told: usize = scope(|threads| {
            let shards: Vec<_> = (0..3).map(|_| threads.spawn(succeed)).collect();
            shards.into_iter().map(|shard| shard.join().expect("it does not panic")).sum()
        });
        assert_eq!(told, 1);
    }
}

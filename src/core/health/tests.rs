use proptest::prelude::*;

use super::*;

use Answer::{Bad, Good};

fn thresholds(rise: u32, fall: u32) -> Thresholds {
    let count = |number| NonZeroU32::new(number).expect("a test says 1 or more");
    Thresholds { rise: count(rise), fall: count(fall) }
}

/// `+` a good answer, `-` a bad one; the states after each, `U` or `d`, with rise 2 and fall 3.
fn states(answers: &str) -> String {
    let mut checks = Checks::default();
    let mut state = |sign| {
        let was = checks.is_up();
        let change = checks.on(if sign == '+' { Good } else { Bad }, thresholds(2, 3));
        let told = match change {
            Some(Change::Up) => true,
            Some(Change::Down) => false,
            None => was,
        };
        assert_eq!(told, checks.is_up(), "{answers}");
        assert!(change.is_none() || told != was, "{answers}: a change that is none");
        if checks.is_up() { 'U' } else { 'd' }
    };
    answers.chars().map(&mut state).collect()
}

#[test]
fn answers_in_a_row_take_it_down_and_bring_it_up() {
    for (answers, expected) in [
        ("+", "U"),
        // The very first answer decides at once, if it is bad.
        ("-", "d"),
        ("-+", "dd"),
        ("-++", "ddU"),
        ("-+-++", "ddddU"),
        // Later ones count.
        ("+-", "UU"),
        ("+---", "UUUd"),
        ("+--+--", "UUUUUU"),
        ("+--+---", "UUUUUUd"),
        ("+---+++", "UUUddUU"),
        ("-++---", "ddUUUd"),
    ] {
        assert_eq!(states(answers), expected, "{answers}");
    }
}

#[test]
fn a_known_state_is_not_decided_by_one_answer() {
    let mut checks = Checks::resumed(true);
    assert_eq!(checks.on(Bad, thresholds(2, 2)), None);
    assert_eq!(checks.on(Bad, thresholds(2, 2)), Some(Change::Down));
}

#[test]
fn answers_that_do_not_agree_with_the_state_are_asked_for_faster() {
    let pace = Pace { interval: SECOND * 10, fast_interval: SECOND, jitter: 0.0 };
    let mut rng = fastrand::Rng::with_seed(1);
    let mut checks = Checks::default();
    let mut delay_after = |answer| {
        checks.on(answer, thresholds(2, 3));
        checks.delay(pace, &mut rng).as_secs()
    };
    let delays = [Good, Bad, Good, Bad, Bad, Bad, Bad, Good, Bad, Good, Good, Good];
    assert_eq!(delays.map(&mut delay_after), [10, 1, 10, 1, 1, 10, 10, 1, 10, 1, 10, 10]);
}

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Moment {
    Moment::default() + SECOND * u32::try_from(seconds).expect("a test says few seconds")
}

fn policy(after: u32) -> EjectionPolicy {
    let after = NonZeroU32::new(after).expect("a test says 1 or more");
    EjectionPolicy { after, first: SECOND * 10, longest: SECOND * 50 }
}

const ALWAYS: fn() -> bool = || true;

/// What it is after `failure` at each of these seconds, and for how many seconds each ejected it.
fn ejected_for(after: u32, seconds: &[u64]) -> Vec<u64> {
    let mut ejections = Ejections::default();
    let mut fail = |&second: &u64| {
        let (next, verdict) = ejections.on_failure(at(second), &policy(after), ALWAYS);
        ejections = next;
        match verdict {
            Verdict::Ejected(time) => time.as_secs(),
            Verdict::Counted => 0,
            Verdict::FailOpen => unreachable!("it may always be ejected"),
        }
    };
    seconds.iter().map(&mut fail).collect()
}

#[test]
fn failures_in_a_row_eject() {
    assert_eq!(ejected_for(3, &[1, 1, 1]), [0, 0, 10]);
    assert_eq!(ejected_for(1, &[1]), [10]);
}

#[test]
fn failures_while_it_is_ejected_change_nothing() {
    assert_eq!(ejected_for(2, &[1, 1, 2, 3, 10, 11]), [0, 10, 0, 0, 0, 20]);
}

#[test]
fn the_first_failure_after_an_ejection_doubles_it_up_to_the_longest() {
    // It ends at 10, 30, 70, 120.
    assert_eq!(ejected_for(1, &[0, 10, 30, 70, 120]), [10, 20, 40, 50, 50]);
}

#[test]
fn the_doubling_is_forgotten_when_it_was_good_for_as_long_as_the_last_one_took() {
    assert_eq!(ejected_for(1, &[0, 19, 39]), [10, 20, 40]);
    assert_eq!(ejected_for(1, &[0, 20]), [10, 10]);
    // The second took 20 seconds, until 30.
    assert_eq!(ejected_for(1, &[0, 10, 49]), [10, 20, 40]);
    assert_eq!(ejected_for(1, &[0, 10, 50]), [10, 20, 10]);
}

#[test]
fn a_success_starts_the_count_again_and_ends_an_ejection() {
    let policy = policy(2);
    let fail = |ejections: Ejections, second| ejections.on_failure(at(second), &policy, ALWAYS);
    let (once, _) = fail(Ejections::default(), 1);
    let (again, verdict) = fail(once.on_success(at(2)), 3);
    assert_eq!(verdict, Verdict::Counted);
    let (ejected, verdict) = fail(again, 4);
    assert_eq!(verdict, Verdict::Ejected(SECOND * 10));
    let back = ejected.on_success(at(6));
    assert!(ejected.is_ejected(at(6)) && !back.is_ejected(at(6)));
    assert_eq!(back.until(), at(6));
    assert_eq!(fail(back, 7).1, Verdict::Counted);
}

#[test]
fn a_success_long_after_an_ejection_does_not_move_its_end() {
    let (ejected, _) = Ejections::default().on_failure(at(0), &policy(1), ALWAYS);
    assert_eq!(ejected.on_success(at(15)).until(), at(10));
}

#[test]
fn with_too_few_others_it_fails_open_each_time_until_there_are_enough() {
    let (open, verdict) = Ejections::default().on_failure(at(1), &policy(1), || false);
    assert_eq!(verdict, Verdict::FailOpen);
    assert!(!open.is_ejected(at(1)));
    let (open, verdict) = open.on_failure(at(2), &policy(1), || false);
    assert_eq!(verdict, Verdict::FailOpen);
    assert_eq!(open.on_failure(at(3), &policy(1), ALWAYS).1, Verdict::Ejected(SECOND * 10));
}

#[test]
fn whether_others_are_left_is_asked_only_when_it_matters() {
    let never = || -> bool { panic!("it does not matter yet") };
    let (counted, _) = Ejections::default().on_failure(at(1), &policy(2), never);
    let (ejected, _) = counted.on_failure(at(1), &policy(2), ALWAYS);
    assert_eq!(ejected.on_failure(at(2), &policy(2), never).1, Verdict::Counted);
}

#[test]
fn half_of_the_pool_rounded_up_is_left() {
    // The pool, and how many of its backends can be ejected.
    for (pool, ejectable) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5), (11, 5)] {
        let mut left = pool;
        while left > 0 && enough_left(left - 1, pool) {
            left -= 1;
        }
        assert_eq!(pool - left, ejectable, "{pool}");
    }
}

#[test]
fn an_ejection_of_many_doublings_is_the_longest() {
    let policy = EjectionPolicy { longest: Duration::MAX, ..policy(1) };
    assert_eq!(policy.time(0), Duration::ZERO);
    assert_eq!(policy.time(255), SECOND * 10 * u32::MAX);
    let (ejected, _) = Ejections { in_a_row: 255, ..Ejections::default() }.on_failure(
        at(1),
        &EjectionPolicy { first: Duration::MAX, ..policy },
        ALWAYS,
    );
    assert_eq!(Ejections::from_bits(ejected.to_bits()), ejected);
    assert!(ejected.is_ejected(at(1_000_000)));
}

#[test]
fn good_answers_begun_after_the_ejection_end_it() {
    let (none, first, second) = (None, Some(at(10)), Some(at(20)));
    let over = |answers: &[(Answer, [Option<Moment>; 2])]| -> Vec<bool> {
        let mut recovery = Recovery::default();
        answers.iter().map(|&(answer, when)| recovery.on(answer, when, thresholds(2, 3))).collect()
    };
    assert_eq!(over(&[(Good, [first, first]); 2]), [false, true]);
    // Begun before it, ended after it, about another one, or not in a row.
    assert_eq!(over(&[(Good, [none, first]), (Good, [first, first])]), [false, false]);
    assert_eq!(over(&[(Good, [first, first]), (Good, [first, none])]), [false, false]);
    assert_eq!(over(&[(Good, [first, first]), (Good, [second, second])]), [false, false]);
    assert_eq!(over(&[(Good, [first, second]), (Good, [second, second])]), [false, false]);
    let broken = [(Good, [first, first]), (Bad, [first, first]), (Good, [first, first])];
    assert_eq!(over(&broken), [false; 3]);
    assert_eq!(over(&[(Good, [none, none]); 5]), [false; 5]);
}

/// The rules of [`Checks`] said over the whole history, without a counter.
fn naive(history: &[Answer], rise: usize, fall: usize) -> bool {
    let mut up = true;
    let mut since = 0;
    for end in 1..=history.len() {
        let against = if up { Bad } else { Good };
        let needed = if up { fall } else { rise };
        let recent = &history[since..end];
        let row =
            recent.len() >= needed && recent[recent.len() - needed..].iter().all(|&a| a == against);
        if row || (end == 1 && history[0] == Bad) {
            (up, since) = (!up, end);
        }
    }
    up
}

proptest! {
    #[test]
    fn checks_agree_with_the_rules_said_over_the_whole_history(
        answers in proptest::collection::vec(proptest::bool::ANY, 0..60),
        rise in 1..5_u32,
        fall in 1..5_u32,
    ) {
        let answers: Vec<Answer> =
            answers.into_iter().map(|good| if good { Good } else { Bad }).collect();
        let mut checks = Checks::default();
        for (index, &answer) in answers.iter().enumerate() {
            checks.on(answer, thresholds(rise, fall));
            let expected = naive(&answers[..=index], rise as usize, fall as usize);
            prop_assert_eq!(checks.is_up(), expected);
        }
    }

    #[test]
    fn a_delay_is_within_its_jitter(seed: u64, jitter in 0.0..1.0_f64, ms in 1..100_000_u64) {
        let interval = Duration::from_millis(ms);
        let pace = Pace { interval, fast_interval: interval, jitter };
        let delay = Checks::default().delay(pace, &mut fastrand::Rng::with_seed(seed));
        let part = delay.as_secs_f64() / interval.as_secs_f64();
        prop_assert!((part - 1.0).abs() <= jitter + 1e-6, "{part} with {jitter}");
    }

    /// Against a model which keeps a list of everything that happened.
    #[test]
    fn ejections_agree_with_a_list_of_what_happened(
        steps in proptest::collection::vec((0..30_u64, 0..10_u8), 0..60),
        after in 1..4_u32,
    ) {
        let policy = policy(after);
        let (mut ejections, mut now) = (Ejections::default(), 0);
        let (mut row, mut past) = (0, Vec::<(u64, u64, u64)>::new());
        for (wait, kind) in steps {
            now += wait;
            let ejected = past.last().is_some_and(|&(_, until, _)| now < until);
            if kind == 0 {
                ejections = ejections.on_success(at(now));
                row = 0;
                if ejected && let Some(last) = past.last_mut() {
                    last.1 = now;
                }
                continue;
            }
            let may = kind != 1;
            let (next, verdict) = ejections.on_failure(at(now), &policy, || may);
            row += u32::from(!ejected);
            let expected = if ejected || row < after {
                Verdict::Counted
            } else if !may {
                Verdict::FailOpen
            } else {
                let time = match past.last() {
                    Some(&(_, until, time)) if now - until < time => (time * 2).min(50),
                    _ => 10,
                };
                past.push((now, now + time, time));
                Verdict::Ejected(Duration::from_secs(time))
            };
            prop_assert_eq!(verdict, expected);
            prop_assert_eq!(Ejections::from_bits(next.to_bits()), next);
            ejections = next;
        }
    }
}

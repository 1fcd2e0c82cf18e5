use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

/// Searches against a simulated target; the finding, and the rates in the order of their trials.
fn search(mut search: Search, mut target: impl FnMut(f64) -> Vote) -> (Finding, Vec<f64>) {
    let mut trials = Vec::new();
    while let Some(rate) = search.next_rate() {
        assert_eq!(search.finding().limit, Limit::Unfinished);
        trials.push(rate);
        search.on_trial(rate, target(rate));
    }
    (search.finding(), trials)
}

fn up_to(capacity: f64) -> impl FnMut(f64) -> Vote {
    move |rate| if rate <= capacity { Vote::Pass } else { Vote::Fail }
}

fn rates(finding: &Finding) -> (Option<f64>, Option<f64>) {
    let rate = |bound: Option<Bound>| bound.map(|bound| bound.rate_per_s);
    (rate(finding.highest_passing), rate(finding.lowest_failing))
}

#[test]
fn a_sharp_knee_is_bracketed_as_closely_as_asked_for_from_both_sides() {
    for from in [10.0, 1000.0, 41_000.0, 90_000.0, 10_000_000.0] {
        for precision in [0.2, 0.05, 0.01] {
            let (finding, trials) = search(Search::new(from, 1e9, precision), up_to(41_234.0));
            let (Some(low), Some(high)) = rates(&finding) else { panic!("{finding:?}") };
            assert_eq!(finding.limit, Limit::Target);
            assert!(
                low <= 41_234.0 && high > 41_234.0 && high <= low * (1.0 + precision),
                "{finding:?}"
            );
            assert!(trials.len() < 45, "{} trials from {from}", trials.len());
        }
    }
}

#[test]
fn the_trials_of_a_search_are_these() {
    let (finding, trials) = search(Search::new(1000.0, 1e9, 0.2), up_to(3000.0));
    assert_eq!(trials, [1000.0, 2000.0, 4000.0, 4000.0, 2828.0, 3363.0, 3363.0, 2828.0]);
    assert_eq!(rates(&finding), (Some(2828.0), Some(3363.0)));
    let low = finding.highest_passing.expect("it passed");
    let high = finding.lowest_failing.expect("it failed");
    assert_eq!((low.passed, low.failed, high.passed, high.failed), (2, 0, 0, 2));
}

#[test]
fn a_failure_far_from_the_bound_is_not_repeated() {
    let (_, trials) = search(Search::new(64_000.0, 1e9, 0.2), up_to(10_000.0));
    assert_eq!(trials[..5], [64_000.0, 32_000.0, 16_000.0, 8000.0, 16_000.0]);
}

#[test]
fn one_bad_trial_of_three_is_outvoted() {
    for bad in 0..12 {
        for vote in [Vote::Fail, Vote::Unjudged] {
            let mut trial = 0;
            let (finding, trials) = search(Search::new(1000.0, 1e9, 0.05), |rate| {
                trial += 1;
                if trial == bad + 1 { vote } else { up_to(41_234.0)(rate) }
            });
            let (Some(low), Some(high)) = rates(&finding) else { panic!("{finding:?}") };
            assert!(low <= 41_234.0 && high > 41_234.0 && high <= low * 1.05, "{bad}: {trials:?}");
        }
    }
}

#[test]
fn one_lucky_trial_is_no_answer() {
    let mut trial = 0;
    // The first at 2828 passes by luck; the rate that is answered passes twice.
    let (finding, trials) = search(Search::new(1000.0, 1e9, 0.2), |rate| {
        trial += 1;
        if trial == 5 { Vote::Pass } else { up_to(2500.0)(rate) }
    });
    assert_eq!(trials[4], 2828.0);
    assert_eq!(rates(&finding), (Some(2378.0), Some(2828.0)), "{trials:?}");
}

#[test]
fn a_noisy_knee_is_found_within_its_noise() {
    for seed in 0..300 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        // From certain to impossible between 36k and 44k.
        let (finding, trials) = search(Search::new(1000.0, 1e9, 0.05), |rate| {
            let passes = ((44_000.0 - rate) / 8000.0).clamp(0.0, 1.0);
            if random.random_bool(passes) { Vote::Pass } else { Vote::Fail }
        });
        let (Some(low), Some(high)) = rates(&finding) else { panic!("{finding:?}") };
        assert_eq!(finding.limit, Limit::Target, "seed {seed}");
        assert!(
            low > 33_000.0 && high < 46_000.0 && high <= low * 1.05,
            "seed {seed}: {finding:?}"
        );
        assert!(trials.len() < 60, "seed {seed}: {} trials", trials.len());
        assert!(finding.highest_passing.is_some_and(|low| low.passed >= 2), "seed {seed}");
        let high = finding.lowest_failing.expect("it was found");
        assert!(high.failed >= 2, "seed {seed}: {high:?}");
    }
}

#[test]
fn a_target_without_order_ends_too() {
    for seed in 0..300 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let (_, trials) =
            search(Search::new(1000.0, 1e9, 0.01), |_| match random.random_range(0..3) {
                0 => Vote::Pass,
                1 => Vote::Fail,
                _ => Vote::Unjudged,
            });
        assert!(trials.len() <= TRIALS_MAX, "seed {seed}");
    }
}

#[test]
fn what_never_passes_is_tried_down_to_a_thousandth_and_twice_there() {
    let (finding, trials) = search(Search::new(10_240.0, 1e9, 0.05), |_| Vote::Fail);
    assert_eq!(finding.limit, Limit::NothingPassed);
    assert_eq!(rates(&finding), (None, Some(10.0)));
    assert_eq!(trials.len(), 12);
    assert_eq!(trials[9..], [20.0, 10.0, 10.0]);
}

#[test]
fn what_always_passes_does_at_least_the_ceiling() {
    let (finding, trials) = search(Search::new(1000.0, 5000.0, 0.05), |_| Vote::Pass);
    assert_eq!(trials, [1000.0, 2000.0, 4000.0, 5000.0, 5000.0]);
    assert_eq!((finding.limit, rates(&finding)), (Limit::Ceiling, (Some(5000.0), None)));
}

#[test]
fn the_generators_limit_is_not_the_targets() {
    let limited = |rate| if rate <= 41_234.0 { Vote::Pass } else { Vote::Unjudged };
    let (finding, _) = search(Search::new(1000.0, 1e9, 0.05), limited);
    assert_eq!(finding.limit, Limit::Generator);
    let (Some(low), Some(high)) = rates(&finding) else { panic!("{finding:?}") };
    assert!(low <= 41_234.0 && high > 41_234.0, "{finding:?}");
    // A target that gives up below the generator is the limit itself.
    let (finding, _) = search(Search::new(1000.0, 1e9, 0.05), |rate| match rate {
        rate if rate <= 20_000.0 => Vote::Pass,
        rate if rate <= 40_000.0 => Vote::Fail,
        _ => Vote::Unjudged,
    });
    assert_eq!(finding.limit, Limit::Target);
    // One failure with a generator that was well is enough.
    let mut trial = 0;
    let (finding, _) = search(Search::new(1000.0, 1e9, 0.05), |rate| {
        trial += 1;
        match up_to(1900.0)(rate) {
            Vote::Fail if trial % 2 == 0 => Vote::Unjudged,
            vote => vote,
        }
    });
    let high = finding.lowest_failing.expect("it was found");
    assert_eq!((finding.limit, high.failed, high.unjudged), (Limit::Target, 1, 1));
    let (finding, _) = search(Search::new(1000.0, 1e9, 0.05), |_| Vote::Unjudged);
    assert_eq!((finding.limit, rates(&finding).0), (Limit::Generator, None));
}

#[test]
fn a_search_that_is_stopped_tells_what_it_has() {
    let mut search = Search::new(1000.0, 1e9, 0.05);
    search.on_trial(1000.0, Vote::Pass);
    search.on_trial(2000.0, Vote::Fail);
    let finding = search.finding();
    assert_eq!((finding.limit, rates(&finding)), (Limit::Unfinished, (Some(1000.0), Some(2000.0))));
}

#[test]
fn neighbouring_whole_rates_are_close_enough() {
    let (finding, trials) = search(Search::new(1.0, 1e9, 0.01), up_to(6.0));
    assert_eq!(rates(&finding), (Some(6.0), Some(7.0)), "{trials:?}");
    assert_eq!(finding.limit, Limit::Target);
}

use std::sync::atomic::{AtomicBool, Ordering};

use loadgen::report::sample;

use super::*;

fn named<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Named<T> {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn options(targets: &[&str]) -> Options {
    Options {
        targets: targets.iter().map(|text| named(text)).collect(),
        restart: Vec::new(),
        sut: Vec::new(),
        pairs: None,
        metric: vec![Metric::Goodput],
        alpha: 0.05,
    }
}

const TWO: [&str; 2] = ["direct=127.0.0.1:1", "balancer=127.0.0.1:2"];

fn with_goodput(goodput_per_s: f64) -> Report {
    let mut report = sample();
    report.verdict.valid = true;
    report.verdict.reasons.clear();
    report.totals.goodput_per_s = goodput_per_s;
    report
}

fn run_ab(
    options: &Options,
    mut measure: impl FnMut(&Setting) -> Result<Report, Failure>,
) -> Outcome {
    let stop = AtomicBool::new(false);
    ab(options, &mut Runs { measure: &mut measure, stop: &stop }).expect("it runs")
}

#[test]
fn targets_take_turns_and_the_faster_one_is_named() {
    let mut asked = Vec::new();
    let outcome = run_ab(&options(&TWO), |setting| {
        asked.push(setting.target);
        let drift = asked.len() as f64;
        Ok(with_goodput(if setting.target == 0 { 1080.0 } else { 1000.0 } + drift))
    });
    assert_eq!(asked, [0, 1, 1, 0, 0, 1, 1, 0, 0, 1]);
    assert!(
        outcome.text.contains("faster than balancer in goodput (p = 0.00794)"),
        "{}",
        outcome.text
    );
    let comparison = &outcome.json["comparisons"][0];
    assert_eq!(
        (comparison["metric"].as_str(), comparison["differs"].as_bool()),
        (Some("goodput_per_s"), Some(true))
    );
    assert_eq!(outcome.json["targets"][1]["runs"][0]["position"], 1);
    assert_eq!(outcome.json["targets"][1]["runs"][1]["position"], 0);
    assert_eq!(outcome.json["targets"][0]["runs"].as_array().map(Vec::len), Some(5));
    assert!(!outcome.suspect);
}

#[test]
fn suspect_runs_count_and_are_counted() {
    let mut run = 0.0;
    let outcome = run_ab(&options(&TWO), |setting| {
        run += 1.0;
        let mut report = with_goodput(1000.0 + run);
        if setting.target == 1 && run < 4.0 {
            report.verdict.valid = false;
            report.verdict.reasons.push("late".to_owned());
        }
        Ok(report)
    });
    assert!(
        outcome.text.contains("! balancer: 2 of 5 runs SUSPECT, and they count: late"),
        "{}",
        outcome.text
    );
    assert!(
        outcome.text.contains("no difference seen between direct and balancer"),
        "{}",
        outcome.text
    );
    assert_eq!((outcome.suspect, &outcome.json["targets"][1]["suspect"]), (true, &json!(2)));
}

#[test]
fn what_is_stopped_before_there_are_runs_compares_nothing() {
    let stop = AtomicBool::new(false);
    let mut measure = |_: &Setting| {
        stop.store(true, Ordering::Relaxed);
        Ok(with_goodput(1.0))
    };
    let outcome =
        ab(&options(&TWO), &mut Runs { measure: &mut measure, stop: &stop }).expect("it runs");
    assert!(
        outcome.stopped && outcome.text.contains("nothing could be compared"),
        "{}",
        outcome.text
    );
}

#[test]
fn so_many_runs_are_made_as_can_show_something() {
    let three = ["a=127.0.0.1:1", "b=127.0.0.1:2", "c=127.0.0.1:3"];
    let sut = vec![named("a=1"), named("b=2"), named("c=3")];
    for (targets, metric, sut, pairs, expected) in [
        (&TWO[..], vec![], vec![], None, Ok(5)),
        (&TWO, vec![], vec![], Some(9), Ok(9)),
        (&TWO, vec![], vec![], Some(4), Err("at least 5")),
        (&three, vec![], sut.clone(), None, Ok(6)),
        (&three, vec![], sut.clone(), Some(5), Err("give --pairs 6")),
        (&three, vec![Metric::Goodput], sut, Some(5), Ok(5)),
    ] {
        let options = Options { metric, sut, pairs, ..options(targets) };
        match (options.pairs(), expected) {
            (Ok(pairs), Ok(expected)) => assert_eq!(pairs, expected),
            (Err(Failure::Usage(message)), Err(said)) => {
                assert!(message.contains(said), "{message}")
            }
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }
}

#[test]
fn names_are_those_of_targets_and_differ() {
    let check = |options: &Options, said: &str| {
        let Err(Failure::Usage(message)) = options.check_names() else {
            panic!("not refused: {said}")
        };
        assert!(message.contains(said), "{message}");
    };
    check(&options(&["a=h:1", "a=h:2"]), "two targets are called a");
    let restart = vec![named("c=true")];
    check(&Options { restart, ..options(&TWO) }, "no target is called c, only direct, balancer");
    check(&Options { sut: vec![named("d=1")], ..options(&TWO) }, "no target is called d");
    for text in ["127.0.0.1:1", "=127.0.0.1:1", "a=nowhere"] {
        assert!(text.parse::<Named<Where>>().is_err(), "{text}");
    }
}

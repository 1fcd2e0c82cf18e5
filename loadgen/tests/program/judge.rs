//! `loadgen search`, `sweep` and `ab` against backends that are known.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use crate::common::{Served, run, text};
use serde_json::Value;

/// A judging command with JSON on standard output, and its exit code.
fn json(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = run(&[arguments, &["--json", "-"]].concat());
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {:?} {:?}", text(&output.stdout), text(&output.stderr))
    });
    (output.status.code(), json)
}

fn echo() -> Served {
    Served::start(&["--mode", "echo", "0"], 1)
}

#[test]
fn a_sweep_has_a_cell_for_each_value_with_all_its_rounds() {
    let served = echo();
    let target = served.addresses[0].to_string();
    let own = std::process::id().to_string();
    let arguments = ["sweep", &target, "--over", "conns=1,3", "--rounds", "2", "-d", "100ms"];
    let (code, cells) = json(&[&arguments[..], &["--sut-pid", &own]].concat());
    assert_eq!(code, Some(0), "{cells:#}");
    let values: Vec<_> = cells.as_array().unwrap().iter().map(|cell| &cell["value"]).collect();
    assert_eq!(values, [1, 3]);
    for cell in cells.as_array().unwrap() {
        assert_eq!(cell["rounds"], 2, "{cells:#}");
        assert_eq!(cell["runs"]["goodput_per_s"].as_array().unwrap().len(), 2, "{cells:#}");
        assert!(cell["figures"]["goodput_per_s"]["min"].as_f64().unwrap() > 0.0, "{cells:#}");
        assert!(cell["figures"]["cpu_us_per_request"].is_object(), "somebody was watched");
    }
}

#[test]
fn equal_targets_take_turns_and_a_restart_comes_before_each_run() {
    let served = echo();
    let target = served.addresses[0].to_string();
    let file = std::env::temp_dir().join(format!("loadgen-ab-{}", std::process::id()));
    let restart = format!("b=echo again >> {}", file.display());
    let (a, b) = (format!("a={target}"), format!("b={target}"));
    let more = ["--restart", &restart, "-d", "100ms", "-c", "2", "--metric", "goodput"];
    let (code, result) = json(&[&["ab", &a, &b], &more[..]].concat());
    let restarts = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!((code, restarts.lines().count()), (Some(0), 5), "{result:#}");
    for target in result["targets"].as_array().unwrap() {
        assert_eq!(target["runs"].as_array().unwrap().len(), 5, "{result:#}");
    }
    assert_eq!(result["comparisons"].as_array().unwrap().len(), 1, "{result:#}");
}

#[test]
fn a_search_for_what_cannot_be_passes_nowhere() {
    let served = echo();
    let target = served.addresses[0].to_string();
    let trials = ["--from", "2k", "--trial", "200ms", "--precision", "50%", "-c", "2"];
    let (code, result) = json(&[&["search", &target, "--slo", "p50<1ns"], &trials[..]].concat());
    assert_eq!(result["highest_passing"], Value::Null, "{result:#}");
    assert!(result["lowest_failing"]["rate_per_s"].as_f64().unwrap() <= 2000.0, "{result:#}");
    // Where this machine is busy the generator is the limit, or there are too few samples.
    let expected = match result["limit"].as_str().unwrap() {
        "nothing_passed" => Some(3),
        "unfinished" => Some(1),
        _ => Some(0),
    };
    assert_eq!(code, expected, "{result:#}");
}

#[test]
fn what_does_not_fit_together_is_refused_with_the_cure() {
    let slo = ["search", "127.0.0.1:9", "--slo", "p99<1ms"];
    for (arguments, code, cure) in [
        (&[&slo[..], &["-R", "5"]].concat()[..], 2, "give --from, not -R"),
        (&["search", "127.0.0.1:9"], 2, "--slo"),
        (&["sweep", "127.0.0.1:9", "--over", "rate=1", "-R", "5"], 2, "leave -R out"),
        (&["sweep", "127.0.0.1:9", "--over", "colour=1"], 2, "rate, conns and size"),
        (&["ab", "a=127.0.0.1:9"], 2, "NAME=HOST:PORT"),
        (&["ab", "a=127.0.0.1:9", "b=127.0.0.1:9", "--pairs", "3"], 2, "at least 5"),
        (&["sweep", "127.0.0.1:9", "--over", "size=9", "--sut-pid", "4194304"], 1, "ps -e"),
        (&["ping", "127.0.0.1:9", "--arrivals", "poisson"], 2, "rate with -R"),
        (&["sweep", "127.0.0.1:9", "--over", "size=9", "--json", "/no/x"], 1, "another file"),
    ] {
        let output = run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(cure), "{arguments:?}: {said}");
    }
}

//! The first command of the README, shortened.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn demo(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.arg("demo").args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_demo_shows_the_split_the_latency_and_what_to_try_next() {
    let shown = text(&demo(&["--duration", "300ms", "--connections", "9"]).output().unwrap());
    for name in ["B1", "B2", "B3"] {
        let share = shown.lines().find(|line| line.contains(name) && line.contains('%'));
        assert!(share.is_some(), "no share of {name} in:\n{shown}");
    }
    assert_eq!(shown.matches("(0 failed)").count(), 3, "{shown}");
    let percentiles = shown.lines().find(|line| line.starts_with("latency")).unwrap();
    assert!(percentiles.contains("p50") && percentiles.contains("p99"), "{percentiles}");
    let next: Vec<&str> = shown.lines().rev().take(3).collect();
    assert!(next.iter().all(|line| line.trim().starts_with("cargo run --release")), "{next:?}");
}

#[test]
fn a_demo_that_is_interrupted_shows_what_it_saw() {
    let mut child = demo(&["--duration", "1h"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("clients")), "it says what it is going to do");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let shown: Vec<String> = lines.collect();
    assert!(shown.iter().any(|line| line.contains("stopped early")), "{shown:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn more_clients_than_descriptors_are_refused_with_the_cure() {
    let output = demo(&["--connections", "4000000000"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ulimit -n") && said.lines().count() == 1, "{said}");
}

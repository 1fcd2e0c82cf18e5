//! `loadgen doctor` as people and programs meet it.

use crate::common::{run, text};

#[test]
fn it_looks_at_everything_and_ends_well() {
    let output = run(&["doctor"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for name in [
        "open files",
        "local ports",
        "reuse of ports",
        "accept backlog",
        "SYN backlog",
        "congestion control",
        "io_uring",
        "clock source",
        "clock read",
        "clock resolution",
        "timer",
        "processors",
        "floor, 1 connection",
        "floor, 64 connections",
        "stolen time",
    ] {
        let lines =
            said.lines().filter(|line| line.get(6..).is_some_and(|at| at.starts_with(name)));
        assert_eq!(lines.count(), 1, "{name} is told once: {said}");
    }
    let floor = said.lines().find(|line| line.contains("floor, 64")).unwrap_or_default();
    assert!(floor.starts_with("ok ") && floor.contains(" requests/s"), "{floor}");
}

#[test]
fn programs_read_json() {
    let output = run(&["doctor", "--json", "--no-floor"]);
    let document: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(document["schema"], "evenkeel.doctor/1");
    let findings = document["findings"].as_array().map_or(&[][..], Vec::as_slice);
    assert!(findings.len() >= 12, "{document}");
    for finding in findings {
        let verdict = finding["verdict"].as_str().unwrap_or_default();
        assert!(["ok", "note", "bad"].contains(&verdict), "{finding}");
        assert_eq!(finding["cure"].is_null(), verdict == "ok", "{finding}");
    }
    assert!(!text(&output.stdout).contains("floor"));
}

#[test]
fn what_is_bad_is_an_exit_code_where_it_is_asked_for() {
    // More connections than a source address has ports.
    let arguments = ["doctor", "--no-floor", "-c", "100k"];
    let output = run(&arguments);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.lines().any(|line| line.starts_with("BAD   local ports")), "{said}");
    assert!(said.contains("-> sysctl -w net.ipv4.ip_local_port_range='1024 65535'"), "{said}");
    let strict = run(&[&arguments[..], &["--strict"]].concat());
    assert_eq!(strict.status.code(), Some(4));
}

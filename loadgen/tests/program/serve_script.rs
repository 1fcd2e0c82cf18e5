//! `scripts/run_parallel_clients.sh`: the old name and the old habit, by `loadgen http`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{Served, refusing, round_robin, text};

/// Runs the script with `directory` first in the PATH.
fn script(directory: &Path, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/run_parallel_clients.sh");
    let path = std::env::var("PATH").unwrap();
    Command::new(script)
        .args(arguments)
        .env("PATH", format!("{}:{path}", directory.display()))
        .output()
        .unwrap()
}

/// Where the real binary is.
fn real() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_loadgen")).parent().unwrap().to_owned()
}

/// A directory with a `loadgen` that prints `report`, says on standard error how it was called, and
/// ends with `status`.
fn fake(name: &str, report: &str, status: u8) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let program = directory.join("loadgen");
    let script = format!("#!/bin/sh\necho \"$@\" >&2\ncat <<'E'\n{report}\nE\nexit {status}\n");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// The part of a report that the script reads, among others that look like it; `line` breaks lines.
fn report(backends: &[(&str, u64)], line: &str) -> String {
    let one = |(name, responses): &(&str, u64)| {
        let name = serde_json::to_string(name).unwrap();
        format!(
            "{{{line}\"name\": {name},{line}\"responses\": {responses},{line}\"share\": 0.5{line}}}"
        )
    };
    let backends: Vec<String> = backends.iter().map(one).collect();
    format!(
        "{{{line}\"backends\": [{line}{}{line}],{line}\"intervals\": [{{ \"backends\": {{ \"B1\": 7 }} }}],\
         \"stream\": {{ \"directions\": [{{ \"name\": \"up\", \"bytes\": 9 }}] }} }}",
        backends.join(",")
    )
}

#[test]
fn each_backend_is_told_with_its_count() {
    let name = "B 2 \"quoted\" \\";
    let backends = [("B1", 6), (name, 4)];
    for line in ["", "\n    "] {
        let directory = fake("told", &report(&backends, line), 0);
        let output = script(&directory, &[]);
        let said = text(&output.stdout);
        let expected =
            format!("B1 answered 6\n{name} answered 4\n10 of 10 requests were answered\n");
        assert_eq!((said.as_str(), output.status.code()), (expected.as_str(), Some(0)));
        std::fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn loadgen_is_asked_for_a_connection_each() {
    let directory = fake("asked", "{}", 0);
    for (arguments, expected) in [
        (&[][..], "http://127.0.0.1:8080/ -c 10 -n 10"),
        (&["25"], "http://127.0.0.1:8080/ -c 25 -n 25"),
        (&["3", "10.0.0.1", "81"], "http://10.0.0.1:81/ -c 3 -n 3"),
        (&["-p", "8000", "--host", "::1", "-c", "4", "-n", "5"], "http://[::1]:8000/ -c 4 -n 20"),
        (&["--path", "/health", "--port", "80", "2"], "http://127.0.0.1:80/health -c 2 -n 2"),
    ] {
        let said = text(&script(&directory, arguments).stderr);
        assert_eq!(said, format!("http {expected} --requests-per-connection 1 --json -\n"));
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_was_not_answered_is_an_exit_code() {
    for (responses, status, code) in [(10, 0, 0), (9, 0, 1), (0, 1, 1), (10, 130, 130)] {
        let directory = fake("code", &report(&[("B1", responses)], ""), status);
        let output = script(&directory, &[]);
        assert_eq!(output.status.code(), Some(code), "{responses} answered, {status}");
        let last = format!("{responses} of 10 requests were answered\n");
        assert!(text(&output.stdout).ends_with(&last), "{}", text(&output.stdout));
        std::fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for arguments in [
        &["0"][..],
        &["ten"],
        &["--port", "70000"],
        &["--port"],
        &["--loud"],
        &["--path", "health"],
        &["1", "localhost", "80", "more"],
        &["-n", "-1"],
    ] {
        let output = script(&real(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("--help"), "{arguments:?}");
    }
    let help = script(&real(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Usage: scripts/run_parallel_clients.sh"));
}

#[test]
fn two_backends_behind_a_balancer_share_the_clients() {
    let served =
        Served::start(&["--mode", "http", "--name", "B1", "-p", "0", "--name", "B2", "-p", "0"], 2);
    let balancer = round_robin(&served.addresses);
    let output = script(&real(), &["20", "127.0.0.1", &balancer.port().to_string()]);
    let said = text(&output.stdout);
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    let expected = ["20 of 20 requests were answered", "B1 answered 10", "B2 answered 10"];
    assert_eq!(lines, expected, "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn where_nobody_listens_the_reason_is_told() {
    let (_held, address) = refusing();
    let output = script(&real(), &["3", "127.0.0.1", &address.port().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("connection refused"), "{}", text(&output.stderr));
}

#[test]
fn the_script_is_clean_for_shellcheck() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/run_parallel_clients.sh");
    match Command::new("shellcheck").arg(script).output() {
        Ok(output) => assert!(output.status.success(), "{}", text(&output.stdout)),
        Err(_) => eprintln!("skipped: shellcheck is not installed"),
    }
}

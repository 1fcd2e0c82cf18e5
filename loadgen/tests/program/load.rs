//! `loadgen ping`, `http` and `conn` against backends that are known.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Output, Stdio};

use crate::common::{Served, loadgen, refusing, round_robin, run, text};
use crate::peers::scripted;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {:?} {:?}", text(&output.stdout), text(&output.stderr))
    })
}

fn three() -> Served {
    let ports = ["--port", "0", "--port", "0", "--port", "0"];
    Served::start(&[&["--name", "B1", "--name", "B2", "--name", "B3"], &ports[..]].concat(), 3)
}

/// Runs `command` with 1000 requests and answers with its responses by backend.
fn thousand(command: &str, target: SocketAddr, more: &[&str]) -> Vec<(String, u64)> {
    let target = target.to_string();
    let output = run(&[&[command, &target, "-n", "1000", "--json", "-"], more].concat());
    let json = json(&output);
    assert_eq!(output.status.code(), Some(0), "{json:#}");
    assert_eq!(json["totals"]["ok"], 1000, "{json:#}");
    assert_eq!(json["errors"], serde_json::json!({}), "{json:#}");
    assert_eq!(json["latency"]["response"]["count"], 1000, "{json:#}");
    let backends = json["backends"].as_array().unwrap();
    let entry = |one: &Value| {
        (one["name"].as_str().unwrap().to_owned(), one["responses"].as_u64().unwrap())
    };
    backends.iter().map(entry).collect()
}

#[test]
fn ping_counts_every_response_of_every_backend() {
    let served = three();
    let backends = thousand("ping", round_robin(&served.addresses), &["-c", "6"]);
    let names: Vec<&str> = backends.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["B1", "B2", "B3"]);
    assert_eq!(backends.iter().map(|(_, responses)| responses).sum::<u64>(), 1000);
}

#[test]
fn conn_counts_every_connection_of_every_backend() {
    let served = three();
    let mut backends = thousand("conn", round_robin(&served.addresses), &["-c", "4"]);
    backends.sort_by_key(|(_, responses)| *responses);
    let responses: Vec<u64> = backends.iter().map(|(_, responses)| *responses).collect();
    assert_eq!(responses, [333, 333, 334], "in turn, and one request a connection");
}

#[test]
fn every_way_to_run_answers_every_request() {
    let served = Served::start(&["--name", "B1", "--port", "0"], 1);
    let address = served.addresses[0];
    for (command, more) in [
        ("ping", &["-t", "3", "-c", "7"][..]),
        ("ping", &["-c", "1", "--size", "2"]),
        ("ping", &["-c", "300", "-w", "20ms"]),
        ("conn", &["-t", "2", "-c", "9", "--close", "rst"]),
        ("conn", &["-c", "20", "--close", "fin"]),
        ("ping", &["--engine", "epoll", "-t", "2", "-p", "3"]),
        ("conn", &["--engine", "epoll", "-c", "3"]),
        ("ping", &["-p", "16", "-c", "3"]),
        ("ping", &["-p", "1000", "-c", "1", "--size", "1000"]),
        ("ping", &["--requests-per-connection", "10", "-c", "3"]),
        ("ping", &["--requests-per-connection", "geo:5", "-p", "4", "--close", "rst"]),
        ("ping", &["--source", "127.0.0.1,127.0.0.5-127.0.0.7"]),
        ("ping", &["-R", "20k", "--arrivals", "poisson", "--seed", "7"]),
        ("conn", &["-R", "1k:20k", "-d", "1m"]),
    ] {
        assert_eq!(thousand(command, address, more), [("B1".to_owned(), 1000)], "{more:?}");
    }
}

#[test]
fn an_echo_is_verified_at_every_size() {
    let served = Served::start(&["--mode", "echo", "0"], 1);
    for size in ["2", "64", "5000", "100000"] {
        let more = ["-c", "5", "--size", size];
        assert_eq!(thousand("ping", served.addresses[0], &more), [("echo".to_owned(), 1000)]);
    }
    let output = run(&[
        "ping",
        &served.addresses[0].to_string(),
        "-n",
        "20",
        "-c",
        "2",
        "--size",
        "1048576",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn http_is_spoken_in_every_way_too() {
    let served = Served::start(&["--mode", "http", "--name", "B1", "--port", "0"], 1);
    let address = served.addresses[0];
    for more in [
        &["-c", "5"][..],
        &["-t", "2", "-p", "8"],
        &["--method", "POST", "--size", "5000"],
        &["--method", "HEAD"],
        &["-H", "X-Test: 1", "-R", "20k"],
        &["--requests-per-connection", "7"],
        &["-H", "Connection: close", "-c", "3"],
        &["--engine", "epoll"],
    ] {
        assert_eq!(thousand("http", address, more), [("B1".to_owned(), 1000)], "{more:?}");
    }
    let output = run(&["http", &format!("http://{address}/some/path"), "-n", "10", "--json", "-"]);
    let json = json(&output);
    assert_eq!(json["totals"]["ok"], 10, "{json:#}");
    assert_eq!(json["config"]["target"], format!("http://{address}/some/path"));
}

#[test]
fn the_report_is_for_people_and_in_a_file_for_programs() {
    let served = Served::start(&["--name", "B1", "--port", "0"], 1);
    let file = std::env::temp_dir().join(format!("loadgen-report-{}.json", std::process::id()));
    let port = served.addresses[0].port().to_string();
    let path = file.to_str().unwrap();
    let output =
        run(&["ping", "--host", "127.0.0.1", "--port", &port, "-n", "500", "--json", path]);
    let report = text(&output.stdout);
    for part in ["B1", "500", "p99"] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(json["totals"]["ok"], 500);
    assert_eq!(json["config"]["command"][1], "ping");
}

#[test]
fn nobody_there_is_one_clear_line() {
    let (_held, address) = refusing();
    for command in ["ping", "http", "conn"] {
        let output = run(&[command, &address.to_string()]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("connection refused; nothing listens there"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

fn errors_of(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = run(arguments);
    let json = json(&output);
    (output.status.code(), json["errors"].clone())
}

#[test]
fn failures_are_counted_by_kind_and_are_no_responses() {
    let closing = scripted(|stream| drop(stream.read(&mut [0; 100])));
    let wrong = scripted(|stream| {
        let _ = stream.read(&mut [0; 100]).and_then(|_| stream.write_all(b"something else\n"));
    });
    let silent = scripted(|stream| drop(stream.read_to_end(&mut Vec::new())));
    for (target, kind) in [
        (&closing.to_string(), "closed_early"),
        (&wrong.to_string(), "unexpected_reply"),
        (&silent.to_string(), "timeout"),
    ] {
        for command in ["ping", "http", "conn"] {
            let arguments =
                [command, target, "-c", "2", "-n", "4", "--timeout", "50ms", "--json", "-"];
            let expected = serde_json::json!({ kind: 4 });
            assert_eq!(errors_of(&arguments), (Some(1), expected), "{command} {kind}");
        }
    }
}

#[test]
fn a_reset_is_a_reset() {
    let resetting = scripted(|stream| {
        let _ = stream.read(&mut [0; 10]);
        socket2::SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    });
    let resetting = resetting.to_string();
    let arguments = ["ping", &resetting, "-c", "2", "-n", "4", "--json", "-"];
    assert_eq!(errors_of(&arguments), (Some(1), serde_json::json!({ "reset": 4 })));
}

#[test]
fn replies_may_come_in_pieces() {
    let dribbling = scripted(|stream| {
        stream.set_nodelay(true).unwrap();
        while stream.read(&mut [0; 100]).is_ok_and(|len| len > 0) {
            for byte in b"Hello from B1\n" {
                stream.write_all(&[*byte]).unwrap();
            }
        }
    });
    let output = run(&["ping", &dribbling.to_string(), "-c", "2", "-n", "50", "--json", "-"]);
    assert_eq!(json(&output)["backends"][0]["responses"], 50);
}

#[test]
fn a_signal_ends_the_run_with_its_report() {
    let served = Served::start(&["--name", "B1", "--port", "0"], 1);
    let address = served.addresses[0].to_string();
    let child = loadgen(&["ping", &address, "-d", "1h", "--json", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once a connection from it is served, the signal finds it at work.
    std::thread::sleep(std::time::Duration::from_millis(300));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(json(&output)["totals"]["stopped"], true);
}

#[test]
fn names_and_ipv6_are_targets() {
    let served = Served::start(&["--name", "B1", "--port", "0"], 1);
    let named = format!("localhost:{}", served.addresses[0].port());
    assert_eq!(run(&["ping", &named, "-n", "10"]).status.code(), Some(0));
    if TcpListener::bind("[::1]:0").is_ok() {
        let served = Served::start(&["--host", "::1", "--name", "B1", "--port", "0"], 1);
        let target = format!("[::1]:{}", served.addresses[0].port());
        assert_eq!(run(&["conn", &target, "-n", "10"]).status.code(), Some(0));
    } else {
        eprintln!("skipped: this machine has no IPv6");
    }
}

#[test]
fn too_many_connections_are_refused_with_the_cure() {
    let output = run(&["ping", "127.0.0.1:1", "-c", "4000M"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ulimit -n"), "{said}");
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    for arguments in [
        &["ping"][..],
        &["ping", "nowhere"],
        &["ping", "127.0.0.1:1", "--size", "1"],
        &["ping", "127.0.0.1:1", "-c", "0"],
        &["ping", "127.0.0.1:1", "-d", "soon"],
        &["ping", "127.0.0.1:1", "--port", "1"],
        &["ping", "127.0.0.1:1", "-R", "0"],
        &["ping", "127.0.0.1:1", "-R", "many"],
        &["ping", "127.0.0.1:1", "--arrivals", "poisson"],
        &["ping", "127.0.0.1:1", "--source", "10.0.0.0/8"],
        &["ping", "127.0.0.1:1", "--source", "198.51.100.1"],
        &["ping", "127.0.0.1:1", "--source", "::1"],
        &["ping", "127.0.0.1:1", "--size", "10:100000"],
        &["ping", "127.0.0.1:1", "-p", "0"],
        &["ping", "127.0.0.1:1", "--engine", "magic"],
        &["ping", "http://127.0.0.1:1/"],
        &["http", "https://127.0.0.1:1/"],
        &["http", "127.0.0.1:1", "-H", "no header"],
        &["conn", "127.0.0.1:1", "--close", "slam"],
        &["frobnicate"],
        &[],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

//! The configuration file and `evenkeel check`, as its operator meets them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::backend::Backend;
use crate::support::{Balancer, EVENKEEL, Ended, free_port, run, run_command};

const GOOD: &str =
    "[[listener]]\nlisten = \"127.0.0.1:0\"\n[pool.web]\nbackends = [\"127.0.0.1:7001\"]\n";

#[test]
fn a_mistake_in_the_file_is_one_line_with_its_place_and_exit_code_1() {
    for (text, line) in [
        (
            "[pool.web]\nbackens = []\n",
            ":2:1: unknown key `backens` in [pool.web]; did you mean `backends`?",
        ),
        ("x = [\n", ":1:6: unclosed array, expected `]`"),
        (
            "[process]\ncpus = \"${EVENKEEL_UNSET}\"\n",
            ":2:8: the environment variable EVENKEEL_UNSET is not set",
        ),
        (
            &GOOD.replace("127.0.0.1:7001", "no-such-host.invalid:1"),
            ":4:13: cannot resolve backend",
        ),
    ] {
        let file = TempFile::new(text.as_bytes());
        for options in [vec!["--config", file.name()], vec!["check", "--config", file.name()]] {
            let ended = run(&options);
            assert_refused(&ended, &format!("evenkeel: {}{line}", file.name()), text);
        }
    }
}

#[test]
fn several_mistakes_are_several_lines() {
    let file = TempFile::new(b"[process]\nshard = 1\nengine = \"x\"\n");
    let ended = run(&["check", "--config", file.name()]);
    assert_eq!(ended.code, Some(1));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ended.stderr);
    for (line, place) in lines.into_iter().zip(["2:1", "3:10"]) {
        assert!(line.starts_with(&format!("evenkeel: {}:{place}: ", file.name())), "{line}");
    }
}

#[test]
fn what_is_no_file_of_text_is_refused_with_what_it_is() {
    let missing = std::env::temp_dir().join("evenkeel-no-such-file.toml");
    let missing = missing.to_str().unwrap();
    assert_refused(
        &run(&["--config", missing]),
        &format!("evenkeel: {missing}: cannot read it"),
        "missing",
    );
    let folder = std::env::temp_dir();
    let folder = folder.to_str().unwrap();
    assert_refused(
        &run(&["--config", folder]),
        &format!("evenkeel: {folder}: it is a directory"),
        "a folder",
    );
    assert_refused(
        &run(&["--config", "/dev/zero"]),
        "evenkeel: /dev/zero: it has more than 8 MiB",
        "a device without an end",
    );
    let file = TempFile::new(b"[process]\nengine = \"\xff\"\n");
    let line = format!("evenkeel: {}: it is not UTF-8 from byte 20 on", file.name());
    assert_refused(&run(&["--config", file.name()]), &line, "bytes");
    let file = TempFile::new(&b"#".repeat((8 << 20) + 1));
    let line = format!("evenkeel: {}: it has more than 8 MiB", file.name());
    assert_refused(&run(&["--config", file.name()]), &line, "too large");
}

#[test]
fn an_option_of_a_listener_beside_a_file_is_a_wrong_command_line() {
    let file = TempFile::new(GOOD.as_bytes());
    let ended = run(&["--config", file.name(), "--port", "1"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("--port") && ended.stderr.contains("`listen` in [[listener]]"),
        "{}",
        ended.stderr
    );
}

#[test]
fn check_prints_what_the_start_prints_and_starts_nothing() {
    let options = [
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "-s",
        "rr",
        "-c",
        "5",
        "--sticky-key",
        "--engine",
        "epoll",
    ];
    let checked = run(&[&["check"], &options[..]].concat());
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    let started = Balancer::with(&options.join(" "));
    let settings = |lines: Vec<&str>| -> Vec<String> {
        // But for the port that the kernel chose, and the first and last line.
        let lines =
            lines.iter().filter(|line| line.starts_with("  ") && !line.contains("listener"));
        lines.map(|line| line.to_string()).collect()
    };
    let checked = settings(checked.stdout.lines().collect());
    assert_eq!(checked, settings(started.settings.iter().map(String::as_str).collect()));
    for part in ["round-robin", "by ip for 30m", "TCP connect every 5s"] {
        assert!(checked.iter().any(|line| line.contains(part)), "{part} is not in {checked:?}");
    }
}

#[test]
fn a_file_starts_the_balancer_and_options_of_the_program_are_stronger() {
    let backend = Backend::named("B1");
    let text = GOOD.replace("127.0.0.1:7001", "${EVENKEEL_TEST_BACKEND}");
    let file =
        TempFile::new(format!("{text}[process]\nshards = 3\nmax_sessions = 50\n").as_bytes());
    let mut command = Command::new(EVENKEEL);
    command.env("EVENKEEL_TEST_BACKEND", backend.address.to_string());
    let balancer = Balancer::started(command.args(["--config", file.name(), "--shards", "1"]));
    assert!(balancer.setting("shards").starts_with("1, "), "{:?}", balancer.settings);
    assert!(balancer.setting("sessions").starts_with("at most 50 "), "{:?}", balancer.settings);
    assert!(balancer.setting("algorithm").starts_with("p2c"), "{:?}", balancer.settings);
    assert_eq!(balancer.ask(), "B1");
}

#[test]
fn a_warning_does_not_make_the_file_wrong() {
    let pools = "[pool.more]\nbackends = [\"127.0.0.1:7002\"]\n";
    let file = TempFile::new(GOOD.replace(":0\"", ":0\"\npool = \"web\"").as_bytes());
    assert_eq!(run(&["check", "--config", file.name()]).stderr, "");
    let text = std::fs::read_to_string(&file.path).unwrap() + pools;
    std::fs::write(&file.path, text).unwrap();
    let ended = run(&["check", "--config", file.name()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = format!("evenkeel: warning: {}:6:7: no listener uses pool `more`", file.name());
    assert!(
        ended.stderr.starts_with(&line) && ended.stderr.lines().count() == 1,
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("127.0.0.1:7002"), "{}", ended.stdout);
}

#[test]
fn a_backend_that_is_a_listener_is_told_with_its_place() {
    let port = free_port();
    let text =
        GOOD.replace("127.0.0.1:0", &format!("0.0.0.0:{port}")).replace("7001", &port.to_string());
    let file = TempFile::new(text.as_bytes());
    let line = format!(
        "evenkeel: {}:4:13: backend 127.0.0.1:{port} is where evenkeel itself",
        file.name()
    );
    assert_refused(&run(&["check", "--config", file.name()]), &line, "itself");
}

#[test]
fn the_example_can_be_used() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/evenkeel.toml");
    let ended = run_command(Command::new(EVENKEEL).args(["check", "--config", example]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

/// Exit code 1, nothing on standard output and one line that begins like this.
fn assert_refused(ended: &Ended, line: &str, what: &str) {
    let Ended { code, stdout, stderr, .. } = ended;
    assert_eq!((*code, stdout.as_str()), (Some(1), ""), "{what}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
    assert!(stderr.starts_with(line), "{what}: {stderr}");
}

/// Gone when it is dropped.
struct TempFile {
    path: PathBuf,
}

impl TempFile {
    fn new(bytes: &[u8]) -> Self {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-config-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        Self { path }
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

//! Where lines go: files that are moved away, the program's own log, standard error, the journal.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::session_log::reading::{Folder, Format, lines_of};
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;
use crate::support::{Balancer, EVENKEEL, WATCHDOG, eventually, run, skip};

#[test]
fn no_line_is_lost_or_torn_when_the_file_is_moved_away_again_and_again_under_load() {
    let backend = Backend::named("B1");
    for format in Format::ALL {
        let folder = Folder::new();
        let balancer = Balancer::before(&[backend.address], &folder.logging(format));
        let (sessions, done, path) = (AtomicU64::new(0), AtomicU64::new(0), folder.path("log"));
        let began = Instant::now();
        let rotations = 50;
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while done.load(Ordering::Acquire) == 0 && began.elapsed() < WATCHDOG {
                        assert_eq!(balancer.ask(), "B1");
                        sessions.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for rotation in 0..rotations {
                let moved = folder.path(&format!("log.{rotation}"));
                let before = sessions.load(Ordering::Relaxed);
                std::fs::rename(&path, moved).expect("our own folder");
                balancer.signal(Signal::SIGUSR1);
                let more = || sessions.load(Ordering::Relaxed) > before;
                let opened = || Path::new(&path).exists() && more();
                eventually(opened, || format!("not opened again: {}", balancer.log()));
            }
            done.store(1, Ordering::Release);
        });
        let report = balancer.end();
        let names = (0..rotations).map(|rotation| format!("log.{rotation}"));
        let lines = names.chain(["log".to_owned()]).flat_map(|name| {
            let path = folder.path(&name);
            let text = std::fs::read_to_string(&path).expect("one for each rotation");
            assert!(text.is_empty() || text.ends_with('\n'), "{name} ends within a line");
            lines_of(path.as_ref())
        });
        let many =
            lines.map(|line| format.read(&line)).filter(|one| one.end == "-- finished").count();
        let many = u64::try_from(many).expect("it was counted by one");
        assert_eq!(many, sessions.load(Ordering::Relaxed));
        let counts = ["session_log_lines", "session_log_dropped", "session_log_lost"];
        assert_eq!(report.counts(counts), [many, 0, 0]);
    }
}

#[test]
fn the_programs_log_and_its_sessions_go_to_one_file_which_is_opened_again() {
    let (folder, backend) = (Folder::new(), Backend::named("B1"));
    let path = folder.path("load_balancer.log");
    let balancer = Balancer::before(&[backend.address], &format!("--log-file {path}"));
    assert_eq!(balancer.setting("log file"), path);
    assert!(balancer.setting("log lines").contains(&path), "{:?}", balancer.settings);
    let has = |words: &str, many: usize| {
        let lines = || lines_of(path.as_ref()).iter().filter(|line| line.contains(words)).count();
        eventually(|| lines() == many, || format!("not {many} `{words}` in the log"));
    };
    assert_eq!(balancer.ask(), "B1");
    has(" INFO Routing client (", 1);
    has(" -- finished retries 0", 1);
    std::fs::rename(&path, folder.path("old")).expect("our own folder");
    balancer.signal(Signal::SIGUSR1);
    has(" INFO SIGUSR1: opened again: ", 1);
    assert_eq!(balancer.ask(), "B1");
    has(" INFO Routing client (", 1);
    has(" -- finished retries 0", 1);
    let report = stderr_of(balancer);
    assert_eq!(report, "", "all of it is in the file");
    has(" INFO counters: ", 1);
}

#[test]
fn sessions_may_have_a_file_of_their_own_or_none_beside_the_programs() {
    let backend = Backend::named("B1");
    for (sessions, theirs) in [("off", None), ("sessions.json", Some("sessions.json"))] {
        let folder = Folder::new();
        let wanted = theirs.map_or(sessions.to_owned(), |name| folder.path(name));
        let file = ConfigFile::new(&format!(
            "[process]\nlog_file = \"{}\"\nsession_log = \"{wanted}\"\nsession_log_format = \"json\"\n\
             [[listener]]\nlisten = \"127.0.0.1:0\"\n[pool.web]\nbackends = [\"{}\"]\n\
             [pool.web.health]\ntype = \"off\"\n",
            folder.path("lb.log"),
            backend.address
        ));
        let balancer = file.balancer("");
        assert_eq!(balancer.ask(), "B1");
        assert_eq!(stderr_of(balancer), "");
        let own = lines_of(folder.path("lb.log").as_ref());
        assert!(own.iter().any(|line| line.contains("Routing client")), "{own:?}");
        assert!(!own.iter().any(|line| line.contains("\"reason\"")), "{own:?}");
        if let Some(name) = theirs {
            let lines = lines_of(folder.path(name).as_ref());
            assert_eq!(Format::Json.read(&lines[0]).end, "-- finished");
        }
    }
}

#[test]
fn lines_may_go_to_standard_error() {
    let backend = Backend::named("B1");
    let balancer = Balancer::before(&[backend.address], "--session-log stderr --log-level ERROR");
    assert_eq!(balancer.ask(), "B1");
    eventually(|| balancer.log().lines().count() == 1, || balancer.log());
    let entry = Format::Text.read(balancer.log().trim_end());
    assert_eq!(entry.end, "-- finished");
}

#[test]
fn what_cannot_be_opened_is_told_before_anything_listens_and_by_check() {
    let folder = Folder::new();
    let missing = folder.path("no/lb.log");
    for option in ["--log-file", "--session-log"] {
        for command in [&["check", option][..], &[option]] {
            let ended = run(&[command, &[missing.as_str()]].concat());
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains(&missing), "{}", ended.stderr);
            assert!(ended.stderr.contains("make its folder"), "{}", ended.stderr);
            assert!(!ended.stdout.contains("listening on"), "{}", ended.stdout);
        }
    }
    let good = folder.path("lb.log");
    let ended = run(&["check", "--log-file", &good]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!Path::new(&good).exists(), "a look makes nothing");
    let ended = run(&["check", "--session-log", "sdterr"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("did you mean `stderr`"), "{}", ended.stderr);
}

#[test]
fn the_journal_gets_an_entry_for_each_session() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("run/systemd/journal")).expect("our own folder");
    let journal = UnixDatagram::bind(folder.path("run/systemd/journal/socket"));
    let journal = journal.expect("a free name");
    journal.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    let (backend, script) = (Backend::named("B1"), "mount --bind \"$0\" /run && exec \"$@\"");
    let in_a_run_of_its_own = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
        command.arg(folder.path("run"));
        command
    };
    if !in_a_run_of_its_own().arg("true").status().is_ok_and(|status| status.success()) {
        return skip("root and `unshare`, to have a /run of its own");
    }
    let mut command = in_a_run_of_its_own();
    command.args([EVENKEEL, "--host", "127.0.0.1", "--port", "0", "--session-log", "journald"]);
    command.args(["--backends", &backend.address.to_string()]);
    let mut balancer = Balancer::started(&mut command);
    for _ in 0..3 {
        assert_eq!(balancer.ask(), "B1");
    }
    let mut entry = vec![0; 64 * 1024];
    for _ in 0..3 {
        let bytes = journal.recv(&mut entry).expect("an entry");
        let text = std::str::from_utf8(&entry[..bytes]).expect("text");
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        assert_eq!(
            (field("PRIORITY"), field("SYSLOG_IDENTIFIER")),
            ("6".into(), "evenkeel".into())
        );
        assert_eq!(field("EVENKEEL_BACKEND"), backend.address.to_string());
        assert_eq!(
            (field("EVENKEEL_END"), field("EVENKEEL_REASON")),
            ("--".into(), "finished".into())
        );
        assert!(field("EVENKEEL_FIRST_BYTE_US").parse::<u64>().is_ok());
        assert!(field("MESSAGE").contains("-- finished"), "{text}");
    }
    // It goes, and comes back at the same place.
    drop(journal);
    assert_eq!(balancer.ask(), "B1");
    balancer.wait_for_lines("session log: cannot write to /run/systemd/journal/socket", 1);
    std::fs::remove_file(folder.path("run/systemd/journal/socket")).expect("ours");
    let journal = UnixDatagram::bind(folder.path("run/systemd/journal/socket")).expect("free");
    journal.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    journal.recv(&mut entry).expect("the entry that had to wait");
    balancer.wait_for_lines("takes lines again", 1);
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait().code(), Some(0));
}

#[test]
fn without_a_journal_the_program_says_so_instead_of_starting() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("run")).expect("our own folder");
    let script = "mount --bind \"$0\" /run && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    command.args([&folder.path("run"), EVENKEEL, "check", "--session-log", "journald"]);
    let output = command.output().expect("util-linux is everywhere");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("unshare") || stderr.contains("mount:") {
        return skip("root and `unshare`, to have a /run of its own");
    }
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("run systemd-journald, or use a file or stderr"), "{stderr}");
}

/// What it said there until it ended.
fn stderr_of(mut balancer: Balancer) -> String {
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
    balancer.log()
}

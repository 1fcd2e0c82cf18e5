//! `evenkeel doctor` on this host, and on hosts that are worse: where a limit is lowered and a setting is
//! changed it must say so, and the line that it gives must mend it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::process::Command;

use crate::support::file::ConfigFile;
use crate::support::network::{in_own_network, set};
use crate::support::seccomp::{IO_URING_ENTER, IO_URING_SETUP, behind};
use crate::support::user::User;
use crate::support::{EVENKEEL, Ended, run_command, skip};
use nix::errno::Errno;
use serde_json::Value;

#[test]
fn it_tells_of_everything_with_value_reason_and_what_mends_it() {
    let Ended { code, stdout, stderr } = run_command(&mut evenkeel("doctor --shards 1"));
    assert_eq!(stderr, "");
    let title = "evenkeel doctor: this host, for as many sessions as fit on 1 shard, backlog 4096";
    assert_eq!(stdout.lines().next(), Some(title));
    for name in NAMES {
        let told = |line: &&str| line.get(6..).is_some_and(|rest| rest.starts_with(name));
        assert!(stdout.lines().any(|line| told(&line)), "{name} in {stdout}");
    }
    // A reason below each, and a line that mends it below each that is not well.
    let lines: Vec<&str> = stdout.lines().collect();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| is_verdict(line)) {
        let cure = lines[index + 2].starts_with("      -> ");
        assert!(lines[index + 1].starts_with("      "), "{line}: {stdout}");
        assert_eq!(cure, !line.starts_with("ok "), "{line}: {stdout}");
    }
    assert_eq!(code, Some(i32::from(lines.iter().any(|line| line.starts_with("BAD ")))));
    assert!(!stdout.contains('\x1b'), "no colours where no terminal is: {stdout}");
}

#[test]
fn programs_read_what_people_read() {
    let (code, document) = examine(&mut evenkeel("doctor --json --shards 1 --max-sessions 77"));
    assert_eq!(document["schema"], "evenkeel.host/1");
    assert_eq!(document["wanted"]["max_sessions"], 77);
    assert_eq!(document["wanted"]["shards"], 1);
    assert_eq!(code, i32::from(document["worst"] == "bad"));
    let findings = document["findings"].as_array().unwrap();
    for name in NAMES {
        let named = |finding: &&Value| finding["name"].as_str().unwrap().starts_with(name);
        assert!(findings.iter().any(|finding| named(&finding)), "{name} in {document:#}");
    }
    for finding in findings {
        assert_eq!(finding["cure"].is_null(), finding["verdict"] == "ok", "{finding:#}");
        assert!(["ok", "warn", "bad"].iter().any(|word| finding["verdict"] == *word));
        assert!(finding["value"].is_string() && finding["why"].is_string(), "{finding:#}");
    }
}

#[test]
fn a_file_is_judged_by_and_a_wrong_one_is_refused_as_check_refuses_it() {
    let listener = "[[listener]]\nlisten = \"127.0.0.1:0\"\npool = \"a\"\n";
    let pool = "[pool.a]\nbackends = [\"127.0.0.1:1\"]\nsplice = \"off\"\n";
    let file =
        ConfigFile::new(&format!("[process]\nmax_sessions = 60\n{listener}backlog = 9\n{pool}"));
    let (_, document) =
        examine(evenkeel("doctor --json --config").args([file.name(), "--engine", "epoll"]));
    let wanted = &document["wanted"];
    assert_eq!((&wanted["max_sessions"], &wanted["backlog"]), (&60.into(), &9.into()));
    assert_eq!(finding(&document, "io_uring")["value"], "not asked for (--engine epoll)");
    assert_eq!(finding(&document, "pipe budget")["value"], "not asked for (--splice off)");

    file.write("[process]\nmax_session = 60\n");
    let with_file = |command: &str| run_command(evenkeel(command).arg("--config").arg(file.name()));
    let (doctor, check) = (with_file("doctor"), with_file("check"));
    assert_eq!((doctor.code, doctor.stdout.as_str()), (Some(1), ""));
    assert!(doctor.stderr.contains("did you mean `max_sessions`?"), "{}", doctor.stderr);
    assert_eq!(doctor.stderr, check.stderr);
    let beside = run_command(evenkeel("doctor --port 1 --config").arg(file.name()));
    assert_eq!(beside.code, Some(2), "{}", beside.stderr);
    assert!(beside.stderr.contains("--port is not for use beside --config"), "{}", beside.stderr);
}

#[test]
fn a_file_limit_that_is_too_low_is_bad_and_the_line_names_one_that_is_enough() {
    let limited = |limit: &str, command: &str| {
        let mut shell = Command::new("sh");
        let script = format!("{limit} && exec \"$0\" {command} --max-sessions 500");
        shell.args(["-c", &script, EVENKEEL]);
        shell
    };
    let (code, document) = examine(&mut limited("ulimit -n 128", "doctor --json"));
    let files = finding(&document, "open files");
    assert_eq!((code, &files["verdict"]), (1, &"bad".into()), "{files:#}");
    // The balancer itself says the same.
    assert_eq!(run_command(&mut limited("ulimit -n 128", "check")).code, Some(1));
    let cure = files["cure"].as_str().unwrap();
    let (_, mended) = examine(&mut limited(cure, "doctor --json"));
    assert_eq!(finding(&mended, "open files")["verdict"], "ok", "{cure}");
    assert_eq!(run_command(&mut limited(cure, "check")).code, Some(0), "{cure}");
    // So few that no session fits: it is bad without a wish, too, and there is still something to read.
    let script = "ulimit -n 40; exec \"$0\" doctor --json";
    let (code, document) = examine(Command::new("sh").args(["-c", script, EVENKEEL]));
    assert_eq!((code, &finding(&document, "open files")["verdict"]), (1, &"bad".into()));
}

#[test]
fn a_setting_that_is_wrong_is_found_and_the_line_mends_it() {
    if !in_own_network() {
        return skip("root and `ip`, to have a network of its own");
    }
    let (ports, wide) = ("net/ipv4/ip_local_port_range", "32768 60999");
    for (sysctl, worse, name, verdict, options) in [
        ("net/core/somaxconn", "100", "accept backlog", "bad", ""),
        ("net/core/somaxconn", "1000", "accept backlog", "warn", ""),
        ("net/core/somaxconn", "1000", "accept backlog", "warn", "--backlog 1001"),
        ("net/ipv4/tcp_syncookies", "0", "SYN backlog", "bad", ""),
        ("net/ipv4/tcp_syncookies", "2", "SYN backlog", "warn", ""),
        ("net/ipv4/tcp_migrate_req", "0", "queue migration", "warn", ""),
        ("net/ipv4/tcp_tw_reuse", "0", "reuse of ports", "warn", ""),
        (ports, "40000 40099", "local ports", "bad", "--max-sessions 201"),
        (ports, "40000 40099", "local ports", "warn", "--max-sessions 199"),
        (ports, "8000 60999", "listening ports", "warn", "--port 8000"),
    ] {
        set("net/ipv4/tcp_max_syn_backlog", "64");
        set(ports, wide);
        set(sysctl, worse);
        let mut doctor = evenkeel("doctor --json");
        let doctor = doctor.args(options.split_whitespace());
        mended(doctor, name, verdict);
    }
    let enough = examine(&mut evenkeel("doctor --json --backlog 100"));
    assert_eq!(finding(&enough.1, "accept backlog")["verdict"], "ok");
    // Which ones may be chosen here is up to the host; reno always may.
    for (name, verdict) in [("reno", "ok"), ("bbr", "warn")] {
        if std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", name).is_ok() {
            let (_, document) = examine(&mut evenkeel("doctor --json"));
            assert_eq!(finding(&document, "congestion control")["verdict"], verdict, "{name}");
        }
    }
}

#[test]
fn another_user_may_not_listen_on_a_low_port_until_the_line_allows_it() {
    let Some(user) = User::new() else { return };
    if !in_own_network() {
        return skip("root and `ip`, to have a network of its own");
    }
    set("net/ipv4/ip_unprivileged_port_start", "1024");
    let mut doctor = user.may_run(EVENKEEL.as_ref());
    mended(doctor.args(["doctor", "--json", "--port", "80"]), "listening ports", "bad");
    // Root may anyway.
    set("net/ipv4/ip_unprivileged_port_start", "1024");
    let (_, document) = examine(&mut evenkeel("doctor --json --port 80"));
    assert_eq!(finding(&document, "listening ports")["verdict"], "ok");
}

/// On a kernel that counts rings.
#[test]
fn a_user_with_too_little_locked_memory_is_told_how_much_is_enough() {
    let Some(user) = User::new() else { return };
    let doctor = |limit: &str| {
        let mut command = Command::new("prlimit");
        let evenkeel = user.may_run(EVENKEEL.as_ref());
        command.args([
            &format!("--memlock={limit}:{limit}"),
            "setpriv",
            "--reuid",
            &user.id().to_string(),
        ]);
        command.args(["--clear-groups", "--bounding-set=-all"]).arg(evenkeel.get_program());
        command.args(["doctor", "--json", "--shards", "1"]).current_dir("/");
        examine(&mut command)
    };
    let (code, document) = doctor("0");
    let locked = finding(&document, "locked memory");
    if locked["value"] == "rings are not counted by this kernel" {
        return skip("Linux 6.14 or later");
    }
    assert_eq!((code, &locked["verdict"]), (1, &"bad".into()), "{locked:#}");
    assert_eq!(finding(&document, "io_uring")["verdict"], "bad", "the kernel agrees");
    let kib: u64 =
        locked["cure"].as_str().unwrap().strip_prefix("ulimit -l ").unwrap().parse().unwrap();
    let (_, document) = doctor(&(kib * 1024).to_string());
    for name in ["locked memory", "io_uring"] {
        assert_eq!(finding(&document, name)["verdict"], "ok", "{kib} KiB: {document:#}");
    }
}

#[test]
fn an_interface_that_cuts_no_packets_is_found_and_the_line_mends_it() {
    let ip = |line: &str| {
        Command::new("ip").args(line.split(' ')).status().is_ok_and(|done| done.success())
    };
    let off = || Command::new("ethtool").args(["-K", "ekdoctor0", "tso", "off"]).status();
    if !in_own_network()
        || !ip("link add ekdoctor0 type veth peer name ekdoctor1")
        || !ip("link set ekdoctor0 up")
        || !ip("link set ekdoctor1 up")
        || !off().is_ok_and(|done| done.success())
    {
        return skip("root, `ip` and `ethtool`, to have an interface of its own");
    }
    mended(&mut evenkeel("doctor --json"), "GRO and TSO, ekdoctor0", "warn");
}

#[test]
fn io_uring_that_is_blocked_is_told_of_and_bad_where_it_was_insisted_on() {
    for syscall in [IO_URING_SETUP, IO_URING_ENTER] {
        for (engine, verdict, then) in
            [("auto", "warn", "epoll is used"), ("uring", "bad", "evenkeel will not start")]
        {
            let options = format!("doctor --json --engine {engine}");
            let (code, document) =
                behind(syscall, Errno::EPERM, || examine(&mut evenkeel(&options)));
            let ring = finding(&document, "io_uring");
            assert_eq!(ring["verdict"], verdict, "{ring:#}");
            let value = ring["value"].as_str().unwrap();
            assert!(value.contains("a seccomp filter is on") && value.ends_with(then), "{ring:#}");
            assert!(ring["cure"].as_str().unwrap().contains("seccomp"), "{ring:#}");
            assert!(verdict == "warn" || code == 1, "{document:#}");
        }
    }
}

#[test]
fn a_terminal_gets_colours_unless_somebody_objects_and_lines_that_fit() {
    let in_terminal = |setting: &str| {
        let line = format!("stty cols 80; {setting} exec '{EVENKEEL}' doctor");
        Command::new("script").args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").output()
    };
    let Ok(coloured) = in_terminal("") else { return skip("script") };
    let coloured = String::from_utf8(coloured.stdout).unwrap();
    assert!(coloured.contains("\x1b[32mok "), "{coloured:?}");
    for objection in ["NO_COLOR=1", "TERM=dumb"] {
        let plain = String::from_utf8(in_terminal(objection).unwrap().stdout).unwrap();
        assert!(!plain.contains('\x1b') && plain.contains("ok    "), "{objection}: {plain:?}");
        for line in plain.lines().filter(|line| !line.starts_with("      -> ")) {
            assert!(line.trim_end().chars().count() <= 80, "{objection}: {line}");
        }
    }
}

fn evenkeel(line: &str) -> Command {
    let mut command = Command::new(EVENKEEL);
    command.args(line.split_whitespace());
    command
}

/// The exit code and the document.
fn examine(command: &mut Command) -> (i32, Value) {
    let Ended { code, stdout, stderr } = run_command(command);
    assert_eq!(stderr, "");
    (
        code.unwrap(),
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}")),
    )
}

#[track_caller]
fn finding<'a>(document: &'a Value, name: &str) -> &'a Value {
    let findings = document["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {document:#}"))
}

/// It is as bad as expected, and well after a shell has run the line that mends it.
#[track_caller]
fn mended(doctor: &mut Command, name: &str, verdict: &str) {
    let (_, document) = examine(doctor);
    let before = finding(&document, name);
    assert_eq!(before["verdict"], verdict, "{before:#}");
    let cure = before["cure"].as_str().unwrap();
    let shell = run_command(Command::new("sh").args(["-c", cure]));
    assert_eq!(shell.code, Some(0), "{cure}: {}", shell.stderr);
    let (_, document) = examine(doctor);
    assert_eq!(finding(&document, name)["verdict"], "ok", "{cure}");
}

fn is_verdict(line: &str) -> bool {
    ["ok    ", "warn  ", "BAD   "].iter().any(|word| line.starts_with(word))
}

/// What is told on every host.
const NAMES: &[&str] = &[
    "open files",
    "accept backlog",
    "SYN backlog",
    "queue migration",
    "listening ports",
    "local ports",
    "reuse of ports",
    "io_uring",
    "locked memory",
    "pipe budget",
    "conntrack",
    "GRO and TSO",
    "congestion control",
    "shards",
    "CPU quota",
];

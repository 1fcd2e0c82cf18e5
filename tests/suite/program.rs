//! The program as its operator meets it: what it prints, what it refuses and how, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::{Balancer, EVENKEEL, Ended, free_port, run, run_command, skip};
use nix::sys::signal::Signal;

#[test]
fn a_mistake_on_the_command_line_is_one_line_and_exit_code_2() {
    for (options, named) in [
        ("--no-such-option", "--no-such-option"),
        ("--prot 8080", "--port"),
        ("surplus", "surplus"),
        ("--port", "--port"),
        ("--port x", "x"),
        ("--port 65536", "65536"),
        ("--port -1", "-1"),
        ("--backends", "--backends"),
        ("--backends a", "port"),
        ("--backends 127.0.0.1", "port"),
        ("--backends a:", "port"),
        ("--backends a:x", "x"),
        ("--backends a:0", "port 0"),
        ("--backends a:65536", "65536"),
        ("--backends :80", "host"),
        ("--backends ::1:80", "[::1]:80"),
        ("--backends [::g]:80", "[::g]"),
        ("--backends a:1,,b:2", "host:port"),
        ("--algorithm fastest", "fastest"),
        ("--algorithm", "--algorithm"),
        ("-s xx", "xx"),
        ("--shards 0", "0"),
        ("--shards -1", "-1"),
        ("--shards many", "many"),
        ("--cpus x", "0,2-5"),
        ("--cpus 3-1", "3-1"),
        ("--cpus 0,", "--cpus"),
        ("--engine steam", "steam"),
        ("--log-level LOUD", "LOUD"),
        ("--connect-timeout 3", "3s"),
        ("--connect-timeout 0s", "500ms"),
        ("--connect-timeout soon", "3s"),
        ("--idle-timeout=-1s", "-1s"),
        ("--half-closed-timeout 1parsec", "1parsec"),
        ("--max-sessions 0", "0"),
        ("--defer-accept 3", "3s"),
        ("--backlog 0", "0"),
        ("--buffers 0", "0"),
        ("--buffers 1000000", "1000000"),
        ("-c x", "x"),
    ] {
        let words: Vec<&str> = options.split_whitespace().collect();
        assert_refused(&run(&words), 2, &[named], options);
    }
    assert_refused(&run(&["--backends", ""]), 2, &["host:port"], "empty backends");
}

#[test]
fn an_empty_host_is_a_mistake_on_the_command_line_too() {
    assert_refused(&run(&["--port", "0", "--host", ""]), 2, &["--host"], "empty host");
}

#[test]
fn a_port_in_use_is_one_line_that_names_the_port_and_exit_code_1() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let ended = run(&["--host", "127.0.0.1", "--port", &port]);
    assert_refused(&ended, 1, &[&port, "in use", "ss -ltnp"], "a port in use");
}

#[test]
fn a_backend_that_is_the_balancer_itself_is_one_line_and_exit_code_1() {
    let port = free_port().to_string();
    let itself = format!("127.0.0.1:{port}");
    for host in ["127.0.0.1", "0.0.0.0"] {
        let options = ["--host", host, "--port", &port, "-b", &itself];
        assert_refused(&run(&options), 1, &[&itself, "itself", "--port"], host);
        // Also as one of several.
        let options = [&options[..], &["127.0.0.1:1"]].concat();
        assert_refused(&run(&options), 1, &[&itself, "itself"], host);
    }
    // The same port at another address is somebody else.
    let options = format!("--host 127.0.0.1 --port {port} -b 127.0.0.2:{port}");
    assert_eq!(Balancer::with(&options).address.port().to_string(), port);
}

#[test]
fn a_second_balancer_does_not_join_the_port_of_the_first() {
    let backend = Backend::named("B1");
    let first = Balancer::before(&[backend.address], "");
    let port = first.address.port().to_string();
    let ended = run(&["--host", "127.0.0.1", "--port", &port]);
    assert_refused(&ended, 1, &[&port, "in use"], "a port that is shared between shards");
    assert_eq!(first.ask(), "B1");
}

#[test]
fn a_name_that_does_not_resolve_is_one_line_and_exit_code_1() {
    let ended = run(&["--port", "0", "--backends", "no-such-host.invalid:1"]);
    assert_refused(&ended, 1, &["no-such-host.invalid"], "a backend");
    let ended = run(&["--port", "0", "--host", "no-such-host.invalid"]);
    assert_refused(&ended, 1, &["no-such-host.invalid"], "a host to listen on");
}

#[test]
fn an_address_of_another_machine_is_one_line_and_exit_code_1() {
    // TEST-NET-2 (RFC 5737): no machine has it.
    let ended = run(&["--port", "0", "--host", "198.51.100.1"]);
    assert_refused(&ended, 1, &["198.51.100.1", "0.0.0.0"], "a strange address");
}

#[test]
fn a_low_port_without_permission_is_one_line_with_its_cure_and_exit_code_1() {
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if start.is_ok_and(|start| start.trim().parse::<u32>().is_ok_and(|start| start <= 2)) {
        return skip("net.ipv4.ip_unprivileged_port_start above 2");
    }
    let low_port = ["--host", "127.0.0.1", "--port", "1"];
    let ended = if we_are_root() {
        let Some(copy) = Copy::for_everybody() else {
            return skip("setpriv, to give root's privilege away");
        };
        run_command(as_nobody().arg(&copy.path).args(low_port))
    } else {
        run(&low_port)
    };
    assert_refused(&ended, 1, &["no permission", "ip_unprivileged_port_start"], "port 1");
}

#[test]
fn too_few_descriptors_are_one_line_with_the_limit_and_exit_code_1() {
    for (limit, named) in [(64, "64"), (400, "--max-sessions")] {
        let options = "--host 127.0.0.1 --port 0 --shards 1 --max-sessions 1000";
        let script = format!("ulimit -n {limit}; exec \"$0\" {options}");
        let ended = run_command(Command::new("sh").args(["-c", &script, EVENKEEL]));
        assert_refused(&ended, 1, &[named, "ulimit -n"], &format!("{limit} descriptors"));
    }
}

#[test]
fn a_cpu_that_cannot_be_used_is_one_line_with_those_that_can_and_exit_code_1() {
    let allowed = uring::allowed_cpus().unwrap();
    let ended = run(&["--port", "0", "--cpus", "8191"]);
    let usable = uring::CpuList(allowed.clone()).to_string();
    assert_refused(&ended, 1, &["CPU 8191", "this machine has not", &usable], "no such CPU");
    let [first, .., last] = allowed.as_slice() else {
        return skip("two CPUs");
    };
    let (first, last) = (first.to_string(), last.to_string());
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &first, EVENKEEL, "--port", "0", "--cpus", &last]);
    let parts = [&format!("CPU {last}"), "may not use", &format!("--cpus {first}")];
    assert_refused(&run_command(&mut command), 1, &parts, "a CPU outside the mask");
}

#[test]
fn help_and_version_go_to_standard_output_and_exit_with_0() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let options =
        ["--host", "--port", "--backends", "-b", "--algorithm", "-s", "--shards", "--cpus"];
    for word in options.into_iter().chain(["-c", "--connect-timeout", "--max-sessions", "8080"]) {
        assert!(help.stdout.contains(word), "{word} is not in: {}", help.stdout);
    }
    let version = run(&["--version"]);
    assert_eq!((version.code, version.stderr.as_str()), (Some(0), ""));
    assert_eq!(version.stdout.trim(), concat!("evenkeel ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_effective_settings_are_printed_before_the_line_about_listening() {
    let options = "--host 127.0.0.1 --port 0 --backends 127.0.0.1:7001,[::1]:7002 \
                   --algorithm least-connections --shards 1 --connect-timeout 1500ms \
                   --idle-timeout 2h --half-closed-timeout 45s --max-sessions 123 --buffers 77";
    let balancer = Balancer::with(options);
    let (last, settings) = balancer.settings.split_last().unwrap();
    assert_eq!(last, &format!("listening on {}", balancer.address));
    assert_ne!(balancer.address.port(), 0);
    let text = settings.join("\n");
    for part in
        ["127.0.0.1:7001", "[::1]:7002", "least-connections", "1s 500ms", "2h", "45s", "123", "77"]
    {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn the_defaults_are_printed_too() {
    let balancer = Balancer::with("--host 127.0.0.1 --port 0");
    let text = balancer.settings.join("\n");
    for part in ["127.0.0.1:8881", "127.0.0.1:8882", "auto", "3s", "1h", "30s"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn both_dialects_start_the_same_balancer() {
    let backends = ["B1", "B2"].map(Backend::named);
    let [b1, b2] = backends.each_ref().map(|one| one.address);
    for options in [
        format!("--host 127.0.0.1 -b {b1} {b2} -c 5 -s rr -p 0"),
        format!("--host 127.0.0.1 -p 0 -s rr -c 10 -b {b1},{b2}"),
        format!("--host 127.0.0.1 --port 0 --backends {b1} {b2} --algorithm round-robin"),
    ] {
        let balancer = Balancer::with(&options);
        let said: Vec<String> = (0..4).map(|_| balancer.ask()).collect();
        assert_eq!(said, ["B1", "B2", "B1", "B2"], "{options}");
    }
}

#[test]
fn an_ipv6_address_is_printed_in_brackets() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("the IPv6 loopback ::1");
    }
    let balancer = Balancer::with("--host ::1 --port 0");
    assert!(balancer.settings.last().unwrap().starts_with("listening on [::1]:"));
}

#[test]
fn sigint_and_sigterm_end_with_exit_code_0() {
    let backend = Backend::named("B1");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut balancer = Balancer::before(&[backend.address], "");
        assert_eq!(balancer.ask(), "B1");
        balancer.signal(signal);
        assert_eq!(balancer.wait().code(), Some(0), "{signal}: {}", balancer.log());
        assert!(TcpStream::connect(balancer.address).is_err(), "nobody listens any more");
    }
}

#[test]
fn a_signal_right_after_the_start_ends_with_exit_code_0() {
    for _ in 0..10 {
        let mut balancer = Balancer::with("--host 127.0.0.1 --port 0");
        balancer.signal(Signal::SIGTERM);
        assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
    }
}

#[test]
fn sessions_that_are_open_at_a_signal_are_cut_by_a_reset() {
    let backend = Backend::echo();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut balancer = Balancer::before(&[backend.address], "");
        let mut clients: Vec<TcpStream> = (0..20).map(|_| balancer.connect()).collect();
        for client in &mut clients {
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        balancer.signal(signal);
        assert_eq!(balancer.wait().code(), Some(0), "{signal}: {}", balancer.log());
        for client in clients {
            assert_eq!(crate::support::read_to_the_end(&client), crate::support::End::Reset(0));
        }
    }
}

#[test]
fn a_session_that_ends_soon_after_the_signal_ends_cleanly() {
    let backend = Backend::running(|mut client| {
        let _ = client.read_exact(&mut [0; 4]);
        std::thread::sleep(Duration::from_millis(100));
        let _ = client.write_all(b"answer");
    });
    let mut balancer = Balancer::before(&[backend.address], "");
    let mut client = balancer.connect();
    client.write_all(b"ask!").unwrap();
    backend.wait_for_accepted(1);
    balancer.signal(Signal::SIGTERM);
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "answer");
    drop(client);
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
}

#[test]
fn a_restart_binds_the_same_port_at_once() {
    let backend = Backend::named("B1");
    let port = free_port();
    let options = format!("--host 127.0.0.1 --port {port} --backends {}", backend.address);
    for _ in 0..5 {
        let mut balancer = Balancer::with(&options);
        assert_eq!(balancer.address.port(), port);
        (0..5).for_each(|_| assert_eq!(balancer.ask(), "B1"));
        let _open = balancer.connect();
        balancer.signal(Signal::SIGTERM);
        assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
    }
}

/// One line on standard error that names the cause, nothing on standard output, and the exit code.
fn assert_refused(ended: &Ended, code: i32, parts: &[&str], what: &str) {
    let Ended { stderr, .. } = ended;
    assert_eq!(ended.code, Some(code), "{what}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{what}: not one line: {stderr}");
    assert!(stderr.starts_with("evenkeel: "), "{what}: {stderr}");
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
    assert_eq!(ended.stdout, "", "{what}");
    for part in parts {
        assert!(stderr.contains(part), "{what}: {part} is not in: {stderr}");
    }
}

/// The binary where every user can reach it, until it is dropped.
struct Copy {
    folder: std::path::PathBuf,
    path: std::path::PathBuf,
}

impl Copy {
    fn for_everybody() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("evenkeel-test-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let copy = Self { path: folder.join("evenkeel"), folder };
        // By another process: a descriptor that writes to the copy here could be inherited by a
        // child of another test, and the copy then be busy (ETXTBSY, execve(2)).
        let copied = Command::new("cp").arg(EVENKEEL).arg(&copy.path).status();
        assert!(copied.unwrap().success(), "{EVENKEEL} cannot be copied");
        for path in [&copy.folder, &copy.path] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let runs = as_nobody().arg(&copy.path).arg("--version").output();
        runs.is_ok_and(|output| output.status.success()).then_some(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn we_are_root() -> bool {
    // A process belongs to its effective user (proc(5)).
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn as_nobody() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups", "--inh-caps=-all"]);
    command
}

//! What is asked of the sockets on both sides: how they find out that a peer is lost, and where
//! connections to backends come from. That such a peer is found out is in `namespace.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::look::Watch;
use crate::support::{Balancer, EVENKEEL, eventually, run};
use nix::sys::signal::Signal;

const SEVEN: Option<Duration> = Some(Duration::from_secs(7));
const EIGHT: Option<Duration> = Some(Duration::from_secs(8));
const OFF: Watch = Watch { keepalive: None, user_timeout: None };
const BOTH: Watch = Watch { keepalive: SEVEN, user_timeout: EIGHT };

#[test]
fn the_options_that_watch_connections_hold_for_both_sides() {
    let backend = Backend::echo();
    for (options, watch) in [
        ("", OFF),
        ("--tcp-keepalive 7s --tcp-user-timeout 8s", BOTH),
        ("--tcp-keepalive 7s", Watch { keepalive: SEVEN, ..OFF }),
        ("--tcp-user-timeout 8s", Watch { user_timeout: EIGHT, ..OFF }),
    ] {
        let balancer = Balancer::before(&[backend.address], options);
        assert_eq!(watches(&balancer, backend.address), [watch, watch], "{options}");
        let told = [balancer.setting("listener"), &balancer.settings.join("\n")]
            .map(|text| (text.contains("after 7s of silence"), text.contains("lost after 8s")));
        assert_eq!(told, [(watch.keepalive.is_some(), watch.user_timeout.is_some()); 2]);
        let connects = balancer.settings.iter().any(|line| line.trim().starts_with("connects"));
        assert_eq!(connects, watch != OFF, "{:?}", balancer.settings);
    }
}

#[test]
fn the_keys_that_watch_connections_hold_for_the_side_of_their_table() {
    let backend = Backend::echo();
    let keys = "tcp_keepalive = \"7s\"\ntcp_user_timeout = \"8s\"\n";
    for (listener, pool, sides) in [(keys, "", [BOTH, OFF]), ("", keys, [OFF, BOTH])] {
        let file = File::new(listener, pool, backend.address);
        assert_eq!(watches(&file.balancer(), backend.address), sides, "{listener} {pool}");
    }
}

/// That of the client's side and that of the backend's, while a session is open.
fn watches(balancer: &Balancer, backend: SocketAddr) -> [Watch; 2] {
    let mut client = balancer.connect();
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    let watches = balancer.watches_of_connections();
    let of = |peer| watches.iter().find(|(other, _)| *other == peer).expect("it is open").1;
    [of(client.local_addr().unwrap()), of(backend)]
}

#[test]
fn connections_to_a_backend_come_from_the_sources_in_turn() {
    let backends = [Backend::running(say_who_comes), Backend::running(say_who_comes)];
    for (options, backends, came) in [
        ("", &backends[..1], ["127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"]),
        ("--source 127.0.0.2", &backends[..1], ["127.0.0.2"; 4]),
        (
            "--source 127.0.0.2,::1,127.0.0.3",
            &backends[..1],
            ["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"],
        ),
        // No backend has a source of its own, although each is every second one.
        (
            "--source 127.0.0.2,127.0.0.3",
            &backends[..],
            ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"],
        ),
        ("--source ::1", &backends[..1], ["127.0.0.1"; 4]),
    ] {
        let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
        let options = format!("{options} --shards 1 --algorithm round-robin");
        let balancer = Balancer::before(&addresses, &options);
        assert_eq!([(); 4].map(|()| balancer.ask()), came, "{options}");
    }
}

#[test]
fn a_source_that_this_host_does_not_have_is_refused_with_the_cure() {
    let options = ["--port", "0", "--source", "127.0.0.2,198.51.100.1"];
    let cure = "--source 198.51.100.1 is no address of this host; see `ip address`";
    for command in [&[][..], &["check"]] {
        let ended = run(&[command, &options].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(cure), "{}", ended.stderr);
    }
}

#[test]
fn check_sees_what_a_start_would_meet_in_the_file_system_and_makes_nothing() {
    let folder = std::env::temp_dir().join(format!("evenkeel-check-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    std::fs::write(at("file"), "no socket").unwrap();
    let before = ["--port", "0", "--backends", "127.0.0.1:1"];
    let of_admin = ["--admin-public-read", "--admin", "198.51.100.1:0"];
    let ended = run(&[&["check"][..], &before, &of_admin].concat());
    assert!(ended.code == Some(1) && ended.stderr.contains("no such address"), "{ended:?}");
    for (option, value, says) in [
        ("--state-file", at("none/state"), "its directory must be there"),
        ("--state-file", at("file"), "cannot be understood"),
        ("--admin", format!("unix:{}", at("none/socket")), "its directory does not exist"),
        ("--admin", format!("unix:{}", at("file")), "there is a file that is no socket"),
        ("--host", format!("unix:{}", at("none/socket")), "its directory does not exist"),
        // An address of documentation (RFC 5737), which no host has.
        ("--host", "198.51.100.1".to_owned(), "this machine has no such address"),
    ] {
        for command in [&[][..], &["check"]] {
            let ended = run(&[command, &before, &[option, &value]].concat());
            assert_eq!(ended.code, Some(1), "{option} {value}: {ended:?}");
            assert!(ended.stderr.contains(says), "{option} {value}: {}", ended.stderr);
        }
    }
    let good = [("--state-file", at("state")), ("--admin", format!("unix:{}", at("socket")))];
    for (option, value) in good {
        let ended = run(&[&["check"][..], &before, &[option, &value]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.ends_with("this can be used, if its ports are free when it starts\n"));
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "a look makes nothing");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_signal_ends_a_start_that_waits_for_something() {
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::os::unix::process::ExitStatusExt as _;
    let pipe = std::env::temp_dir().join(format!("evenkeel-pipe-{}", std::process::id()));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut child = Command::new(EVENKEEL).arg("--config").arg(&pipe).spawn().unwrap();
    // There is a reader when this works, and it waits for what is never written.
    let mut opened = std::fs::OpenOptions::new();
    opened.write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    let mut writer = None;
    eventually(
        || {
            writer = writer.take().or_else(|| opened.open(&pipe).ok());
            writer.is_some()
        },
        || "it does not read".to_owned(),
    );
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
    std::fs::remove_file(&pipe).unwrap();
}

#[test]
fn a_reload_changes_where_connections_come_from_and_nothing_if_that_is_not_here() {
    let backend = Backend::running(say_who_comes);
    let from = |source| format!("source = \"{source}\"\n");
    let file = File::new("", &from("127.0.0.2"), backend.address);
    let balancer = file.balancer();
    assert_eq!(balancer.ask(), "127.0.0.2");
    file.write("", &from("198.51.100.1"), backend.address);
    reload(&balancer, "source 198.51.100.1 is no address of this host");
    assert_eq!(balancer.ask(), "127.0.0.2");
    file.write("tcp_keepalive = \"7s\"\n", &from("127.0.0.3"), backend.address);
    reload(&balancer, "by a restart only: options of the sockets of listener");
    // A client may still come to a shard that has not looked at the new configuration.
    eventually(|| balancer.ask() == "127.0.0.3", || "the source stays".to_owned());
}

fn reload(balancer: &Balancer, says: &str) {
    balancer.signal(Signal::SIGHUP);
    eventually(|| balancer.log().contains(says), || format!("no {says} in: {}", balancer.log()));
}

fn say_who_comes(mut client: TcpStream) {
    let from = client.peer_addr().unwrap().ip();
    let _ = client.write_all(from.to_string().as_bytes());
}

/// A configuration with one listener and one pool, gone when it is dropped.
struct File {
    path: PathBuf,
    listen: SocketAddr,
}

impl File {
    fn new(listener: &str, pool: &str, backend: SocketAddr) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::support::free_port()));
        let name = format!("evenkeel-options-{}-{}.toml", std::process::id(), listen.port());
        let file = Self { path: std::env::temp_dir().join(name), listen };
        file.write(listener, pool, backend);
        file
    }

    fn write(&self, listener: &str, pool: &str, backend: SocketAddr) {
        let listen = self.listen;
        let text = format!(
            "[[listener]]\nlisten = \"{listen}\"\n{listener}\
             [pool.web]\nbackends = [\"{backend}\"]\n{pool}\
             [pool.web.health]\ntype = \"off\"\n"
        );
        std::fs::write(&self.path, text).unwrap();
    }

    fn balancer(&self) -> Balancer {
        Balancer::started(Command::new(EVENKEEL).arg("--config").arg(&self.path))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

//! Listening sockets that the program is started with: by name, by address, by number.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::service::succession::{Succession, listening_sockets};
use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener, pool};
use crate::support::user::User;
use crate::support::{Balancer, EVENKEEL, Ended, WATCHDOG, eventually, patient, run_command, skip};

#[test]
fn a_listener_takes_the_socket_that_has_its_name_wherever_that_is() {
    let Some(launcher) = Launcher::new("web", &["tcp:127.0.0.2:0"]) else { return };
    let backend = Backend::named("B1");
    // Nobody could listen there (RFC 5737).
    let web = format!("{}name = \"web\"\n", listener("198.51.100.1:80", "web"));
    let file = file(&web, &backend);
    for options in ["--shards 1", "--shards 3 --engine epoll"] {
        let balancer = launcher.balancer(&format!("--config {} {options}", file.name()));
        assert_eq!(balancer.address, passed(&balancer)[0]);
        (0..8).for_each(|_| assert_eq!(balancer.ask(), "B1"));
        assert_eq!(listening_sockets(balancer.address), 1, "it is shared");
        assert!(balancer.end().lines_with("listener web takes the socket at 127.0.0.2") == 1);
    }
}

#[test]
fn a_listener_takes_the_sockets_that_are_at_its_address() {
    let port = crate::support::free_port();
    let socket = format!("shared:127.0.0.1:{port}");
    let Some(launcher) = Launcher::new("a:a", &[&socket, &socket]) else { return };
    let backend = Backend::named("B1");
    for engine in ["uring", "epoll"] {
        let options = format!(
            "--host 127.0.0.1 --port {port} --shards 3 --backends {} --engine {engine}",
            backend.address
        );
        let balancer = launcher.balancer(&options);
        (0..20).for_each(|_| assert_eq!(balancer.ask(), "B1"));
        assert_eq!(listening_sockets(balancer.address), 3, "one more for the third shard");
        balancer.end();
    }
}

#[test]
fn a_socket_at_another_address_of_the_port_is_named_where_it_is_in_the_way() {
    let port = crate::support::free_port();
    let Some(launcher) = Launcher::new("a", &[&format!("tcp:0.0.0.0:{port}")]) else { return };
    let options = format!("--host 127.0.0.1 --port {port} --backends 127.0.0.1:1");
    let mut command = launcher.starting(&[EVENKEEL]);
    let ended = run_command(command.args(options.split_whitespace()));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for part in
        ["the address is in use", &format!("0.0.0.0:{port} was passed"), "ListenStream=127.0.0.1:"]
    {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn shards_share_what_another_user_has_opened() {
    let port = crate::support::free_port();
    let Some(launcher) = Launcher::new("a", &[&format!("shared:127.0.0.1:{port}")]) else { return };
    let Some(user) = User::new() else { return };
    let backend = Backend::named("B1");
    let program = user.may_run(EVENKEEL.as_ref());
    let options =
        format!("--host 127.0.0.1 --port {port} --shards 2 --backends {}", backend.address);
    let mut command = launcher.starting(&[
        "setpriv",
        &format!("--reuid={}", user.id()),
        "--clear-groups",
        program.get_program().to_str().unwrap(),
    ]);
    let balancer = Balancer::started(command.args(options.split_whitespace()));
    (0..20).for_each(|_| assert_eq!(balancer.ask(), "B1"));
    assert_eq!(listening_sockets(balancer.address), 1);
    let cure = format!("a socket unit: ListenStream=127.0.0.1:{port} so many times");
    assert_eq!(balancer.end().lines_with(&cure), 1);
}

#[test]
fn more_sockets_than_shards_are_all_accepted_from() {
    let port = crate::support::free_port();
    let socket = format!("shared:127.0.0.1:{port}");
    let Some(launcher) = Launcher::new("a:a:a", &[&socket, &socket, &socket]) else { return };
    let backend = Backend::named("B1");
    let options =
        format!("--host 127.0.0.1 --port {port} --shards 1 --backends {}", backend.address);
    let balancer = launcher.balancer(&options);
    (0..60).for_each(|_| assert_eq!(balancer.ask(), "B1"));
    assert_eq!(listening_sockets(balancer.address), 3);
}

#[test]
fn a_number_is_an_address_to_listen_on() {
    let Some(launcher) = Launcher::new("-", &["tcp:127.0.0.1:0", "tcp:127.0.0.1:0"]) else {
        return;
    };
    let backend = Backend::named("B1");
    let options = format!("--host fd@4 --backends {}", backend.address);
    let balancer = launcher.balancer(&options);
    assert_eq!(balancer.address, passed(&balancer)[1]);
    assert_eq!(balancer.ask(), "B1");
    let flags = std::fs::read_to_string(format!("/proc/{}/fdinfo/4", balancer.pid())).unwrap();
    let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    assert_ne!(flags & 0o2_000_000, 0, "it is close-on-exec: {flags:o}");
    balancer.end();

    // Of those that have names too, and in a file; and the next process finds it again.
    let launcher = Launcher::new("x:y", &["tcp:127.0.0.1:0", "tcp:127.0.0.1:0"]).unwrap();
    let file = file(&listener("fd@3", "web"), &backend);
    let first = launcher.balancer(&format!("--config {}", file.name()));
    let mut line = Succession::of(first);
    assert_eq!(line.first.address, passed(&line.first)[0]);
    for _ in 0..2 {
        let printed = line.hand_over();
        assert!(printed.contains(&format!("listening on {}", line.first.address)), "{printed:?}");
        assert_eq!(line.first.ask(), "B1");
    }
    line.end();
}

#[test]
fn what_cannot_be_listened_on_is_named() {
    let says = |sockets: &[&str], options: &str, text: &str| {
        let Some(launcher) = Launcher::new("-", sockets) else { return };
        let ended = launcher.run(options);
        assert_eq!(ended.code, Some(1), "{options}: {}", ended.stderr);
        assert!(ended.stderr.contains(text), "{options}: {}", ended.stderr);
    };
    says(&["file"], "--host fd@3", "descriptor 3 is not a socket");
    says(&["udp:127.0.0.1:0"], "--host fd@3", "descriptor 3 is a socket of another kind");
    says(&["bound:127.0.0.1:0"], "--host fd@3", "descriptor 3 is a socket that does not listen");
    says(&["tcp:127.0.0.1:0"], "--host fd@99", "descriptor 99 is not open");
    let port = crate::support::free_port();
    let there = format!("tcp:127.0.0.1:{port}");
    let itself = format!("--host fd@3 --backends 127.0.0.1:{port}");
    says(&[&there], &itself, "it would connect to itself without end");
    let Some(launcher) = Launcher::new("web", &["udp:127.0.0.1:0"]) else { return };
    let ended = launcher.run("--host 127.0.0.1 --port 0");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let text = "LISTEN_FDS passes descriptor 3 (web): descriptor 3 is a socket of another kind";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
    let ended = launcher.run("--host fd@2");
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("the first is 3"), "{}", ended.stderr);
}

#[test]
fn a_unix_socket_that_was_passed_is_not_ours_to_remove() {
    let file = ConfigFile::new("");
    let path = file.folder().join("web.sock");
    let at = format!("unix:{}", path.display());
    let Some(launcher) = Launcher::new("web", &[&at]) else { return };
    let backend = Backend::named("B1");
    let options = format!("--host {at} --shards 2 --backends {}", backend.address);
    let balancer = launcher.balancer(&options);
    let mut said = String::new();
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "B1");
    balancer.end();
    assert!(path.exists());
}

#[test]
fn a_socket_that_no_listener_has_is_told_and_kept_until_one_has_it() {
    let port = crate::support::free_port();
    let other = format!("tcp:127.0.0.2:{port}");
    let Some(launcher) = Launcher::new("other", &[&other]) else { return };
    let backend = Backend::echo();
    let one = listener("127.0.0.1:0", "web");
    let file = file(&one, &backend);
    let mut line = Succession::of(launcher.balancer(&format!("--config {}", file.name())));
    let address = SocketAddr::from(([127, 0, 0, 2], port));
    let told = format!("a listening socket at {address} was passed as `other` and no listener");
    eventually(|| line.log().contains(&told), || line.log());
    // They wait in its queue: of this process, of the next one, until there is a listener.
    let mut clients = vec![patient(TcpStream::connect(address).unwrap())];
    line.hand_over();
    clients.push(patient(TcpStream::connect(address).unwrap()));
    let two = format!("{one}{}", listener(&address.to_string(), "web"));
    file.write(&text(&two, &backend));
    line.signal(nix::sys::signal::Signal::SIGHUP);
    for client in &mut clients {
        let mut answer = [0; 4];
        client.write_all(b"ping").unwrap();
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
    }
    drop(clients);
    line.end();
}

#[test]
fn what_somebody_else_holds_can_be_connected_to_when_the_balancer_has_ended() {
    let Some(launcher) = Launcher::new("web", &["tcp:127.0.0.1:0"]) else { return };
    let backend = Backend::named("B1");
    let web = format!("{}name = \"web\"\n", listener("127.0.0.1:0", "web"));
    let file = file(&web, &backend);
    for engine in ["uring", "epoll"] {
        let mut command = launcher.command(&["hold"]);
        let (silence, ends) = std::io::pipe().unwrap();
        let options = format!("--config {} --engine {engine}", file.name());
        command.args(options.split_whitespace());
        let balancer = Balancer::started_with(&mut command, silence.into());
        let address = balancer.address;
        assert_eq!(balancer.ask(), "B1");
        balancer.end();
        // The queue is the holder's now, and it is a queue like any other.
        TcpStream::connect(address).unwrap();
        drop(ends);
    }
}

/// Starts the balancer with sockets.
struct Launcher {
    names: String,
    sockets: Vec<String>,
}

impl Launcher {
    /// Says so where there is no Python.
    fn new(names: &str, sockets: &[&str]) -> Option<Self> {
        if !Command::new("python3").arg("--version").output().is_ok_and(|it| it.status.success()) {
            skip("python3");
            return None;
        }
        let sockets = sockets.iter().map(|&one| one.to_owned()).collect();
        Some(Self { names: names.to_owned(), sockets })
    }

    fn command(&self, before: &[&str]) -> Command {
        let mut command = self.before(before);
        command.arg(EVENKEEL);
        command
    }

    /// Another program, which is found as a shell would.
    fn starting(&self, program: &[&str]) -> Command {
        let mut command = self.before(&[]);
        command.arg("/usr/bin/env").args(program);
        command
    }

    fn before(&self, before: &[&str]) -> Command {
        let mut command = Command::new("python3");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/service/launcher.py");
        command.arg(script).args(before).arg(&self.names).args(&self.sockets).arg("--");
        command
    }

    fn balancer(&self, options: &str) -> Balancer {
        Balancer::started(self.command(&[]).args(options.split_whitespace()))
    }

    fn run(&self, options: &str) -> Ended {
        run_command(self.command(&[]).args(options.split_whitespace()))
    }
}

/// Where the sockets that it was started with are.
fn passed(balancer: &Balancer) -> Vec<SocketAddr> {
    let lines = balancer.settings.iter().filter_map(|line| line.strip_prefix("passed "));
    lines.map(|address| address.parse().unwrap()).collect()
}

/// A file with these listeners.
fn file(listeners: &str, backend: &Backend) -> ConfigFile {
    ConfigFile::new(&text(listeners, backend))
}

fn text(listeners: &str, backend: &Backend) -> String {
    format!("{QUIET_FILE}{listeners}{}", pool("web", &[backend.address], ""))
}

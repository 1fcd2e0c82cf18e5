//! Who may come in, how many at a time and for how long; and where: families of addresses, sockets in
//! the file system.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener, pool};
use crate::support::user::User;
use crate::support::{Balancer, EVENKEEL, WATCHDOG, eventually, patient, run, skip};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

#[test]
fn lists_of_networks_say_who_may_come_in() {
    let backend = Backend::named("B1");
    for (options, served, refused) in [
        ("--allow 127.0.0.0/30", "127.0.0.1", "127.0.0.9"),
        ("--deny 127.0.0.9", "127.0.0.8", "127.0.0.9"),
        ("--allow 127.0.0.0/8 --deny 127.0.0.8/29", "127.0.0.1", "127.0.0.9"),
    ] {
        let balancer = Balancer::before(&[backend.address], options);
        assert_eq!(said_to(from(served, balancer.address)), Some("B1".to_owned()), "{options}");
        assert_eq!(said_to(from(refused, balancer.address)), None, "{options}");
        let report = balancer.end();
        assert_eq!(report.count("denied_access"), 1, "{options}");
    }
}

#[test]
fn a_client_over_ipv4_is_the_same_one_at_a_listener_for_both_families() {
    let backend = Backend::named("B1");
    let options = "--port 0 --allow 127.0.0.0/30,::1";
    let balancer = Balancer::with(&format!("--host :: {options} -b {}", backend.address));
    let port = balancer.address.port();
    let v4: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
    assert_eq!(said_to(from("127.0.0.1", v4)), Some("B1".to_owned()));
    assert_eq!(said_to(from("127.0.0.9", v4)), None);
    let v6 = SocketAddr::new("::1".parse().unwrap(), port);
    assert_eq!(said_to(from("::1", v6)), Some("B1".to_owned()));
}

#[test]
fn an_address_has_as_many_sessions_as_it_may_and_others_are_not_in_its_way() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "--max-sessions-per-ip 3");
    let mut clients: Vec<_> = (0..3).map(|_| from("127.0.0.5", balancer.address)).collect();
    clients.iter_mut().for_each(echo);
    assert_eq!(said_to(from("127.0.0.5", balancer.address)), None);
    echo(&mut from("127.0.0.6", balancer.address));
    clients.pop();
    // When that one's session has ended.
    let again = || echoes(&mut from("127.0.0.5", balancer.address));
    eventually(again, || balancer.log());
    clients.iter_mut().for_each(echo);
    assert!(balancer.end().count("denied_per_ip") >= 1);
}

#[test]
fn an_address_comes_as_often_as_it_may_and_others_are_not_in_its_way() {
    let backend = Backend::named("B1");
    // None comes back while this runs.
    let balancer = Balancer::before(&[backend.address], "--max-rate-per-ip 4/1h");
    let come = |ip| (0..6).filter(|_| said_to(from(ip, balancer.address)).is_some()).count();
    assert_eq!((come("127.0.0.5"), come("127.0.0.6")), (4, 4));
    assert_eq!(balancer.end().count("denied_per_ip"), 4);
}

#[test]
fn who_comes_to_a_full_listener_waits_and_is_served_later() {
    let backend = Backend::echo();
    for shards in [1, 4] {
        let more = "max_sessions = 2\n";
        let text = [QUIET_FILE, &listener("127.0.0.1:0", "web"), more];
        let file = ConfigFile::new(&(text.concat() + &pool("web", &[backend.address], "")));
        let balancer = file.balancer(&format!("--shards {shards}"));
        let before = backend.accepted();
        let mut inside: Vec<_> = (0..2).map(|_| balancer.connect()).collect();
        inside.iter_mut().for_each(echo);
        let waiting: Vec<_> = (0..40).map(|_| balancer.connect()).collect();
        balancer.settle();
        assert_eq!(backend.accepted() - before, 2, "{shards} shards");
        drop(inside);
        // Two at a time, wherever they wait.
        let mut threads = Vec::new();
        for mut client in waiting {
            threads.push(std::thread::spawn(move || echo(&mut client)));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_session_ends_when_it_has_its_age_however_busy_it_is() {
    let backend = Backend::echo();
    let options = "--max-connection-age 300ms --max-connection-age-jitter 100ms";
    let mut balancer = Balancer::before(&[backend.address], options);
    let mut clients: Vec<_> = (0..8).map(|_| balancer.connect()).collect();
    clients.iter_mut().for_each(echo);
    let ends = || !clients.iter_mut().any(echoes);
    eventually(ends, || "a session goes on for ever".to_owned());
    balancer.signal(Signal::SIGTERM);
    balancer.wait();
    assert!(balancer.log().contains("age"), "{}", balancer.log());
}

#[test]
fn clients_come_by_a_socket_in_the_file_system_that_goes_with_the_program() {
    let backend = Backend::echo();
    let folder = ConfigFile::new("");
    let path = folder.folder().join("in.sock");
    // What another program left behind when it was killed is no matter.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut balancer = unix(&path, &format!("--backends {}", backend.address));
    let mut clients: Vec<_> = (0..10).map(|_| unix_client(&path)).collect();
    clients.iter_mut().for_each(echo);
    // A second one does not take it away.
    let host = format!("unix:{}", path.display());
    let second = run(&["--host", &host]);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("someone listens there"), "{}", second.stderr);
    clients.iter_mut().for_each(echo);
    drop(clients);
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
    assert!(!path.exists(), "{}", balancer.log());
}

#[test]
fn what_is_no_socket_is_left_where_it_is() {
    let folder = ConfigFile::new("important");
    let host = format!("unix:{}", folder.name());
    let ended = run(&["--host", &host]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(folder.name()).unwrap(), "important");
    let ended = run(&["--host", "unix:/no/such/folder/in.sock"]);
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{}", ended.stderr);
}

#[test]
fn a_socket_in_a_folder_of_another_user_is_refused_in_one_line() {
    let Some(user) = User::new() else { return };
    let folder = ConfigFile::new("");
    std::fs::set_permissions(folder.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.folder().join("in.sock");
    let mut command = user.may_run(Path::new(EVENKEEL));
    let ended =
        crate::support::run_command(command.args(["--host", &format!("unix:{}", path.display())]));
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{}", ended.stderr);
    assert!(ended.stderr.to_lowercase().contains("permission"), "{}", ended.stderr);
}

#[test]
fn backends_are_reached_by_sockets_in_the_file_system() {
    let folder = ConfigFile::new("");
    let paths = ["b1", "b2"].map(|name| folder.folder().join(name));
    let listeners = paths.each_ref().map(|path| UnixListener::bind(path).unwrap());
    for (listener, name) in listeners.into_iter().zip(["B1", "B2"]) {
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let _ = client.unwrap().write_all(name.as_bytes());
            }
        });
    }
    let [b1, b2] = paths.each_ref().map(|path| format!("unix:{}", path.display()));
    let options = format!("--host 127.0.0.1 --port 0 -s rr --shards 1 -b {b1} {b2}");
    let balancer = Balancer::with(&options);
    let said: Vec<_> = (0..4).map(|_| balancer.ask()).collect();
    assert_eq!(said, ["B1", "B2", "B1", "B2"]);
    // The one that is gone is passed over.
    std::fs::remove_file(&paths[0]).unwrap();
    assert_eq!([balancer.ask(), balancer.ask()], ["B2", "B2"]);
}

#[test]
fn bytes_are_the_same_from_one_file_socket_to_another() {
    let folder = ConfigFile::new("");
    let (from, to) = (folder.folder().join("in"), folder.folder().join("out"));
    let listener = UnixListener::bind(&to).unwrap();
    let _balancer = unix(&from, &format!("--backends unix:{}", to.display()));
    let mut client = unix_client(&from);
    let (mut backend, _) = listener.accept().unwrap();
    let bytes = crate::support::pattern(1, 8 << 20);
    let sent = bytes.clone();
    let sender = std::thread::spawn(move || {
        client.write_all(&sent).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        client
    });
    let mut got = Vec::new();
    backend.read_to_end(&mut got).unwrap();
    crate::support::assert_same_bytes(&got, &bytes, "to the backend");
    backend.write_all(b"done").unwrap();
    drop(backend);
    let mut said = String::new();
    sender.join().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "done");
}

#[test]
fn a_listener_has_the_families_of_its_address() {
    if TcpListener::bind("[::1]:0").is_err() {
        return skip("the IPv6 loopback ::1");
    }
    // Another test's balancer may have the same port in the other family.
    let backend = Backend::named("families");
    for (host, v4, v6) in [
        ("127.0.0.1", true, false),
        ("::1", false, true),
        ("[::1]", false, true),
        ("::", true, true),
        ("0.0.0.0", true, false),
    ] {
        let options = format!("--host {host} --port 0 --backends {}", backend.address);
        let balancer = Balancer::with(&options);
        let port = balancer.address.port();
        for (ip, served) in [("127.0.0.1", v4), ("::1", v6)] {
            let address = SocketAddr::new(ip.parse().unwrap(), port);
            let said = TcpStream::connect(address).ok().map(patient).and_then(said_to);
            assert_eq!(said.as_deref() == Some("families"), served, "{ip} at {host}: {said:?}");
        }
    }
}

/// A balancer on a unix socket.
fn unix(path: &Path, options: &str) -> Balancer {
    let mut command = Command::new(EVENKEEL);
    command.arg("--host").arg(format!("unix:{}", path.display()));
    Balancer::started(command.args(options.split_whitespace()))
}

/// A client with an address of its own.
fn from(ip: &str, to: SocketAddr) -> TcpStream {
    let ip: IpAddr = ip.parse().unwrap();
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    patient(socket.into())
}

/// What a client gets before an end; nothing if it is not let in.
fn said_to(client: TcpStream) -> Option<String> {
    let mut said = String::new();
    match (&client).read_to_string(&mut said) {
        Ok(1..) => Some(said),
        _ => None,
    }
}

fn echo(client: &mut (impl Read + Write)) {
    assert!(echoes(client), "the session is not there");
}

fn echoes(client: &mut (impl Read + Write)) -> bool {
    let mut answer = [0; 4];
    client.write_all(b"ping").and_then(|()| client.read_exact(&mut answer)).is_ok()
        && &answer == b"ping"
}

fn unix_client(path: &Path) -> UnixStream {
    let client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    client
}

//! The end: who is connected at the signal is served to the end, for as long as that may take.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener, pool};
use crate::support::{Balancer, End, WATCHDOG, eventually, patient, read_to_the_end};
use nix::sys::signal::Signal;

const SIGNALS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

#[test]
fn sessions_go_on_after_the_signal_until_they_end_by_themselves() {
    let backend = Backend::echo();
    for signal in SIGNALS {
        let mut balancer = Balancer::before(&[backend.address], LONG);
        let mut clients: Vec<_> = (0..10).map(|_| balancer.connect()).collect();
        clients.iter_mut().for_each(echo);
        balancer.signal(signal);
        refused(&balancer, balancer.address);
        clients.iter_mut().for_each(echo);
        for client in clients {
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_the_end(&client), End::Finished(0), "{signal}");
        }
        assert_eq!(balancer.wait().code(), Some(0), "{signal}: {}", balancer.log());
        assert!(!balancer.log().contains("cutting"), "{}", balancer.log());
    }
}

#[test]
fn what_is_open_when_the_time_is_over_is_reset_and_the_exit_code_is_0() {
    let backend = Backend::echo();
    for signal in SIGNALS {
        let mut balancer = Balancer::before(&[backend.address], "--drain-timeout 300ms");
        let mut clients: Vec<_> = (0..10).map(|_| balancer.connect()).collect();
        clients.iter_mut().for_each(echo);
        balancer.signal(signal);
        for client in clients {
            assert_eq!(read_to_the_end(&client), End::Reset(0), "{signal}");
        }
        assert_eq!(balancer.wait().code(), Some(0), "{signal}: {}", balancer.log());
    }
}

#[test]
fn without_a_drain_timeout_sessions_are_cut_at_once() {
    let backend = Backend::echo();
    let mut balancer = Balancer::before(&[backend.address], "--drain-timeout 0s");
    let mut client = balancer.connect();
    echo(&mut client);
    balancer.signal(Signal::SIGTERM);
    assert_eq!(read_to_the_end(&client), End::Reset(0));
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
}

#[test]
fn the_second_signal_cuts_what_is_open() {
    let backend = Backend::echo();
    for (first, second) in [SIGNALS, [Signal::SIGINT, Signal::SIGINT]].map(|[a, b]| (a, b)) {
        let mut balancer = Balancer::before(&[backend.address], LONG);
        let mut client = balancer.connect();
        echo(&mut client);
        balancer.signal(first);
        stopping(&balancer);
        echo(&mut client);
        balancer.signal(second);
        assert_eq!(read_to_the_end(&client), End::Reset(0));
        assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
    }
}

#[test]
fn who_is_in_the_queue_of_the_kernel_at_the_signal_is_served() {
    let backend = Backend::echo();
    for shards in [1, 3] {
        let options = format!("{LONG} --shards {shards}");
        let mut balancer = Balancer::before(&[backend.address], &options);
        let mut clients: Vec<TcpStream> = balancer.standing_still(|| {
            let mut clients: Vec<_> = (0..60).map(|_| balancer.connect()).collect();
            for client in &mut clients {
                client.write_all(b"ping").unwrap();
            }
            balancer.signal(Signal::SIGTERM);
            clients
        });
        for client in &mut clients {
            let mut answer = [0; 4];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"ping");
        }
        drop(clients);
        assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
        assert_eq!(backend_resets(&balancer), 0, "{}", balancer.log());
    }
}

#[test]
fn clients_that_come_all_the_time_are_served_or_find_nobody_but_are_never_reset() {
    let backend = Backend::echo();
    for _ in 0..3 {
        let mut balancer = Balancer::before(&[backend.address], LONG);
        let address = balancer.address;
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(move || {
                        let mut served = 0;
                        while let Ok(client) = TcpStream::connect(address) {
                            echo(&mut patient(client));
                            served += 1;
                        }
                        served
                    })
                })
                .collect();
            backend.wait_for_accepted(backend.accepted() + 200);
            balancer.signal(Signal::SIGTERM);
            clients.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
        });
        assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
    }
}

#[test]
fn all_listeners_end_together_and_each_serves_who_has_reached_it() {
    let backend = Backend::echo();
    let file = ConfigFile::new("");
    let path = file.folder().join("web.sock");
    let process = QUIET_FILE.replace("\"1s\"", "\"10m\"");
    let listeners = ["127.0.0.1:0", "127.0.0.2:0", &format!("unix:{}", path.display())];
    let listeners = listeners.map(|listen| listener(listen, "web")).concat();
    file.write(&format!("{process}{listeners}{}", pool("web", &[backend.address], "")));
    for shards in [1, 3] {
        let mut balancer = file.balancer(&format!("--shards {shards}"));
        let second = second_address(&balancer);
        let unix = UnixStream::connect(&path).unwrap();
        unix.set_read_timeout(Some(WATCHDOG)).unwrap();
        let mut clients = [balancer.connect(), patient(TcpStream::connect(second).unwrap())];
        clients.iter_mut().for_each(echo);
        let mut unix_clients = [unix];
        unix_clients.iter_mut().for_each(echo);
        balancer.signal(Signal::SIGTERM);
        refused(&balancer, balancer.address);
        refused(&balancer, second);
        eventually(|| !path.exists(), || balancer.log());
        clients.iter_mut().for_each(echo);
        unix_clients.iter_mut().for_each(echo);
        drop((clients, unix_clients));
        assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
    }
}

#[test]
fn the_next_one_binds_while_the_last_one_still_drains() {
    let backend = Backend::echo();
    let port = crate::support::free_port();
    let options = format!("--host 127.0.0.1 --port {port} --backends {} {LONG}", backend.address);
    let mut old = Balancer::with(&options);
    let mut client = old.connect();
    echo(&mut client);
    old.signal(Signal::SIGTERM);
    refused(&old, old.address);
    let new = Balancer::with(&options);
    echo(&mut new.connect());
    echo(&mut client);
    drop(client);
    assert_eq!(old.wait().code(), Some(0), "{}", old.log());
    echo(&mut new.connect());
}

#[test]
fn clients_that_are_held_at_the_signal_do_not_hold_up_the_end_for_longer_than_the_drain() {
    let nobody = crate::support::Nobody::new();
    let options = "--wait-for-backend-timeout 600 --drain-timeout 300ms --log-level DEBUG";
    let mut balancer = Balancer::before(&[nobody.address], options);
    let clients: Vec<_> = (0..5).map(|_| balancer.connect()).collect();
    let tried = || balancer.log().matches("Routing client (").count() >= 5;
    eventually(tried, || balancer.log());
    balancer.signal(Signal::SIGTERM);
    for client in clients {
        read_to_the_end(&client);
    }
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
}

#[test]
fn a_reload_while_it_drains_is_refused_in_words() {
    let backend = Backend::echo();
    let process = QUIET_FILE.replace("\"1s\"", "\"10m\"");
    let web = listener("127.0.0.1:0", "web") + &pool("web", &[backend.address], "");
    let file = ConfigFile::new(&format!("{process}{web}"));
    let mut balancer = file.balancer("");
    let mut client = balancer.connect();
    echo(&mut client);
    balancer.signal(Signal::SIGTERM);
    stopping(&balancer);
    assert!(balancer.reload().contains("nothing is read again while stopping"));
    echo(&mut client);
    drop(client);
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
}

/// Longer than any test.
const LONG: &str = "--drain-timeout 10m";

/// Where it listens besides the first address.
fn second_address(balancer: &Balancer) -> SocketAddr {
    let other = balancer.listening().into_iter().find(|address| *address != balancer.address);
    other.expect("two listeners on the network")
}

fn stopping(balancer: &Balancer) {
    eventually(|| balancer.log().contains(": stopping; "), || balancer.log());
}

fn backend_resets(balancer: &Balancer) -> usize {
    balancer.log().matches("cutting").count()
}

fn refused(balancer: &Balancer, address: SocketAddr) {
    stopping(balancer);
    eventually(|| TcpStream::connect(address).is_err(), || format!("{address} still listens"));
}

fn echo(client: &mut (impl std::io::Read + std::io::Write)) {
    let mut answer = [0; 4];
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

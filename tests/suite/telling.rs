//! What the program tells its operator while it runs: how much of it, and what not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Instant;

use crate::support::backend::Backend;
use crate::support::{Balancer, EVENKEEL, End, Nobody, eventually, read_to_the_end};
use nix::sys::signal::Signal;

#[test]
fn debug_logs_every_connection_and_info_a_few_a_second() {
    let backend = Backend::named("B1");
    let lines = |balancer: &Balancer| balancer.log().matches("Routing client (").count();
    let debug = Balancer::before(&[backend.address], "--log-level DEBUG --shards 1");
    (0..60).for_each(|_| assert_eq!(debug.ask(), "B1"));
    eventually(|| lines(&debug) == 60, || format!("{} lines of 60", lines(&debug)));
    let mut info = Balancer::before(&[backend.address], "--log-level INFO --shards 1");
    let started = Instant::now();
    (0..200).for_each(|_| assert_eq!(info.ask(), "B1"));
    let seconds = started.elapsed().as_secs() + 2;
    info.signal(Signal::SIGTERM);
    info.wait();
    let many = u64::try_from(lines(&info)).unwrap();
    assert!((1..=10 * seconds).contains(&many), "{many} lines in less than {seconds} s");
    let mut quiet = Balancer::before(&[backend.address], "--log-level ERROR");
    (0..20).for_each(|_| assert_eq!(quiet.ask(), "B1"));
    quiet.signal(Signal::SIGTERM);
    quiet.wait();
    assert_eq!(quiet.log(), "");
}

#[test]
fn at_warning_a_backend_that_refuses_is_named_and_no_routing_line_is_written() {
    let (backend, nobody) = (Backend::named("B1"), Nobody::new());
    let mut balancer = before_one_that_refuses(&backend, &nobody, "--log-level WARNING");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(balancer.ask(), "B1")));
        }
    });
    let log = log_of_ended(&mut balancer);
    assert!(log.contains(&blame(nobody.address)), "{} is not in: {log}", blame(nobody.address));
    assert!(!log.contains("Routing") && !log.contains("INFO"), "{log}");
}

#[test]
fn at_info_routing_lines_leave_room_for_the_warning_about_a_backend() {
    let (backend, nobody) = (Backend::named("B1"), Nobody::new());
    let mut balancer = before_one_that_refuses(&backend, &nobody, "--log-level INFO");
    (0..50).for_each(|_| assert_eq!(balancer.ask(), "B1"));
    let log = log_of_ended(&mut balancer);
    assert!(log.contains("Routing client ("), "{log}");
    assert!(log.contains(&blame(nobody.address)), "{} is not in: {log}", blame(nobody.address));
}

/// Twenty clients are routed well, more than are told in a second, before one meets the refusal.
fn before_one_that_refuses(backend: &Backend, nobody: &Nobody, options: &str) -> Balancer {
    let mut addresses = vec![backend.address; 20];
    addresses.push(nobody.address);
    Balancer::before(&addresses, &format!("--algorithm round-robin --shards 1 {options}"))
}

/// How the line about a backend begins that cannot be connected to.
fn blame(address: SocketAddr) -> String {
    format!("WARN backend {address} ({address}) failed: ")
}

fn log_of_ended(balancer: &mut Balancer) -> String {
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
    balancer.log()
}

#[test]
fn a_second_signal_ends_at_once_although_nobody_reads_what_is_told() {
    let backend = Backend::echo();
    let mut balancer = with_closed_stderr(backend.address);
    let mut clients: Vec<TcpStream> = (0..5).map(|_| balancer.connect()).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    // Both wait to be taken when it goes on, so no time passes between them; of two equal ones that
    // wait, one would be lost (signal(7)).
    balancer.standing_still(|| {
        balancer.signal(Signal::SIGINT);
        balancer.signal(Signal::SIGTERM);
    });
    assert_eq!(balancer.wait().code(), Some(0));
    for client in clients {
        assert_eq!(read_to_the_end(&client), End::Reset(0), "it was cut, and must not look whole");
    }
}

/// Its standard error is a pipe that nobody reads.
fn with_closed_stderr(backend: SocketAddr) -> Balancer {
    // The pipe has a reader until the program takes the place of the shell, so that it can be
    // opened for writing.
    let script = "pipe=$(mktemp -u) && mkfifo \"$pipe\" && exec 3<>\"$pipe\" 2>\"$pipe\" && \
                  rm \"$pipe\" && exec \"$@\" 3<&-";
    let backend = backend.to_string();
    let options = ["--host", "127.0.0.1", "--port", "0", "--backends", &backend];
    Balancer::started(Command::new("sh").args(["-c", script, "sh", EVENKEEL]).args(options))
}

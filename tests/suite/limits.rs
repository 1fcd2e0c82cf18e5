//! What many, idle, slow and silent peers may cost: no descriptor, no CPU, nobody else's turn.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::backend::Backend;
use crate::support::{Balancer, patient, read_to_the_end, reset};
use socket2::SockRef;

#[test]
fn three_thousand_connections_leave_no_descriptor_behind() {
    let backends = [Backend::echo(), Backend::echo()];
    let addresses = backends.each_ref().map(|one| one.address);
    let balancer = Balancer::before(&addresses, "--log-level WARNING");
    (0..4).for_each(|_| request_and_close(&mut open(&balancer, 1)));
    backends.each_ref().iter().for_each(|backend| backend.wait_for_accepted(1));
    let before = balancer.descriptors();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            // 6 × 25 batches of 20.
            scope.spawn(|| (0..25).for_each(|_| request_and_close(&mut open(&balancer, 20))));
        }
    });
    assert!(backends.iter().map(Backend::accepted).sum::<usize>() >= 3000);
    balancer.wait_for_descriptors(before);
}

fn open(balancer: &Balancer, many: usize) -> Vec<TcpStream> {
    (0..many).map(|_| balancer.connect()).collect()
}

/// One request on each, then every way to leave in turn.
fn request_and_close(clients: &mut Vec<TcpStream>) {
    for client in clients.iter_mut() {
        client.write_all(b"ping").unwrap();
    }
    for (index, mut client) in clients.drain(..).enumerate() {
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
        match index % 3 {
            0 => drop(client),
            1 => reset(client),
            _ => {
                client.shutdown(Shutdown::Write).unwrap();
                read_to_the_end(&client);
            }
        }
    }
}

#[test]
fn two_thousand_silent_clients_do_not_keep_the_next_one_waiting() {
    let limit = uring::raise_nofile_limit().unwrap();
    if limit.now < 6000 {
        return crate::support::skip("6000 descriptors (`ulimit -n`)");
    }
    let backend = Backend::echo();
    let options = "--max-sessions 4000 --log-level WARNING";
    let balancer = Balancer::before(&[backend.address], options);
    let mut silent: Vec<TcpStream> = (0..2000).map(|_| balancer.connect()).collect();
    backend.wait_for_accepted(2000);
    (0..20).for_each(|_| served(&mut balancer.connect()));
    // Silent is not dead.
    silent.iter_mut().for_each(served);
}

#[test]
fn idle_sessions_cost_no_cpu() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "");
    let mut clients = open(&balancer, 200);
    for client in &mut clients {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    balancer.assert_idle(Duration::from_secs(2));
    // They are as alive as before.
    request_and_close(&mut clients);
}

#[test]
fn idle_sessions_hold_no_buffer_and_less_than_a_kibibyte_each() {
    const SESSIONS: usize = 2000;
    let limit = uring::raise_nofile_limit().unwrap();
    if limit.now < 6000 {
        return crate::support::skip("6000 descriptors (`ulimit -n`)");
    }
    let backend = Backend::echo();
    let options = "--host 127.0.0.1 --port 0 --shards 1 --buffers 8 --log-level WARNING";
    let mut command = Command::new(crate::support::EVENKEEL);
    command.args(options.split(' ')).args(["--backends", &backend.address.to_string()]);
    // Huge pages hide what is used of them.
    let balancer = Balancer::started(command.env("MIMALLOC_ALLOW_THP", "0"));
    // What the first one makes, others use.
    served(&mut balancer.connect());
    balancer.settle();
    let before = balancer.resident_bytes();
    let mut clients = open(&balancer, SESSIONS);
    clients.iter_mut().for_each(served);
    balancer.settle();
    let grown = balancer.resident_bytes().saturating_sub(before);
    assert!(grown < SESSIONS as u64 * 1024, "{grown} bytes more for {SESSIONS} idle sessions");
    assert_eq!(balancer.pipes().iter().sum::<u64>(), 0);
    // Each took a buffer once; if one of them held it, eight could do this and no more.
    clients.iter_mut().rev().for_each(served);
}

#[test]
fn an_idle_balancer_costs_no_cpu() {
    let backend = Backend::echo();
    Balancer::before(&[backend.address], "").assert_idle(Duration::from_secs(1));
}

#[test]
fn clients_that_stall_a_download_cost_no_cpu() {
    let backend = Backend::resetting_after(64 << 20, 0);
    let balancer = Balancer::before(&[backend.address], "--shards 1 --buffers 8");
    let _stalled = open(&balancer, 4);
    backend.wait_for_accepted(4);
    balancer.settle();
    balancer.assert_idle(Duration::from_secs(1));
}

#[test]
fn without_a_free_buffer_sessions_wait_and_cost_no_cpu() {
    let backend = Backend::running(|mut client| {
        // The first word decides: some get more than they take, others an echo.
        let mut word = [0; 4];
        if client.read_exact(&mut word).is_ok() {
            let _ = match &word {
                b"lots" => client.write_all(&vec![7; 16 << 20]),
                word => client.write_all(word),
            };
        }
    });
    let balancer = Balancer::before(&[backend.address], "--shards 1 --buffers 4");
    let mut stalled = open(&balancer, 8);
    stalled.iter_mut().for_each(|client| client.write_all(b"lots").unwrap());
    balancer.settle();
    balancer.assert_idle(Duration::from_secs(1));
    // When they read on, everybody gets everything.
    std::thread::scope(|scope| {
        for mut client in stalled {
            scope.spawn(move || {
                let mut got = Vec::new();
                client.read_to_end(&mut got).unwrap();
                assert_eq!(got.len(), 16 << 20);
            });
        }
    });
}

#[test]
fn a_client_over_the_limit_waits_in_the_backlog_until_one_leaves() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "--max-sessions 2 --shards 1");
    let mut inside = open(&balancer, 2);
    inside.iter_mut().for_each(served);
    let mut third = balancer.connect();
    third.write_all(b"x").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let waiting = third.read(&mut [0]).unwrap_err().kind();
    assert!(matches!(waiting, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{waiting:?}");
    balancer.assert_idle(Duration::from_secs(1));
    inside.iter_mut().for_each(served);
    drop(inside.pop());
    let mut third = patient(third);
    third.read_exact(&mut [0]).unwrap();
    served(&mut third);
}

#[test]
fn many_clients_over_the_limit_are_all_served_in_the_end() {
    let backend = Backend::named("B1");
    let balancer = Balancer::before(&[backend.address], "--max-sessions 2 --shards 1");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| (0..10).for_each(|_| assert_eq!(balancer.ask(), "B1")));
        }
    });
}

#[test]
fn a_backend_that_does_not_answer_is_given_up_after_the_connect_timeout() {
    let (full, backend) = (FullListener::new(), Backend::named("B2"));
    let addresses = [full.address, backend.address];
    let options = "--connect-timeout 200ms --algorithm round-robin";
    let balancer = Balancer::before(&addresses, options);
    (0..4).for_each(|_| assert_eq!(balancer.ask(), "B2"));
    // With nobody else the client is closed rather than held.
    let alone = Balancer::before(&[full.address], "--connect-timeout 200ms");
    read_to_the_end(&alone.connect());
}

#[test]
fn a_client_that_leaves_while_it_is_being_connected_gives_its_descriptors_back() {
    let full = FullListener::new();
    let balancer = Balancer::before(&[full.address], "--connect-timeout 500ms");
    let before = balancer.descriptors();
    let mut clients = open(&balancer, 20);
    for client in &mut clients {
        client.write_all(b"anyone?").unwrap();
    }
    drop(clients);
    balancer.wait_for_descriptors(before);
}

#[test]
fn a_session_that_is_silent_for_the_idle_timeout_is_ended_on_both_sides() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "--idle-timeout 300ms");
    let before = balancer.descriptors();
    let mut client = balancer.connect();
    served(&mut client);
    read_to_the_end(&client);
    balancer.wait_for_descriptors(before);
}

#[test]
fn a_session_that_says_something_now_and_then_is_not_idle() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "--idle-timeout 2s");
    let mut client = balancer.connect();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        served(&mut client);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_session_that_is_silent_after_a_half_close_is_ended() {
    // The backend keeps its side open for ever.
    let backend = Backend::silent();
    let balancer = Balancer::before(&[backend.address], "--half-closed-timeout 300ms");
    let before = balancer.descriptors();
    let client = balancer.connect();
    client.shutdown(Shutdown::Write).unwrap();
    read_to_the_end(&client);
    balancer.wait_for_descriptors(before);
}

#[test]
fn the_half_closed_timeout_does_not_touch_sessions_that_are_open_both_ways() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "--half-closed-timeout 200ms");
    let mut client = balancer.connect();
    served(&mut client);
    std::thread::sleep(Duration::from_secs(1));
    served(&mut client);
}

fn served(client: &mut TcpStream) {
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
}

/// A listener whose backlog is full: what connects now gets no answer.
struct FullListener {
    address: SocketAddr,
    _listener: socket2::Socket,
    _filler: TcpStream,
}

impl FullListener {
    fn new() -> Self {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        // The kernel takes one more than the backlog (sk_acceptq_is_full, include/net/sock.h).
        listener.listen(0).unwrap();
        let address = SockRef::from(&listener).local_addr().unwrap().as_socket().unwrap();
        let filler = TcpStream::connect(address).unwrap();
        Self { address, _listener: listener, _filler: filler }
    }
}

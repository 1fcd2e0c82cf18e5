//! With `--session-failover` a running session outlives its backend, and without it it does not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use crate::support::backend::Backend;
use crate::support::{
    Balancer, End, assert_same_bytes, eventually, patient, pattern, read_to_the_end, reset,
};

/// A health check is a connection, too, and not one of those that these tests are about.
const PLAIN: &str = "--algorithm first --shards 1 --health-check-interval 0";
const FAILOVER: &str = "--session-failover --algorithm first --shards 1 --health-check-interval 0";

#[test]
fn after_a_reset_the_next_request_is_answered_by_another_backend() {
    let (first, sessions) = handing_out();
    let second = named_per_request("B2");
    let balancer = Balancer::before(&[first.address, second.address], FAILOVER);
    let mut client = balancer.connect();
    let backend = sessions.recv().unwrap();
    assert_eq!(answer_by_hand(&mut client, &backend), "B1");
    reset(backend);
    second.wait_for_accepted(1);
    for _ in 0..3 {
        assert_eq!(ask(&mut client), "B2");
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_the_end(&client), End::Finished(0));
    let warning = format!(
        "backend {} ended abnormally; its session goes on with {}",
        first.address, second.address
    );
    assert!(balancer.log().contains(&warning), "{}", balancer.log());
    assert_eq!(failed_over(balancer), 1);
}

#[test]
fn a_clean_end_of_the_backend_is_passed_on() {
    let (first, sessions) = handing_out();
    let second = named_per_request("B2");
    let balancer = Balancer::before(&[first.address, second.address], FAILOVER);
    let mut client = balancer.connect();
    let backend = sessions.recv().unwrap();
    assert_eq!(answer_by_hand(&mut client, &backend), "B1");
    drop(backend);
    assert_eq!(read_to_the_end(&client), End::Finished(0));
    assert_eq!(second.accepted(), 0);
    drop(client);
    assert_eq!(failed_over(balancer), 0);
}

#[test]
fn without_the_option_a_reset_is_the_end() {
    let (first, sessions) = handing_out();
    let second = named_per_request("B2");
    let addresses = [first.address, second.address];
    let balancer = Balancer::before(&addresses, PLAIN);
    let mut client = balancer.connect();
    let backend = sessions.recv().unwrap();
    assert_eq!(answer_by_hand(&mut client, &backend), "B1");
    reset(backend);
    assert_eq!(read_to_the_end(&client), End::Reset(0));
    assert_eq!(second.accepted(), 0);
    drop(client);
    assert_eq!(failed_over(balancer), 0);
}

/// What is not in the dead backend's socket comes to the next one, in order and to the last byte,
/// copied or spliced.
#[test]
fn what_the_client_has_said_and_the_backend_not_taken_goes_to_the_next() {
    for splice in ["off", "auto", "always"] {
        let (first, sessions) = handing_out();
        let (second, streams) = handing_out();
        let addresses = [first.address, second.address];
        let balancer = Balancer::before(&addresses, &format!("{FAILOVER} --splice {splice}"));
        let client = balancer.connect();
        let backend = sessions.recv().unwrap();
        let sent = pattern(7, PLENTY);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (&client).write_all(&sent).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            balancer.settle();
            reset(backend);
            let mut rest = Vec::new();
            patient(streams.recv().unwrap()).read_to_end(&mut rest).unwrap();
            // The beginning is lost with the socket that had taken it.
            assert!(!rest.is_empty() && rest.len() < sent.len(), "{} bytes", rest.len());
            assert_same_bytes(&rest, &sent[sent.len() - rest.len()..], splice);
        });
    }
}

/// The first backend has said more than a slow client has taken, and is reset then.
#[test]
fn a_client_that_moves_has_a_stream_without_a_gap() {
    let (first, sessions) = handing_out();
    let second = named_per_request("B2");
    let balancer = Balancer::before(&[first.address, second.address], FAILOVER);
    let mut client = balancer.connect();
    let backend = sessions.recv().unwrap();
    let said = pattern(3, 100_000);
    (&backend).write_all(&said).unwrap();
    let mut got = vec![0; said.len()];
    client.read_exact(&mut got).unwrap();
    assert_same_bytes(&got, &said, "before the reset");
    reset(backend);
    assert_eq!(ask(&mut client), "B2");
}

#[test]
fn with_nobody_else_the_client_is_held_until_somebody_is_there() {
    let (first, sessions) = handing_out();
    let second = Backend::running(drop);
    let address = second.address;
    drop(second);
    let options = format!("{FAILOVER} --wait-for-backend-timeout 30");
    let balancer = Balancer::before(&[first.address, address], &options);
    let mut client = balancer.connect();
    let backend = sessions.recv().unwrap();
    assert_eq!(answer_by_hand(&mut client, &backend), "B1");
    drop(first);
    reset(backend);
    eventually(|| balancer.log().contains("the client waits"), || balancer.log());
    client.write_all(b"?").unwrap();
    let _second = per_request_on(address, "B2");
    assert_eq!(read_name(&mut client), "B2");
    assert_eq!(ask(&mut client), "B2");
}

#[test]
fn with_nobody_else_for_too_long_the_client_is_reset() {
    let (first, sessions) = handing_out();
    let options = format!("{FAILOVER} --wait-for-backend-timeout 0.3");
    let balancer = Balancer::before(&[first.address], &options);
    let mut client = balancer.connect();
    let backend = sessions.recv().unwrap();
    assert_eq!(answer_by_hand(&mut client, &backend), "B1");
    drop(first);
    reset(backend);
    assert_eq!(read_to_the_end(&client), End::Reset(0));
}

/// More than both kernels' and our buffers together can hold.
const PLENTY: usize = 64 << 20;

/// A backend whose connections the test has in its own hands.
fn handing_out() -> (Backend, Receiver<TcpStream>) {
    let (give, sessions) = channel();
    let backend = Backend::running(move |client| {
        let _ = give.send(client);
    });
    (backend, sessions)
}

/// A backend that says its two letters for each byte.
fn named_per_request(name: &'static str) -> Backend {
    per_request_on((std::net::Ipv4Addr::LOCALHOST, 0).into(), name)
}

fn per_request_on(address: SocketAddr, name: &'static str) -> Backend {
    Backend::on(address, move |mut client| {
        while client.read_exact(&mut [0]).is_ok() {
            let _ = client.write_all(name.as_bytes());
        }
    })
}

fn answer_by_hand(client: &mut TcpStream, mut backend: &TcpStream) -> String {
    client.write_all(b"?").unwrap();
    backend.read_exact(&mut [0]).unwrap();
    backend.write_all(b"B1").unwrap();
    read_name(client)
}

fn ask(client: &mut TcpStream) -> String {
    client.write_all(b"?").unwrap();
    read_name(client)
}

fn read_name(client: &mut TcpStream) -> String {
    let mut name = [0; 2];
    client.read_exact(&mut name).unwrap();
    String::from_utf8_lossy(&name).into_owned()
}

fn failed_over(balancer: Balancer) -> u64 {
    balancer.end().count("failed_over")
}

//! How a session ends on one side is how it ends on the other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::support::backend::{Backend, request};
use crate::support::{
    Balancer, End, WATCHDOG, assert_same_bytes, pattern, read_to_the_end, receipt, reset,
    with_little_room, write_until_reset,
};

/// More than both kernels' and our buffers together can hold.
const PLENTY: usize = 64 << 20;

#[test]
fn a_backends_reset_reaches_the_client_as_a_reset() {
    let backend = Backend::resetting_after(0, 4);
    let balancer = Balancer::before(&[backend.address], "");
    for _ in 0..20 {
        let mut client = balancer.connect();
        client.write_all(b"ping").unwrap();
        assert_eq!(read_to_the_end(&client), End::Reset(0));
    }
}

#[test]
fn a_backends_reset_in_the_middle_of_a_download_is_no_clean_end() {
    let backend = Backend::resetting_after(3 << 20, 0);
    let balancer = Balancer::before(&[backend.address], "");
    let mut resets = 0;
    for _ in 0..20 {
        let end = read_to_the_end(&balancer.connect());
        match end {
            End::Reset(bytes) => assert!(bytes <= 3 << 20, "{end:?}"),
            // It had reset before the balancer looked at the connection: one that could not be made,
            // and there is no other backend.
            End::Finished(0) => continue,
            End::Finished(_) => panic!("{end:?}"),
        }
        resets += 1;
    }
    assert!(resets > 0, "no connection was looked at in time");
}

#[test]
fn a_backends_reset_in_the_middle_of_an_upload_stops_the_client() {
    let backend = Backend::resetting_after(0, 1 << 20);
    let balancer = Balancer::before(&[backend.address], "");
    for _ in 0..5 {
        write_until_reset(&balancer.connect(), 4 * PLENTY);
    }
}

#[test]
fn a_clients_reset_reaches_the_backend_as_a_reset() {
    let (backend, ends) = reporting(|client| read_to_the_end(&client));
    let balancer = Balancer::before(&[backend.address], "");
    for count in 1..=20 {
        let mut client = balancer.connect();
        client.write_all(b"four").unwrap();
        backend.wait_for_accepted(count);
        reset(client);
        // A reset may overtake the bytes, and drops those that are not delivered yet.
        let end = next(&ends);
        assert!(matches!(end, End::Reset(0 | 4)), "{end:?}");
    }
}

#[test]
fn a_clients_reset_in_the_middle_of_an_upload_is_no_clean_end() {
    let (backend, ends) = reporting(|client| read_to_the_end(&client));
    let balancer = Balancer::before(&[backend.address], "");
    for _ in 0..10 {
        let mut client = balancer.connect();
        client.write_all(&pattern(1, 2 << 20)).unwrap();
        reset(client);
        let end = next(&ends);
        assert!(matches!(end, End::Reset(_)), "{end:?}");
    }
}

#[test]
fn a_client_that_vanishes_while_the_backend_sends_stops_the_backend() {
    let (backend, ends) = reporting(|client| {
        write_until_reset(&client, 4 * PLENTY);
        End::Reset(0)
    });
    let balancer = Balancer::before(&[backend.address], "");
    let mut client = balancer.connect();
    client.read_exact(&mut [0; 100_000]).unwrap();
    // Bytes that nobody will read turn this close into a reset (RFC 2525, 2.17).
    drop(client);
    next(&ends);
}

#[test]
fn a_response_still_arrives_after_the_client_has_finished_writing() {
    // The backend answers only when it has read the end, and takes its time.
    let backend = Backend::running(|mut client| {
        let mut request = Vec::new();
        let _ = client.read_to_end(&mut request);
        std::thread::sleep(Duration::from_millis(50));
        let _ = client.write_all(receipt(&request).as_bytes());
    });
    let balancer = Balancer::before(&[backend.address], "");
    let request = b"GET / HTTP/1.0\r\n\r\n";
    let mut client = balancer.connect();
    client.write_all(request).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, receipt(request));
}

#[test]
fn a_client_goes_on_sending_after_the_backend_has_finished_writing() {
    let (told, receipts) = channel();
    let told = Mutex::new(told);
    let backend = Backend::running(move |mut client| {
        let _ = client.write_all(b"hello");
        let _ = client.shutdown(Shutdown::Write);
        let mut bytes = Vec::new();
        let _ = client.read_to_end(&mut bytes);
        let _ = told.lock().unwrap().send(receipt(&bytes));
    });
    let balancer = Balancer::before(&[backend.address], "");
    let mut client = balancer.connect();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello", "and the end, although this side is still open");
    let sent = pattern(1, 3 << 20);
    for chunk in sent.chunks(100_000) {
        client.write_all(chunk).unwrap();
    }
    drop(client);
    assert_eq!(receipts.recv_timeout(WATCHDOG).unwrap(), receipt(&sent));
}

#[test]
fn an_empty_connection_ends_cleanly_on_both_sides() {
    let (backend, ends) = reporting(|client| read_to_the_end(&client));
    let balancer = Balancer::before(&[backend.address], "");
    drop(balancer.connect());
    assert_eq!(next(&ends), End::Finished(0));
    let client = balancer.connect();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next(&ends), End::Finished(0));
    assert_eq!(read_to_the_end(&client), End::Finished(0));
}

#[test]
fn a_backend_that_closes_is_the_end_of_the_stream_and_no_error() {
    let backends = [Backend::named("bye"), Backend::running(drop)];
    for (backend, said) in backends.iter().zip([3, 0]) {
        let balancer = Balancer::before(&[backend.address], "");
        for _ in 0..20 {
            assert_eq!(read_to_the_end(&balancer.connect()), End::Finished(said));
        }
        assert!(!balancer.log().contains("ERROR"), "{}", balancer.log());
    }
}

#[test]
fn the_answer_before_a_backends_close_is_not_lost_to_an_eager_client() {
    // The client still sends when the backend has answered and closed, as HTTP servers do.
    let backend = Backend::running(|mut client| {
        let _ = client.read_exact(&mut [0; 4]);
        let _ = client.write_all(b"answer");
        let _ = client.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut client, &mut std::io::sink());
    });
    let balancer = Balancer::before(&[backend.address], "");
    for _ in 0..50 {
        let mut client = balancer.connect();
        client.write_all(b"ask!").unwrap();
        client.write_all(b"more that nobody asked for").unwrap();
        assert_eq!(read_to_the_end(&client), End::Finished(6));
    }
}

#[test]
fn a_dribble_arrives_byte_by_byte() {
    let said = pattern(1, 300);
    let backend = Backend::dribbling(said.clone(), Duration::from_millis(1));
    let balancer = Balancer::before(&[backend.address], "");
    let mut client = balancer.connect();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_same_bytes(&got, &said, "from the backend");
    // And the other way: each byte is there before the next one is sent.
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "");
    let mut client = balancer.connect();
    for byte in said {
        client.write_all(&[byte]).unwrap();
        let mut got = [0];
        client.read_exact(&mut got).unwrap();
        assert_eq!(got, [byte]);
    }
}

#[test]
fn a_reader_that_stalls_and_resumes_has_lost_nothing() {
    let backend = Backend::source();
    let balancer = Balancer::before(&[backend.address], "--buffers 16 --shards 1");
    let mut stalled = balancer.connect();
    stalled.write_all(&request(1, PLENTY)).unwrap();
    balancer.settle();
    // Others are served meanwhile.
    let mut other = balancer.connect();
    other.write_all(&request(2, 1 << 20)).unwrap();
    let mut got = Vec::new();
    other.read_to_end(&mut got).unwrap();
    assert_same_bytes(&got, &pattern(2, 1 << 20), "the other client");
    let mut got = Vec::new();
    stalled.read_to_end(&mut got).unwrap();
    assert_same_bytes(&got, &pattern(1, PLENTY), "the stalled client");
}

#[test]
fn a_client_that_reads_slower_than_the_half_closed_timeout_gets_everything_and_a_clean_end() {
    let sent = pattern(1, 1 << 20);
    let all = sent.clone();
    let backend = Backend::running(move |mut client| {
        let _ = client.write_all(&all);
    });
    let balancer = Balancer::before(&[backend.address], "--half-closed-timeout 500ms");
    let before = balancer.descriptors();
    let mut client = with_little_room(balancer.address);
    let (mut got, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    while got.len() < sent.len() - SENT_AND_NOT_READ {
        let bytes = client.read(&mut chunk).unwrap();
        got.extend_from_slice(&chunk[..bytes]);
        std::thread::sleep(Duration::from_millis(5));
    }
    // The rest waits in the kernel, its end is told, and meanwhile the session is over.
    balancer.wait_for_descriptors(before);
    client.read_to_end(&mut got).unwrap();
    assert_same_bytes(&got, &sent, "to a slow reader");
}

/// Less than the kernel takes from a sender at once over loopback.
const SENT_AND_NOT_READ: usize = 256 << 10;

#[test]
fn a_backend_that_has_the_clients_end_learns_that_nobody_waits_for_the_rest() {
    let (backend, ends) = reporting(|mut client| {
        let End::Finished(request) = read_to_the_end(&client) else { panic!("it is reset") };
        client.write_all(b"half of it").unwrap();
        let mut looked = [PollFd::new(client.as_fd(), PollFlags::empty())];
        match poll(&mut looked, PollTimeout::try_from(WATCHDOG).unwrap()) {
            // Nothing but an error or a hang-up is told then.
            Ok(1) => End::Reset(request),
            other => panic!("{other:?}"),
        }
    });
    let balancer = Balancer::before(&[backend.address], "--half-closed-timeout 300ms");
    let mut client = balancer.connect();
    client.write_all(b"four").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(read_to_the_end(&client), End::Reset(_)));
    assert_eq!(next(&ends), End::Reset(4));
}

#[test]
fn every_way_to_end_gives_the_descriptors_back() {
    let backend = Backend::resetting_after(10, 1);
    let clean = Backend::echo();
    let balancer = Balancer::before(&[backend.address, clean.address], "--algorithm round-robin");
    read_to_the_end_of_one(&balancer);
    let before = balancer.descriptors();
    (0..100).for_each(|_| read_to_the_end_of_one(&balancer));
    balancer.wait_for_descriptors(before);
}

/// Two sessions, because two backends take turns: one is reset, one echoes.
fn read_to_the_end_of_one(balancer: &Balancer) {
    for _ in 0..2 {
        let mut client = balancer.connect();
        client.write_all(b"x").unwrap();
        // The backend's reset may be here first; then there is nothing to shut down.
        let _ = client.shutdown(Shutdown::Write);
        read_to_the_end(&client);
    }
}

/// A backend that tells how each of its connections ended.
fn reporting(script: fn(TcpStream) -> End) -> (Backend, Receiver<End>) {
    let (told, ends) = channel();
    let told = Mutex::new(told);
    let backend = Backend::running(move |client| {
        let end = script(client);
        let _ = told.lock().unwrap().send(end);
    });
    (backend, ends)
}

fn next(ends: &Receiver<End>) -> End {
    ends.recv_timeout(WATCHDOG).expect("the backend's connection ends")
}

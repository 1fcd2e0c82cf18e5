//! Every byte arrives, once, in order, and so does the way in which a stream ends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::Duration;

use crate::support::backend::{Backend, request};
use crate::support::{
    Balancer, Nobody, WATCHDOG, all_from, assert_same_bytes, bytes_until_reset, greet_one,
    name_from, patient, pattern, receipt, reset,
};

/// Around the sizes of people's buffers and of this program's, and one that is larger than
/// everything on the way can hold.
const SIZES: [usize; 9] = [0, 1, 1023, 1024, 1025, 65535, 65536, 65537, (16 << 20) + 5];

#[test]
fn an_upload_arrives_whole_and_its_answer_comes_after_the_half_close() {
    let backend = Backend::sink();
    let Some(balancer) = Balancer::before(&[backend.address], "") else { return };
    for (seed, size) in (0..).zip(SIZES) {
        let mut client = balancer.connect();
        let sent = pattern(seed, size);
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all_from(client), receipt(&sent));
    }
}

#[test]
fn a_download_arrives_whole_when_the_backend_closes_first() {
    let backend = Backend::source();
    let Some(balancer) = Balancer::before(&[backend.address], "") else { return };
    for (seed, size) in (0..).zip(SIZES) {
        let mut client = balancer.connect();
        client.write_all(&request(seed, size)).unwrap();
        // It starts to read when everything on the way is full.
        if size > 1 << 20 {
            balancer.settle();
        }
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert_same_bytes(&got, &pattern(seed, size));
    }
}

#[test]
fn both_directions_at_once_with_odd_pieces_and_a_slow_reader() {
    let backend = Backend::echo();
    let Some(balancer) = Balancer::before(&[backend.address], "") else { return };
    let sent = pattern(7, (4 << 20) + 11);
    let client = balancer.connect();
    let mut got = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| write_in_pieces(&client, &sent));
        let (mut reader, mut chunk) = (&client, vec![0; 40_000]);
        let mut turns = 0;
        while let Ok(bytes @ 1..) = reader.read(&mut chunk) {
            got.extend_from_slice(&chunk[..bytes]);
            turns += 1;
            if turns % 16 == 0 {
                sleep(Duration::from_millis(2));
            }
        }
    });
    assert_same_bytes(&got, &sent);
}

/// Some bytes one at a time, then pieces of all sizes with rests in between, then the end.
fn write_in_pieces(mut client: &TcpStream, bytes: &[u8]) {
    let (single, mut rest) = bytes.split_at(50);
    for byte in single {
        client.write_all(&[*byte]).unwrap();
        sleep(Duration::from_micros(500));
    }
    let mut sizes = fastrand::Rng::with_seed(11);
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(sizes.usize(1..200_000).min(rest.len()));
        client.write_all(piece).unwrap();
        rest = more;
        if sizes.bool() {
            sleep(Duration::from_millis(1));
        }
    }
    client.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn a_client_may_go_on_when_the_backend_has_finished() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let backend = Backend::running(move |mut client| {
        client.write_all(b"B1").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        tell.lock().unwrap().send(receipt(&bytes)).unwrap();
    });
    let Some(balancer) = Balancer::before(&[backend.address], "") else { return };
    let mut client = balancer.connect();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "B1");
    let sent = pattern(3, 3 << 20);
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(told.recv_timeout(WATCHDOG).unwrap(), receipt(&sent));
}

#[test]
fn an_empty_connection_ends_at_the_backend_too_and_the_next_is_served() {
    let backend = Backend::sink();
    let Some(balancer) = Balancer::before(&[backend.address], "") else { return };
    let before = balancer.descriptors();
    for _ in 0..3 {
        drop(balancer.connect());
    }
    backend.wait_for_accepted(3);
    balancer.wait_for_descriptors(before);
    let client = balancer.connect();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(all_from(client), receipt(&[]));
}

#[test]
fn what_came_before_a_reset_arrives_and_then_the_reset() {
    let backend = Backend::resetting_after(1000, 3);
    let Some(balancer) = Balancer::before(&[backend.address], "") else { return };
    let before = balancer.descriptors();
    let mut client = balancer.connect();
    client.write_all(b"abc").unwrap();
    assert_eq!(bytes_until_reset(&client), 1000);
    balancer.wait_for_descriptors(before);
}

#[test]
fn a_client_that_resets_is_reset_at_the_backend() {
    let listener = Nobody::new().listen(16);
    let address = listener.local_addr().unwrap();
    let Some(balancer) = Balancer::before(&[address], "") else { return };
    let before = balancer.descriptors();
    let mut client = balancer.connect();
    client.write_all(b"abc").unwrap();
    let mut backend = patient(listener.accept().unwrap().0);
    backend.read_exact(&mut [0; 3]).unwrap();
    reset(client);
    assert_eq!(bytes_until_reset(&backend), 0);
    balancer.wait_for_descriptors(before);
}

#[test]
fn an_answer_is_whole_although_the_backend_resets_what_comes_after_it() {
    static GO: OnceLock<()> = OnceLock::new();
    let answer = pattern(5, 300_000);
    let bytes = answer.clone();
    let backend = Backend::running(move |mut client| {
        client.write_all(&bytes).unwrap();
        GO.wait();
    });
    let Some(balancer) = Balancer::before(&[backend.address], "") else { return };
    let mut client = balancer.connect();
    let mut got = vec![0; 1];
    client.read_exact(&mut got).unwrap();
    GO.set(()).unwrap();
    balancer.settle();
    // The backend is gone: its kernel answers the first with a reset, and the second finds it.
    for _ in 0..2 {
        client.write_all(b"more").unwrap();
        balancer.settle();
    }
    client.read_to_end(&mut got).unwrap();
    assert_same_bytes(&got, &answer);
}

#[test]
fn a_reader_that_stalls_stops_the_sender() {
    let listener = Nobody::new().listen(16);
    let address = listener.local_addr().unwrap();
    let Some(balancer) = Balancer::before(&[address], "") else { return };
    let client = balancer.connect();
    let mut backend = patient(listener.accept().unwrap().0);
    client.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let chunk = pattern(1, 1 << 20);
    // As much as fits, again when the balancer has done what it can.
    loop {
        let before = sent;
        while let Ok(bytes) = (&client).write(&chunk[sent % chunk.len()..]) {
            sent += bytes;
            // Two kernels' buffers, and some.
            assert!(sent < 200 << 20, "it takes everything");
        }
        balancer.settle();
        if sent == before {
            break;
        }
    }
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    backend.read_to_end(&mut got).unwrap();
    let repeated: Vec<u8> = chunk.iter().copied().cycle().take(sent).collect();
    assert_same_bytes(&got, &repeated);
}

#[test]
fn a_half_closed_client_that_is_held_gets_its_answer() {
    let nobody = Nobody::new();
    let options = "--wait-for-backend-timeout 60";
    let Some(balancer) = Balancer::before(&[nobody.address], options) else { return };
    let mut client = balancer.connect();
    client.write_all(b"request").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    balancer.settle();
    let listener = nobody.listen(16);
    greet_one(&listener, "B1");
    assert_eq!(name_from(&client), "B1");
}

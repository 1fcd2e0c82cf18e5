//! Peers and surroundings that mean no good: urgent bytes, resets at the worst moment, descriptors
//! that are taken away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::{Balancer, End, WATCHDOG, pattern, read_to_the_end, receipt, reset, skip};
use nix::sys::signal::Signal;
use socket2::SockRef;

#[test]
fn an_urgent_byte_is_part_of_the_stream_in_both_directions() {
    // The backend answers each byte with an urgent one.
    let backend = Backend::running(|mut client| {
        let mut byte = [0];
        while client.read_exact(&mut byte).is_ok() && send_urgent(&client, byte[0]) {}
    });
    let balancer = Balancer::before(&[backend.address], "");
    let mut client = balancer.connect();
    SockRef::from(&client).set_out_of_band_inline(true).unwrap();
    for byte in pattern(1, 200) {
        assert!(send_urgent(&client, byte));
        let mut got = [0];
        client.read_exact(&mut got).unwrap();
        assert_eq!(got, [byte]);
    }
}

#[test]
fn urgent_bytes_of_many_clients_take_no_buffer_from_the_others() {
    let sink = Backend::sink();
    let balancer = Balancer::before(&[sink.address], "--buffers 4 --shards 1");
    let clients: Vec<TcpStream> = (0..40).map(|_| balancer.connect()).collect();
    sink.wait_for_accepted(40);
    let sent = pattern(2, 140);
    for &byte in &sent {
        clients.iter().for_each(|client| assert!(send_urgent(client, byte)));
        // Each is to be a wake-up of its own.
        std::thread::sleep(Duration::from_millis(3));
    }
    assert_eq!(receipt_for(balancer.connect(), b"and now?"), receipt(b"and now?"));
    balancer.settle();
    balancer.assert_idle(Duration::from_secs(1));
    for client in clients {
        assert_eq!(receipt_for(client, b""), receipt(&sent), "every byte, in its place");
    }
}

fn send_urgent(client: &TcpStream, byte: u8) -> bool {
    SockRef::from(client).send_out_of_band(&[byte]).is_ok()
}

/// Sends the last bytes of an upload, and its end; what a sink says then.
fn receipt_for(mut client: TcpStream, last: &[u8]) -> String {
    client.write_all(last).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn a_clients_reset_in_an_upload_is_a_reset_although_it_left_a_download_unread() {
    let (backend, told) = Stalled::backend();
    let balancer = Balancer::before(&[backend.address], "--shards 1");
    for upload in [Upload::BeforeTheStall, Upload::AfterTheStall].repeat(3) {
        // The two operations that it ends are answered in one batch, or perhaps one by one.
        for at_once in [true, false] {
            let client = stalled_download(&balancer, &told, upload);
            reset_by(client, at_once.then_some(&balancer));
            let end = told.ends.recv_timeout(WATCHDOG).expect("the backend's connection ends");
            assert!(matches!(end, End::Reset(_)), "{upload:?}, at once: {at_once}: {end:?}");
        }
    }
}

#[test]
fn a_backends_reset_in_an_answer_is_a_reset_although_it_left_an_upload_unread() {
    let (answered, answers) = channel();
    let answered = Mutex::new(answered);
    let backend = Backend::running(move |mut client| {
        client.write_all(b"half of an ans").unwrap();
        answered.lock().unwrap().send(client).unwrap();
    });
    let balancer = Balancer::before(&[backend.address], "--shards 1");
    for at_once in [true, false].repeat(4) {
        let mut client = balancer.connect();
        client.read_exact(&mut [0; 14]).unwrap();
        let its_backend = answers.recv_timeout(WATCHDOG).unwrap();
        fill(&client);
        balancer.settle();
        reset_by(its_backend, at_once.then_some(&balancer));
        assert_eq!(read_to_the_end(&client), End::Reset(0), "at once: {at_once}");
    }
}

/// Resets a connection, while the balancer stands still if it is given.
fn reset_by(peer: TcpStream, balancer: Option<&Balancer>) {
    match balancer {
        Some(balancer) => balancer.standing_still(|| reset(peer)),
        None => reset(peer),
    }
}

/// When a client has sent what it sends of its upload. It decides which of the two operations that
/// a reset ends has waited longer, and so which one is told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    BeforeTheStall,
    AfterTheStall,
}

/// What a backend tells that fills its connection before it reads it to the end.
struct Stalled {
    full: Receiver<()>,
    ends: Receiver<End>,
}

impl Stalled {
    fn backend() -> (Backend, Self) {
        let ((full_tx, full), (ends_tx, ends)) = (channel(), channel());
        let tell: Mutex<(Sender<()>, Sender<End>)> = Mutex::new((full_tx, ends_tx));
        let backend = Backend::running(move |mut client| {
            client.read_exact(&mut [0; 4]).unwrap();
            fill(&client);
            tell.lock().unwrap().0.send(()).unwrap();
            let end = read_to_the_end(&client);
            tell.lock().unwrap().1.send(end).unwrap();
        });
        (backend, Self { full, ends })
    }
}

/// A client in the middle of an upload that has not read its download, of which there is more than
/// fits.
fn stalled_download(balancer: &Balancer, told: &Stalled, upload: Upload) -> TcpStream {
    let mut client = balancer.connect();
    client.write_all(b"ask!").unwrap();
    if upload == Upload::BeforeTheStall {
        client.write_all(&pattern(3, 100_000)).unwrap();
    }
    told.full.recv_timeout(WATCHDOG).unwrap();
    if upload == Upload::AfterTheStall {
        client.write_all(&pattern(3, 100_000)).unwrap();
    }
    balancer.settle();
    client
}

/// Writes until nothing more is taken.
fn fill(mut stream: &TcpStream) {
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let chunk = vec![7; 1 << 20];
    let full = loop {
        if let Err(error) = stream.write(&chunk) {
            break error.kind();
        }
    };
    assert!(matches!(full, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{full:?}");
}

#[test]
fn clients_beyond_the_descriptors_wait_and_are_served_when_others_leave() {
    check_that_descriptors_run_out(2 * FITTING + 1, FITTING);
}

#[test]
fn many_clients_beyond_the_descriptors_are_served_when_others_leave() {
    check_that_descriptors_run_out(2 * FITTING, 3 * FITTING);
}

#[test]
fn nobody_waits_for_a_descriptor_that_another_who_waits_has() {
    // The descriptors kept for connects are used up, or nearly.
    for taken in 1..4 {
        let Some(mut short) = Short::of_descriptors(2 * FITTING - taken, 4 * FITTING) else {
            return;
        };
        (0..FITTING).for_each(|_| short.one_leaves_and_one_comes());
        // In one turn of the shard, as many descriptors as clients may be accepted with, and then
        // not connected.
        let leaving = FITTING - 1;
        let Short { balancer, inside, .. } = &mut short;
        balancer.standing_still(|| inside.drain(..leaving).for_each(reset));
        (0..leaving).for_each(|_| short.one_comes());
        short.check_that_all_are_served();
    }
}

/// With room for so many more descriptors, and so many clients more than fit.
fn check_that_descriptors_run_out(room: usize, beyond: usize) {
    let Some(short) = Short::of_descriptors(room, beyond) else { return };
    short.check_that_all_are_served();
}

/// A balancer whose descriptors have run out.
struct Short {
    balancer: Balancer,
    _backend: Backend,
    /// How many it had open before anyone came.
    before: usize,
    /// Clients who are being served.
    inside: Vec<TcpStream>,
    /// Clients for whom there is no descriptor, each with a byte sent.
    outside: VecDeque<TcpStream>,
}

impl Short {
    /// With room for so many more descriptors, and so many clients more than fit.
    fn of_descriptors(room: usize, beyond: usize) -> Option<Self> {
        let backend = Backend::echo();
        let options = "--shards 1 --connect-timeout 1m";
        let balancer = Balancer::before(&[backend.address], options);
        let before = balancer.descriptors();
        if !balancer.limit_descriptors(room) {
            skip("prlimit (util-linux)");
            return None;
        }
        use_up_earlier_accepts(&balancer);
        balancer.wait_for_descriptors(before);
        let mut inside: Vec<TcpStream> = (0..FITTING).map(|_| balancer.connect()).collect();
        inside.iter_mut().for_each(served);
        let mut outside: VecDeque<TcpStream> = (0..beyond).map(|_| balancer.connect()).collect();
        outside.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
        balancer.settle();
        balancer.assert_idle(Duration::from_secs(1));
        inside.iter_mut().for_each(served);
        Some(Self { balancer, _backend: backend, before, inside, outside })
    }

    fn one_leaves_and_one_comes(&mut self) {
        drop(self.inside.remove(0));
        self.one_comes();
    }

    fn one_comes(&mut self) {
        let mut next = self.outside.pop_front().expect("somebody is outside");
        next.read_exact(&mut [0]).unwrap();
        self.inside.push(next);
    }

    /// Whoever waits is served as one after the other leaves.
    fn check_that_all_are_served(mut self) {
        while !self.outside.is_empty() {
            self.one_leaves_and_one_comes();
        }
        let Self { mut balancer, before, mut inside, .. } = self;
        inside.iter_mut().for_each(served);
        drop(inside);
        balancer.wait_for_descriptors(before);
        balancer.signal(Signal::SIGTERM);
        assert_eq!(balancer.wait().code(), Some(0));
        let log = balancer.log();
        assert!(log.contains("ulimit -n"), "the cure is not in: {log}");
        assert!(log.contains(" 0 failed"), "a backend is blamed: {log}");
    }
}

/// As many sessions as the descriptors are enough for.
const FITTING: usize = 4;

/// An accept keeps the limit that it was started under (`io_accept_prep`, io_uring/net.c).
fn use_up_earlier_accepts(balancer: &Balancer) {
    (0..200).for_each(|_| served(&mut balancer.connect()));
}

fn served(client: &mut TcpStream) {
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
}

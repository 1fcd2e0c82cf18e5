//! Bulk through pipes: whatever a pipe, a peer or the kernel does meanwhile, every byte arrives,
//! once, in order, and the end after it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::ops::RangeInclusive;
use std::time::Duration;

use socket2::SockRef;
use support::backend::{Backend, request};
use support::puppet::{Puppets, Session, Way};
use support::{Balancer, End, assert_same_bytes, pattern, read_to_the_end, receipt, reset};

/// The two ways into a pipe: at once, and as soon as it is bulk.
const SPLICED: [&str; 2] = ["--splice always --shards 1", "--splice auto --shards 1"];

/// After so much at once a direction is bulk: four times what it takes.
const START: usize = 1 << 20;

#[test]
fn tiny_segments_that_fill_the_slots_of_a_pipe_all_arrive() {
    for sizes in SEGMENTS {
        let puppets = Puppets::new();
        let balancer = puppets.behind(SPLICED[0]);
        let pair = [1, 2].map(|_| puppets.session(&balancer));
        let mut sent = [Vec::new(), Vec::new()];
        while balancer.pipes().iter().filter(|&&held| held > 0).count() < 2 {
            write_segments_that_fit(pair.each_ref().map(|one| &one.client), &mut sent, &sizes);
            balancer.settle();
        }
        let most = balancer.pipes().into_iter().max();
        assert!(most < Some(PIPE_BYTES), "{most:?} bytes are as many as fit in full pages");
        balancer.assert_idle(Duration::from_millis(300));
        for (session, sent) in pair.into_iter().zip(sent) {
            assert_rest_arrives(session, Way::Up, &sent);
        }
    }
}

#[test]
fn tiny_segments_behind_bulk_that_stalls_all_arrive() {
    for sizes in SEGMENTS {
        let puppets = Puppets::new();
        let balancer = puppets.behind(SPLICED[1]);
        let pair = [1, 2].map(|_| puppets.session_with_little_room(&balancer));
        pair.iter().for_each(|one| one.pass(Way::Down, &pattern(1, START)));
        let mut sent = pair.each_ref().map(|one| one.fill_a_pipe(&balancer, Way::Down));
        write_segments_that_fit(pair.each_ref().map(|one| &one.backend), &mut sent, &sizes);
        balancer.settle_with_bytes_in_a_pipe();
        balancer.assert_idle(Duration::from_millis(300));
        for (session, sent) in pair.into_iter().zip(sent) {
            assert_rest_arrives(session, Way::Down, &sent);
        }
    }
}

/// From what people type to what fills a packet, of which several make a page.
const SEGMENTS: [RangeInclusive<usize>; 2] = [1..=100, 1448..=1448];

/// What one pipe holds if its slots are full pages.
const PIPE_BYTES: u64 = 256 * 1024;

/// Writes segments on both in turns, so that those of one do not lie side by side in memory, where
/// the kernel would make one of them.
fn write_segments_that_fit(
    pair: [&TcpStream; 2],
    sent: &mut [Vec<u8>; 2],
    sizes: &RangeInclusive<usize>,
) {
    let mut rng = fastrand::Rng::with_seed(sent[0].len() as u64);
    for one in pair {
        one.set_nonblocking(true).unwrap();
        SockRef::from(one).set_send_buffer_size(64 * 1024).unwrap();
    }
    loop {
        let mut all_full = true;
        for (mut source, sent) in pair.into_iter().zip(&mut *sent) {
            let segment = pattern(rng.u64(..), rng.usize(sizes.clone()));
            if let Ok(bytes) = source.write(&segment) {
                sent.extend_from_slice(&segment[..bytes]);
                all_full = false;
            }
        }
        if all_full {
            break;
        }
    }
    pair.iter().for_each(|one| one.set_nonblocking(false).unwrap());
}

/// Ends one way, of which `sent` has not been read.
fn assert_rest_arrives(session: Session, way: Way, sent: &[u8]) {
    let (source, mut destination) = session.into_ends(way);
    source.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    destination.read_to_end(&mut got).unwrap();
    assert_same_bytes(&got, sent, &format!("{way:?}"));
}

#[test]
fn the_end_comes_after_the_bytes_that_are_still_in_a_pipe() {
    for mode in SPLICED {
        let puppets = Puppets::new();
        let balancer = puppets.behind(mode);
        let session = puppets.session_with_little_room(&balancer);
        session.pass(Way::Down, &pattern(1, START));
        let sent = session.fill_a_pipe(&balancer, Way::Down);
        session.backend.shutdown(Shutdown::Write).unwrap();
        balancer.settle_with_bytes_in_a_pipe();
        let mut got = Vec::new();
        (&session.client).read_to_end(&mut got).unwrap();
        assert_same_bytes(&got, &sent, mode);
        // The other direction is as open as before.
        session.pass(Way::Up, &pattern(2, 10));
        balancer.wait_for_empty_pipes();
    }
}

#[test]
fn a_half_close_while_the_other_direction_is_in_a_pipe_arrives_and_stops_nothing() {
    for mode in SPLICED {
        for (way, back) in [(Way::Up, Way::Down), (Way::Down, Way::Up)] {
            let puppets = Puppets::new();
            let balancer = puppets.behind(mode);
            let session = puppets.session(&balancer);
            session.pass(way, &pattern(1, START));
            let mut sent = session.fill(&balancer, way);
            balancer.settle_with_bytes_in_a_pipe();
            let (mut teller, mut told) = session.ends(back);
            teller.write_all(b"that is all").unwrap();
            teller.shutdown(Shutdown::Write).unwrap();
            let mut said = Vec::new();
            told.read_to_end(&mut said).unwrap();
            assert_eq!(said, b"that is all");
            // What was in the pipe, and what comes after it.
            let (mut source, mut destination) = session.into_ends(way);
            let mut got = vec![0; sent.len()];
            destination.read_exact(&mut got).unwrap();
            let more = pattern(3, 4 * START);
            sent.extend_from_slice(&more);
            std::thread::scope(|scope| {
                scope.spawn(move || source.write_all(&more).unwrap());
                destination.read_to_end(&mut got).unwrap();
            });
            assert_same_bytes(&got, &sent, &format!("{mode} {way:?}"));
        }
    }
}

#[test]
fn a_reset_of_the_reader_while_bytes_are_in_a_pipe_reaches_the_writer_as_a_reset() {
    for mode in SPLICED {
        for way in Puppets::WAYS {
            let puppets = Puppets::new();
            let balancer = puppets.behind(mode);
            let session = puppets.session(&balancer);
            session.pass(way, &pattern(1, START));
            session.fill(&balancer, way);
            balancer.settle_with_bytes_in_a_pipe();
            let (source, destination) = session.into_ends(way);
            reset(destination);
            assert_eq!(read_to_the_end(&source), End::Reset(0), "{mode} {way:?}");
            balancer.wait_for_empty_pipes();
        }
    }
}

#[test]
fn a_reset_of_the_writer_while_bytes_are_in_a_pipe_reaches_the_reader_as_a_reset() {
    for mode in SPLICED {
        for way in Puppets::WAYS {
            let puppets = Puppets::new();
            let balancer = puppets.behind(mode);
            let session = puppets.session(&balancer);
            session.pass(way, &pattern(1, START));
            let sent = session.fill(&balancer, way);
            balancer.settle_with_bytes_in_a_pipe();
            let (source, destination) = session.into_ends(way);
            reset(source);
            let end = read_to_the_end(&destination);
            assert!(matches!(end, End::Reset(bytes) if bytes < sent.len()), "{mode}: {end:?}");
        }
    }
}

#[test]
fn a_slow_reader_of_bulk_gets_everything() {
    const BYTES: usize = 8 << 20;
    for mode in SPLICED {
        let backend = Backend::source();
        let balancer = Balancer::before(&[backend.address], mode);
        let mut client = balancer.connect();
        client.write_all(&request(1, BYTES)).unwrap();
        let (mut got, mut rng) = (Vec::new(), fastrand::Rng::with_seed(2));
        let mut chunk = [0; 32 * 1024];
        loop {
            let most = rng.usize(1..=chunk.len());
            match client.read(&mut chunk[..most]).unwrap() {
                0 => break,
                bytes => got.extend_from_slice(&chunk[..bytes]),
            }
            std::thread::sleep(Duration::from_micros(rng.u64(..2000)));
        }
        assert_same_bytes(&got, &pattern(1, BYTES), mode);
        let [copied, spliced] = balancer.end().counts(TO_CLIENTS);
        assert_eq!(copied + spliced, BYTES as u64);
        assert!(spliced > copied, "{mode}: {spliced} bytes of {BYTES} went through pipes");
    }
}

const TO_CLIENTS: [&str; 2] = ["bytes_to_clients_copied", "bytes_to_clients_spliced"];
const TO_BACKENDS: [&str; 2] = ["bytes_to_backends_copied", "bytes_to_backends_spliced"];

#[test]
fn every_byte_is_counted_once_by_its_direction_and_its_path() {
    for (mode, through_pipes) in
        [("--splice always", [true; 2]), ("--splice auto", [true; 2]), ("--splice off", [false; 2])]
    {
        let (sink, source) = (Backend::sink(), Backend::source());
        let addresses = [sink.address, source.address];
        let balancer = Balancer::before(&addresses, &format!("{mode} --algorithm round-robin"));
        let [mut up, mut down] = [0, 0];
        for (seed, size) in (0..).zip([0, 1, 300 << 10, START, (16 << 20) + 5]) {
            let sent = pattern(seed, size);
            let said = upload(&balancer, &sent);
            assert_eq!(said, receipt(&sent));
            let got = download(&balancer, seed, size);
            assert_same_bytes(&got, &sent, mode);
            up += sent.len() + request(seed, size).len();
            down += said.len() + got.len();
        }
        let report = balancer.end();
        let counts = [report.counts(TO_BACKENDS), report.counts(TO_CLIENTS)];
        let sums = counts.map(|[copied, spliced]| copied + spliced);
        assert_eq!(sums, [up as u64, down as u64], "{mode}");
        assert_eq!(counts.map(|[_, spliced]| spliced > 0), through_pipes, "{mode}: {counts:?}");
    }
}

fn upload(balancer: &Balancer, bytes: &[u8]) -> String {
    let mut client = balancer.connect();
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    said
}

fn download(balancer: &Balancer, seed: u64, size: usize) -> Vec<u8> {
    let mut client = balancer.connect();
    client.write_all(&request(seed, size)).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    got
}

#[test]
fn bulk_in_both_directions_at_once_is_spliced_in_both() {
    for mode in SPLICED {
        let backend = Backend::echo();
        let balancer = Balancer::before(&[backend.address], mode);
        let client = balancer.connect();
        let sent = pattern(1, 16 << 20);
        assert_same_bytes(&echo(&client, &sent), &sent, mode);
        drop(client);
        let report = balancer.end();
        for counts in [report.counts(TO_BACKENDS), report.counts(TO_CLIENTS)] {
            assert_eq!(counts.iter().sum::<u64>(), 16 << 20);
            assert!(counts[1] > counts[0], "{mode}: copied and spliced: {counts:?}");
        }
    }
}

#[test]
fn what_was_bulk_is_copied_when_little_comes_and_spliced_when_it_is_bulk_again() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "--splice auto --shards 1");
    let client = balancer.connect();
    for round in 0..3 {
        let bulk = pattern(round, 4 << 20);
        assert_same_bytes(&echo(&client, &bulk), &bulk, "bulk");
        for size in 1..=100 {
            let little = pattern(round, size);
            assert_same_bytes(&echo(&client, &little), &little, "little");
        }
    }
    drop(client);
    let report = balancer.end();
    for way in ["path_to_backend", "path_to_client"] {
        let names = ["spliced", "little"].map(|change| format!("{way}_{change}"));
        let [spliced, little] = report.counts(names.each_ref().map(String::as_str));
        assert!(spliced >= 3 && little >= 3, "{way}: {spliced} times spliced, {little} little");
    }
    // Two of each hundred may still go through a pipe.
    let copied = report.count("bytes_to_clients_copied");
    assert!(copied >= 3 * (3..=100).sum::<u64>(), "{copied} bytes were copied");
}

/// Sends, and meanwhile reads the same back.
fn echo(mut client: &TcpStream, sent: &[u8]) -> Vec<u8> {
    let mut got = vec![0; sent.len()];
    std::thread::scope(|scope| {
        scope.spawn(move || client.write_all(sent).unwrap());
        client.read_exact(&mut got).unwrap();
    });
    got
}

#[test]
fn a_session_that_is_idle_after_bulk_costs_nothing_and_ends_cleanly_at_the_idle_timeout() {
    for mode in SPLICED {
        let puppets = Puppets::new();
        let balancer = puppets.behind(&format!("{mode} --idle-timeout 1s"));
        let before = balancer.descriptors();
        let session = puppets.session(&balancer);
        for way in Puppets::WAYS {
            session.pass(way, &pattern(1, 4 * START));
        }
        balancer.settle();
        assert_eq!(balancer.pipes().iter().sum::<u64>(), 0, "an idle direction holds bytes");
        for way in Puppets::WAYS {
            assert_eq!(read_to_the_end(session.ends(way).1), End::Finished(0), "{mode} {way:?}");
        }
        balancer.wait_for_descriptors(before);
        let report = balancer.end();
        assert_eq!(report.lines_with("sessions ended: tD idle-timeout 1"), 1, "{report:?}");
        assert_eq!(report.count("pipe_closed_full"), 0);
    }
}

#[test]
fn urgent_bytes_in_the_middle_of_bulk_are_neither_lost_nor_looked_for_without_an_end() {
    for mode in SPLICED {
        for way in Puppets::WAYS {
            let puppets = Puppets::new();
            let balancer = puppets.behind(mode);
            let session = puppets.session(&balancer);
            session.pass(way, &pattern(1, START));
            balancer.settle();
            for round in 0..10 {
                let (source, mut destination) = session.ends(way);
                // Nobody is there to take bytes while the urgent one is put behind them.
                balancer.standing_still(|| {
                    (&*source).write_all(b"before").unwrap();
                    send_urgent(source, round);
                    (&*source).write_all(b"after").unwrap();
                });
                let mut got = [0; 12];
                destination.read_exact(&mut got).unwrap();
                assert_eq!(got, [&b"before"[..], &[round], b"after"].concat()[..]);
                session.pass(way, &pattern(u64::from(round), START));
            }
            balancer.assert_idle(Duration::from_millis(300));
            drop(session);
            let report = balancer.end();
            let counts = report.counts(["path_to_backend_nothing", "path_to_client_nothing"]);
            assert!(counts[way as usize] >= 1, "{mode} {way:?}: {report:?}");
        }
    }
}

#[test]
fn an_urgent_byte_right_before_the_end_is_not_taken_for_the_end() {
    for mode in SPLICED {
        for way in Puppets::WAYS {
            let puppets = Puppets::new();
            let balancer = puppets.behind(mode);
            let session = puppets.session(&balancer);
            session.pass(way, &pattern(1, START));
            balancer.settle();
            let (source, mut destination) = session.ends(way);
            balancer.standing_still(|| {
                send_urgent(source, b'!');
                source.shutdown(Shutdown::Write).unwrap();
            });
            let mut got = Vec::new();
            destination.read_to_end(&mut got).unwrap();
            assert_eq!(got, b"!", "{mode} {way:?}");
            balancer.settle();
            drop(session);
            let report = balancer.end();
            let counts = report.counts(["path_to_backend_end", "path_to_client_end"]);
            assert!(counts[way as usize] >= 1, "{mode} {way:?}: {report:?}");
        }
    }
}

fn send_urgent(source: &TcpStream, byte: u8) {
    assert_eq!(SockRef::from(source).send_out_of_band(&[byte]).unwrap(), 1);
}

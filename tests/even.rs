//! Shards are even: connections that stay are spread, those that come and go cost nothing more, and
//! one that another shard accepted is like any other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use nix::sys::signal::Signal;
use support::backend::Backend;
use support::puppet::{Puppets, Session, Way};
use support::report::{Report, Share};
use support::{Balancer, End, pattern, read_to_the_end, reset};

#[test]
fn long_connections_that_come_one_after_the_other_are_spread_evenly() {
    for _ in 0..3 {
        let backend = Backend::echo();
        let balancer = Balancer::before(&[backend.address], "--shards 4");
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = balancer.connect();
            served(&mut client);
            clients.push(client);
        }
        let report = balancer.end();
        assert_eq!(served_by_shard(&report), [2; 4], "{report:?}");
        let connected = |Share { accepted, handed_over, taken_over, served }: &Share| {
            accepted - handed_over + taken_over == *served
        };
        assert!(report.shards.iter().all(connected), "{report:?}");
    }
}

#[test]
fn connections_that_come_and_go_are_rarely_handed_over() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "--shards 4 --algorithm random");
    served(&mut balancer.connect());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..500).for_each(|_| served(&mut balancer.connect())));
        }
    });
    // A run of a second and a bit touches three seconds of the clock.
    let seconds = started.elapsed().as_secs() + 2;
    let report = balancer.end();
    assert_eq!(served_by_shard(&report).iter().sum::<u64>(), 1 + 16 * 500);
    for share in &report.shards {
        assert!(share.handed_over <= 128 * seconds, "in {seconds} seconds: {report:?}");
    }
}

#[test]
fn a_connection_that_was_handed_over_is_like_any_other() {
    let puppets = Puppets::new();
    let balancer = puppets.behind("--shards 4");
    let sessions: Vec<Session> = (0..40).map(|_| puppets.session(&balancer)).collect();
    for session in &sessions {
        for (seed, way) in [Way::Up, Way::Down, Way::Up, Way::Down].into_iter().enumerate() {
            session.pass(way, &pattern(seed as u64, 1000));
        }
    }
    assert_eq!(balancer.nodelay_of_connections(), [true; 80]);
    for (index, session) in sessions.into_iter().enumerate() {
        let way = [Way::Up, Way::Down][index % 2];
        match index % 4 {
            0 | 1 => half_close(&session, way),
            _ => {
                let (source, destination) = session.into_ends(way);
                reset(source);
                assert_eq!(read_to_the_end(&destination), End::Reset(0), "{way:?}");
            }
        }
    }
    let report = balancer.end();
    assert!(report.count("handed_over") > 0, "{report:?}");
    assert_eq!(report.count("handed_over"), report.count("taken_over"));
    let to_clients = ["bytes_to_clients_copied", "bytes_to_clients_spliced"];
    let to_clients: u64 = to_clients.into_iter().map(|path| report.count(path)).sum();
    assert_eq!(to_clients, 40 * 2000 + 10 * 100_000);
}

/// One way ends, the other one goes on.
fn half_close(session: &Session, way: Way) {
    let back = if way == Way::Up { Way::Down } else { Way::Up };
    let (source, destination) = session.ends(way);
    source.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_the_end(destination), End::Finished(0));
    session.pass(back, &pattern(5, 100_000));
    destination.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_the_end(source), End::Finished(0));
}

#[test]
fn no_more_sessions_than_allowed_although_shards_hand_connections_to_each_other() {
    for _ in 0..5 {
        let backend = Backend::echo();
        let balancer = Balancer::before(&[backend.address], "--shards 4 --max-sessions 8");
        let mut clients: Vec<TcpStream> =
            balancer.standing_still(|| (0..40).map(|_| balancer.connect()).collect());
        balancer.settle();
        let inside = backend.accepted();
        assert!(inside <= 8, "{inside} sessions where 8 are allowed");
        // As some leave, others come in.
        std::thread::scope(|scope| {
            for mut client in clients.drain(..) {
                scope.spawn(move || served(&mut client));
            }
        });
        let report = balancer.end();
        assert_eq!(served_by_shard(&report).iter().sum::<u64>(), 40);
    }
}

#[test]
fn connections_on_their_way_to_another_shard_are_closed_when_the_balancer_ends() {
    let mut handed_over = 0;
    for _ in 0..10 {
        let backend = Backend::echo();
        let mut balancer = Balancer::before(&[backend.address], "--shards 4");
        let clients: Vec<TcpStream> = balancer.standing_still(|| {
            let clients = (0..60).map(|_| balancer.connect()).collect();
            balancer.signal(Signal::SIGTERM);
            clients
        });
        for client in clients {
            read_to_the_end(&client);
        }
        assert_eq!(balancer.wait().code(), Some(0));
        handed_over += Report::read(balancer.log()).count("handed_over");
    }
    assert!(handed_over > 0, "none was on its way");
}

fn served(client: &mut TcpStream) {
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
}

fn served_by_shard(report: &Report) -> Vec<u64> {
    report.shards.iter().map(|share| share.served).collect()
}

#[test]
fn the_state_is_told_while_it_runs_if_that_is_asked_for() {
    let puppets = Puppets::new();
    let balancer = puppets.behind("--shards 2 --report-interval 50ms");
    let sessions: Vec<Session> = (0..4).map(|_| puppets.session(&balancer)).collect();
    support::eventually(
        || balancer.log().contains("shard 1 (CPU ") && balancer.log().contains("sessions now=2"),
        || format!("not told: {}", balancer.log()),
    );
    assert!(balancer.log().contains(": 4 connections, "), "{}", balancer.log());
    assert!(balancer.log().contains(&format!("engine {}", support::engine())));
    drop(sessions);
}

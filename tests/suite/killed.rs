//! A backend is killed while 2000 connections come in a second: sessions that were on it end, and
//! nothing else fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::backend::Backend;
use crate::support::report::Report;
use crate::support::scene::{is_echoed, name_of};
use crate::support::{Balancer, eventually, patient, read_to_the_end};

#[test]
fn a_backend_that_is_killed_takes_its_own_sessions_with_it_and_no_other() {
    for algorithm in ["round-robin", "least-connections"] {
        let fleet = Fleet::new();
        let balancer = fleet.behind(algorithm);
        let held: Vec<(String, TcpStream)> = (0..40).map(|_| hold(&balancer)).collect();
        let Flow { good, failed } = fleet.flow(&balancer);
        // Each asker has one session at a time, and whoever comes later is served by the other. While
        // the process dies its descriptors are closed one by one: who is quick may be taken by its
        // listener once more.
        assert!(failed.len() <= 2 * ASKERS, "{algorithm}: {} failed: {failed:?}", failed.len());
        assert_eq!(good.iter().sum::<usize>() + failed.len(), ASKERS * ASKED, "{algorithm}");
        let on_first = held.iter().filter(|(name, _)| name == "B1").count();
        assert_eq!(on_first, 20, "{algorithm}");
        for (name, client) in held {
            match name.as_str() {
                // It ends, by the end or by a reset: as the dead process's kernel had it.
                "B1" => drop(read_to_the_end(&client)),
                _ => assert!(is_echoed(&client, 1), "{algorithm}: a session of {name} ended"),
            }
        }
        let report = balancer.end();
        // What it had taken is what it had served, what was held, and what failed.
        let taken = connected(&report, &fleet);
        assert_eq!(taken[0], good[0] + 20 + failed.len(), "{algorithm}: {report:?}");
        assert_eq!(taken[1], good[1] + 20, "{algorithm}: {report:?}");
        let accepted: u64 = report.shards.iter().map(|one| one.accepted).sum();
        assert_eq!(accepted, (ASKERS * ASKED + 40) as u64, "{algorithm}: {report:?}");
    }
}

/// Two backends, the first of which can be killed: it is a process of its own, before a backend of
/// the same name.
struct Fleet {
    _behind_the_first: Backend,
    first: std::sync::Mutex<Option<Balancer>>,
    first_address: std::net::SocketAddr,
    second: Backend,
}

/// What came of all who asked.
#[derive(Debug, Default)]
struct Flow {
    /// Served by the first, and by the second.
    good: [usize; 2],
    /// How each of the others ended.
    failed: Vec<String>,
}

impl Fleet {
    fn new() -> Self {
        let [behind, second] = ["B1", "B2"].map(|name| {
            Backend::running(move |mut client| {
                let mut chunk = [0; 64];
                let Ok(1..) = client.read(&mut chunk) else { return };
                let _ = client.write_all(name.as_bytes());
                while let Ok(bytes @ 1..) = client.read(&mut chunk) {
                    let _ = client.write_all(&chunk[..bytes]);
                }
            })
        });
        let first = Balancer::before(&[behind.address], "--shards 1 --log-level ERROR");
        let first_address = first.address;
        Self { _behind_the_first: behind, first: Some(first).into(), first_address, second }
    }

    fn behind(&self, algorithm: &str) -> Balancer {
        let options = format!("-s {algorithm} --shards 2");
        Balancer::before(&[self.first_address, self.second.address], &options)
    }

    /// [`ASKERS`] ask, each in its time, and the first backend is killed when a third is done.
    fn flow(&self, balancer: &Balancer) -> Flow {
        let asked = AtomicUsize::new(0);
        let flows: Vec<Flow> = std::thread::scope(|scope| {
            let asker = || self.ask_in_time(balancer, &asked);
            let askers: Vec<_> = (0..ASKERS).map(|_| scope.spawn(asker)).collect();
            let third = || asked.load(Ordering::Relaxed) >= ASKERS * ASKED / 3;
            eventually(third, || format!("{asked:?} have asked"));
            // SIGKILL.
            drop(self.first.lock().unwrap().take());
            askers.into_iter().map(|asker| asker.join().unwrap()).collect()
        });
        flows.into_iter().fold(Flow::default(), |mut all, flow| {
            (0..2).for_each(|one| all.good[one] += flow.good[one]);
            all.failed.extend(flow.failed);
            all
        })
    }

    fn ask_in_time(&self, balancer: &Balancer, asked: &AtomicUsize) -> Flow {
        let (mut flow, start) = (Flow::default(), Instant::now());
        for n in 0..u32::try_from(ASKED).unwrap() {
            // Whoever is late asks at once.
            std::thread::sleep((PACE * n).saturating_sub(start.elapsed()));
            match ask(balancer) {
                Ok(answer) if answer == "B1!" => flow.good[0] += 1,
                Ok(answer) if answer == "B2!" => flow.good[1] += 1,
                other => flow.failed.push(format!("{other:?}")),
            }
            asked.fetch_add(1, Ordering::Relaxed);
        }
        flow
    }
}

/// One request, the half-close, and all that comes.
fn ask(balancer: &Balancer) -> std::io::Result<String> {
    let mut client = patient(TcpStream::connect(balancer.address)?);
    client.write_all(b"?")?;
    let mut answer = [0; 3];
    client.read_exact(&mut answer[..2])?;
    client.write_all(b"!")?;
    client.shutdown(std::net::Shutdown::Write)?;
    client.read_exact(&mut answer[2..])?;
    match client.read(&mut [0])? {
        0 => Ok(String::from_utf8_lossy(&answer).into_owned()),
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// A session that stays, and whose it is.
fn hold(balancer: &Balancer) -> (String, TcpStream) {
    let mut client = balancer.connect();
    client.write_all(b"?").unwrap();
    (name_of(&client), client)
}

/// Connections that each backend has taken, as the balancer counts them.
fn connected(report: &Report, fleet: &Fleet) -> [usize; 2] {
    [fleet.first_address, fleet.second.address].map(|address| {
        let words = format!("backend {address}: ");
        let line = report.lines().find_map(|line| Some(line.split_once(&words)?.1)).unwrap();
        let (_, rest) = line.split_once(" connections, ").unwrap();
        rest.split_once(" connected").unwrap().0.parse().unwrap()
    })
}

/// Together they ask 2000 times a second, for three seconds.
const ASKERS: usize = 16;
const ASKED: usize = 375;
const PACE: Duration = Duration::from_millis(8);

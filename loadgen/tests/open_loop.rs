//! A constant rate of requests: as many as were asked for, and late ones count as late.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use loadgen::load::{self, Plan, Report, Workload};
use loadgen::serve::{self, Backend, Mode};

fn run(address: SocketAddr, connections: u32, rate: u32) -> Report {
    let plan = Plan {
        connections: NonZeroU32::new(connections).unwrap(),
        threads: NonZeroUsize::new(2).unwrap(),
        duration: Duration::from_millis(500),
        rate: NonZeroU32::new(rate),
        ..Plan::new(address, Workload::Ping)
    };
    load::run(&plan, |_| {}, &AtomicBool::new(false)).unwrap()
}

#[test]
fn as_many_are_sent_as_the_rate_says() {
    let address = "127.0.0.1:0".parse().unwrap();
    let backend = Backend { name: None, address, mode: Mode::Echo };
    let serving = serve::start(vec![backend], NonZeroUsize::MIN).unwrap();
    let report = run(serving.addresses()[0], 8, 2000);
    // Half a second of it; those that were due at the end may come too late.
    let answered = report.requests + report.late;
    assert!((800..=1000).contains(&answered), "{}", report.to_text());
    assert!(report.to_text().contains("ping at 2000/s"), "{}", report.to_text());
}

/// Echoes, but rests 200 ms before the first answer.
fn slow_at_first() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = [0; 64];
        let mut pause = Some(Duration::from_millis(200));
        while stream.read_exact(&mut buffer).is_ok() {
            pause.take().into_iter().for_each(std::thread::sleep);
            if stream.write_all(&buffer).is_err() {
                return;
            }
        }
    });
    address
}

#[test]
fn a_pause_is_felt_by_all_that_should_have_been_sent_in_it() {
    let report = run(slow_at_first(), 1, 1000);
    // A closed loop would have seen one slow answer of many. Here every fifth waits 100 ms or more:
    // a hundred of the first two hundred, of five hundred in all.
    let over_100_ms = report.latency.value_at_quantile(0.85);
    assert!(over_100_ms >= 100_000_000, "{}", report.to_text());
    assert!(report.latency.value_at_quantile(0.3) < 50_000_000, "{}", report.to_text());
}

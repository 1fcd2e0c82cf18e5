//! The other side of a test: backends of this crate, and servers that do what a script says.

#![allow(dead_code, reason = "each test file uses the part that it needs")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;

use loadgen::report::{Distribution, Interval, Report};
use loadgen::serve::{self, Backend, Mode, Serving};

/// One backend on one thread.
pub(crate) fn serve(mode: Mode) -> (Serving, SocketAddr) {
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let backend = Backend { name: Some("B1".to_owned()), address, mode };
    let serving = serve::start(vec![backend], NonZeroUsize::MIN).unwrap();
    let address = serving.addresses()[0];
    (serving, address)
}

/// A server that handles each connection with `answer`, on a thread of its own.
pub(crate) fn scripted(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(&mut stream.unwrap()));
        }
    });
    address
}

/// A server that handles one connection and no other.
pub(crate) fn scripted_once(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || answer(&mut listener.accept().unwrap().0));
    address
}

/// Sends requests of 64 bytes back until the peer leaves, `before` each of them.
pub(crate) fn echo(stream: &mut TcpStream, mut before: impl FnMut()) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 64];
    while stream.read_exact(&mut buffer).is_ok() {
        before();
        if stream.write_all(&buffer).is_err() {
            return;
        }
    }
}

/// What holds for every run, whatever happened in it.
#[track_caller]
pub(crate) fn check(report: &Report) {
    let totals = &report.totals;
    let accounted = totals.ok + totals.errors + totals.unanswered + totals.unsent;
    assert_eq!(totals.intended, accounted, "{totals:?}");
    assert_eq!(report.errors.values().sum::<u64>(), totals.errors, "{:?}", report.errors);
    let latency = &report.latency;
    for kind in [&latency.response, &latency.service, &latency.wait_late, &latency.wait_busy] {
        assert_eq!(kind.count(), totals.ok + totals.unanswered, "{totals:?}");
    }
    let sum = |of: fn(&Interval) -> u64| report.intervals.iter().map(of).sum::<u64>();
    assert_eq!(sum(|one| one.ok), totals.ok);
    assert_eq!(sum(|one| one.errors), totals.errors);
    assert_eq!(sum(|one| one.bytes_in), totals.bytes_in);
    assert_eq!(sum(|one| one.bytes_out), totals.bytes_out);
    assert_eq!(sum(|one| one.response.count()), latency.response.count());
    assert_eq!(sum(|one| one.backends.values().sum()), totals.ok);
    assert_eq!(report.backends.iter().map(|one| one.responses).sum::<u64>(), totals.ok);
    let mut response = Distribution::default();
    report.intervals.iter().for_each(|one| response.add(&one.response));
    assert_eq!(response, latency.response);
    let length: f64 = report.intervals.iter().map(|one| one.length_s).sum();
    assert!((length - totals.elapsed_s).abs() < 1e-6, "{length} {}", totals.elapsed_s);
}

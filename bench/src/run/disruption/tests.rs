//! Clients, balancers that are here, and backends in this process, whose end is as sudden.

use std::num::NonZeroUsize;

use loadgen::serve::{Backend, Mode, Serving};

use super::*;
use crate::network::{Cpus, Network};
use crate::place::{Namespace, Place};

fn serve(number: usize) -> Serving {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let backend = Backend { name: Some(format!("B{number}")), address, mode: Mode::Hello };
    loadgen::serve::start(vec![backend], NonZeroUsize::MIN).expect("a ring and a port")
}

/// What the clients of `load` bring while something happens.
fn meanwhile(load: Load, happens: impl FnOnce()) -> Record {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = EndOnDrop(&ended);
        let clients = scope.spawn(|| load.run(&ended));
        sleep(Duration::from_millis(150));
        happens();
        sleep(Duration::from_millis(150));
        drop(end);
        clients.join().expect("no panic").expect("there are threads")
    })
}

#[test]
fn nobody_fails_where_nothing_happens_and_everybody_where_nobody_is() {
    let serving = serve(1);
    let load = Load { target: serving.addresses()[0], staying: 4 };
    let tally = Tally::of(&meanwhile(load, || ()));
    assert_eq!(tally.failed(), 0, "{}", tally.text());
    drop(serving);
    let record = meanwhile(load, || ());
    let tally = Tally::of(&record);
    assert_eq!(tally.failed(), record.intended, "{}", tally.text());
    assert_eq!(tally.longest_gap, record.to - record.from);
}

#[test]
fn the_gap_of_a_restart_is_at_least_as_long_as_nobody_was_there() {
    let serving = serve(1);
    let target = serving.addresses()[0];
    let away = Duration::from_millis(200);
    let mut again = None;
    let record = meanwhile(Load { target, staying: 2 }, || {
        drop(serving);
        sleep(away);
        let backend = Backend { name: Some("B2".into()), address: target, mode: Mode::Hello };
        let serving = loadgen::serve::start(vec![backend], NonZeroUsize::MIN);
        again = Some(serving.expect("the port is free again"));
    });
    let tally = Tally::of(&record);
    assert!(tally.longest_gap >= away, "{tally:?}");
    assert!(
        tally.failed() > 0 && record.staying.iter().any(|one| one.result == Ok(2)),
        "{tally:?}"
    );
}

#[test]
fn a_failure_before_the_event_and_a_reload_without_effect_are_no_result() {
    let from = Instant::now();
    let at = |ms| from + Duration::from_millis(ms);
    // One of three that begin at once.
    let record = |done, result| {
        let outcome = |done, result| clients::Outcome { begun: from, done: at(done), result };
        let coming = vec![outcome(1, Ok(1)), outcome(2, Ok(1)), outcome(done, result)];
        Record { from, to: at(100), intended: 3, coming, staying: Vec::new() }
    };
    let failed = Err(clients::Failure::Reset);
    let said =
        |record: Record, what| check(&record, what, at(50)).map_err(|error| error.to_string());
    assert_eq!(said(record(60, failed), Disruption::Restart), Ok(()));
    let early = said(record(40, failed), Disruption::Restart);
    assert!(early.is_err_and(|why| why.contains("before anything happened")));
    let late = Record { coming: vec![record(60, failed).coming[2]], ..record(60, failed) };
    let late = said(late, Disruption::Restart);
    assert!(late.is_err_and(|why| why.contains("does not keep up: 1 of 1")));
    assert_eq!(said(record(60, Ok(ADDED)), Disruption::Reload), Ok(()));
    let nobody = said(record(60, Ok(1)), Disruption::Reload);
    assert!(nobody.is_err_and(|why| why.contains("got nobody")));
}

/// Of those that are here: a backend is added while clients come and stay, and serves.
fn reload(name: &str) {
    let contender = Contender::named(name).expect("it is one of them");
    if let Some(missing) = contender.look().absent {
        let no_skip = std::env::var_os("EVENKEEL_NO_SKIP").is_some();
        assert!(!no_skip || name == "evenkeel", "{name} is needed: {missing}");
        return println!("SKIPPED, {name} is not here: {missing}");
    }
    let place =
        Place { cpus: uring::allowed_cpus().expect("some"), namespace: Namespace::default() };
    let cpus = Cpus { balancer: place.cpus[0], others: place.cpus.clone() };
    let network = Network::loopback(&cpus).expect("/proc is there");
    let target = network.balancer_address().expect("a free port");
    let servings = network.backend.run(|| Ok([1, 2, ADDED].map(serve))).expect("they start");
    let backends = servings.each_ref().map(|serving| serving.addresses()[0]);
    let start =
        || contender.start_for(Purpose::Disruption, &network.balancer, target, &backends[..2]);
    let balancer = start().expect("it starts");
    let load = Load { target, staying: 2 };
    let record = network.client.run(|| {
        Ok(meanwhile(load, || contender.reload(&balancer, target, &backends).expect("it can")))
    });
    let record = record.expect("the place is there");
    let first = record.all().next().expect("somebody asked");
    assert!(first.result.is_ok(), "{first:?}");
    let give_up = Instant::now() + Duration::from_secs(30);
    let added = |record: &Record| record.all().any(|one| one.result == Ok(ADDED));
    let mut seen = added(&record);
    while !seen && Instant::now() < give_up {
        let more = network.client.run(|| Ok(meanwhile(load, || ()))).expect("the place is there");
        seen = added(&more);
    }
    assert!(seen, "{name} never came to the backend that was added");
}

#[test]
fn haproxy_comes_to_a_backend_that_a_reload_adds() {
    reload("haproxy");
}

#[test]
fn nginx_comes_to_a_backend_that_a_reload_adds() {
    reload("nginx");
}

/// Only where it was built beside the tests.
#[test]
fn evenkeel_comes_to_a_backend_that_a_reload_adds() {
    reload("evenkeel");
}

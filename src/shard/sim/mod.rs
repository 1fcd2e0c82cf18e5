//! The shard in a simulated world: clients, backends, a kernel and a clock, all from one number.
//!
//! A seed decides a whole run: who connects when and how it behaves, which buffers there are, which
//! operation is late, short, refused or cancelled in vain. So a failure is replayed, step by step,
//! by its seed; the message says how:
//!
//! ```text
//! EVENKEEL_SIM_SEED=123 cargo test -p evenkeel --lib sim:: -- --nocapture
//! ```
//!
//! `EVENKEEL_SIM_SEEDS=1000000` tries more than the usual ten thousand. After TigerBeetle's VOPR
//! and FoundationDB's simulation.
//!
//! - [`tcp`]: what a connection is, with Linux's habits
//! - [`peers`], [`world`]: clients and backends, and time
//! - [`driver`], [`buffers`], [`pipes`]: operations and completions; panics where a real kernel would be
//!   misused
//! - [`control`]: what happens beside the shard
//! - [`ledger`]: what the peers must have seen at the end
//! - [`plan`], [`faults`]: what is drawn from the seed
//! - [`watch`]: what is seen only over several turns
//! - [`totals`], [`outcomes`]: what happened, to be counted
//!
//! Not modelled: delays on the wire, urgent data but for what splice makes of it, more of another
//! shard than what it takes and gives back, memory running out.

mod buffers;
mod control;
mod driver;
mod faults;
mod ledger;
mod outcomes;
mod peers;
mod pipes;
mod plan;
mod tcp;
mod tests;
mod totals;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::shard::run::Audit;
use crate::shard::shared::{Shared, Stopping};
use crate::shard::{Shard, Turn};

use control::Ever;
use driver::{NEXT_DOOR_MAX, SimDriver};
use plan::{Plan, Stop};
use totals::Totals;
use watch::Watch;

/// One whole run.
///
/// # Panics
/// When anything happened that must not.
fn run(seed: u64, verbose: bool) -> Totals {
    let mut rng = fastrand::Rng::with_seed(seed);
    let plan = Plan::draw(&mut rng);
    if verbose {
        eprintln!("{plan:#?}");
    }
    let shared = Arc::new(plan.shared());
    let shard_seed = rng.u64(..);
    let driver = SimDriver::new(&plan, Arc::clone(&shared), rng, verbose);
    let mut shard = Shard::new(driver, Arc::clone(&shared), 0, plan.room(), shard_seed);
    let mut watch = Watch::default();
    while shard.turn().expect("the simulated driver does not fail") == Turn::Again {
        let audit = shard.audit();
        check_between_turns(&audit, &shard.driver().control.ever, &shared, &plan);
        watch.look(&audit, shard.driver(), &shared);
        ask_to_stop(&mut shard, &shared, &plan);
    }
    check_at_the_end(&mut shard, &shared, &plan);
    Totals::of(shard.driver(), &shared)
}

fn ask_to_stop(shard: &mut Shard<SimDriver>, shared: &Shared, plan: &Plan) {
    match shared.stopping() {
        Stopping::No if is_time_to_stop(shard, plan.stop) => shared.stop(Stopping::Drain),
        Stopping::Drain => {
            let asked_for_ns = shard.driver().stopped_after_ns(Stopping::Drain);
            if plan.cut_after_ns.is_some_and(|after_ns| asked_for_ns >= Some(after_ns)) {
                shared.stop(Stopping::Cut);
            }
        }
        Stopping::No | Stopping::Cut => {}
    }
}

fn is_time_to_stop(shard: &Shard<SimDriver>, stop: Stop) -> bool {
    let world = &shard.driver().world;
    let all_done = world.clients_are_through() && world.nobody_waits();
    match stop {
        Stop::AfterTheLastSession => all_done && shard.is_empty(),
        Stop::AfterTheLastClient => all_done,
        Stop::At(moment) => world.now >= moment || (all_done && shard.is_empty()),
    }
}

fn check_between_turns(audit: &Audit, ever: &Ever, shared: &Shared, plan: &Plan) {
    check_counts(audit, ever);
    assert!(audit.sessions <= plan.max_sessions, "{audit:?}, {} allowed", plan.max_sessions);
    // What comes back from next door was sent when there was room, and accepts are in flight by then.
    // A listener that is closed lets in all who are in its queue.
    let promised = audit.sessions + audit.accepts + audit.outside;
    let most = plan.max_sessions * ever.listeners.len() + NEXT_DOOR_MAX;
    let stops = shared.stopping() != Stopping::No || ever.reloads > 0;
    assert!(promised <= most || stops, "{audit:?}, {} allowed", plan.max_sessions);
    assert_eq!(audit.unguarded, None, "a session that no timer will end");
    assert_eq!(audit.miscounted, None, "a session that is counted as what it is not");
    assert_eq!(audit.waiting, audit.rooms, "sessions that wait, and the waiting rooms");
}

/// What all shards count, and what this one has.
fn check_counts(audit: &Audit, ever: &Ever) {
    let count = |counts: &BTreeMap<u32, u32>, id| counts.get(&id).copied().unwrap_or(0);
    for (backend, most, next_door) in &ever.backends {
        let here = count(&audit.charged, backend.uid);
        assert_eq!(backend.active(), here + next_door, "connections to a backend, sessions");
        assert!(backend.active() <= *most, "{backend:?} has more connections than {most}");
    }
    for state in &ever.states {
        assert_eq!(state.crowd.len(), count(&audit.waiting, state.id), "the crowd, who waits");
    }
    for (listener, most, next_door) in &ever.listeners {
        let (inside, outside) = audit.gates.get(&listener.id).copied().unwrap_or_default();
        assert_eq!(listener.gate.sessions(), inside + next_door, "the gate, sessions");
        assert_eq!(listener.gate.crowd.len(), outside, "the gate, clients outside");
        assert!(inside + next_door <= *most, "{inside} sessions of a listener, {most} allowed");
        let Some(per_ip) = &listener.per_ip else { continue };
        let sessions = (1..=6).map(|host| per_ip.table.sessions([192, 0, 2, host].into()));
        let (all, highest) = (sessions.clone().sum::<u32>(), sessions.max());
        assert!(all <= inside, "{all} sessions by address, {inside} in the listener");
        let most = per_ip.limits.sessions.map_or(u32::MAX, Into::into);
        assert!(highest <= Some(most), "{highest:?} sessions of one address, {most} allowed");
    }
}

fn check_at_the_end(shard: &mut Shard<SimDriver>, shared: &Shared, plan: &Plan) {
    let audit = shard.audit();
    check_counts(&audit, &shard.driver().control.ever);
    assert_eq!((audit.sessions, audit.accepts, audit.timers), (0, 0, 0), "left over");
    assert_eq!(audit.outside, 0, "left outside");
    assert!(shard.driver().is_idle(), "operations are left in flight");
    assert!(shard.driver().buffers.are_all_back(), "buffers were lost");
    let (open, idle) = audit.pipes;
    assert_eq!(open, idle, "pipes were lost");
    check_stop(shard.driver(), plan);
    let counters = &shared.counters[0];
    assert_eq!(counters.unexpected_event.value(), 0, "unexpected_event");
    // Nothing is freed while something of it is in flight.
    assert_eq!(counters.stale_completion.value(), 0, "stale_completion");
    let ended: u64 = counters.ended.iter().map(|counter| counter.value()).sum();
    if let Some(records) = &shared.records {
        let logged = std::iter::from_fn(|| records.take(0)).count() as u64;
        let dropped = counters.session_log_dropped.value();
        assert_eq!(logged + dropped, ended, "records, and ended");
    }
    let here = counters.accepted.value() + counters.taken_over.value();
    assert_eq!(here, ended + counters.handed_over.value(), "accepted, and ended");
    let driver = shard.driver_mut();
    driver.close_next_door();
    driver.world.close_the_rest();
    driver.world.run_out();
    driver.ledger.check(&driver.world, plan, &driver.control.ever);
    assert_eq!(driver.world.lost, 0, "clients were in the queue of a listener that was closed");
}

fn check_stop(driver: &SimDriver, plan: &Plan) {
    let after = |how| driver.stopped_after_ns(how).map(Duration::from_nanos);
    let drained_after = after(Stopping::Drain).expect("every run is stopped");
    let stop = STOP + Duration::from_nanos(plan.late_ns_max);
    assert!(drained_after < plan.drain + stop, "it took {drained_after:?} to stop");
    let cut_after = after(Stopping::Cut).unwrap_or_default();
    assert!(cut_after < stop, "it took {cut_after:?} to stop at once");
}

/// Cutting takes a moment, and again a second later where a cancel was lost; completions that are held
/// back come on top.
const STOP: Duration = Duration::from_secs(3);

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
//! - [`ledger`]: what the peers must have seen at the end
//! - [`plan`], [`faults`]: what is drawn from the seed
//! - [`totals`], [`outcomes`]: what happened, to be counted
//!
//! Not modelled: delays on the wire, urgent data but for what splice makes of it, more of another
//! shard than what it takes and gives back, memory running out.

mod buffers;
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
mod world;

use std::sync::Arc;

use crate::core::BackendId;
use crate::core::balance::Pool;
use crate::shard::driver::Driver as _;
use crate::shard::shared::Shared;
use crate::shard::{Shard, Turn};

use driver::{NEXT_DOOR_MAX, SimDriver, SimListener};
use plan::{Plan, Stop};
use totals::Totals;

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
    let mut driver = SimDriver::new(&plan, Arc::clone(&shared), rng, verbose);
    driver.listen(SimListener).expect("a number");
    let mut shard = Shard::new(driver, Arc::clone(&shared), 0, plan.room(), shard_seed);
    while shard.turn().expect("the simulated driver does not fail") == Turn::Again {
        check_between_turns(&mut shard, &shared, &plan);
        if is_time_to_stop(&mut shard, plan.stop) {
            shared.stop();
        }
    }
    check_at_the_end(&mut shard, &shared, &plan);
    Totals::of(shard.driver(), &shared)
}

fn is_time_to_stop(shard: &mut Shard<SimDriver>, stop: Stop) -> bool {
    let sessions = shard.audit().sessions;
    let world = &shard.driver().world;
    let all_done = world.clients_are_through() && world.nobody_waits();
    match stop {
        Stop::AfterTheLastSession => all_done && sessions == 0,
        Stop::AfterTheLastClient => all_done,
        Stop::At(moment) => world.now >= moment || (all_done && sessions == 0),
    }
}

fn check_between_turns(shard: &mut Shard<SimDriver>, shared: &Shared, plan: &Plan) {
    let audit = shard.audit();
    let charged: u32 = (0..shared.backends()).map(|id| shared.connections(BackendId(id))).sum();
    assert_eq!(charged as usize, audit.sessions, "connections counted, and sessions");
    assert!(audit.sessions <= plan.max_sessions, "{audit:?}, {} allowed", plan.max_sessions);
    // What comes back from next door was sent when there was room, and accepts are in flight by then.
    let promised = audit.sessions + audit.accepts + audit.outside;
    let most = plan.max_sessions + NEXT_DOOR_MAX;
    assert!(promised <= most, "{audit:?}, {} allowed", plan.max_sessions);
    assert_eq!(audit.unguarded, None, "a session that no timer will end");
}

fn check_at_the_end(shard: &mut Shard<SimDriver>, shared: &Shared, plan: &Plan) {
    let audit = shard.audit();
    assert_eq!((audit.sessions, audit.accepts, audit.timers), (0, 0, 0), "left over");
    assert_eq!(audit.outside, 0, "left outside");
    assert!(shard.driver().is_idle(), "operations are left in flight");
    assert!(shard.driver().buffers.are_all_back(), "buffers were lost");
    let (open, idle) = audit.pipes;
    assert_eq!(open, idle, "pipes were lost");
    let stopped_after_ns = shard.driver().stopped_after_ns();
    assert!(stopped_after_ns < STOP_NS_MAX, "it took {stopped_after_ns} ns to stop");
    let counters = &shared.counters[0];
    assert_eq!(counters.unexpected_event.value(), 0, "unexpected_event");
    // Nothing is freed while something of it is in flight.
    assert_eq!(counters.stale_completion.value(), 0, "stale_completion");
    let ended: u64 = counters.ended.iter().map(|counter| counter.value()).sum();
    let here = counters.accepted.value() + counters.taken_over.value();
    assert_eq!(here, ended + counters.handed_over.value(), "accepted, and ended");
    let driver = shard.driver_mut();
    driver.close_next_door();
    driver.world.run_out();
    driver.ledger.check(&driver.world, &plan.rules.deadlines, plan.well_behaved);
}

/// Open sessions are cut after a second; the rest is for completions that are held back.
const STOP_NS_MAX: u64 = 3_000_000_000;

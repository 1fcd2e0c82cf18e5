//! Load on a target: what to do is a [`Plan`], what came of it is a [`Report`].
//!
//! [`run`] starts the worker threads, lets them connect, opens the gate for all of them at once
//! and adds up what they bring back. A worker ([`engine`]) drives its connections over one ring;
//! how one connection goes is decided in [`flow`], what it was answered in [`reply`].

#[allow(dead_code, reason = "the engine comes to it next")]
mod arrivals;
mod engine;
pub(crate) mod failure;
mod flow;
mod gate;
#[allow(dead_code, reason = "the engine comes to it next")]
mod http;
mod json;
#[allow(dead_code, reason = "the engine comes to it next")]
mod lifetime;
mod pace;
#[allow(dead_code, reason = "the engine comes to it next")]
mod payload;
mod plan;
#[allow(dead_code, reason = "the engine comes to it next")]
mod reply;
mod report;
mod si;
mod window;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uring::SetupError;

pub use arrivals::{Arrivals, ArrivalsError, Rate, RateError};
pub use http::{Header, HttpRequest, HttpRequestError, Method};
pub use lifetime::{Lifetime, LifetimeError};
pub use payload::{Sizes, SizesError, Verify, VerifyError};
pub use plan::{Close, Plan, REQUEST_BYTES_MAX, REQUEST_BYTES_MIN, Workload};
pub use report::{Report, Share, format_duration};

use engine::Worker;
use gate::Gate;
use report::Tally;

use crate::pin::{PinError, pin};

/// How a run is getting on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Since the load began; zero while connections are established.
    pub elapsed: Duration,
    /// Connections that stand; for [`Workload::Conn`] those of this moment.
    pub connected: u64,
    /// Requests answered so far, the warm-up left out.
    pub requests: u64,
    /// Errors so far.
    pub errors: u64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection ever stood.
    #[error("cannot connect to {address}: {why}")]
    CannotConnect {
        /// Where to.
        address: SocketAddr,
        /// What the connects met, and what to do about it.
        why: &'static str,
    },
    /// The descriptors do not suffice.
    #[error(
        "{connections} connections do not fit the limit of {limit} open files: \
         raise it with `ulimit -n {needed}`, or use fewer connections (-c)",
        needed = u64::from(*.connections) + DESCRIPTORS_BESIDES
    )]
    TooManyConnections {
        /// As many as were asked for.
        connections: u32,
        /// What RLIMIT_NOFILE allows.
        limit: u64,
    },
    /// A worker got no ring.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// A worker could not be kept on the processor that was asked for.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The kernel gave something up that a run needs.
    #[error("cannot go on: {0}")]
    Kernel(#[from] io::Error),
}

/// Puts the load of `plan` on its target and reports; `progress` is called every
/// [`Plan::progress_every`], and setting `stop` ends the run early with a report of what there is.
///
/// # Errors
/// A [`LoadError`] when nothing could be measured. A run whose requests all failed is a report.
pub fn run(
    plan: &Plan,
    mut progress: impl FnMut(&Progress),
    stop: &AtomicBool,
) -> Result<Report, LoadError> {
    check_limit(plan)?;
    let gate = Gate::new(plan.workers(), plan.progress_every, stop);
    let tallies = std::thread::scope(|scope| {
        let gate = &gate;
        let workers: Vec<_> =
            (0..plan.workers()).map(|index| scope.spawn(move || work(plan, gate, index))).collect();
        gate.wait_for_arrivals(&mut progress);
        gate.open();
        gate.wait_for_ends(&mut progress);
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
            Ok(tally) => tally,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().map(join).collect::<Result<Vec<Tally>, LoadError>>()
    })?;
    let report = Report::merge(plan, tallies, stop.load(Ordering::Relaxed));
    match report.connect_failure {
        Some(failure) if !report.connected_once => Err(LoadError::CannotConnect {
            address: plan.address,
            why: failure.why_no_connection(),
        }),
        _ => Ok(report),
    }
}

fn work(plan: &Plan, gate: &Gate<'_>, index: usize) -> Result<Tally, LoadError> {
    let arrival = gate.arrival(index);
    pin(index, &plan.cpus)?;
    Worker::new(plan, arrival, index)?.run()
}

fn check_limit(plan: &Plan) -> Result<(), LoadError> {
    let limit = uring::raise_nofile_limit()?.now;
    let connections = plan.connections.get();
    if u64::from(connections) + DESCRIPTORS_BESIDES > limit {
        return Err(LoadError::TooManyConnections { connections, limit });
    }
    Ok(())
}

/// Standard streams, rings, and what a program that embeds this has open itself.
const DESCRIPTORS_BESIDES: u64 = 64;

//! Load on a target: what to do is a [`Plan`], what came of it is a [`Report`].
//!
//! [`run`] starts the worker threads, lets them connect, opens the gate for all of them at once
//! and adds up what they bring back. A worker (`engine`) drives its connections over one engine; when
//! requests are due is decided in `offer`, how one connection goes in `flow`, what it was answered
//! in `reply`, what of it is counted in `tally`.
//!
//! Counts obey `intended = ok + errors + unanswered + unsent`. A request is intended when it is due
//! in the measured time, or in a closed loop when it is sent in it. It is an error when its
//! connection breaks, when its answer is wrong, or when it takes longer than the timeout while the
//! load is on. What is still in flight at the end of the measured time may be answered until its
//! timeout; otherwise it is unanswered. The latencies hold what was answered and what is
//! unanswered, the latter at its age then; errors are in no latency and in no goodput.

mod arrivals;
mod coordinator;
mod engine;
pub(crate) mod failure;
mod flow;
mod gate;
mod http;
mod lifetime;
mod offer;
mod payload;
mod plan;
mod ports;
mod reply;
mod si;
mod summary;
mod tally;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use uring::{Ring, SetupError};

pub use arrivals::{Arrivals, ArrivalsError, Rate, RateError};
pub use failure::advice;
pub use http::{Header, HttpRequest, HttpRequestError, Method};
pub use lifetime::{Lifetime, LifetimeError};
pub use payload::{Sizes, SizesError, Verify, VerifyError};
pub use plan::{Address, Plan, REQUEST_BYTES_MAX, REQUEST_BYTES_MIN, Workload};

use coordinator::Coordinator;
use engine::{Summary, Worker};
use gate::{Arrival, Gate};
use tally::Recorder;

use crate::io::{Chosen, Epoll};
use crate::pin::{PinError, pin};
use crate::report::{Progress, Report};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection ever stood.
    #[error("cannot connect to {address}: {why}")]
    CannotConnect {
        /// Where to.
        address: Address,
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
    /// A request of these sizes cannot be.
    #[error(transparent)]
    Sizes(#[from] SizesError),
    /// An HTTP request that would not be understood.
    #[error(transparent)]
    Http(#[from] HttpRequestError),
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

/// A plan, and what was settled for it before the first connect.
#[derive(Debug)]
struct Settled<'a> {
    plan: &'a Plan,
    /// The bytes of a request.
    request: &'a [u8],
    engine: Chosen,
}

/// Puts the load of `plan` on its target and reports. `progress` is called every
/// [`Plan::progress_every`], at each change of phase and after each interval; setting `stop` ends
/// the run early with a report of what there is.
///
/// The report says nothing of the machine, the system under test and the verdict: that is for
/// whoever calls.
///
/// # Errors
/// A [`LoadError`] when nothing could be measured. A run whose requests all failed is a report.
pub fn run(
    plan: &Plan,
    progress: &mut dyn FnMut(&Progress<'_>),
    stop: &AtomicBool,
) -> Result<Report, LoadError> {
    check_limit(plan)?;
    let settled = &Settled { plan, request: &plan.request()?, engine: plan.engine.choose()? };
    let gate = Gate::new(plan.workers(), stop);
    let (news, heard) = mpsc::channel();
    let (done, workers) = std::thread::scope(|scope| {
        let (mut emptied, mut workers) = (Vec::new(), Vec::new());
        for index in 0..plan.workers() {
            let (give_back, given_back) = mpsc::channel();
            emptied.push(give_back);
            let arrival = gate.arrival(index, news.clone());
            let recorder = Recorder::new(plan, index, news.clone(), given_back);
            workers.push(scope.spawn(move || work(settled, arrival, recorder, index)));
        }
        drop(news);
        let done = Coordinator::new(plan, &gate, progress, heard, emptied).follow();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| match worker.join() {
            Ok(brought) => brought,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let workers = workers.into_iter().map(join).collect::<Result<Vec<_>, LoadError>>();
        workers.map(|workers| (done, workers))
    })?;
    let connects = workers.iter().map(|(summary, _)| summary.connects).sum::<u64>();
    match workers.iter().find_map(|(summary, _)| summary.connect_failure) {
        Some(failure) if connects == 0 => Err(LoadError::CannotConnect {
            address: plan.address.clone(),
            why: failure.why_no_connection(),
        }),
        _ => Ok(summary::report(settled, &workers, done, stop.load(Ordering::Relaxed))),
    }
}

fn work(
    settled: &Settled<'_>,
    arrival: Arrival<'_>,
    recorder: Recorder,
    index: usize,
) -> Result<(Summary, Recorder), LoadError> {
    pin(index, &settled.plan.cpus)?;
    match settled.engine {
        Chosen::Uring => Worker::<Ring>::new(settled, arrival, recorder, index)?.run(),
        Chosen::Epoll => Worker::<Epoll>::new(settled, arrival, recorder, index)?.run(),
    }
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

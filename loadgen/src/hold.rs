//! Connections that are held: opened in order, kept, looked after. A connection that waits costs
//! this side a few dozen bytes and no buffer.
//!
//! A probe is the line `hold`, to be answered by a greeting (`Hello from NAME`) or by itself (an
//! echo). In the report a request is a probe; what became of the connections is in
//! [`crate::report::Hold`].

mod plan;
mod reply;
mod result;
mod slot;
mod worker;

use std::sync::atomic::AtomicBool;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crate::crew::{self, Meeting, Pass, RunError, Teller, Window};
use crate::pin::pin;
use crate::report::{Progress, Report};

pub use plan::HoldPlan;

use result::Tally;
use worker::Worker;

/// Holds connections as `plan` says and reports; `progress` is called every
/// [`HoldPlan::progress_every`], and setting `stop` ends the run early with a report of what there
/// is.
///
/// # Errors
/// A [`RunError`] when there was never a connection, or cannot be as many. A run whose connections
/// all ended is a report.
pub fn run(
    plan: &HoldPlan,
    progress: &mut dyn FnMut(&Progress<'_>),
    stop: &AtomicBool,
) -> Result<Report, RunError> {
    let connections = plan.connections.get();
    let tried = if plan.as_many_as_fit {
        crew::as_many_as_fit(connections)?
    } else {
        crew::check_limit(connections.into())?;
        connections
    };
    plan.how(1.0).check()?;
    let env = crew::env();
    let resident_before = crew::resident_bytes();
    let workers = plan.workers();
    let meeting = Meeting::new(workers, 0, stop);
    let interval = crew::interval_length(plan.duration);
    let mut teller = Teller::new(progress, plan.progress_every, interval, connections.into());
    let (tallies, resident) = std::thread::scope(|scope| {
        let meeting = &meeting;
        let work = |index| {
            let share = crew::share(tried, index, workers);
            scope.spawn(move || work(plan, share, meeting.worker(index), index))
        };
        let workers: Vec<_> = (0..workers).map(work).collect();
        while !meeting.all_arrived() && !meeting.all_finished() {
            teller.rest(meeting);
        }
        let resident = crew::resident_bytes();
        teller.begin(Window::new(meeting.open(), Duration::ZERO, plan.duration), 0);
        while !meeting.all_finished() {
            teller.rest(meeting);
        }
        let tallies = workers.into_iter().map(join).collect::<Result<Vec<Tally>, RunError>>();
        tallies.map(|tallies| (tallies, resident))
    })?;
    let established: u32 = tallies.iter().map(|tally| tally.established).sum();
    if established == 0 && !meeting.is_stopped() {
        let failure = tallies.iter().find_map(|tally| tally.connect_failure);
        return Err(RunError::cannot_connect(&plan.address, failure));
    }
    let grown_bytes = resident.saturating_sub(resident_before);
    let untried = connections - tried;
    let report = result::report(plan, env, tallies, untried, grown_bytes, meeting.is_stopped());
    teller.done(&meeting, report.totals.elapsed_s);
    Ok(report)
}

fn work(
    plan: &HoldPlan,
    connections: u32,
    pass: Pass<'_>,
    index: usize,
) -> Result<Tally, RunError> {
    pin(index, &plan.cpus)?;
    Worker::new(plan, connections, pass)?.run()
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

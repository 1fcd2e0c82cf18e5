//! Bulk: bytes as fast as they go, one way or both, on one or more connections; and how long a small
//! request takes beside them.
//!
//! # What is said on a connection
//! Unless [`StreamPlan::raw`], the first line tells the peer what the connection is for: `up` (the
//! peer reads and drops), `down` (it sends without end) or `bidir` (both); a probe's is `echo`. That
//! is what `loadgen serve --mode stream` understands, so that one address will do for all of them.
//! Raw connections say nothing, for peers that do one thing only.
//!
//! What is sent, by either side, is a pattern: the byte at offset k, counted after the line, is
//! k mod 251. [`StreamPlan::verify`] compares every byte that comes with it.

mod pattern;
mod plan;
mod probe;
mod result;
mod worker;

use std::sync::atomic::AtomicBool;
use std::thread::ScopedJoinHandle;

use crate::crew::{self, Meeting, Pass, RunError, Teller, Window};
use crate::pin::pin;
use crate::report::{Progress, Report};

pub use plan::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, Direction, Probe, StreamPlan};

use probe::{Prober, Rounds};
use result::Tally;
use worker::Worker;

/// Streams as `plan` says and reports; `progress` is called every [`StreamPlan::progress_every`], and
/// setting `stop` ends the run early with a report of what there is.
///
/// # Errors
/// A [`RunError`] when nothing could be measured. A run whose streams all broke is a report.
pub fn run(
    plan: &StreamPlan,
    progress: &mut dyn FnMut(&Progress<'_>),
    stop: &AtomicBool,
) -> Result<Report, RunError> {
    crew::check_limit(u64::from(plan.streams()) + u64::from(plan.probe.is_some()))?;
    plan.how().check()?;
    let env = crew::env();
    let guests = usize::from(plan.probe.is_some());
    let meeting = Meeting::new(plan.workers(), guests, stop);
    let interval = crew::interval_length(plan.duration);
    let mut teller = Teller::new(progress, plan.progress_every, interval, plan.streams().into());
    let (tallies, rounds) = std::thread::scope(|scope| {
        let meeting = &meeting;
        let workers: Vec<_> = (0..plan.workers())
            .map(|index| scope.spawn(move || work(plan, meeting.worker(index), index)))
            .collect();
        let prober = plan.probe.as_ref().map(|probe| {
            let pass = meeting.guest();
            scope.spawn(move || look_beside(plan, probe, pass))
        });
        conduct(plan, meeting, &mut teller);
        let tallies: Result<Vec<Tally>, RunError> = workers.into_iter().map(join).collect();
        meeting.end();
        let rounds = prober.map(join).transpose()?;
        Ok::<_, RunError>((tallies?, rounds))
    })?;
    let failure = tallies.iter().find_map(|tally| tally.connect_failure);
    let established: u32 = tallies.iter().map(|tally| tally.established).sum();
    if established == 0 && !meeting.is_stopped() {
        return Err(RunError::cannot_connect(&plan.address, failure));
    }
    let report = result::report(plan, env, tallies, rounds, meeting.is_stopped());
    teller.done(&meeting, report.totals.elapsed_s);
    Ok(report)
}

/// Lets the workers meet, begin, and come to their end.
fn conduct(plan: &StreamPlan, meeting: &Meeting<'_>, teller: &mut Teller<'_>) {
    while !meeting.all_arrived() && !meeting.all_finished() {
        teller.rest(meeting);
    }
    if plan.probe.is_some() {
        meeting.note_met();
        let until_ns = uring::monotonic_ns() + crew::nanoseconds(plan.probe_idle);
        while uring::monotonic_ns() < until_ns && !meeting.is_stopped() && !meeting.all_finished() {
            teller.rest(meeting);
        }
    }
    let window = Window::new(meeting.open(), plan.warm_up, plan.duration);
    teller.begin(window, plan.streams().into());
    while !meeting.all_finished() {
        teller.rest(meeting);
    }
}

fn work(plan: &StreamPlan, pass: Pass<'_>, index: usize) -> Result<Tally, RunError> {
    pin(index, &plan.cpus)?;
    Worker::new(plan, pass, index)?.run()
}

fn look_beside(plan: &StreamPlan, probe: &Probe, pass: Pass<'_>) -> Result<Rounds, RunError> {
    pin(plan.workers(), &plan.cpus)?;
    Prober::new(plan, probe, pass)?.run()
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

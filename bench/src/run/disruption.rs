//! What clients notice when a backend dies, the configuration changes, or the balancer is restarted.
//!
//! The backends are processes of their own, so that one can be killed: the kernel then resets its
//! connections and refuses new ones. Clients are two kinds, see [`clients`]: those that come, ask and
//! go, and, where it is the balancer that something happens to, those that stay.
//!
//! A request is **failed** when a client sent it, or tried to, and got no right answer: refused, reset,
//! closed early, timed out after 2 s. What a killed backend had taken and not answered is among them:
//! no TCP balancer can save it, and it is the same for everyone; how many of the failed began when the
//! event was over is told on standard error. Nobody asks again, but a client that
//! stays and lost its connection makes another one for its next request.
//!
//! The **longest gap** is the longest time in which one of the two kinds got no right answer, whichever
//! kind had to wait longer: clients that come are not served while a balancer only goes on with those
//! that it has.

pub(crate) mod backend;
mod clients;
mod tally;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Bench, Run};
use crate::case::Disruption;
use crate::contender::{Contender, Purpose};
use crate::figure::Figure;
use crate::process::Process;
use backend::Backends;
use clients::{Load, Record};
use tally::{Tally, failed_after};

/// The balancer in front of its backends.
struct Scene<'a> {
    bench: &'a Bench,
    contender: &'a Contender,
    target: SocketAddr,
    balancer: Option<Process>,
    backends: Backends,
}

/// Ends the load however the measurement ends: the scope waits for its threads.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Bench {
    /// Load for half a second, then the event, then load until two seconds after its end.
    ///
    /// # Errors
    /// When something does not start or end, when requests fail before the event, or when the event
    /// had no effect.
    pub(super) fn run_disruption(
        &self,
        contender: &Contender,
        what: Disruption,
    ) -> io::Result<Run> {
        let mut scene = Scene::set(self, contender, what)?;
        let load = Load { target: scene.target, staying: staying(what) };
        let ended = AtomicBool::new(false);
        let (record, event) = std::thread::scope(|scope| {
            let end = EndOnDrop(&ended);
            let clients = scope.spawn(|| self.network.client.run(|| load.run(&ended)));
            sleep(BEFORE);
            self.stop.check()?;
            let began = Instant::now();
            scene.disrupt(what)?;
            let event = began..Instant::now();
            // Shorter in a quick run.
            sleep(AFTER.min(self.duration * 2));
            drop(end);
            let record = clients.join().map_err(|_| io::Error::other("a client panicked"))??;
            io::Result::Ok((record, event))
        })?;
        self.stop.check()?;
        check(&record, what, event.start)?;
        let tally = Tally::of(&record);
        if tally.failed() > 0 {
            let after = failed_after(&record, event.end);
            eprintln!("    {}: {}; {after} of these began after it", contender.name, tally.text());
        }
        let (failed, gap) = (tally.failed(), tally.longest_gap);
        let figures = vec![
            (Figure::FailedRequests, failed as f64),
            (Figure::LongestGapMs, gap.as_secs_f64() * 1e3),
        ];
        Ok(Run { figures, errors: failed })
    }
}

impl<'a> Scene<'a> {
    fn set(bench: &'a Bench, contender: &'a Contender, what: Disruption) -> io::Result<Self> {
        let count = if what == Disruption::Reload { ADDED } else { ADDED - 1 };
        let backends = Backends::start(&bench.network, count)?;
        let target = bench.network.balancer_address()?;
        let mut scene = Self { bench, contender, target, balancer: None, backends };
        scene.balancer = Some(scene.start()?);
        Ok(scene)
    }

    /// With the first two backends.
    fn start(&self) -> io::Result<Process> {
        let (place, backends) = (&self.bench.network.balancer, &self.backends.addresses()[..2]);
        self.contender.start_for(Purpose::Disruption, place, self.target, backends)
    }

    fn disrupt(&mut self, what: Disruption) -> io::Result<()> {
        match what {
            Disruption::BackendKilled => self.backends.kill_first(&self.bench.network),
            // What changes is that there is one more: so it shows whether it was read.
            Disruption::Reload => {
                let balancer = self.balancer.as_ref().ok_or(io::ErrorKind::NotFound)?;
                self.contender.reload(balancer, self.target, self.backends.addresses())
            }
            // As `systemctl restart` in the end does it with each of them. Debian's nginx waits for
            // its sessions for five seconds before, in which it serves nobody new; evenkeel would
            // for 30 s. How long to wait is the operator's choice, so here nobody waits.
            Disruption::Restart => {
                let mut old = self.balancer.take().ok_or(io::ErrorKind::NotFound)?;
                old.end_by(Signal::SIGTERM, PATIENCE)?;
                drop(old);
                self.balancer = Some(self.start()?);
                Ok(())
            }
        }
    }
}

/// Whether what was measured is the event, and nothing else.
fn check(record: &Record, what: Disruption, event_at: Instant) -> io::Result<()> {
    let all = || record.all();
    let before = all().filter(|one| one.result.is_err() && one.done < event_at).count();
    if before > 0 {
        return Err(io::Error::other(format!("{before} requests failed before anything happened")));
    }
    // Who times out has not failed by then.
    let begun = || all().filter(|one| one.begun < event_at);
    let (failed, begun) = (begun().filter(|one| one.result.is_err()).count(), begun().count());
    if 2 * failed > begun {
        let said = format!("it does not keep up: {failed} of {begun} requests before the event");
        return Err(io::Error::other(said));
    }
    if what == Disruption::Reload && !all().any(|one| one.result == Ok(ADDED)) {
        return Err(io::Error::other("the backend that was added by the reload got nobody"));
    }
    Ok(())
}

/// Where a backend is killed, half of them would be lost with it for any balancer.
const fn staying(what: Disruption) -> u32 {
    match what {
        Disruption::BackendKilled => 0,
        Disruption::Reload | Disruption::Restart => 16,
    }
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_secs(2);
/// For who is told to end at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// The number of the backend that a reload adds.
const ADDED: usize = 3;

#[cfg(test)]
mod tests;

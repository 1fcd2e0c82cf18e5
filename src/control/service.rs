//! The balancer as a service: what its manager does beside the configuration. Tells the service manager
//! how it goes, keeps its watchdog, and hands over to a new binary.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::admin::doors::OpenDoors;
use crate::balancer::Handle;
use crate::service::heartbeat::keep_watchdog;
use crate::service::notify::Notifier;
use crate::service::successor::{Failure, HandOver, Program, Successor};

/// Whom to tell, and what to start once more.
#[derive(Clone, Debug)]
pub struct Service {
    notifier: Arc<Notifier>,
    program: Program,
}

/// The one hand-over that there can be at a time.
#[derive(Debug)]
pub(super) enum Handing {
    /// Nobody takes over.
    Nothing,
    /// The new process is on its way. Which listener each group of sockets is of, should it not be
    /// wanted.
    UnderWay { going_on: HandOver, owners: Vec<Option<u32>> },
    /// Another process accepts.
    Done,
}

impl Service {
    /// Of this process.
    #[must_use]
    pub fn new(notifier: Arc<Notifier>, program: Program) -> Self {
        Self { notifier, program }
    }

    /// The way to the service manager.
    #[must_use]
    pub fn notifier(&self) -> &Arc<Notifier> {
        &self.notifier
    }

    /// Clients can connect.
    pub fn say_ready(&self, balancer: &Handle) {
        self.notifier.ready(&describe(balancer));
    }

    /// The file was read again, and is in force, or is not.
    pub(super) fn say_reloaded(&self, balancer: &Handle, in_force: bool) {
        let but = if in_force { "" } else { "; the file could not be read again, see the log" };
        self.notifier.ready(&format!("{}{but}", describe(balancer)));
    }

    /// Reports to the watchdog of the service manager, if it has one, until this process ends.
    pub(super) fn keep_watchdog(&self, balancer: &Handle) {
        let Some(interval) = self.notifier.watchdog_interval() else { return };
        let (shared, notifier) = (Arc::clone(balancer.shared()), Arc::clone(&self.notifier));
        tokio::task::spawn_local(keep_watchdog(shared, notifier, interval));
    }

    /// Starts the new binary with the sockets of all listeners and of the admin API, and with changes that
    /// no file keeps.
    pub(super) fn begin_hand_over(
        &self,
        balancer: &Handle,
        doors: &OpenDoors,
        changes: Option<String>,
    ) -> Handing {
        let path = self.program.path().display();
        let begun = balancer.world().to_pass().and_then(|all| {
            let (groups, owners) = all.split();
            let doors = doors.to_pass()?;
            let sockets: usize = groups.iter().map(|group| group.sockets.len()).sum();
            info!("SIGUSR2: starting {path} and handing {sockets} listening sockets over to it");
            let going_on = self.program.hand_over(groups, doors, changes, PATIENCE)?;
            Ok(Handing::UnderWay { going_on, owners })
        });
        match begun {
            Ok(handing) => {
                self.notifier.status(&format!("handing over to {path}"));
                handing
            }
            Err(error) => {
                error!("SIGUSR2: {path} cannot be handed over to: {error}");
                Handing::Nothing
            }
        }
    }

    /// The new process accepts: this one lets go, and drains.
    pub(super) fn hand_on(&self, balancer: &Handle, successor: Successor, owners: &[Option<u32>]) {
        let pid = successor.pid;
        let not_wanted = &successor.not_taken;
        let not_wanted: Vec<u32> =
            not_wanted.iter().filter_map(|&place| *owners.get(place)?).collect();
        // The new one speaks to the service manager when it knows that it is the service.
        self.notifier.replaced_by(pid);
        balancer.hand_on(&not_wanted);
        successor.let_go();
        let (open, drain) = (open_sessions(balancer), balancer.shared().drain());
        let drain = humantime::format_duration(drain);
        let closed = match not_wanted.len() {
            0 => String::new(),
            closed => format!("; {closed} listeners that it does not want are closed"),
        };
        info!(
            "SIGUSR2: process {pid} has taken over{closed}; {open} open sessions have {drain} to end here"
        );
    }

    /// Nobody has taken over.
    pub(super) fn go_on(&self, balancer: &Handle, failure: &Failure) {
        error!("SIGUSR2: this process goes on, because nobody has taken over: {failure}");
        self.notifier.status(&format!("{}; not handed over: {failure}", describe(balancer)));
        // It may have got as far as to wait for clients, and some may have been told to it.
        balancer.shared().accept_anew();
    }
}

impl Handing {
    /// What comes of it, if there is one; else never.
    pub(super) async fn outcome(&mut self) -> Result<Successor, Failure> {
        match self {
            Self::UnderWay { going_on, .. } => going_on.outcome().await,
            Self::Nothing | Self::Done => std::future::pending().await,
        }
    }

    /// The program ends and closes its listeners itself, so nobody may have them; unless the new
    /// process has just taken over.
    pub(super) fn cancel(&mut self) -> Option<(Successor, Vec<Option<u32>>)> {
        let (going_on, owners) = match std::mem::replace(self, Self::Nothing) {
            Self::UnderWay { going_on, owners } => (going_on, owners),
            other => {
                *self = other;
                return None;
            }
        };
        let ready = going_on.cancel();
        if ready.is_none() {
            warn!("the hand-over that was under way is given up");
        }
        ready.map(|successor| (successor, owners))
    }
}

/// Sessions over all shards.
pub(super) fn open_sessions(balancer: &Handle) -> u32 {
    balancer.shared().counters.iter().map(|one| one.sessions.value()).sum()
}

/// One line for people.
fn describe(balancer: &Handle) -> String {
    let world = balancer.world();
    let addresses: Vec<String> =
        world.listeners().map(|listener| listener.address.to_string()).collect();
    let more = addresses.len().saturating_sub(MOST_TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let told: Vec<String> = addresses.into_iter().take(MOST_TOLD).collect();
    let (shards, told) = (balancer.shared().counters.len(), told.join(", "));
    let backends: usize = world.pools().map(|(_, pool)| pool.members.len()).sum();
    format!("listening on {told}{more}; {shards} shards, {backends} backends")
}

/// A new process that is not ready by then is ended. Looking up names can take some seconds each.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listeners in a line.
const MOST_TOLD: usize = 4;

//! The admin API: HTTP on the control thread, beside the checks and the reload. No shard ever waits
//! for it, and what strangers can do to it is bounded.
//!
//! Reading order: [`doors`] are the listening sockets; [`serve`] makes requests of what comes there;
//! [`auth`] says who may ask; [`answer`] puts both around the routes of [`router`], and [`said`] reads what
//! a request says. What can be seen is put together in [`status`], [`health`] and [`info`]; what changes
//! something goes to the manager as a [`Request`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::api;
use crate::balancer::Handle;
use crate::config::Config;
use crate::config::admin::Token;
use crate::config::plan::BackendConfig;
use crate::core::wanted::AdminState;
use crate::logging::LostLines;

use doors::{Doors, OpenDoors};

use super::background::Background;
use super::details::Details;
use super::drift::ConfigFile;
use super::events::Events;
use super::metrics::gather::Reloads;

mod answer;
pub(in crate::control) mod ask;
pub mod auth;
mod changes;
pub mod doors;
mod explain;
mod guests;
mod health;
pub mod info;
mod metrics;
mod page;
mod problem;
mod router;
mod said;
mod serve;
mod sessions;
mod status;
mod stream;
pub mod threads;

pub use problem::Refusal;
pub use serve::Tally;

/// What every answer is made from.
#[derive(Debug)]
pub struct App {
    /// The balancer.
    pub handle: Handle,
    /// What has happened.
    pub events: Arc<Events>,
    /// What was found out at the start.
    pub about: Arc<info::About>,
    /// What those know who come over the network.
    pub token: ArcSwap<Option<Token>>,
    /// What should be known before anything else, as far as only the manager knows it.
    pub notes: ArcSwap<Notes>,
    /// What backends say of themselves.
    pub details: Arc<Details>,
    /// The configuration file.
    pub file: Option<Arc<ConfigFile>>,
    /// What has happened at the endpoints.
    pub tally: Arc<Tally>,
    /// How the configuration was read again.
    pub reloads: Mutex<Reloads>,
    /// Lines that the log had no room for.
    pub lost_lines: LostLines,
    /// When lines were lost for the last time.
    pub losses: Losses,
    /// Where answers are made that take long.
    pub background: Arc<Background>,
    /// To the manager.
    pub requests: mpsc::Sender<Request>,
}

/// Lines of logs that nobody took: how many, and when there were more for the last time.
#[derive(Debug, Default)]
pub struct Losses(Mutex<(u64, Option<Instant>)>);

impl Losses {
    /// So many by now.
    fn note(&self, lines: u64, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines > known.0 {
            *known = (lines, Some(now));
        }
    }

    /// How many since the program began, if there were some lately.
    fn lately(&self, now: Instant) -> Option<u64> {
        let (lines, last) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|&last| now.duration_since(last) < LATELY).map(|_| lines)
    }
}

/// So long is said that lines were lost.
const LATELY: Duration = Duration::from_secs(60);

impl App {
    /// Looks whether lines of the logs were lost. To be called about once a second.
    pub fn look_for_losses(&self) {
        let counters = self.handle.shared().counters.iter();
        let sessions: u64 = counters.map(|one| one.session_log_dropped.value()).sum();
        self.losses.note(sessions + self.lost_lines.lines(), Instant::now());
    }

    /// The configuration was read again; whether another one, or the same, is in force since.
    pub fn note_reload(&self, done: bool) {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner).note(done);
    }
}

/// What the manager knows and others ask about.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// What is in force, once that is known.
    pub config: Option<Config>,
    /// Changes that were made while the program ran and that no file keeps.
    pub unkept: Vec<String>,
    /// What the file says, and only a restart brings.
    pub pending: Vec<String>,
}

/// What the manager is asked to do.
#[derive(Debug)]
pub struct Request {
    /// Who asks.
    pub by: String,
    /// What for.
    pub change: Change,
}

/// A change, and who waits for what comes of it.
#[derive(Debug)]
pub enum Change {
    /// One more backend.
    Add {
        /// To which pool.
        pool: String,
        /// With its addresses.
        backend: Box<BackendConfig>,
        /// Whether it is there now.
        done: Done<()>,
    },
    /// A backend has another weight or state.
    Set {
        /// Of which pool.
        pool: String,
        /// Which.
        name: String,
        /// Its weight, if that changes.
        weight: Option<u16>,
        /// Its state, if that changes.
        state: Option<AdminState>,
        /// Whether that holds now.
        done: Done<()>,
    },
    /// A backend gets no new session.
    Remove {
        /// Of which pool.
        pool: String,
        /// Which.
        name: String,
        /// Whether it is gone now.
        done: Done<()>,
    },
    /// The file is read again.
    Reload {
        /// What came of it.
        done: Done<api::Event>,
    },
}

/// Where what came of something goes.
pub type Done<T> = oneshot::Sender<Result<T, Refusal>>;

/// Serves all endpoints from now on. To be called on the control thread, inside its `LocalSet`.
pub fn open(doors: Doors, app: &Arc<App>) -> OpenDoors {
    let Doors { doors, files } = doors;
    let mut open = OpenDoors { files, ..OpenDoors::default() };
    if doors.is_empty() {
        return open;
    }
    let routes = router::routes(app);
    for door in doors {
        // Without a descriptor for it, it is opened anew by who takes over, if that can be.
        open.sockets.extend(door.to_pass());
        let answering = answer::Answering::new(app, &routes, &door.endpoint);
        open.tasks.push(tokio::task::spawn_local(serve::serve(door, answering)));
    }
    open
}

/// Changes that wait for the manager; who comes then waits with its request.
pub const REQUESTS: usize = 16;

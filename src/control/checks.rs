//! Every backend is asked again and again, each by a task of its own: one that is silent delays
//! no other.
//!
//! A check asks the address that answered last; if it does not answer now, the others are asked at
//! the same time, and the backend passes if one of them does. So a check takes at most twice its
//! timeout, however many addresses there are.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::probe::{ProbeError, probe};
use crate::config::plan::{Address, HealthConfig};
use crate::core::health::{Answer, Change, Checks, Pace, Recovery, Thresholds};
use crate::core::moment::Moment;
use crate::shard::condition::Condition;

/// A backend that is to be checked.
#[derive(Clone)]
pub struct Watched {
    /// What identifies it over a reload, and what logs call it.
    pub key: String,
    /// The `Host` header of HTTP checks that do not name one.
    pub host: String,
    /// What its name stands for now; asked for at each check.
    pub addresses: Arc<dyn Fn() -> Vec<Address>>,
    /// What is asked, and how often.
    pub config: HealthConfig,
    /// Where the results go.
    pub condition: Arc<Condition>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("key", &self.key).field("host", &self.host).finish()
    }
}

/// Called with the key, whether it is up, and the evidence, after the condition has been changed.
pub type OnChange = Rc<dyn Fn(&str, bool, &str)>;

/// The tasks that ask, all of them on the thread that made it.
pub struct Checker {
    tasks: HashMap<String, Task>,
    clock: fn() -> Moment,
    on_change: OnChange,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("tasks", &self.tasks.keys()).finish()
    }
}

struct Task {
    wanted: watch::Sender<Watched>,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Checker {
    /// Asks nobody yet. `clock` is the clock of the shards, because they read the conditions.
    ///
    /// Has to be used inside a `LocalSet`, as the control thread's runtime has one.
    #[must_use]
    pub fn new(clock: fn() -> Moment, on_change: OnChange) -> Self {
        Self { tasks: HashMap::new(), clock, on_change }
    }

    /// These are asked from now on, and no others.
    ///
    /// One that was asked before, and has the same condition, goes on: with the same settings
    /// nothing happens to it, with others it keeps its state and is asked at once. A condition that
    /// nobody asks about any more says "up" from now on.
    pub fn set(&mut self, wanted: Vec<Watched>) {
        let mut before = std::mem::take(&mut self.tasks);
        for watched in wanted {
            let task = before.remove(&watched.key);
            let same =
                |task: &Task| task.is_about(&watched.condition) && !task.handle.is_finished();
            let task = match task.filter(same) {
                Some(task) => task.follow(watched.clone()),
                None => self.start(watched.clone()),
            };
            self.tasks.insert(watched.key, task);
        }
        for (key, task) in before {
            let condition = Arc::clone(&task.wanted.borrow().condition);
            drop(task);
            let still_asked = self.tasks.values().any(|task| task.is_about(&condition));
            if !still_asked && condition.set_up(true, (self.clock)()) {
                tracing::info!("backend {key} is not checked any more, and counts as up");
            }
        }
    }

    fn start(&self, watched: Watched) -> Task {
        let (wanted, watched) = watch::channel(watched);
        let watcher = Watcher {
            checks: first_state(&watched.borrow().condition),
            recovery: Recovery::default(),
            last_good: None,
            not_made: false,
            clock: self.clock,
            on_change: Rc::clone(&self.on_change),
        };
        Task { wanted, handle: tokio::task::spawn_local(watcher.run(watched)) }
    }
}

impl Task {
    fn is_about(&self, condition: &Arc<Condition>) -> bool {
        Arc::ptr_eq(&self.wanted.borrow().condition, condition)
    }

    fn follow(self, watched: Watched) -> Self {
        self.wanted.send_if_modified(|before| {
            let changed = before.config != watched.config || before.host != watched.host;
            *before = watched;
            changed
        });
        self
    }
}

/// What is known from an earlier task is kept.
fn first_state(condition: &Condition) -> Checks {
    match (condition.is_up(), condition.up_since()) {
        (true, None) => Checks::default(),
        (up, _) => Checks::resumed(up),
    }
}

/// The state of one task.
struct Watcher {
    checks: Checks,
    recovery: Recovery,
    /// The address that answered last.
    last_good: Option<Address>,
    /// Whether the last check could not be made, which is said once.
    not_made: bool,
    clock: fn() -> Moment,
    on_change: OnChange,
}

impl Watcher {
    async fn run(mut self, mut wanted: watch::Receiver<Watched>) {
        let mut rng = fastrand::Rng::new();
        let mut next = Instant::now() + SPREAD.mul_f64(rng.f64());
        loop {
            tokio::select! {
                () = sleep_until(next) => {}
                changed = wanted.changed() => if changed.is_err() {
                    return;
                }
            }
            let watched = wanted.borrow_and_update().clone();
            let began = Instant::now();
            let ejection = watched.condition.ejected_until((self.clock)());
            let result = self.ask(&watched).await;
            self.on_result(&watched, result, ejection);
            // An interval is from beginning to beginning; a check that takes longer is followed at
            // once.
            let delay = self.checks.delay(pace(&watched.config), &mut rng).max(DELAY_MIN);
            next = began + delay;
        }
    }

    /// Whether one of its addresses answers, or what each of them says.
    async fn ask(&mut self, watched: &Watched) -> Result<(), Evidence> {
        let port = watched.config.port;
        let mut addresses = (watched.addresses)();
        for address in &mut addresses {
            if let (Address::Inet(address), Some(port)) = (address, port) {
                address.set_port(port.get());
            }
        }
        let mut evidence = Evidence::default();
        let last = addresses.iter().position(|one| Some(one) == self.last_good.as_ref());
        if !addresses.is_empty() {
            let first = addresses.swap_remove(last.unwrap_or(0));
            match ask_one(watched, &first).await {
                Ok(()) => return self.passed(first),
                Err(error) => evidence.add(first, error),
            }
        }
        let mut probes = JoinSet::new();
        for address in addresses {
            let watched = watched.clone();
            probes.spawn_local(async move { (ask_one(&watched, &address).await, address) });
        }
        while let Some(Ok((result, address))) = probes.join_next().await {
            match result {
                Ok(()) => return self.passed(address),
                Err(error) => evidence.add(address, error),
            }
        }
        Err(evidence)
    }

    fn passed(&mut self, address: Address) -> Result<(), Evidence> {
        self.last_good = Some(address);
        Ok(())
    }

    fn on_result(
        &mut self,
        watched: &Watched,
        result: Result<(), Evidence>,
        ejection: Option<Moment>,
    ) {
        let key = &watched.key;
        let answer = match &result {
            Ok(()) => Answer::Good,
            Err(evidence) if evidence.is_an_answer() => Answer::Bad,
            Err(evidence) => {
                if !std::mem::replace(&mut self.not_made, true) {
                    tracing::warn!("backend {key} cannot be checked: {evidence}");
                }
                return;
            }
        };
        self.not_made = false;
        let evidence = match &result {
            Ok(()) => "it answers as expected".to_owned(),
            Err(evidence) => evidence.to_string(),
        };
        let (now, thresholds) = ((self.clock)(), thresholds(&watched.config));
        let ejections = [ejection, watched.condition.ejected_until(now)];
        if self.recovery.on(answer, ejections, thresholds) && watched.condition.clear_ejection(now)
        {
            tracing::info!("backend {key} is not ejected any more: it answers checks");
        }
        let against = self.checks.against() + 1;
        match self.checks.on(answer, thresholds) {
            None => tracing::debug!("backend {key} was checked: {evidence}"),
            Some(change) => self.tell(watched, change, against, &evidence),
        }
    }

    fn tell(&self, watched: &Watched, change: Change, answers: u32, evidence: &str) {
        let Watched { key, config, .. } = watched;
        let up = change == Change::Up;
        watched.condition.set_up(up, (self.clock)());
        match change {
            Change::Up => {
                let needed = config.rise;
                tracing::info!(
                    "backend {key} is up: {evidence}; after {answers} of {needed} checks"
                );
            }
            Change::Down => {
                let needed = config.fall;
                tracing::warn!(
                    "backend {key} is down: {evidence}; after {answers} of {needed} checks"
                );
            }
        }
        (self.on_change)(key, up, evidence);
    }
}

async fn ask_one(watched: &Watched, address: &Address) -> Result<(), ProbeError> {
    let HealthConfig { check, timeout, .. } = &watched.config;
    probe(check, address, &watched.host, *timeout).await
}

/// What each address of a backend said that did not pass.
#[derive(Debug, Default)]
struct Evidence(Vec<(Address, ProbeError)>);

impl Evidence {
    fn add(&mut self, address: Address, error: ProbeError) {
        self.0.push((address, error));
    }

    /// A backend without an address does not answer; with some, one has to have been asked.
    fn is_an_answer(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|(_, error)| error.is_an_answer())
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("it has no address"),
            [(_, error)] => error.fmt(f),
            errors => {
                for (index, (address, error)) in errors.iter().take(SHOWN).enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    write!(f, "{address} {error}")?;
                }
                match errors.len().checked_sub(SHOWN) {
                    None | Some(0) => Ok(()),
                    Some(more) => write!(f, ", and {more} more"),
                }
            }
        }
    }
}

fn pace(config: &HealthConfig) -> Pace {
    let HealthConfig { interval, fast_interval, jitter, .. } = *config;
    Pace { interval, fast_interval, jitter }
}

fn thresholds(config: &HealthConfig) -> Thresholds {
    Thresholds { rise: config.rise, fall: config.fall }
}

/// The first checks of all backends are not sent in one burst, and yet nobody waits for them.
const SPREAD: Duration = Duration::from_millis(50);

/// Whatever was configured, checks of one backend are not a load for it.
const DELAY_MIN: Duration = Duration::from_millis(1);

/// Addresses that a log line names.
const SHOWN: usize = 4;

#[cfg(test)]
mod tests;

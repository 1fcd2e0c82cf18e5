//! Commands that stay: following events, waiting for a backend to be empty.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::client::{ApiPath, ClientError};
use super::{CtlError, Desk, names, show, units};
use crate::api::Events;
use crate::cli::Wait;

impl Desk {
    /// The last `number` of them; the API knows the first ones after a number only.
    pub(super) fn events(&self, follow: bool, number: usize) -> Result<(), CtlError> {
        let answer = self.client.read("/api/events")?;
        let mut events: Events = answer.value()?;
        let older = events.events.len().saturating_sub(number);
        if !follow && self.json && older == 0 {
            return self.print(&answer.body);
        }
        events.events.drain(..older);
        if !follow && self.json {
            return self.print(&json(&events));
        }
        self.print_events(&events)?;
        if follow { self.follow(events.next) } else { Ok(()) }
    }

    /// Until nobody reads it any more.
    fn follow(&self, mut after: u64) -> Result<(), CtlError> {
        loop {
            std::thread::sleep(LOOK_AGAIN);
            let events = self.next_events(after)?;
            self.print_events(&events)?;
            after = events.next;
        }
    }

    /// Those that came after `after`. A balancer that is started again is waited for; it tells all it has
    /// to who asks for what comes after a number that it has not given yet.
    fn next_events(&self, after: u64) -> Result<Events, CtlError> {
        let mut waited = Duration::ZERO;
        loop {
            let path = ApiPath::from("/api/events").with("after", &after.to_string());
            match self.client.value::<Events>(path) {
                Ok(events) => return Ok(events),
                Err(error) if error.may_pass() => {
                    if waited.is_zero() {
                        let _ = writeln!(std::io::stderr(), "evenkeel ctl: {error}; trying again");
                    }
                    waited = (waited * 2).clamp(LOOK_AGAIN, RETRY_MAX);
                    std::thread::sleep(waited);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One a line, as JSON as well: programs that follow read lines.
    fn print_events(&self, events: &Events) -> Result<(), CtlError> {
        if events.events.is_empty() {
            return Ok(());
        }
        if !self.json {
            return self.print(&show::events(&events.events, self.paper));
        }
        let lines = events.events.iter().map(|event| json(event) + "\n");
        self.print(&lines.collect::<String>())
    }

    /// Until it has no connections. A backend that was removed has none when nobody knows it any more.
    pub(super) fn wait(&self, wait: &Wait) -> Result<(), CtlError> {
        let named = self.named(&wait.backend)?;
        let deadline = wait.timeout.map(|timeout| Instant::now() + timeout);
        let mut told = false;
        loop {
            let left = match self.connections(&named) {
                Ok(left) => left,
                // It may be busy for a moment; that is what a timeout is for.
                Err(error) if error.may_pass() && deadline.is_some() => None,
                Err(error) => return Err(error.into()),
            };
            if let Some(0) = left {
                return if self.json { Ok(()) } else { self.print(&format!("{named} is empty")) };
            }
            if let Some(deadline) = deadline
                && Instant::now() >= deadline
            {
                let left =
                    left.map_or("an unknown number of".to_owned(), |n| units::count(n.into()));
                return Err(CtlError::Cannot(format!("{named} still has {left} connections")));
            }
            if !told && !self.json {
                told = true;
                let left = left.unwrap_or_default();
                let _ = writeln!(std::io::stderr(), "{named} has {left} connections, waiting");
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn connections(&self, named: &names::Named) -> Result<Option<u32>, ClientError> {
        let path = ApiPath::backend(&named.pool, &named.name);
        match self.client.value::<crate::api::Backend>(path) {
            Ok(backend) => Ok(Some(backend.connections)),
            Err(error) if error.is_not_found() => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("values of the API have only text as keys")
}

/// Soon enough for a person, and nothing for the balancer.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A balancer that comes back is noticed this late at the most.
const RETRY_MAX: Duration = Duration::from_secs(5);

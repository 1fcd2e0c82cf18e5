//! Commands that stay: following events, waiting for a backend to be empty.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::client::{ApiPath, ClientError};
use super::table::clean;
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

    /// Until it has no connections. Of a backend that was removed the last session is waited for.
    pub(super) fn wait(&self, wait: &Wait) -> Result<(), CtlError> {
        let named = self.named_or_remembered(&wait.backend)?;
        let shown = clean(&named.to_string());
        let deadline = wait.timeout.map(|timeout| Instant::now() + timeout);
        let mut told = None;
        loop {
            let left = match self.left(&named) {
                Ok(left) => left,
                // It may be busy for a moment; that is what a timeout is for.
                Err(error) if error.may_pass() && deadline.is_some() => Left::Unknown,
                Err(error) => return Err(error.into()),
            };
            if let Some(empty) = left.empty() {
                return if self.json { Ok(()) } else { self.print(&format!("{shown} is {empty}")) };
            }
            if let Some(deadline) = deadline
                && Instant::now() >= deadline
            {
                return Err(CtlError::Cannot(format!("{shown} {}", left.when_late())));
            }
            // Once, and once more when it is removed meanwhile.
            let (now, kind) = (left.now(), Some(std::mem::discriminant(&left)));
            if let Some(now) = now.filter(|_| !self.json && told != kind) {
                told = kind;
                let _ = writeln!(std::io::stderr(), "{shown} {now}, waiting");
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn left(&self, named: &names::Named) -> Result<Left, ClientError> {
        let path = ApiPath::backend(&named.pool, &named.name);
        match self.client.value::<crate::api::Backend>(path) {
            Ok(backend) => Ok(Left::Connections(backend.connections.into())),
            Err(error) if error.is_not_found() => {
                Ok(self.sessions_of(named)?.map_or(Left::Unknown, Left::Sessions))
            }
            Err(error) => Err(error),
        }
    }
}

/// What a backend still has.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// It is there.
    Connections(u64),
    /// It was removed.
    Sessions(u64),
    /// Nobody said.
    Unknown,
}

impl Left {
    /// What it is when there is nothing left.
    const fn empty(self) -> Option<&'static str> {
        match self {
            Self::Connections(0) => Some("empty"),
            Self::Sessions(0) => Some("removed and empty"),
            Self::Connections(_) | Self::Sessions(_) | Self::Unknown => None,
        }
    }

    fn now(self) -> Option<String> {
        match self {
            Self::Connections(left) => Some(format!("has {}", units::many(left, "connection"))),
            Self::Sessions(1) => Some("is removed; 1 session goes on".to_owned()),
            Self::Sessions(left) => {
                Some(format!("is removed; {} go on", units::many(left, "session")))
            }
            Self::Unknown => None,
        }
    }

    fn when_late(self) -> String {
        match self {
            Self::Connections(left) => format!("still has {}", units::many(left, "connection")),
            Self::Sessions(left) => {
                format!("is removed, and still has {}", units::many(left, "session"))
            }
            Self::Unknown => "still has an unknown number of connections".to_owned(),
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

//! The last changes, each with what it was based on: what a person asks for first.
//!
//! Bounded twice: [`MOST`] events in all, and of one subject no more than [`MOST_OF_ONE`], so that a
//! backend which goes up and down all night does not push out everything else. What is pushed out
//! leaves a gap in the numbers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::api::{Event, Events as Page};

/// What kind of change an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Clients can come.
    Start,
    /// No new client can come.
    Stop,
    /// Another configuration is in force.
    Reload,
    /// It is not, because something is wrong with it.
    ReloadFailed,
    /// Checks say that a backend is up.
    BackendUp,
    /// Checks say that it is down.
    BackendDown,
    /// Connects to it failed.
    BackendEjected,
    /// It is not ejected any more.
    BackendRestored,
    /// Too many are out, so one stays in that should not.
    FailOpen,
    /// The operator added it.
    BackendAdded,
    /// The operator removed it.
    BackendRemoved,
    /// The operator changed its weight or its state.
    BackendChanged,
    /// The operator cut sessions.
    SessionsKilled,
    /// Descriptors or memory ran out.
    AcceptPaused,
    /// There is no io_uring here.
    EngineFallback,
    /// The listeners went to another process.
    HandOver,
    /// About what is logged.
    Log,
    /// About the file that keeps changes.
    State,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Somebody should look.
    Warning,
    /// Something did not work.
    Error,
}

/// What is told; number and time are added.
#[derive(Clone, Debug)]
pub struct News {
    /// What kind of change.
    pub kind: Kind,
    /// How much it matters.
    pub level: Level,
    /// What it is about: `pool/backend`, a listener, a file.
    pub subject: String,
    /// The whole of it in one line.
    pub message: String,
    /// What it was based on.
    pub evidence: String,
}

/// The last events, for the control thread and for whoever asks.
#[derive(Debug, Default)]
pub struct Events {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    /// The number of the newest one.
    seq: u64,
    /// The newest one about each backend that there is, also when it was pushed out.
    latest: HashMap<String, Event>,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::ReloadFailed => "reload-failed",
            Self::BackendUp => "backend-up",
            Self::BackendDown => "backend-down",
            Self::BackendEjected => "backend-ejected",
            Self::BackendRestored => "backend-restored",
            Self::FailOpen => "fail-open",
            Self::BackendAdded => "backend-added",
            Self::BackendRemoved => "backend-removed",
            Self::BackendChanged => "backend-changed",
            Self::SessionsKilled => "sessions-killed",
            Self::AcceptPaused => "accept-paused",
            Self::EngineFallback => "engine-fallback",
            Self::HandOver => "hand-over",
            Self::Log => "log",
            Self::State => "state",
        }
    }

    /// Whether it says how a backend is.
    const fn is_about_a_backend(self) -> bool {
        matches!(
            self,
            Self::BackendUp
                | Self::BackendDown
                | Self::BackendEjected
                | Self::BackendRestored
                | Self::FailOpen
                | Self::BackendAdded
                | Self::BackendChanged
        )
    }
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

impl News {
    /// Something as it should be.
    #[must_use]
    pub fn info(kind: Kind, subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.into(), message.into());
        Self { kind, level: Level::Info, subject, message, evidence: String::new() }
    }

    /// Something that somebody should look at.
    #[must_use]
    pub fn warning(kind: Kind, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::info(kind, subject, message) }
    }

    /// Something that did not work.
    #[must_use]
    pub fn error(kind: Kind, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: Level::Error, ..Self::info(kind, subject, message) }
    }

    /// With what it was based on.
    #[must_use]
    pub fn because(self, evidence: impl Into<String>) -> Self {
        Self { evidence: evidence.into(), ..self }
    }
}

impl Events {
    /// Something has happened now.
    pub fn push(&self, news: News) -> Event {
        self.push_at(SystemTime::now(), news)
    }

    /// Something happened then; who tells of it later is not asked to keep the order of times.
    pub fn push_at(&self, time: SystemTime, news: News) -> Event {
        let mut ring = self.lock();
        ring.seq += 1;
        let event = Event {
            seq: ring.seq,
            time: humantime::format_rfc3339_millis(time).to_string(),
            level: news.level.word().to_owned(),
            message: news.message,
            time_ms: milliseconds(time),
            kind: news.kind.word().to_owned(),
            subject: news.subject,
            evidence: news.evidence,
        };
        if news.kind.is_about_a_backend() {
            ring.latest.insert(event.subject.clone(), event.clone());
        }
        ring.make_room_for(&event.subject);
        ring.events.push_back(event.clone());
        event
    }

    /// Those after number `after`, the oldest first, at most `limit`.
    #[must_use]
    pub fn after(&self, after: u64, limit: usize) -> Page {
        let ring = self.lock();
        // A number that was not given yet is that of a program which ran before this one.
        let after = if after > ring.seq { 0 } else { after };
        let newer = ring.events.iter().filter(|event| event.seq > after);
        let events: Vec<_> = newer.take(limit).cloned().collect();
        let next = events.last().map_or(after, |event| event.seq);
        Page { events, next }
    }

    /// The newest ones, the oldest of them first.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<Event> {
        let ring = self.lock();
        let skip = ring.events.len().saturating_sub(count);
        ring.events.iter().skip(skip).cloned().collect()
    }

    /// The newest ones about one subject, the oldest of them first.
    #[must_use]
    pub fn about(&self, subject: &str, count: usize) -> Vec<Event> {
        let ring = self.lock();
        let about = ring.events.iter().rev().filter(|event| event.subject == subject);
        let mut events: Vec<_> = about.take(count).cloned().collect();
        events.reverse();
        events
    }

    /// What was last said of each backend.
    #[must_use]
    pub fn latest(&self) -> HashMap<String, Event> {
        self.lock().latest.clone()
    }

    /// Of others than these nothing is kept beside the ring.
    pub fn keep_latest(&self, there_is: impl Fn(&str) -> bool) {
        self.lock().latest.retain(|subject, _| there_is(subject));
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn make_room_for(&mut self, subject: &str) {
        let of_it = self.events.iter().filter(|event| event.subject == subject).count();
        if of_it >= MOST_OF_ONE {
            let oldest = self.events.iter().position(|event| event.subject == subject);
            oldest.and_then(|oldest| self.events.remove(oldest));
        } else if self.events.len() >= MOST {
            self.events.pop_front();
        }
    }
}

/// Since 1970.
#[must_use]
pub fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Some 300 KiB.
pub const MOST: usize = 1024;

/// Sixteen subjects that never rest leave room for each other.
const MOST_OF_ONE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: &Events, subject: &str) -> u64 {
        events.push(News::info(Kind::BackendUp, subject, "it is up")).seq
    }

    #[test]
    fn events_are_numbered_and_asked_for_from_a_number_on() {
        let events = Events::default();
        assert_eq!(events.after(0, 10), Page { events: Vec::new(), next: 0 });
        let seqs = ["a", "b", "c"].map(|subject| told(&events, subject));
        assert_eq!(seqs, [1, 2, 3]);
        let page = events.after(1, 10);
        assert_eq!(page.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(page.next, 3);
        assert_eq!(events.after(0, 2).next, 2);
        assert_eq!(events.after(3, 10), Page { events: Vec::new(), next: 3 });
        assert_eq!(events.after(99, 10).events.len(), 3);
    }

    #[test]
    fn one_that_never_rests_leaves_the_others_where_they_are() {
        let events = Events::default();
        told(&events, "quiet");
        for _ in 0..10_000 {
            told(&events, "restless");
        }
        assert_eq!(events.about("quiet", 10).len(), 1);
        assert_eq!(events.about("restless", MOST).len(), MOST_OF_ONE);
        assert_eq!(events.last(1)[0].seq, 10_001);
    }

    #[test]
    fn there_are_never_more_than_the_ring_has_room_for() {
        let events = Events::default();
        for n in 0..5_000 {
            told(&events, &format!("{n}"));
        }
        assert_eq!(events.last(MOST * 2).len(), MOST);
        assert_eq!(events.after(0, 1).events[0].seq, 5_001 - MOST as u64);
    }

    #[test]
    fn the_last_word_about_a_backend_outlives_the_ring() {
        let events = Events::default();
        told(&events, "web/b1");
        for n in 0..5_000 {
            told(&events, &format!("{n}"));
        }
        assert!(events.about("web/b1", 1).is_empty());
        assert_eq!(events.latest()["web/b1"].seq, 1);
        events.keep_latest(|subject| subject != "web/b1");
        assert!(!events.latest().contains_key("web/b1"));
    }
}

//! What `evenkeel top` knows and shows. It never asks anybody: news are brought, keys are pressed, and
//! an [`Effect`](super::keys::Effect) says what is wanted.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::api::{Backend, Event, Explanation, Session, Sessions, Status};
use crate::ctl::units::{both, count, float};

use super::keys::Ask;
use super::rates::{self, Latencies, Rates};

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Where it looks, for people.
    pub(crate) address: String,
    /// What is looked at.
    pub(crate) view: View,
    /// The last look, which stays when the connection is lost.
    pub(crate) picture: Option<Picture>,
    /// The sessions of the last look that asked for them.
    pub(crate) sessions: Option<SessionList>,
    /// Why there is no fresher look.
    pub(crate) lost: Option<Lost>,
    /// Whether looks are passed over.
    pub(crate) paused: bool,
    /// What lies above the view.
    pub(crate) popup: Option<Popup>,
    /// What came of the last wish.
    pub(crate) message: Option<Message>,
    /// Only sessions with this backend.
    pub(crate) of_backend: Option<(String, String)>,
    pub(crate) backend_sort: BackendSort,
    pub(crate) session_sort: SessionSort,
    /// What is selected, by what it is called: it stays selected when the order changes.
    pub(crate) selected: HashMap<View, String>,
    /// Newest last.
    pub(crate) history: VecDeque<Point>,
    /// Connections made a second, newest last.
    pub(crate) trends: HashMap<(String, String), VecDeque<f64>>,
    /// Looks of the last [`WINDOW_MS`], newest last.
    looks: VecDeque<Rc<Status>>,
}

/// Which view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum View {
    #[default]
    Overview,
    Sessions,
    Shards,
    Events,
}

/// A look, with what follows from it and the looks before.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) status: Rc<Status>,
    /// Since the look before; none with the first.
    pub(crate) rates: Option<Rates>,
    /// Of the last seconds, in the order of the backends.
    pub(crate) latencies: Vec<Latencies>,
}

/// Sessions, with what each moved.
#[derive(Debug, Default)]
pub(crate) struct SessionList {
    /// Which were asked for, where there are more than are listed.
    pub(crate) sort: SessionSort,
    pub(crate) sessions: Sessions,
    pub(crate) time_ms: u64,
    /// Bytes a second both ways, since the look before.
    pub(crate) rates: HashMap<String, f64>,
}

/// Why there is no fresher look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) error: String,
    pub(crate) attempts: u32,
}

/// What lies above the view.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Popup {
    Help,
    /// A wish that changes something, and the question.
    Confirm {
        ask: Ask,
        question: String,
    },
    /// Something to read, and how many lines are above the first that is shown.
    Text {
        title: String,
        lines: Vec<String>,
        above: u16,
    },
}

/// What came of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) good: bool,
    /// Looks until it goes.
    left: u8,
}

/// How backends are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BackendSort {
    #[default]
    Configured,
    Connections,
    Rate,
    Bytes,
    Slowest,
}

/// How sessions are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SessionSort {
    #[default]
    Rate,
    Bytes,
    Age,
    Idle,
}

/// What went through at one look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Point {
    pub(crate) accepted: f64,
    pub(crate) bytes: f64,
}

/// What is brought.
#[derive(Debug)]
pub(crate) enum News {
    Look {
        status: Box<Status>,
        /// With the order in which the balancer was asked for them.
        sessions: Option<(SessionSort, Sessions)>,
    },
    Lost(Lost),
    /// A wish was granted, or not.
    Done(Result<String, String>),
    Explained {
        title: String,
        answer: Result<Explanation, String>,
    },
}

impl State {
    /// Nothing was seen yet.
    pub(crate) fn of(address: String) -> Self {
        Self { address, ..Self::default() }
    }

    /// Takes over what is new.
    pub(crate) fn receive(&mut self, news: News) {
        match news {
            News::Look { status, sessions } => {
                self.lost = None;
                if !self.paused {
                    self.look(Rc::from(status), sessions);
                }
            }
            News::Lost(lost) => self.lost = Some(lost),
            News::Done(done) => self.say(done),
            News::Explained { title, answer: Ok(explanation) } => {
                self.popup = Some(Popup::Text { title, lines: told(&explanation), above: 0 });
            }
            News::Explained { answer: Err(error), .. } => self.say(Err(error)),
        }
    }

    pub(crate) fn say(&mut self, done: Result<String, String>) {
        let good = done.is_ok();
        let (Ok(text) | Err(text)) = done;
        self.message = Some(Message { text, good, left: MESSAGE_LOOKS });
    }

    fn look(&mut self, status: Rc<Status>, sessions: Option<(SessionSort, Sessions)>) {
        let before = self.looks.back();
        let rates = before.and_then(|before| Rates::between(before, &status));
        if before.is_some_and(|before| before.pid != status.pid) {
            self.looks.clear();
        }
        if let Some(rates) = &rates {
            self.remember(&status, rates);
        }
        let latencies = rates::latencies(self.looks.front().map(Rc::as_ref), &status);
        if let Some((sort, sessions)) = sessions {
            let before = self.sessions.take().unwrap_or_default();
            self.sessions = Some(before.followed_by(sort, sessions, status.time_ms));
        }
        self.keep(Rc::clone(&status));
        self.picture = Some(Picture { status, rates, latencies });
        self.message = self.message.take().and_then(Message::older);
    }

    /// Looks from the beginning of the window on, not more than it takes.
    fn keep(&mut self, status: Rc<Status>) {
        let begins = status.time_ms.saturating_sub(WINDOW_MS);
        self.looks.push_back(status);
        while self.looks.len() > 2 && (self.looks[1].time_ms <= begins || self.looks.len() > LOOKS)
        {
            self.looks.pop_front();
        }
    }

    fn remember(&mut self, status: &Status, rates: &Rates) {
        let bytes = rates.to_backends.bytes + rates.to_clients.bytes;
        push(&mut self.history, Point { accepted: rates.accepted, bytes }, HISTORY);
        let known = |key: &(String, String)| status.backends.iter().any(|one| key_of(one) == *key);
        self.trends.retain(|key, _| known(key));
        for (backend, work) in status.backends.iter().zip(&rates.backends) {
            push(self.trends.entry(key_of(backend)).or_default(), work.connected, TREND);
        }
    }

    /// Backends in the order that is asked for, by their place in the status.
    pub(crate) fn backends(&self) -> Vec<usize> {
        let Some(picture) = &self.picture else { return Vec::new() };
        let mut order: Vec<usize> = (0..picture.status.backends.len()).collect();
        let work = |index: usize| picture.rates.as_ref().map(|rates| rates.backends[index]);
        let value = |&index: &usize| match self.backend_sort {
            BackendSort::Configured => 0.0,
            BackendSort::Connections => f64::from(picture.status.backends[index].connections),
            BackendSort::Rate => work(index).map_or(0.0, |work| work.connected),
            BackendSort::Bytes => {
                work(index).map_or(0.0, |work| work.to_backend.bytes + work.to_clients.bytes)
            }
            BackendSort::Slowest => float(picture.latencies[index].response.p99_us.unwrap_or(0)),
        };
        order.sort_by(|a, b| value(b).total_cmp(&value(a)));
        order
    }

    /// Sessions in the order that is asked for.
    pub(crate) fn sessions(&self) -> Vec<&Session> {
        let Some(list) = &self.sessions else { return Vec::new() };
        let mut sessions: Vec<&Session> = list.sessions.sessions.iter().collect();
        let value = |session: &Session| match self.session_sort {
            SessionSort::Rate => list.rates.get(&session.id).copied().unwrap_or(0.0),
            SessionSort::Bytes => float(moved(session)),
            SessionSort::Age => float(session.age_ms),
            SessionSort::Idle => float(session.idle_ms),
        };
        // The older first among equals: what is new does not push others about.
        sessions.sort_by(|a, b| {
            value(b).total_cmp(&value(a)).then(b.age_ms.cmp(&a.age_ms)).then(a.id.cmp(&b.id))
        });
        sessions
    }

    /// Events, the newest first.
    pub(crate) fn events(&self) -> Vec<&Event> {
        let status = self.picture.as_ref().map(|picture| &picture.status);
        status.map(|status| status.events.iter().rev().collect()).unwrap_or_default()
    }

    /// What the rows of the view are called, in their order.
    pub(crate) fn rows(&self) -> Vec<String> {
        let status = self.picture.as_ref().map(|picture| &picture.status);
        match (self.view, status) {
            (_, None) => Vec::new(),
            (View::Overview, Some(status)) => {
                let name = |index: usize| full_name(&status.backends[index]);
                self.backends().into_iter().map(name).collect()
            }
            (View::Sessions, _) => self.sessions().iter().map(|one| one.id.clone()).collect(),
            (View::Shards, Some(status)) => {
                status.shards.iter().map(|shard| shard.index.to_string()).collect()
            }
            (View::Events, _) => self.events().iter().map(|one| one.seq.to_string()).collect(),
        }
    }

    /// The row that is selected: the first one until another was, or if that is gone.
    pub(crate) fn row(&self) -> usize {
        let selected = self.selected.get(&self.view);
        let found = selected.and_then(|name| self.rows().iter().position(|row| row == name));
        found.unwrap_or(0)
    }

    /// The backend that is selected.
    pub(crate) fn backend(&self) -> Option<&Backend> {
        let index = *self.backends().get(self.row())?;
        self.picture.as_ref().map(|picture| &picture.status.backends[index])
    }

    /// The session that is selected.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.sessions().get(self.row()).copied()
    }
}

impl View {
    pub(crate) const ALL: [Self; 4] = [Self::Overview, Self::Sessions, Self::Shards, Self::Events];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Sessions => "sessions",
            Self::Shards => "shards",
            Self::Events => "events",
        }
    }

    /// So many views further, round and round.
    pub(crate) fn further(self, by: usize) -> Self {
        let here = Self::ALL.iter().position(|view| *view == self).unwrap_or(0);
        Self::ALL[(here + by) % Self::ALL.len()]
    }
}

impl BackendSort {
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Configured => Self::Connections,
            Self::Connections => Self::Rate,
            Self::Rate => Self::Bytes,
            Self::Bytes => Self::Slowest,
            Self::Slowest => Self::Configured,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Configured => "as configured",
            Self::Connections => "most connections first",
            Self::Rate => "most new connections first",
            Self::Bytes => "most bytes first",
            Self::Slowest => "slowest p99 first",
        }
    }
}

impl SessionSort {
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Rate => Self::Bytes,
            Self::Bytes => Self::Age,
            Self::Age => Self::Idle,
            Self::Idle => Self::Rate,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rate => "busiest first",
            Self::Bytes => "most bytes first",
            Self::Age => "oldest first",
            Self::Idle => "longest idle first",
        }
    }

    /// What the balancer is asked for. It knows no rates, which take two looks; but who is busy is among
    /// those in which something has moved last.
    pub(crate) const fn asked(self) -> &'static str {
        match self {
            Self::Rate => "recent",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Idle => "idle",
        }
    }

    /// Which those are.
    pub(crate) const fn which(self) -> &'static str {
        match self {
            Self::Rate => "in which bytes moved last",
            Self::Bytes => "with the most bytes",
            Self::Age => "that are the oldest",
            Self::Idle => "that are idle for longest",
        }
    }
}

impl SessionList {
    /// What came at the next look, with the rates between the two.
    fn followed_by(self, sort: SessionSort, sessions: Sessions, time_ms: u64) -> Self {
        let seconds = float(time_ms.saturating_sub(self.time_ms)) / 1e3;
        let known: HashMap<&str, u64> =
            self.sessions.sessions.iter().map(|one| (one.id.as_str(), moved(one))).collect();
        let rate = |session: &Session| {
            let came = moved(session).checked_sub(*known.get(session.id.as_str())?)?;
            (seconds > 0.0).then(|| (session.id.clone(), float(came) / seconds))
        };
        let rates = sessions.sessions.iter().filter_map(rate).collect();
        Self { sort, sessions, time_ms, rates }
    }
}

impl Message {
    fn older(mut self) -> Option<Self> {
        self.left = self.left.checked_sub(1)?;
        Some(self)
    }
}

/// `pool/name`
pub(crate) fn full_name(backend: &Backend) -> String {
    format!("{}/{}", backend.pool, backend.name)
}

/// `1 session`, `2 sessions`
pub(crate) fn sessions_in_words(many: u64) -> String {
    format!("{} session{}", count(many), if many == 1 { "" } else { "s" })
}

/// What a backend is remembered by.
pub(crate) fn key_of(backend: &Backend) -> (String, String) {
    (backend.pool.clone(), backend.name.clone())
}

fn moved(session: &Session) -> u64 {
    both(session.to_backend).saturating_add(both(session.to_client))
}

fn told(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![explanation.answer.clone(), String::new()];
    lines.extend(explanation.because.iter().map(|reason| format!("• {reason}")));
    if !explanation.events.is_empty() {
        lines.push(String::new());
    }
    lines.extend(
        explanation.events.iter().map(|event| format!("{}  {}", event.time, event.message)),
    );
    lines
}

fn push<T>(list: &mut VecDeque<T>, one: T, most: usize) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(one);
}

/// Percentiles are of so long: long enough to have a hundredth of something, short enough to follow.
const WINDOW_MS: u64 = 10_000;
/// However short the interval is.
const LOOKS: usize = 100;
/// Wider than any terminal.
const HISTORY: usize = 512;
/// As wide as the curve beside a backend.
pub(crate) const TREND: usize = 20;
/// A few seconds.
const MESSAGE_LOOKS: u8 = 5;

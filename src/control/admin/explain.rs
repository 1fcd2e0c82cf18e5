//! Why something is as it is: what a person would otherwise put together from the log, the
//! configuration and the state of all shards.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::App;
use super::problem::Refusal;
use super::router::one_backend;
use super::said::{Asked, Forms, Words};
use super::sessions::find;
use super::status::Now;
use crate::api::{Backend, Event, Explanation};
use crate::config::plan::Destination;
use crate::core::balance::{
    self, Algorithm, By, Picked, Request, Standing, Tables, Tried, client_key, pick,
};
use crate::core::{BackendId, wanted::AdminState};
use crate::shard::listener::Listener;
use crate::shard::pool::{Pool, Present};

type Here = State<Arc<App>>;

/// `GET /api/explain/backend`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfBackend {
    pool: String,
    name: String,
}

/// `GET /api/explain/session`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfSession {
    id: String,
}

/// `GET /api/explain/client`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfClient {
    address: String,
    #[serde(default)]
    listener: Option<String>,
}

impl Words for OfBackend {
    const WORDS: Forms = &[("pool", "the name of a pool"), ("name", "the name of a backend")];
}

impl Words for OfSession {
    const WORDS: Forms = &[("id", "the name of a session, as /api/sessions has it")];
}

impl Words for OfClient {
    const WORDS: Forms = &[
        ("address", "192.0.2.1, or 192.0.2.1:5000 where clients stick by port"),
        ("listener", "the name or the address of a listener"),
    ];
}

/// Why a backend gets new connections, or not.
pub(super) async fn backend(
    State(app): Here,
    Asked(OfBackend { pool, name }): Asked<OfBackend>,
) -> Result<Json<Explanation>, Refusal> {
    let subject = format!("{pool}/{name}");
    let events = app.events.about(&subject, EVENTS);
    let backend = match one_backend(&app, &pool, &name) {
        Ok(backend) => backend,
        Err(refusal) => return gone(&subject, events).ok_or(refusal).map(Json),
    };
    let (answer, because) = (verdict(&subject, &backend), reasons(&backend, &events));
    Ok(Json(Explanation { answer, because, events }))
}

/// A backend that somebody removed, and that is remembered.
fn gone(subject: &str, events: Vec<Event>) -> Option<Explanation> {
    let removed = events.iter().rev().find(|event| event.kind == "backend-removed")?;
    let because =
        vec![format!("{}, at {}, by {}", removed.message, removed.time, removed.evidence)];
    let answer = format!("{subject} is not there any more.");
    Some(Explanation { answer, because, events })
}

fn verdict(subject: &str, backend: &Backend) -> String {
    let why = match backend.state.as_str() {
        "maint" => "it is in maintenance",
        "down" => "checks say that it is down",
        "ejected" => "connects to it failed, and it is left alone for a while",
        "drain" if backend.admin == "drain" => "it is drained: only clients that stick to it come",
        "drain" => "its weight is 0: only clients that stick to it come",
        "full" => "it has as many connections as it may have",
        "backup" => "it is a backup, and primaries are there",
        _ => return format!("{subject} gets new connections."),
    };
    format!("{subject} gets no new connections: {why}.")
}

fn reasons(backend: &Backend, events: &[Event]) -> Vec<String> {
    let mut because = Vec::new();
    let last = |kinds: &[&str]| events.iter().rev().find(|one| kinds.contains(&one.kind.as_str()));
    if backend.admin != "ready" {
        let by = last(&["backend-changed", "backend-added"]);
        let by = by.map(|event| format!(", since {} by {}", event.time, event.evidence));
        because.push(format!(
            "The operator wants it in {}{}.",
            backend.admin,
            by.unwrap_or_default()
        ));
    }
    match backend.health.as_str() {
        "down" => {
            let found = last(&["backend-down"]);
            let found = found.map(|event| format!(": {}, at {}", event.evidence, event.time));
            because.push(format!("Checks say that it is down{}.", found.unwrap_or_default()));
        }
        "ejected" => {
            let found = last(&["backend-ejected"]).map(|event| format!(": {}", event.evidence));
            let until = backend.ejected_until_ms.map(date).unwrap_or_default();
            let found = found.unwrap_or_default();
            because.push(format!("Connects failed{found}; it is left alone until {until}."));
        }
        "unchecked" => because.push("Nothing checks it.".to_owned()),
        _ => because.push("Checks say that it is up.".to_owned()),
    }
    if backend.weight == 0 {
        because.push("Its weight is 0.".to_owned());
    }
    if backend.backup {
        because.push("It is a backup: it serves only while no primary is healthy.".to_owned());
    }
    if let Some(most) = backend.max_connections {
        because.push(format!("It has {} of {most} connections.", backend.connections));
    }
    if backend.warmth < WARM {
        let percent = backend.warmth * 100 / WARM;
        because.push(format!(
            "It came up a while ago, and gets {percent} % of its share (slow start)."
        ));
    }
    if backend.origin == "runtime" {
        because.push("It was added while the program runs.".to_owned());
    }
    because
}

/// Why a session is where it is.
pub(super) async fn session(
    State(app): Here,
    Asked(OfSession { id }): Asked<OfSession>,
) -> Result<Json<Explanation>, Refusal> {
    let row = find(&app, &id).await?;
    let client = row
        .client
        .map_or_else(|| "a client without an address".to_owned(), |client| client.to_string());
    let (pool, listener) = (&row.pool.name, &row.listener.name);
    let mut because = vec![format!("It came in by listener {listener}, which pool {pool} serves.")];
    let subject = row.backend.as_ref().map(|backend| format!("{pool}/{}", backend.name));
    let state = row.phase.word();
    let since = humantime::format_duration(std::time::Duration::from_secs(row.age.as_secs()));
    let answer = match (&subject, row.by) {
        (Some(subject), Some(by)) => {
            because.push(told_by(by));
            format!(
                "Session {id} of {client} is with {subject}, picked by {by}; it is {since} old and {state}."
            )
        }
        (Some(subject), None) => {
            format!("Session {id} of {client} is with {subject}; it is {since} old and {state}.")
        }
        (None, _) => {
            because.push("No backend has it now.".to_owned());
            format!("Session {id} of {client} has no backend; it is {since} old and {state}.")
        }
    };
    if row.moves > 0 {
        because.push(format!(
            "Its backend was lost {} times, and it went on with another.",
            row.moves
        ));
    }
    if row.backend.as_ref().is_some_and(|backend| backend.is_retired()) {
        because
            .push("Its backend was removed since: the session goes on, no other comes.".to_owned());
    }
    let events = subject.map(|subject| app.events.about(&subject, EVENTS)).unwrap_or_default();
    Ok(Json(Explanation { answer, because, events }))
}

fn told_by(by: By) -> String {
    match by {
        By::Sticky => "The client was there before, and clients stick.".to_owned(),
        By::LastResort => {
            "Nobody was healthy, and an ejected backend is better than none.".to_owned()
        }
        By::Algorithm(algorithm) => rule(algorithm).to_owned(),
    }
}

fn rule(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Auto => {
            "Round robin while all have equally many connections, else the one with the fewest."
        }
        Algorithm::RoundRobin => "Backends take turns, by weight.",
        Algorithm::LeastConnections => {
            "The backend with the fewest connections for its weight is taken."
        }
        Algorithm::Random => "Any backend, with a probability by weight.",
        Algorithm::P2c => "Of two that are drawn at random, the less busy one is taken.",
        Algorithm::SourceHash => "The client's address decides, hashed with each backend's name.",
        Algorithm::Maglev => "The client's address decides, by a table of 65537 places.",
        Algorithm::First => "The first backend in the list that has room is taken.",
    }
}

/// Where a client would go now.
pub(super) async fn client(
    State(app): Here,
    Asked(asked): Asked<OfClient>,
) -> Result<Json<Explanation>, Refusal> {
    let text = &asked.address;
    let (ip, port) = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(ip), _) => (ip, None),
        (_, Ok(address)) => (address.ip(), Some(address.port())),
        _ => {
            return Err(Refusal::wrong(format!(
                "`{text}` is no address; write 192.0.2.1, or 192.0.2.1:5000 where clients stick by port"
            )));
        }
    };
    let listener = which_listener(&app, asked.listener.as_deref())?;
    let mut told = Told { ip: ip.to_canonical(), port, because: Vec::new() };
    let (answer, place) = told.would_go(&listener);
    let pool = &listener.pool;
    let events = place.map(|id| format!("{}/{}", pool.name, pool.backend(id).name));
    let events = events.map(|subject| app.events.about(&subject, EVENTS)).unwrap_or_default();
    Ok(Json(Explanation { answer, because: told.because, events }))
}

fn which_listener(app: &App, named: Option<&str>) -> Result<Arc<Listener>, Refusal> {
    let listeners = app.handle.shared().snapshot().listeners.clone();
    // A name with several addresses is there once.
    let names: BTreeSet<_> = listeners.iter().map(|one| one.name.as_str()).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    match (named, listeners.as_slice()) {
        (None, [one]) => Ok(Arc::clone(one)),
        (None, _) => Err(Refusal::wrong(format!(
            "there are several listeners; name one (`ctl explain client --listener NAME`, or \
             listener=NAME in the query): {names}"
        ))),
        (Some(named), all) => {
            let found =
                all.iter().find(|one| one.name == named || one.address.to_string() == named);
            found.cloned().ok_or_else(|| {
                Refusal::nothing_there(format!("there is no listener `{named}`; there are {names}"))
            })
        }
    }
}

/// A client, and what was found on the way.
struct Told {
    ip: IpAddr,
    port: Option<u16>,
    because: Vec<String>,
}

impl Told {
    /// The answer, and which backend it is about.
    fn would_go(&mut self, listener: &Listener) -> (String, Option<BackendId>) {
        let (ip, name) = (self.ip, &listener.name);
        if listener.access.as_ref().is_some_and(|list| !list.allows(ip)) {
            self.because.push(format!("The allow and deny lists of listener {name} say so."));
            return (format!("{ip} would not be let in."), None);
        }
        if let Some(limit) = &listener.per_ip {
            let has = limit.table.sessions(ip);
            if limit.limits.sessions.is_some_and(|most| has >= most.get()) {
                self.because
                    .push(format!("It has {has} sessions, as many as one address may have."));
                return (format!("{ip} would not be let in."), None);
            }
            self.because.push(format!("It has {has} sessions of what one address may have."));
        }
        let pool = &*listener.pool;
        if pool.destination == Destination::OriginalDst {
            self.because.push(format!("Pool {} has no backends of its own.", pool.name));
            return (format!("{ip} would go where it wanted to go before the redirect."), None);
        }
        let now = Now::read().moment;
        let sticky = self.remembered(pool, Present { pool, now });
        let key = client_key(ip, None);
        let request = Request { key, tried: &Tried::NOBODY, sticky };
        let present = Still(Present { pool, now });
        match pick(&present, &request, &mut fastrand::Rng::with_seed(0)) {
            Picked::Full => {
                (format!("{ip} would wait in the queue: every healthy backend is full."), None)
            }
            Picked::Nobody => (format!("{ip} would wait: no backend is there."), None),
            Picked::Backend(picked) => self.picked(pool, picked.backend, picked.by),
        }
    }

    fn picked(&mut self, pool: &Pool, id: BackendId, by: By) -> (String, Option<BackendId>) {
        let (ip, subject) = (self.ip, format!("{}/{}", pool.name, pool.backend(id).name));
        self.because.push(told_by(by));
        match by {
            // What the next draw, or the next turn, brings is not known.
            By::Algorithm(
                algorithm @ (Algorithm::RoundRobin | Algorithm::Random | Algorithm::P2c),
            ) => (
                format!("{ip} would go to any backend of pool {}, by {algorithm}.", pool.name),
                None,
            ),
            By::Algorithm(algorithm) => {
                (format!("{ip} would go to {subject}, by {algorithm}."), Some(id))
            }
            By::Sticky => (format!("{ip} would go to {subject}, where it was before."), Some(id)),
            By::LastResort => (
                format!("{ip} would go to an ejected backend, as to {subject}: nobody is healthy."),
                Some(id),
            ),
        }
    }

    /// Where it was before, if clients stick and it is remembered.
    fn remembered(&mut self, pool: &Pool, present: Present<'_>) -> Option<BackendId> {
        use balance::Pool as _;
        let (table, config) = (pool.state.sticky.as_ref()?, pool.sticky?);
        if config.key == crate::config::plan::StickyBy::IpPort && self.port.is_none() {
            self.because.push("Clients stick by address and port: write the port, too.".to_owned());
            return None;
        }
        let client = SocketAddr::new(self.ip, self.port.unwrap_or(0));
        let Some(uid) = table.peek(client, present.now) else {
            self.because.push("Clients stick, and this one is not remembered.".to_owned());
            return None;
        };
        let Some(id) = pool.find(uid) else {
            self.because
                .push("It is remembered with a backend that is not there any more.".to_owned());
            return None;
        };
        let member = pool.member(id);
        if present.standing(id) != Standing::Ready {
            let why = match present.standing(id) {
                Standing::Full => "is full",
                Standing::Ejected => "is ejected",
                _ if member.state == AdminState::Maint => "is in maintenance",
                _ => "is down",
            };
            self.because
                .push(format!("It is remembered with {}, which {why}.", member.backend.name));
        }
        Some(id)
    }
}

/// A pool whose turns do not go on because somebody asks.
struct Still<'a>(Present<'a>);

impl balance::Pool for Still<'_> {
    fn tables(&self) -> &Tables {
        self.0.tables()
    }

    fn standing(&self, backend: BackendId) -> Standing {
        self.0.standing(backend)
    }

    fn connections(&self, backend: BackendId) -> u32 {
        self.0.connections(backend)
    }

    fn warmth(&self, backend: BackendId) -> u32 {
        balance::Pool::warmth(&self.0, backend)
    }

    fn next_turn(&self) -> u32 {
        0
    }
}

fn date(ms: u64) -> String {
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Enough to see how it came to this.
const EVENTS: usize = 10;

/// All of a weight.
const WARM: u32 = 256;

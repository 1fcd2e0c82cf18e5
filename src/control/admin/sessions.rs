//! Sessions: told one by one, and cut. The shards know them, and are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use ipnet::IpNet;
use serde::Deserialize;
use uring::Owner;

use super::App;
use super::ask::{PATIENCE, all_shards};
use super::auth::Peer;
use super::problem::Refusal;
use super::said::{Asked, Forms, Named, Nothing, Words};
use crate::api::{Bytes, Killed, Session, Sessions};
use crate::config::plan::PoolConfig;
use crate::control::events::{Kind, News};
use crate::core::session::Phase;
use crate::shard::commands::{self, Command, First, Listing, Moved, Order, Row};

type Here = State<Arc<App>>;

/// The words of a query that say which sessions are meant.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    pool: Option<String>,
    backend: Option<String>,
    listener: Option<String>,
    client: Option<String>,
    state: Option<String>,
    min_age: Option<String>,
    min_idle: Option<String>,
    sort: Option<String>,
    limit: Option<usize>,
    all: Option<bool>,
}

impl Words for Filter {
    const WORDS: Forms = &[
        ("pool", "the name of a pool"),
        ("backend", "the name of a backend"),
        ("listener", "the name of a listener"),
        ("client", "an address, one with a port, or a network"),
        ("state", "a state of a session"),
        ("min_age", "a time, as in 30s"),
        ("min_idle", "a time, as in 30s"),
        ("sort", "age, bytes, idle or recent"),
        ("limit", "a whole number from 1 to 10000"),
        ("all", "true, or leave it out"),
    ];
}

/// What names a session: shard, slot and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    shard: usize,
    owner: Owner,
}

/// `GET /api/sessions`
pub(super) async fn list(
    State(app): Here,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Sessions>, Refusal> {
    if filter.all.is_some() {
        return Err(Refusal::wrong("`all` is for DELETE; without a filter all are told"));
    }
    let limit = filter.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Refusal::wrong(format!("limit is {limit}; write 1 to {LIMIT_MAX}")));
    }
    let first = First { order: filter.order()?, most: limit };
    let query = filter.understood()?;
    let told = told(&app, &query, first).await;
    if told.matched == 0 {
        is_no_backend_with_its_pool(&app, &query).await?;
    }
    Ok(Json(told))
}

/// `GET /api/sessions/{id}`
pub(super) async fn one(
    State(app): Here,
    Named(id): Named<String>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Json<Session>, Refusal> {
    find(&app, &id).await.map(|row| Json(session(row)))
}

/// `DELETE /api/sessions`
pub(super) async fn kill(
    State(app): Here,
    Extension(peer): Extension<Peer>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Killed>, Refusal> {
    if filter.limit.is_some() || filter.sort.is_some() {
        return Err(Refusal::wrong("`limit` and `sort` are for GET; all that fit are cut"));
    }
    if filter.is_empty() != (filter.all == Some(true)) {
        let text = "say which sessions: with pool, backend, listener, client, state, min_age or \
                    min_idle, or with all=true alone";
        return Err(Refusal::wrong(text));
    }
    let query = filter.understood()?;
    let which = if filter.is_empty() { "all sessions".to_owned() } else { filter.words() };
    let answers = cut(&app, &query).await;
    let killed = answers.iter().flatten().sum();
    if killed == 0 {
        is_about_something(&app, &query).await?;
    }
    tell(&app, &peer, killed, &which);
    match answers.iter().position(Option::is_none) {
        None => Ok(Json(Killed { killed })),
        Some(shard) => Err(Refusal::not_now(format!(
            "{}; shard {shard} did not answer in time, and cuts its own when it does",
            were_cut(killed)
        ))),
    }
}

/// Refuses a filter that fits nobody, because what it is about is not there. What is gone still counts for as
/// long as somebody has a session of it.
async fn is_about_something(app: &App, query: &commands::Query) -> Result<(), Refusal> {
    is_no_backend_with_its_pool(app, query).await?;
    let nothing = commands::Query::default;
    if let Some(pool) = query.pool.as_deref().filter(|pool| !pools(app).contains_key(*pool)) {
        let of_it = commands::Query { pool: query.pool.clone(), ..nothing() };
        if has_nobody(app, &of_it).await {
            let text = format!("there is no pool `{pool}`, and no session of one; see /api/status");
            return Err(Refusal::nothing_there(text));
        }
    }
    let known = listeners(app);
    if let Some(listener) = query.listener.as_ref().filter(|name| !known.contains(*name)) {
        let of_it = commands::Query { listener: Some(listener.clone()), ..nothing() };
        if has_nobody(app, &of_it).await {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            let text = format!(
                "there is no listener `{listener}`, and no session of one; write one of {known}"
            );
            return Err(Refusal::nothing_there(text));
        }
    }
    Ok(())
}

/// Refuses `pool/name` as `backend`, as events and `ctl` call one, unless a backend is called that.
async fn is_no_backend_with_its_pool(app: &App, query: &commands::Query) -> Result<(), Refusal> {
    let Some(backend) = &query.backend else { return Ok(()) };
    let Some((pool, name)) = backend.split_once('/') else { return Ok(()) };
    let pools = pools(app);
    if !pools.contains_key(pool) || pools.values().flatten().any(|known| known == backend) {
        return Ok(());
    }
    let of_it = commands::Query { backend: Some(backend.clone()), ..commands::Query::default() };
    match has_nobody(app, &of_it).await {
        true => Err(Refusal::nothing_there(format!(
            "no backend is called `{backend}`; for `{name}` of pool `{pool}` write pool={pool}&backend={name}"
        ))),
        false => Ok(()),
    }
}

/// Whether no session is meant by this, as far as all shards say so.
async fn has_nobody(app: &App, query: &commands::Query) -> bool {
    let first = First { order: Order::default(), most: 1 };
    let told = listings(app, query, first).await;
    told.iter().all(|listing| listing.as_ref().is_some_and(|listing| listing.matched == 0))
}

/// The pools there are, each with the names of its backends.
fn pools(app: &App) -> BTreeMap<String, Vec<String>> {
    let world = app.handle.world();
    let names = |config: &PoolConfig| config.backends.iter().map(|one| one.name.clone()).collect();
    world.pools().map(|(config, _)| (config.name.clone(), names(config))).collect()
}

/// The names of the listeners there are; one with several addresses is there once.
fn listeners(app: &App) -> BTreeSet<String> {
    app.handle.world().listeners().map(|one| one.name.clone()).collect()
}

/// `DELETE /api/sessions/{id}`
pub(super) async fn kill_one(
    State(app): Here,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<StatusCode, Refusal> {
    let Id { shard, owner } = known(&app, &id)?;
    let query = commands::Query { session: Some(owner), ..commands::Query::default() };
    let answers = cut_in(&app, &query, shard).await;
    match answers {
        None => Err(Refusal::not_now(format!("shard {shard} does not answer"))),
        Some(0) => Err(nobody(&id)),
        Some(killed) => {
            tell(&app, &peer, killed, &format!("session {id}"));
            Ok(StatusCode::NO_CONTENT)
        }
    }
}

/// The session with this name, as its shard tells of it.
pub(super) async fn find(app: &App, id: &str) -> Result<Row, Refusal> {
    let Id { shard, owner } = known(app, id)?;
    let query = commands::Query { session: Some(owner), ..commands::Query::default() };
    let first = First { order: Order::default(), most: 1 };
    let mut listings = listings(app, &query, first).await;
    let Some(listing) = listings.swap_remove(shard) else {
        return Err(Refusal::not_now(format!("shard {shard} does not answer")));
    };
    listing.rows.into_iter().next().ok_or_else(|| nobody(id))
}

fn known(app: &App, id: &str) -> Result<Id, Refusal> {
    let id_of = id.parse::<Id>().ok();
    let shards = app.handle.shared().counters.len();
    id_of.filter(|id| id.shard < shards).ok_or_else(|| nobody(id))
}

fn nobody(id: &str) -> Refusal {
    Refusal::nothing_there(format!(
        "there is no session `{id}` now; it may have ended, see /api/sessions"
    ))
}

async fn listings(app: &App, query: &commands::Query, first: First) -> Vec<Option<Listing>> {
    let command = |reply| Command::List(query.clone(), first, reply);
    all_shards(app.handle.shared(), PATIENCE, command, |_| Listing::default()).await
}

async fn told(app: &App, query: &commands::Query, first: First) -> Sessions {
    let mut sessions = Sessions::default();
    let mut rows = Vec::new();
    for listing in listings(app, query, first).await {
        let Some(listing) = listing else {
            sessions.incomplete = true;
            continue;
        };
        sessions.matched += listing.matched;
        sessions.total += listing.total;
        rows.extend(listing.rows);
    }
    // Each shard has told its own first ones; the first of all are among them.
    rows.sort_by_key(|row| std::cmp::Reverse(first.order.rank(row.figures())));
    rows.truncate(first.most);
    sessions.sessions = rows.into_iter().map(session).collect();
    sessions
}

async fn cut(app: &App, query: &commands::Query) -> Vec<Option<u64>> {
    let command = |reply| Command::Kill(query.clone(), reply);
    all_shards(app.handle.shared(), PATIENCE, command, |_| 0).await
}

async fn cut_in(app: &App, query: &commands::Query, shard: usize) -> Option<u64> {
    let (sender, answer) = tokio::sync::oneshot::channel();
    let reply = commands::Reply::new(move |killed| {
        let _ = sender.send(killed);
    });
    app.handle.shared().ask(shard, Command::Kill(query.clone(), reply)).ok()?;
    tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()
}

fn tell(app: &App, peer: &Peer, killed: u64, which: &str) {
    let text = format!("{}: {which}", were_cut(killed));
    tracing::info!("{peer}: {text}");
    app.events.push(News::info(Kind::SessionsKilled, "sessions", text).because(peer.to_string()));
}

fn were_cut(killed: u64) -> String {
    match killed {
        1 => "1 session was cut".to_owned(),
        killed => format!("{killed} sessions were cut"),
    }
}

fn session(row: Row) -> Session {
    let bytes = |moved: Moved| Bytes { copied: moved.copied, spliced: moved.spliced };
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let id = Id { shard: row.shard, owner: row.owner };
    Session {
        id: id.to_string(),
        shard: row.shard,
        client: row.client.map(|client| client.to_string()),
        listener: row.listener.name.clone(),
        pool: row.pool.name.clone(),
        backend: row.backend.map(|backend| backend.name.clone()),
        state: row.phase.word().to_owned(),
        by: row.by.map(|by| by.to_string()),
        age_ms: ms(row.age),
        idle_ms: ms(row.idle),
        to_backend: bytes(row.to_backend),
        to_client: bytes(row.to_client),
        moves: row.moves,
    }
}

impl Filter {
    fn is_empty(&self) -> bool {
        let Self { pool, backend, listener, client, state, min_age, min_idle, .. } = self;
        let words = [pool, backend, listener, client, state, min_age, min_idle];
        words.iter().all(|word| word.is_none())
    }

    /// As a person reads it.
    fn words(&self) -> String {
        let Self { pool, backend, listener, client, state, min_age, min_idle, .. } = self;
        let words = [
            ("pool", pool),
            ("backend", backend),
            ("listener", listener),
            ("client", client),
            ("state", state),
            ("min_age", min_age),
            ("min_idle", min_idle),
        ];
        let said = words.iter().filter_map(|(name, word)| word.as_ref().map(|word| (name, word)));
        said.map(|(name, word)| format!("{name}={word}")).collect::<Vec<_>>().join(" ")
    }

    /// Which come first; the oldest where nothing is said.
    fn order(&self) -> Result<Order, Refusal> {
        let Some(word) = &self.sort else { return Ok(Order::default()) };
        let found = Order::ALL.into_iter().find(|order| order.word() == word);
        found.ok_or_else(|| {
            let words = Order::ALL.map(Order::word).join(", ");
            Refusal::wrong(format!("sessions are not sorted by `{word}`; write one of {words}"))
        })
    }

    fn understood(&self) -> Result<commands::Query, Refusal> {
        let Self { pool, backend, listener, client, state, min_age, min_idle, .. } = self;
        let phase = state.as_ref().map(|word| {
            let found = Phase::ALL.into_iter().find(|phase| phase.word() == word);
            found.ok_or_else(|| {
                let words = Phase::ALL.map(Phase::word).join(", ");
                Refusal::wrong(format!("`{word}` is no state of a session; write one of {words}"))
            })
        });
        Ok(commands::Query {
            session: None,
            pool: pool.clone(),
            backend: backend.clone(),
            listener: listener.clone(),
            client: client.as_deref().map(who).transpose()?,
            phase: phase.transpose()?,
            min_age: min_age.as_deref().map(time).transpose()?.unwrap_or_default(),
            min_idle: min_idle.as_deref().map(time).transpose()?.unwrap_or_default(),
        })
    }
}

/// An address, one with a port, or a network.
fn who(text: &str) -> Result<(IpNet, Option<u16>), Refusal> {
    let alone = |ip: IpAddr| IpNet::from(ip.to_canonical());
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok((alone(address.ip()), Some(address.port())));
    }
    let net = text.parse::<IpAddr>().map(alone).or_else(|_| text.parse::<IpNet>());
    net.map(|net| (net, None)).map_err(|_| {
        Refusal::wrong(format!(
            "client `{text}` is no address; write 192.0.2.1, 192.0.2.1:5000, [2001:db8::1]:5000 or 192.0.2.0/24"
        ))
    })
}

/// With a unit, or plain seconds.
fn time(text: &str) -> Result<Duration, Refusal> {
    let seconds = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    let time = seconds.map_or_else(|| humantime::parse_duration(text).ok(), Some);
    time.ok_or_else(|| {
        Refusal::wrong(format!(
            "`{text}` is no time; write seconds, or a unit as in 500ms, 30s or 1h"
        ))
    })
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.shard, self.owner.slot, self.owner.generation)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(());
        let shard = part()?.parse().map_err(drop)?;
        let slot = part()?.parse().map_err(drop)?;
        let generation = part()?.parse().map_err(drop)?;
        match parts.next() {
            None => Ok(Self { shard, owner: Owner { slot, generation, tag: 0 } }),
            Some(_) => Err(()),
        }
    }
}

/// Sessions that are told where nothing is said.
const LIMIT: usize = 100;

/// Some megabytes of text.
const LIMIT_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_by_its_shard_slot_and_generation() {
        let id = "1-17-3".parse::<Id>().expect("three numbers");
        assert_eq!((id.shard, id.owner.slot, id.owner.generation), (1, 17, 3));
        assert_eq!(id.to_string(), "1-17-3");
        for text in ["", "1", "1-2", "1-2-3-4", "a-b-c", "1-2-99999999999", "-1-2-3", "1--3"] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_session_was_cut_and_several_were() {
        assert_eq!(were_cut(1), "1 session was cut");
        assert_eq!(were_cut(0), "0 sessions were cut");
        assert_eq!(were_cut(12), "12 sessions were cut");
    }

    #[test]
    fn a_client_is_an_address_with_or_without_a_port_or_a_network() {
        for (text, net, port) in [
            ("192.0.2.1", "192.0.2.1/32", None),
            ("192.0.2.1:5", "192.0.2.1/32", Some(5)),
            ("[2001:db8::1]:5", "2001:db8::1/128", Some(5)),
            ("2001:db8::1", "2001:db8::1/128", None),
            ("::ffff:192.0.2.1", "192.0.2.1/32", None),
            ("10.0.0.0/8", "10.0.0.0/8", None),
        ] {
            let expected = (net.parse::<IpNet>().expect("a network"), port);
            assert_eq!(who(text), Ok(expected), "{text}");
        }
        for text in ["", "example.org", "192.0.2.1:x", "10.0.0.0/33", "1.2.3"] {
            assert!(who(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        for (text, ms) in [("5", 5000), ("0.5", 500), ("250ms", 250), ("1h", 3_600_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "-1", "x", "NaN", "inf", "1e30"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}

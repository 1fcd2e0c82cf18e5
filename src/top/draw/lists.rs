//! What the views list, as tables that are laid out for a width.

use loadgen::report::plot;

use super::super::rates::{Percentiles, ShardWork, Work};
use super::super::state::{Picture, State, TREND, full_name, key_of, sessions_in_words};
use crate::api::{Backend, Event};
use crate::ctl::show::{address, connections, state_tone, whose, why};
use crate::ctl::table::{self, Cell, Pieces, Table, Tone, clean, cut, left, right};
use crate::ctl::units::{both, bytes, count, float, micros, millis};

/// Heads and rows.
pub(super) struct Listing {
    pub(super) lines: Vec<Pieces>,
}

impl Listing {
    fn of(table: &Table, width: usize) -> Self {
        // A column of air at the left, as everywhere.
        let mut lines = table.laid_out(Some(width.saturating_sub(1)));
        lines.iter_mut().for_each(|pieces| pieces.insert(0, (" ".to_owned(), Tone::Plain)));
        Self { lines }
    }
}

pub(super) fn pools(picture: &Picture, width: usize) -> Listing {
    let name = room_of_name(width);
    let mut table = Table::new([
        left("POOL", 0).at_least(name.min(14)),
        left("ALGORITHM", 5),
        right("BACKENDS", 1),
        right("CONNS", 0).at_least(6),
        right("WAITING", 3),
        right("NEW/S", 0).at_least(6),
        right("FAIL/S", 2),
        right("↑ TO BACKENDS", 4),
        right("↓ TO CLIENTS", 4),
        left("STICKY", 6),
        left("", 1),
    ]);
    for (index, pool) in picture.status.pools.iter().enumerate() {
        let work = picture.rates.as_ref().and_then(|rates| rates.pools.get(index));
        let active = match (pool.active, pool.backends) {
            (0, _) => Tone::Bad,
            (active, all) if active < all => Tone::Warn,
            _ => Tone::Plain,
        };
        let sticky = match pool.sticky_key.as_str() {
            "" | "off" => String::new(),
            key => format!("{key}: {}", count(pool.sticky_clients)),
        };
        let waiting = if pool.waiting > 0 { Tone::Warn } else { Tone::Dim };
        table.push([
            Cell::new(shortened(&pool.name, name), Tone::Strong),
            Cell::new(&pool.algorithm, Tone::Dim),
            Cell::new(format!("{} of {}", pool.active, pool.backends), active),
            count(pool.connections.into()).into(),
            Cell::new(count(pool.waiting.into()), waiting),
            new_per_second(work),
            failed_per_second(work),
            flow(work.map(|work| work.to_backend.bytes)),
            flow(work.map(|work| work.to_clients.bytes)),
            sticky.into(),
            Cell::new(if pool.fail_open { "FAIL-OPEN" } else { "" }, Tone::Bad),
        ]);
    }
    Listing::of(&table, width)
}

pub(super) fn backends(state: &State, picture: &Picture, width: usize) -> Listing {
    let name = room_of_name(width);
    let mut table = Table::new([
        left("BACKEND", 0).at_least(name.min(14)),
        left("STATE", 0).at_least(9),
        left("ADDRESS", 9),
        right("WEIGHT", 8),
        right("CONNS", 0).at_least(6),
        right("NEW/S", 1).at_least(6),
        left("", 6).at_least(TREND),
        right("FAIL/S", 3),
        right("↑/S", 5).at_least(9),
        right("↓/S", 5).at_least(9),
        right("RESPONSE p50", 2),
        right("p99", 2).at_least(7),
        right("CONNECT p50", 7),
        right("p99", 7).at_least(7),
        right("RTT", 10),
        left("", 4).elastic(),
    ]);
    let values = state.trends.values().flatten().copied();
    let most = values.fold(0.0, f64::max);
    for index in state.backends() {
        let backend = &picture.status.backends[index];
        let work = picture.rates.as_ref().and_then(|rates| rates.backends.get(index));
        let latencies = picture.latencies.get(index).copied().unwrap_or_default();
        let [response_50, response_99] = times(latencies.response);
        let [connect_50, connect_99] = times(latencies.connect);
        let address = address(backend);
        table.push([
            Cell::new(shortened(&full_name(backend), name), Tone::Strong),
            Cell::new(state_text(backend), state_tone(&backend.state)),
            Cell::new(if address == backend.name { "" } else { &address }, Tone::Dim),
            Cell::new(backend.weight.to_string(), Tone::Dim),
            connections(backend).into(),
            new_per_second(work),
            Cell::new(trend(state, backend, most), Tone::Good),
            failed_per_second(work),
            flow(work.map(|work| work.to_backend.bytes)),
            flow(work.map(|work| work.to_clients.bytes)),
            response_50,
            response_99,
            connect_50,
            connect_99,
            Cell::new(backend.tcp.backend_rtt_us.map(micros).unwrap_or_default(), Tone::Dim),
            Cell::new(why(backend), Tone::Dim),
        ]);
    }
    Listing::of(&table, width)
}

/// Of a name beside what says how it is: a name can be known by its ends, a state that is not there cannot.
fn room_of_name(width: usize) -> usize {
    (width * 2 / 5).min(width.saturating_sub(STATE_AND_CONNS)).max(SHORTEST_NAME)
}

/// The beginning and the end of a name, as names often differ at the end.
fn shortened(name: &str, room: usize) -> String {
    let name = clean(name);
    if table::width(&name) <= room {
        return name;
    }
    let mut end = String::new();
    for letter in name.chars().rev() {
        if table::width(&end) + table::width(&letter.to_string()) > room / 3 {
            break;
        }
        end.insert(0, letter);
    }
    cut(&name, room - table::width(&end)) + &end
}

fn state_text(backend: &Backend) -> String {
    let sign = if backend.active { "●" } else { "○" };
    format!("{sign} {}", backend.state)
}

/// The last looks as a curve of one line, all backends in one scale.
fn trend(state: &State, backend: &Backend, most: f64) -> String {
    let Some(trend) = state.trends.get(&key_of(backend)).filter(|_| most > 0.0) else {
        return String::new();
    };
    let blank = TREND.saturating_sub(trend.len());
    let block = |value: &f64| {
        let step = plot_step(value / most);
        BLOCKS[step.min(BLOCKS.len() - 1)]
    };
    std::iter::repeat_n(' ', blank).chain(trend.iter().map(block)).collect()
}

/// 0 is nothing at all; anything shows at least the lowest block.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn plot_step(share: f64) -> usize {
    if share > 0.0 { (share * 6.0).round() as usize + 1 } else { 0 }
}

pub(super) fn shards(picture: &Picture, width: usize) -> Listing {
    let mut table = Table::new([
        right("SHARD", 0),
        right("CPU", 2),
        left("LOAD", 1).at_least(BAR + 6),
        left("SESSIONS", 0).at_least(BAR + 7),
        right("NEW/S", 1).at_least(6),
        right("GIVEN", 5),
        right("TAKEN", 5),
        right("TURNS/S", 4).at_least(7),
        right("↑/S", 3).at_least(9),
        right("↓/S", 3).at_least(9),
        left("", 0),
    ]);
    let most = picture.status.shards.iter().map(|shard| shard.sessions).max().unwrap_or(0);
    for (index, shard) in picture.status.shards.iter().enumerate() {
        let work = picture.rates.as_ref().and_then(|rates| rates.shards.get(index)).copied();
        let ShardWork { cpu, accepted, turns, to_backend, to_clients } = work.unwrap_or_default();
        let tone = if cpu > BUSY { Tone::Warn } else { Tone::Figure };
        let load = format!("{} {:>3.0} %", bar(cpu), cpu * 100.0);
        let share = f64::from(shard.sessions) / f64::from(most.max(1));
        table.push([
            Cell::new(shard.index.to_string(), Tone::Strong),
            Cell::new(shard.cpu.to_string(), Tone::Dim),
            Cell::new(if work.is_some() { load } else { String::new() }, tone),
            Cell::new(format!("{} {}", bar(share), count(shard.sessions.into())), Tone::Good),
            number(work.map(|_| accepted)),
            Cell::new(count(shard.handed_over), Tone::Dim),
            Cell::new(count(shard.taken_over), Tone::Dim),
            number(work.map(|_| turns)),
            flow(work.map(|_| to_backend.bytes)),
            flow(work.map(|_| to_clients.bytes)),
            Cell::new(if shard.alive { "" } else { "silent" }, Tone::Bad),
        ]);
    }
    Listing::of(&table, width)
}

/// How even the shards are, in a sentence.
pub(super) fn balance(picture: &Picture) -> Pieces {
    let shards = &picture.status.shards;
    let sum: u64 = shards.iter().map(|shard| u64::from(shard.sessions)).sum();
    let most = shards.iter().map(|shard| shard.sessions).max().unwrap_or(0);
    let mean = float(sum) / float(shards.len().max(1) as u64);
    let shards = match shards.len() {
        1 => "1 shard".to_owned(),
        many => format!("{many} shards"),
    };
    let text = match mean > 0.0 {
        true => format!(
            " {shards}; the fullest has {:.2} times the mean of {} sessions",
            f64::from(most) / mean,
            plot::short(mean)
        ),
        false => format!(" {shards}, no sessions"),
    };
    vec![(text, Tone::Dim)]
}

pub(super) fn sessions(state: &State, width: usize) -> Listing {
    let mut table = Table::new([
        left("SESSION", 0).at_least(10),
        left("CLIENT", 0).at_least(15),
        left("BACKEND", 1).at_least(12),
        left("STATE", 2).at_least(10),
        right("AGE", 1).at_least(9),
        right("IDLE", 3).at_least(8),
        right("BYTES/S", 2).at_least(9),
        right("↑", 4).at_least(9),
        right("↓", 4).at_least(9),
        left("LISTENER", 7),
        left("BY", 6),
        right("MOVES", 8),
    ]);
    let rates = state.sessions.as_ref().map(|list| &list.rates);
    for session in state.sessions() {
        let tone = if session.state == "relaying" { Tone::Good } else { Tone::Warn };
        let rate = rates.and_then(|rates| rates.get(&session.id)).copied();
        let moves = if session.moves > 0 { session.moves.to_string() } else { String::new() };
        table.push([
            Cell::new(&session.id, Tone::Strong),
            session.client.as_deref().unwrap_or("?").into(),
            shortened(&whose(session), (width / 5).max(12)).into(),
            Cell::new(&session.state, tone),
            millis(session.age_ms).into(),
            millis(session.idle_ms).into(),
            flow(rate),
            bytes(both(session.to_backend)).into(),
            bytes(both(session.to_client)).into(),
            Cell::new(&session.listener, Tone::Dim),
            Cell::new(session.by.as_deref().unwrap_or_default(), Tone::Dim),
            moves.into(),
        ]);
    }
    Listing::of(&table, width)
}

/// Which sessions these are, and how many of how many.
pub(super) fn sessions_title(state: &State) -> Pieces {
    let of = match &state.of_backend {
        Some((pool, name)) => format!(" with {}", clean(&format!("{pool}/{name}"))),
        None => String::new(),
    };
    let Some(list) = &state.sessions else { return vec![(" asking …".to_owned(), Tone::Dim)] };
    let sessions = &list.sessions;
    let mut text = format!(" {}{of}", sessions_in_words(sessions.matched));
    let listed = sessions.sessions.len() as u64;
    if listed < sessions.matched {
        text += &format!("; listed are the {} {}", count(listed), list.sort.which());
    }
    if sessions.incomplete {
        text += "; a shard did not answer in time, some are missing";
    }
    vec![(text, Tone::Dim)]
}

pub(super) fn events(state: &State, width: usize) -> Listing {
    let mut table = Table::new([
        left("TIME (UTC)", 0).at_least(12),
        left("LEVEL", 1).at_least(7),
        left("WHAT HAPPENED", 0).elastic(),
    ]);
    for event in state.events() {
        let tone = match event.level.as_str() {
            "ERROR" => Tone::Bad,
            "WARNING" => Tone::Warn,
            _ => Tone::Plain,
        };
        table.push([
            Cell::new(time_of_day(event), Tone::Dim),
            Cell::new(&event.level, tone),
            Cell::new(&event.message, tone),
        ]);
    }
    Listing::of(&table, width)
}

/// `12:34:56.789` of RFC 3339.
fn time_of_day(event: &Event) -> String {
    let time = event.time.split_once('T').map_or(event.time.as_str(), |(_, time)| time);
    time.trim_end_matches('Z').to_owned()
}

fn new_per_second(work: Option<&Work>) -> Cell {
    number(work.map(|work| work.connected))
}

fn failed_per_second(work: Option<&Work>) -> Cell {
    match work.map(|work| work.failed) {
        Some(failed) if failed > 0.0 => Cell::new(plot::short(failed), Tone::Bad),
        Some(_) => Cell::new("", Tone::Dim),
        None => Cell::default(),
    }
}

fn number(value: Option<f64>) -> Cell {
    match value {
        Some(value) if value > 0.0 => plot::short(value).into(),
        _ => Cell::new(NOTHING, Tone::Dim),
    }
}

fn flow(bytes: Option<f64>) -> Cell {
    match bytes {
        Some(bytes) if bytes > 0.0 => plot::bytes(bytes).into(),
        _ => Cell::new(NOTHING, Tone::Dim),
    }
}

fn times(percentiles: Percentiles) -> [Cell; 2] {
    [percentiles.p50_us, percentiles.p99_us].map(|us| match us {
        Some(us) => micros(us).into(),
        None => Cell::new(NOTHING, Tone::Dim),
    })
}

/// A share, 0 to 1, as a bar to half a cell; thin, so that bars below each other stay apart.
fn bar(share: f64) -> String {
    let halves = halves(share.clamp(0.0, 1.0) * float(BAR as u64) * 2.0);
    let bar = "━".repeat(halves / 2) + if halves % 2 == 1 { "╸" } else { "" };
    let blank = BAR.saturating_sub(bar.chars().count());
    bar + &" ".repeat(blank)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn halves(value: f64) -> usize {
    value.round() as usize
}

const NOTHING: &str = "–";
/// `○ ejected`, five figures, and what is between columns and at the left.
const STATE_AND_CONNS: usize = 20;
/// Less of a name says nothing.
const SHORTEST_NAME: usize = 8;
/// Without the full one: curves below each other stay apart.
const BLOCKS: [char; 8] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇'];
const BAR: usize = 12;
/// A shard above this is soon the limit itself.
const BUSY: f64 = 0.85;

//! Of each backend.

use super::family::{Bounds, Buckets, Family, Kind, Labels, Value};
use super::reasons::{self, Ended};
use crate::core::Direction;
use crate::core::wanted::AdminState;
use crate::shard::tcp_tally::TcpSum;

/// What is known of a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSeen {
    /// Its pool and its name, for its hundred samples.
    pub labels: Labels,
    /// Its pool.
    pub pool: String,
    /// Names it in its pool.
    pub name: String,
    /// Where it is, as it is written.
    pub target: String,
    /// Whether it is for when no other is there.
    pub backup: bool,
    /// In one word: one of [`STATES`].
    pub state: &'static str,
    /// What the operator wants of it.
    pub wanted: AdminState,
    /// Whether checks and connects speak for it.
    pub healthy: bool,
    /// How long ago checks changed their mind, in nanoseconds; nothing if they never did.
    pub changed_ns: Option<u64>,
    /// Its share.
    pub weight: u16,
    /// The part of its weight that it gets now, in 256ths.
    pub warmth: u32,
    /// Connections now.
    pub sessions: u32,
    /// Connections that it may have.
    pub sessions_max: Option<u32>,
    /// What was counted of it, ever.
    pub ever: BackendSum,
}

/// What shards have counted of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSum {
    /// Connections made.
    pub connected: u64,
    /// Connections that could not be made.
    pub failed: u64,
    /// Times that checks took it down or brought it up.
    pub transitions: u64,
    /// Times that it was ejected.
    pub ejections: u64,
    /// Times that it was not, because too many were out.
    pub fail_opens: u64,
    /// Sessions that came from another backend.
    pub moved_here: u64,
    /// Bytes through buffers, by direction.
    pub copied: [u64; 2],
    /// Bytes through pipes, by direction.
    pub spliced: [u64; 2],
    /// Sessions ended.
    pub ended: Ended,
    /// From the connect to the connection.
    pub connect: Buckets,
    /// From the connection to the first byte.
    pub first_byte: Buckets,
    /// From the last byte sent to the next received.
    pub response: Buckets,
    /// From the accepted client to the end.
    pub session: Buckets,
    /// What the kernel said of watched sessions.
    pub tcp: TcpSum,
}

/// Words for how a backend stands, the strongest first.
pub const STATES: [&str; 7] = ["maint", "down", "ejected", "drain", "full", "backup", "up"];

/// Where they are.
pub(super) fn about(all: &[BackendSeen]) -> Vec<Family> {
    let help = "Where the backend is, as it is written.";
    let about = Family::new("evenkeel_backend", Kind::Info, help).of(all, |one| {
        let backup = if one.backup { "yes" } else { "no" };
        let pairs = [
            ("pool", &*one.pool),
            ("backend", &one.name),
            ("target", &one.target),
            ("backup", backup),
        ];
        (Labels::new(&pairs), true)
    });
    vec![about]
}

/// How they stand, and what the operator wants.
pub(super) fn states(all: &[BackendSeen]) -> Vec<Family> {
    let help = "How the backend stands: 1 for the word that fits, 0 for the others.";
    let mut states = Family::new("evenkeel_backend_status", Kind::Gauge, help);
    let help = "What the operator wants of the backend: 1 for that, 0 for the others.";
    let mut wishes = Family::new("evenkeel_backend_admin_state", Kind::Gauge, help);
    for one in all {
        for (state, part) in STATES.iter().zip(STATE_PARTS) {
            states.push(one.labels.and(part), (one.state == *state).into());
        }
        for (wish, part) in AdminState::ALL.into_iter().zip(WISH_PARTS) {
            wishes.push(one.labels.and(part), (one.wanted == wish).into());
        }
    }
    vec![states, wishes]
}

/// What goes up and down.
pub(super) fn gauges(all: &[BackendSeen]) -> Vec<Family> {
    let gauge =
        |name: &str, help| Family::new(&format!("evenkeel_backend_{name}"), Kind::Gauge, help);
    let changed = all.iter().filter_map(|one| Some((&one.labels, one.changed_ns?)));
    let limited = all.iter().filter_map(|one| Some((&one.labels, one.sessions_max?)));
    vec![
        gauge("up", "Whether nothing speaks against its health: checks, and connects.")
            .of(all, |one| (one.labels.clone(), one.healthy)),
        gauge("weight", "Its share beside the others, as configured or changed.")
            .of(all, |one| (one.labels.clone(), one.weight)),
        gauge("warmth_ratio", "The part of its weight that it gets now (slow start).")
            .of(all, |one| (one.labels.clone(), f64::from(one.warmth) / 256.0)),
        gauge("current_sessions", "Connections to it now, those being made included.")
            .of(all, |one| (one.labels.clone(), one.sessions)),
        gauge("limit_sessions", "Connections that it may have; without a limit there is none.")
            .of(limited, |(labels, most)| (labels.clone(), most)),
        gauge("check_last_change_seconds", "How long ago checks brought it up or took it down.")
            .of(changed, |(labels, ns)| (labels.clone(), Value::Nanoseconds(ns))),
    ]
}

/// What has happened to them.
pub(super) fn counters(all: &[BackendSeen]) -> Vec<Family> {
    let counter = |name: &str, help, value: fn(&BackendSum) -> u64| {
        Family::new(&format!("evenkeel_backend_{name}"), Kind::Counter, help)
            .of(all, |one| (one.labels.clone(), value(&one.ever)))
    };
    vec![
        counter("connection_attempts", "Connects that have ended, well or not.", |ever| {
            ever.connected + ever.failed
        }),
        counter("connection_errors", "Connects that failed.", |ever| ever.failed),
        counter("check_changes", "Times that checks took it down or brought it up.", |ever| {
            ever.transitions
        }),
        counter("ejections", "Times that it was ejected: its connects failed.", |ever| {
            ever.ejections
        }),
        counter(
            "fail_opens",
            "Failed connects that would have ejected it, had enough others been left.",
            |ever| ever.fail_opens,
        ),
        counter(
            "sessions_moved_here",
            "Running sessions that came when the backend that they had was gone.",
            |ever| ever.moved_here,
        ),
    ]
}

/// Bytes by way and path.
pub(super) fn moved(all: &[BackendSeen]) -> [Family; 2] {
    let sums = || all.iter().map(|one| (&one.labels, &one.ever.copied, &one.ever.spliced));
    bytes("evenkeel_backend", sums)
}

/// Sessions by how they ended.
pub(super) fn ended(all: &[BackendSeen]) -> Family {
    reasons::family(
        "evenkeel_backend_sessions_ended",
        "Sessions ended, by HAProxy's two letters and a word.",
        all.iter().map(|one| (&one.labels, &one.ever.ended)),
    )
}

/// How long connects take.
pub(super) fn connect(all: &[BackendSeen]) -> Family {
    histogram(all, "connect", "From the connect to the connection.", |ever| &ever.connect)
}

/// How long the first byte takes.
pub(super) fn first_byte(all: &[BackendSeen]) -> Family {
    let help = "From the connection to the backend's first byte.";
    histogram(all, "first_byte", help, |ever| &ever.first_byte)
}

/// How long answers take.
pub(super) fn response(all: &[BackendSeen]) -> Family {
    let help = "From the last byte that was sent to it to the next that came from it.";
    histogram(all, "response", help, |ever| &ever.response)
}

/// How long sessions last.
pub(super) fn session(all: &[BackendSeen]) -> Family {
    let help = "From the accepted client to the end of the session.";
    histogram(all, "session", help, |ever| &ever.session)
}

fn histogram(
    all: &[BackendSeen],
    name: &str,
    help: &str,
    of: fn(&BackendSum) -> &Buckets,
) -> Family {
    Family::new(&format!("evenkeel_backend_{name}_seconds"), Kind::Histogram, help)
        .of(all, |one| (one.labels.clone(), of(&one.ever).clone()))
}

/// Bytes in, from clients, and out, to clients, each by the path that they took.
pub(super) fn bytes<'a, I>(level: &str, sums: impl Fn() -> I) -> [Family; 2]
where
    I: Iterator<Item = (&'a Labels, &'a [u64; 2], &'a [u64; 2])>,
{
    let ways = [
        ("in", Direction::ClientToBackend, "Bytes from clients, delivered to backends."),
        ("out", Direction::BackendToClient, "Bytes from backends, delivered to clients."),
    ];
    ways.map(|(way, direction, help)| {
        let mut family = Family::new(&format!("{level}_bytes_{way}"), Kind::Counter, help);
        for (labels, copied, spliced) in sums() {
            family.push(labels.and(COPIED), copied[direction as usize].into());
            family.push(labels.and(SPLICED), spliced[direction as usize].into());
        }
        family
    })
}

/// Through buffers.
const COPIED: &str = "path=\"copied\"";
/// Through pipes.
const SPLICED: &str = "path=\"spliced\"";

const STATE_PARTS: [&str; STATES.len()] = [
    "state=\"maint\"",
    "state=\"down\"",
    "state=\"ejected\"",
    "state=\"drain\"",
    "state=\"full\"",
    "state=\"backup\"",
    "state=\"up\"",
];

const WISH_PARTS: [&str; AdminState::ALL.len()] =
    ["state=\"ready\"", "state=\"drain\"", "state=\"maint\""];

/// Nothing was counted.
impl Default for BackendSum {
    fn default() -> Self {
        let nothing = |bounds: Bounds| {
            Buckets::new(&crate::shard::histogram::Distribution::default(), bounds)
        };
        Self {
            connected: 0,
            failed: 0,
            transitions: 0,
            ejections: 0,
            fail_opens: 0,
            moved_here: 0,
            copied: [0; 2],
            spliced: [0; 2],
            ended: Ended::default(),
            connect: nothing(Bounds::LATENCY),
            first_byte: nothing(Bounds::LATENCY),
            response: nothing(Bounds::LATENCY),
            session: nothing(Bounds::LENGTH),
            tcp: TcpSum::default(),
        }
    }
}

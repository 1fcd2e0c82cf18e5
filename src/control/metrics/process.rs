//! Of the process: what Prometheus' client libraries call `process_…`, and what only this one has.

use std::time::SystemTime;

use super::family::{Family, Kind, Labels, Value};
use super::host::Usage;
use crate::control::events::milliseconds;

/// What is known of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessSeen {
    /// What does not change, and what others count.
    pub facts: Facts,
    /// What the kernel says.
    pub usage: Usage,
    /// Sessions now.
    pub sessions: u64,
    /// Whether no new client can come.
    pub stopping: bool,
    /// Notices of shards that found no room.
    pub notices_lost: u64,
    /// Lines of the session log that are written, and attempts that failed.
    pub session_log: [u64; 2],
}

/// What is not to be seen in the running balancer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Of the program.
    pub version: String,
    /// Linux, as `uname -r` has it.
    pub kernel: String,
    /// `uring` or `epoll`.
    pub engine: String,
    /// Why not `uring`, if that was wanted.
    pub engine_reason: Option<String>,
    /// What the control thread runs on.
    pub control: String,
    /// When the program began, in milliseconds since 1970.
    pub started_ms: u64,
    /// Sessions that there is room for.
    pub sessions_max: u64,
    /// Descriptors that there may be.
    pub fds_max: u64,
    /// The CPU of each shard.
    pub cpus: Vec<usize>,
    /// Processor time of the shards' threads in nanoseconds, as far as it is known.
    pub shards_cpu_ns: Vec<Option<u64>>,
    /// Lines of the log that its queue had no room for.
    pub log_dropped: u64,
    /// How the configuration was read again.
    pub reloads: Reloads,
    /// Changes that were made while the program ran and that no file keeps.
    pub unkept_changes: usize,
    /// Settings of the file that take a restart.
    pub pending_settings: usize,
    /// What has happened at the admin API's endpoints, by name: `admin_requests` and the like.
    pub admin: Vec<(&'static str, u64)>,
}

/// How often the configuration was read again, and with what success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Times that another one, or the same, was put in force.
    pub done: u64,
    /// Times that something was wrong with it.
    pub failed: u64,
    /// Whether the last one was put in force; true without any.
    pub last_done: bool,
    /// When what is in force was put in force, in milliseconds since 1970.
    pub in_force_since_ms: u64,
}

impl Reloads {
    /// None, of a configuration that is in force since now.
    #[must_use]
    pub fn none() -> Self {
        let in_force_since_ms = milliseconds(SystemTime::now());
        Self { done: 0, failed: 0, last_done: true, in_force_since_ms }
    }

    /// One more.
    pub fn note(&mut self, done: bool) {
        self.last_done = done;
        if done {
            self.done += 1;
            self.in_force_since_ms = milliseconds(SystemTime::now());
        } else {
            self.failed += 1;
        }
    }
}

/// All of them.
pub(super) fn families(seen: &ProcessSeen) -> Vec<Family> {
    let mut families = standard(seen);
    families.extend(about(seen));
    families.extend(configuration(&seen.facts));
    families.extend(losses(seen));
    families
}

/// As Prometheus' client libraries have them.
fn standard(ProcessSeen { facts, usage, .. }: &ProcessSeen) -> Vec<Family> {
    let Usage { cpu_ns, resident_bytes, virtual_bytes, threads, open_fds, .. } = usage;
    let mut families = Vec::new();
    let mut add = |name, kind, help, value: Option<Value>| {
        let value = value.map(|value| (Labels::default(), value));
        families.push(Family::new(name, kind, help).of(value, |sample| sample));
    };
    let ns = Value::Nanoseconds;
    let count = |count: &Option<u64>| count.map(Value::Count);
    add(
        "process_cpu_seconds",
        Kind::Counter,
        "Total user and system CPU time spent in seconds.",
        cpu_ns.map(ns),
    );
    add(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Resident memory size in bytes.",
        count(resident_bytes),
    );
    add(
        "process_virtual_memory_bytes",
        Kind::Gauge,
        "Virtual memory size in bytes.",
        count(virtual_bytes),
    );
    add("process_threads", Kind::Gauge, "Number of OS threads in the process.", count(threads));
    add("process_open_fds", Kind::Gauge, "Number of open file descriptors.", count(open_fds));
    add(
        "process_max_fds",
        Kind::Gauge,
        "Maximum number of open file descriptors.",
        Some(facts.fds_max.into()),
    );
    add(
        "process_start_time_seconds",
        Kind::Gauge,
        "Start time of the process since unix epoch in seconds.",
        Some(date(facts.started_ms)),
    );
    families
}

fn about(seen: &ProcessSeen) -> Vec<Family> {
    let Facts { version, kernel, engine, engine_reason, control, sessions_max, .. } = &seen.facts;
    let reason = engine_reason.as_deref().unwrap_or_default();
    let build = Labels::new(&[("version", version)]);
    let engine = Labels::new(&[
        ("engine", engine),
        ("reason", reason),
        ("kernel", kernel),
        ("control", control),
    ]);
    vec![
        Family::new("evenkeel_process_build", Kind::Info, "Which evenkeel this is.")
            .with(build, true),
        Family::new(
            "evenkeel_process_engine",
            Kind::Info,
            "What moves the bytes, and why, if it is not what was wanted.",
        )
        .with(engine, true),
        gauge(
            "evenkeel_process_engine_fallback",
            "Whether epoll moves the bytes because io_uring is not to be had.",
            engine_reason.is_some(),
        ),
        gauge(
            "evenkeel_process_stopping",
            "Whether no new client can come because the program ends.",
            seen.stopping,
        ),
        gauge("evenkeel_process_current_sessions", "Sessions now.", seen.sessions),
        gauge("evenkeel_process_limit_sessions", "Sessions that there is room for.", *sessions_max),
    ]
}

fn configuration(facts: &Facts) -> Vec<Family> {
    let Reloads { done, failed, last_done, in_force_since_ms } = facts.reloads;
    let reloads = "Times that the configuration was read again, by what came of it.";
    vec![
        Family::new("evenkeel_process_config_reloads", Kind::Counter, reloads)
            .with(Labels::default().and("result=\"success\""), done)
            .with(Labels::default().and("result=\"failure\""), failed),
        gauge(
            "evenkeel_process_config_last_reload_successful",
            "Whether the configuration that was read last is in force.",
            last_done,
        ),
        gauge(
            "evenkeel_process_config_unkept_changes",
            "Changes made while the program runs that the next restart loses.",
            facts.unkept_changes as u64,
        ),
        gauge(
            "evenkeel_process_config_pending_settings",
            "Settings of the file that only a restart brings.",
            facts.pending_settings as u64,
        ),
        gauge(
            "evenkeel_process_config_last_reload_success_timestamp_seconds",
            "When the configuration that is in force was read.",
            date(in_force_since_ms),
        ),
    ]
}

/// What was lost or refused on the control thread.
fn losses(seen: &ProcessSeen) -> Vec<Family> {
    let counter = |name: &str, help: &str, value: u64| {
        Family::new(&format!("evenkeel_process_{name}"), Kind::Counter, help)
            .with(Labels::default(), value)
    };
    let mut families = vec![
        counter(
            "dropped_logs",
            "Lines of the log that its queue had no room for.",
            seen.facts.log_dropped,
        ),
        counter(
            "notices_lost",
            "Events that shards had to tell and that found no room.",
            seen.notices_lost,
        ),
        counter(
            "session_log_lines",
            "Lines of the session log that are written.",
            seen.session_log[0],
        ),
        counter(
            "session_log_write_errors",
            "Attempts to write lines of the session log that failed.",
            seen.session_log[1],
        ),
    ];
    families.extend(seen.facts.admin.iter().map(|&(name, value)| {
        let what = name.strip_prefix("admin_").unwrap_or(name).replace('_', " ");
        counter(name, &format!("The admin API's {what}."), value)
    }));
    families
}

fn gauge(name: &str, help: &str, value: impl Into<Value>) -> Family {
    Family::new(name, Kind::Gauge, help).with(Labels::default(), value)
}

fn date(ms: u64) -> Value {
    Value::Nanoseconds(ms.saturating_mul(1_000_000))
}

//! What the program is and runs on.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use crate::api::Info;
use crate::config::admin::AdminEndpoint;
use crate::config::{Config, ProcessConfig};
use crate::control::events::milliseconds;
use crate::engine::Engine;
use crate::settings::{Effective, lines};

use super::App;
use super::threads::Threads;

/// What was found out at the start and does not change.
#[derive(Debug)]
pub struct About {
    /// Of the program.
    pub version: String,
    /// Of the program.
    pub pid: u32,
    /// When it began.
    pub started: Instant,
    /// The same in milliseconds since 1970.
    pub started_ms: u64,
    /// `uring` or `epoll`.
    pub engine: String,
    /// The same in a line, with the kernel and what it granted.
    pub engine_text: String,
    /// Where the admin API is.
    pub endpoints: Vec<AdminEndpoint>,
    /// Why not `uring`, if that was wanted.
    pub engine_reason: Option<String>,
    ring_flags: Vec<String>,
    /// What the control thread runs on, once that is known.
    pub control: OnceLock<String>,
    /// The threads of the shards.
    pub threads: Threads,
    /// The CPU of each shard.
    pub cpus: Vec<usize>,
    /// Sessions that there is room for.
    pub sessions_max: u64,
    /// Descriptors that there may be.
    pub files_limit: u64,
    config: Option<PathBuf>,
    /// Where changes are kept.
    pub state_file: Option<PathBuf>,
}

impl About {
    /// Of a program that has just begun.
    #[must_use]
    pub fn new(
        config: &Config,
        file: Option<&PathBuf>,
        engine: &Engine,
        endpoints: Vec<AdminEndpoint>,
    ) -> Self {
        let ProcessConfig { cpus, room_a_shard, nofile, state_file, .. } = &config.process;
        let (word, reason, flags) = match engine {
            Engine::Uring(flags) => ("uring", None, flags.to_string()),
            Engine::Epoll => ("epoll", None, String::new()),
            Engine::EpollInstead(error) => ("epoll", Some(error.to_string()), String::new()),
        };
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: Instant::now(),
            started_ms: milliseconds(SystemTime::now()),
            engine: word.to_owned(),
            engine_text: engine.to_string(),
            endpoints,
            engine_reason: reason,
            ring_flags: flags.split_whitespace().map(str::to_owned).collect(),
            control: OnceLock::new(),
            threads: Threads::default(),
            cpus: cpus.clone(),
            sessions_max: (room_a_shard.max_sessions * cpus.len()) as u64,
            files_limit: nofile.now,
            config: file.cloned(),
            state_file: state_file.clone(),
        }
    }
}

/// All of it, with what changes.
pub(super) fn info(app: &App) -> Info {
    let about = &app.about;
    let path = |path: &PathBuf| path.display().to_string();
    Info {
        version: about.version.clone(),
        pid: about.pid,
        kernel: uring::kernel_release(),
        engine: about.engine.clone(),
        engine_reason: about.engine_reason.clone(),
        ring_flags: about.ring_flags.clone(),
        control: about.control.get().cloned().unwrap_or_default(),
        started_ms: about.started_ms,
        files_limit: about.files_limit,
        files_open: files_open(),
        sessions_max: about.sessions_max,
        cpus: about.cpus.clone(),
        config: about.config.as_ref().map(path),
        state_file: about.state_file.as_ref().map(path),
        settings: settings(app),
    }
}

/// Every effective setting, as it is printed at the start.
fn settings(app: &App) -> Vec<String> {
    let (about, notes) = (&app.about, app.notes.load());
    let Some(config) = &notes.config else { return Vec::new() };
    let effective = Effective {
        engine: about.engine_text.clone(),
        control: about.control.get().cloned().unwrap_or_default(),
        listeners: app.handle.listeners(),
        admin: about.endpoints.clone(),
    };
    lines(config, &effective)
}

/// Our own, without the one that counts them. With tens of thousands it takes milliseconds, which
/// nobody but the control thread waits for.
fn files_open() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").map(|open| open.count()).unwrap_or(0);
    (open as u64).saturating_sub(1)
}

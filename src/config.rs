//! What is used, whether it came from the command line or from a file: addresses instead of names,
//! numbers instead of defaults, all of it known to fit this host.
//!
//! A file or the flags become a [`draft`] first ([`parse()`] is a pure function); [`Config::resolve`]
//! looks names up and asks the host.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uring::{CpuQuota, NofileLimit};

use crate::cli::{Endpoint, EngineName, LogLevel, Serve};
use crate::shard::Room;

pub mod admin;
mod cpus;
pub(crate) mod descriptors;
pub mod draft;
mod expand;
mod flags;
mod host;
mod parse;
pub mod plan;
mod pools;
pub(crate) mod problem;
mod resolve;
mod source;
mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod value;

pub use cpus::CpuProblem;
pub use draft::Draft;
pub use host::{BUFFER_BYTES, HostError};
pub use parse::parse;
pub(crate) use pools::MOST_BACKENDS;
pub use problem::{Place, Problem, Problems};
pub use resolve::{NameError, new_backend};

use admin::AdminConfig;
use plan::{ListenerConfig, LogConfig, PoolConfig};

/// Everything that the balancer goes by.
#[derive(Clone, Debug)]
pub struct Config {
    /// What belongs to the program as a whole.
    pub process: ProcessConfig,
    /// Where clients connect; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Who serves them; at least one.
    pub pools: Vec<PoolConfig>,
    /// What can be used but should be looked at.
    pub warnings: Vec<Problem>,
}

/// What belongs to the program as a whole.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The CPU of each shard.
    pub cpus: Vec<usize>,
    /// The time that the cgroup grants, if that is less than all allowed CPUs have.
    pub cpu_quota: Option<CpuQuota>,
    /// What moves the bytes.
    pub engine: EngineName,
    /// Sessions and pipes at a time for each shard.
    pub room_a_shard: Room,
    /// Buffers for each shard.
    pub buffers: u16,
    /// What the two numbers above are if somebody said so.
    pub asked: Asked,
    /// How long a shard looks for work before it sleeps.
    pub busy_poll: Option<Duration>,
    /// Descriptors that the process may have.
    pub nofile: NofileLimit,
    /// How long sessions may go on after the signal to stop.
    pub drain_timeout: Duration,
    /// How often the state is logged.
    pub report_interval: Option<Duration>,
    /// Whether shards look at some of their connections.
    pub tcp_info: bool,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Where, and whether sessions are.
    pub log: LogConfig,
    /// How long an answer of the name servers is believed at least.
    pub resolve_ttl_min: Duration,
    /// Where the program can be looked at and changed.
    pub admin: AdminConfig,
    /// Where changes that were made while it ran are kept.
    pub state_file: Option<PathBuf>,
}

/// Numbers that follow from the host where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Sessions at a time over all shards.
    pub max_sessions: Option<u32>,
    /// Buffers for each shard.
    pub buffers: Option<u16>,
}

impl Config {
    /// What the command line says, or the file that it names, on this host.
    ///
    /// # Errors
    /// Everything that is wrong, each with the cause and the cure.
    pub fn load(serve: &Serve) -> Result<Self, Problems> {
        Self::resolve(&Draft::load(serve)?)
    }

    /// Looks names up and fits the numbers to this host; raises the file limit.
    ///
    /// # Errors
    /// Everything that is wrong, each with the cause and the cure.
    pub fn resolve(draft: &Draft) -> Result<Self, Problems> {
        Self::resolve_under(draft, host::raised_nofile()?)
    }

    /// The same as if the file limit were `nofile`, which is left as it is.
    ///
    /// # Errors
    /// Everything that is wrong, each with the cause and the cure.
    pub(crate) fn resolve_under(draft: &Draft, nofile: NofileLimit) -> Result<Self, Problems> {
        let (listeners, pools) = resolve::names(draft)?;
        let admin = admin::resolve(&draft.process.admin, &listeners)?;
        let process = host::process(&draft.process, &listeners, &pools, admin, nofile)?;
        let mut warnings = draft.warnings.clone();
        warnings.extend(host::warnings(draft));
        Ok(Self { process, listeners, pools, warnings })
    }
}

impl Draft {
    /// What the command line says, or the file that it names.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place, the cause and the cure.
    pub fn load(serve: &Serve) -> Result<Self, Problems> {
        match &serve.config {
            Some(path) => Self::from_text(serve, path, read(path)),
            None => flags::draft(serve),
        }
    }

    /// What the bytes of a file say, with this process's environment and the options beside it.
    ///
    /// # Errors
    /// The same; also when there are no bytes.
    pub fn from_text(
        serve: &Serve,
        path: &Path,
        bytes: Result<Vec<u8>, ReadError>,
    ) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let text = bytes.and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|error| ReadError::NotUtf8(error.utf8_error().valid_up_to()))
        });
        let text = text.map_err(|error| {
            let place = Place::File { file: name.as_str().into(), line: 0, column: 0 };
            Problem::new(&place, error.to_string())
        })?;
        let mut draft = parse(&text, &name, &|name| std::env::var(name).ok())?;
        flags::override_by(&mut draft.process, &serve.process);
        Ok(draft)
    }
}

/// Why there is no text to parse.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there, or not for us.
    #[error("cannot read it: {0}; check the path given to --config and its permissions")]
    Io(#[from] io::Error),
    /// There is no text in a directory.
    #[error("it is a directory; give the path of a file in TOML to --config")]
    Folder,
    /// It cannot be meant.
    #[error("it has more than {} MiB; a configuration is smaller", LARGEST_FILE >> 20)]
    TooLarge,
    /// The first byte that does not fit.
    #[error("it is not UTF-8 from byte {0} on; save it as UTF-8")]
    NotUtf8(usize),
}

fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(ReadError::Folder);
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > LARGEST_FILE {
        true => Err(ReadError::TooLarge),
        false => Ok(bytes),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Tens of thousands of backends fit; a file that is larger is something else.
pub const LARGEST_FILE: usize = 8 << 20;

//! Words with which one of a few things is chosen, the same on the command line and in a file.

use std::fmt;

use clap::ValueEnum;

use crate::config::plan::ProxyVersion;
use crate::core::balance::Algorithm;
use crate::core::relay::{Bulk, Splice};

/// The names of the algorithms, those of both dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AlgorithmName {
    /// Round robin while all have equally many connections, else least connections
    Auto,
    /// One after the other
    #[value(alias = "rr")]
    RoundRobin,
    /// The fewest connections
    #[value(alias = "lc")]
    LeastConnections,
    /// Any
    #[value(alias = "rand")]
    Random,
    /// The less busy of two random ones
    P2c,
    /// By the client's address; few clients move when a backend comes or goes
    SourceHash,
    /// By the client's address, in a table that is the same on every machine
    Maglev,
    /// The first that has room
    First,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Auto => Self::Auto,
            AlgorithmName::RoundRobin => Self::RoundRobin,
            AlgorithmName::LeastConnections => Self::LeastConnections,
            AlgorithmName::Random => Self::Random,
            AlgorithmName::P2c => Self::P2c,
            AlgorithmName::SourceHash => Self::SourceHash,
            AlgorithmName::Maglev => Self::Maglev,
            AlgorithmName::First => Self::First,
        }
    }
}

/// The names of the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// io_uring where this host has it for us, else epoll
    Auto,
    /// io_uring or nothing (Linux 6.1 or later)
    Uring,
    /// epoll, also where there is io_uring
    Epoll,
}

/// What a line of the session log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SessionLogFormat {
    /// For people, and for awk
    Text,
    /// An object a line
    Json,
}

impl fmt::Display for SessionLogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "JSON",
        })
    }
}

/// When bytes are spliced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SpliceName {
    /// Each direction of a session for as long as it is bulk
    Auto,
    /// Never: bytes are copied through buffers
    Off,
    /// Whenever a pipe is to be had
    Always,
}

impl From<SpliceName> for Splice {
    fn from(name: SpliceName) -> Self {
        match name {
            SpliceName::Auto => Self::Auto(Bulk::MEASURED),
            SpliceName::Off => Self::Off,
            SpliceName::Always => Self::Always,
        }
    }
}

/// What makes a client the same client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StickyKey {
    /// Its address
    Ip,
    /// Its address and port
    IpPort,
    /// Nothing: each connection is a new one
    Off,
}

/// What a health check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HealthType {
    /// Whether a connection is accepted
    Tcp,
    /// Whether something is answered
    SendExpect,
    /// Whether GET is answered with a good status
    Http,
    /// Nothing
    Off,
}

/// What a health check asks, as far as flags go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HealthCheck {
    /// Whether a connection is accepted
    Tcp,
    /// Whether GET is answered with a status from 200 to 399
    Http,
}

/// What a client gets when no backend could be reached in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Unavailable {
    /// The end of the stream
    Close,
    /// A reset
    Reset,
    /// The text `503 Service Unavailable`, then the end
    #[value(name = "503")]
    Text503,
}

/// What becomes of the sessions of a backend that health checks mark down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MarkedDown {
    /// They go on
    Keep,
    /// They are cut
    Close,
}

/// The version of a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProxyName {
    /// Text
    V1,
    /// Binary
    V2,
    /// None
    Off,
}

impl ProxyName {
    /// Nothing for `off`.
    #[must_use]
    pub const fn version(self) -> Option<ProxyVersion> {
        match self {
            Self::V1 => Some(ProxyVersion::V1),
            Self::V2 => Some(ProxyVersion::V2),
            Self::Off => None,
        }
    }
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// Yes
    On,
    /// No
    Off,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum LogLevel {
    /// Every connection
    Debug,
    /// What happens, and the first few connections of each second
    Info,
    /// What should be looked at
    #[value(alias = "WARN")]
    Warning,
    /// What does not work
    Error,
}

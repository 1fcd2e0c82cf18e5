//! Why the admin API could not be asked, or said no.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Address, TOKEN_VARIABLE};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A variable of the environment cannot be understood.
    #[error("{name}: {why}")]
    Environment {
        /// Which.
        name: &'static str,
        /// And how it would be right.
        why: String,
    },
    /// There is no token in the file.
    #[error("the token file {}: {why}", path.display())]
    TokenFile {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Memory or descriptors ran out.
    #[error("no connection can be made: {0}")]
    Runtime(io::Error),
    /// Nothing is there.
    #[error(
        "nobody listens at {address}: start evenkeel with --admin {address}, or name another with \
         --admin or {}",
        super::ADDRESS_VARIABLE
    )]
    NobodyListens {
        /// Where.
        address: Address,
    },
    /// Something is there that nobody can listen at.
    #[error(
        "{address} is {what}, not a socket: say with --admin or {} which socket evenkeel has",
        super::ADDRESS_VARIABLE
    )]
    NotASocket {
        /// Where.
        address: Address,
        /// And what it is.
        what: &'static str,
    },
    /// The file system does not let this user through.
    #[error("{address} may not be opened: {who}; {cure}")]
    NotAllowed {
        /// Where.
        address: Address,
        /// Whose it is.
        who: String,
        /// What to do.
        cure: String,
    },
    /// Something else is wrong with the way there.
    #[error("{address} cannot be reached: {error}")]
    Unreachable {
        /// Where.
        address: Address,
        /// What the kernel, or the resolver, says.
        error: String,
    },
    /// Nothing came back.
    #[error("{address} does not answer within {after:?}: it may be stopped, or overloaded")]
    Timeout {
        /// Where.
        address: Address,
        /// How long that was.
        after: Duration,
    },
    /// It went away in the middle of an answer.
    #[error("{address} closed the connection without an answer: it may be stopping, try again")]
    Closed {
        /// Where.
        address: Address,
    },
    /// Somebody else listens there.
    #[error("what listens at {address} is no evenkeel's admin API: {what}")]
    NotEvenkeel {
        /// Where.
        address: Address,
        /// How that shows.
        what: String,
    },
    /// The token is missing or wrong.
    #[error("{address} says: {said}; {}", cure_of_token(*had))]
    Token {
        /// Where.
        address: Address,
        /// In its words.
        said: String,
        /// Whether one was sent.
        had: bool,
    },
    /// It says no.
    #[error("{said}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// In its words, which name the cure.
        said: String,
    },
}

impl ClientError {
    pub(super) fn not_evenkeel(address: &Address, what: impl Display) -> Self {
        Self::NotEvenkeel { address: address.clone(), what: what.to_string() }
    }

    /// Whether it was told that there is no such thing.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the same may work a moment later, as when evenkeel is started again.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NobodyListens { .. }
                | Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Closed { .. }
                | Self::Refused { status: 503, .. }
        )
    }
}

fn cure_of_token(had: bool) -> String {
    match had {
        true => "the token that was sent is not that of --admin-token-file there".to_owned(),
        false => format!("name the file that has it with --token-file or {TOKEN_VARIABLE}"),
    }
}

//! Which engine moves the bytes: io_uring, or epoll where the host has no io_uring for us.

use std::fmt;

use uring::{SetupError, SetupFlags};

use crate::cli::EngineName;

/// The engine that was chosen, and why.
#[derive(Debug)]
pub enum Engine {
    /// A ring for each shard; what the kernel granted.
    Uring(SetupFlags),
    /// An epoll instance for each shard, as `--engine epoll` says.
    Epoll,
    /// The same, because there is no ring to be had.
    EpollInstead(SetupError),
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A ring was asked for, and this host has none.
    #[error("{0}; or go without --engine uring, which uses epoll here")]
    NoUring(SetupError),
    /// The host ran short of something, or its ring does not work: epoll would hide that.
    #[error(transparent)]
    Ring(#[from] SetupError),
}

impl Engine {
    /// Tries a ring if that is wanted, and says so if it is replaced.
    ///
    /// # Errors
    /// An [`EngineError`] that names the cause and the cure.
    pub fn choose(wanted: EngineName) -> Result<Self, EngineError> {
        if wanted == EngineName::Epoll {
            return Ok(Self::Epoll);
        }
        match uring::self_test() {
            Ok(flags) => Ok(Self::Uring(flags)),
            Err(error) if !error.means_no_io_uring() => Err(error.into()),
            Err(error) if wanted == EngineName::Uring => Err(EngineError::NoUring(error)),
            Err(error) => {
                tracing::warn!("epoll is used: {error}; --engine epoll means it without this line");
                Ok(Self::EpollInstead(error))
            }
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = uring::kernel_release();
        match self {
            Self::Uring(flags) => write!(f, "uring on Linux {kernel}: {flags}"),
            Self::Epoll => write!(f, "epoll on Linux {kernel}"),
            Self::EpollInstead(error) => write!(f, "epoll on Linux {kernel} ({error})"),
        }
    }
}

//! The side of the new process: takes the sockets that the old one passes, says when it accepts from
//! them, and waits until the old one has let go.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tracing::info;
use uring::InheritError;

use crate::config::plan::Address;

use super::letter::{self, Letter, PassedGroup, Reply};
use super::passed::{From, Group, Passed};

/// The process that hands over to this one.
#[derive(Debug)]
pub struct Predecessor {
    line: UnixStream,
    pid: u32,
}

/// Why nothing can be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The variable is left over from something else.
    #[error("{HAND_OVER}={value} does not name a process that hands over: unset it")]
    Variable {
        /// What it is.
        value: String,
    },
    /// The old process does not say what a process of ours would.
    #[error("what the process that hands over says cannot be understood: {0}")]
    Letter(#[from] io::Error),
    /// It says more than it passes.
    #[error("of what the process that hands over passes, {0}")]
    Descriptor(#[from] InheritError),
}

impl Predecessor {
    /// The one that started us to hand over, if that is so; adds what it passes.
    ///
    /// # Errors
    /// A [`TakeOverError`].
    pub fn find(passed: &mut Passed) -> Result<Option<Self>, TakeOverError> {
        let Some(value) = std::env::var_os(HAND_OVER) else { return Ok(None) };
        let value = value.to_string_lossy().into_owned();
        let line = value.parse().ok().and_then(|number| uring::inherited(number).ok());
        let Some(line) = line.map(UnixStream::from) else {
            return Err(TakeOverError::Variable { value });
        };
        line.set_read_timeout(Some(PATIENCE))?;
        line.set_write_timeout(Some(PATIENCE))?;
        let letter: Letter =
            letter::read(&line)?.ok_or_else(|| io::Error::other("nothing came"))?;
        for (place, group) in letter.groups.into_iter().enumerate() {
            passed.add(take(place, group)?);
        }
        for (asked, number) in letter.doors {
            passed.add_door(asked, uring::inherited_listener(number)?);
        }
        passed.add_changes(letter.changes);
        Ok(Some(Self { line, pid: letter.from }))
    }

    /// Clients can connect here now, but what the old process knows by these places is not wanted.
    ///
    /// # Errors
    /// When it is gone: then there is nobody to wait for.
    pub fn say_ready(&self, not_taken: Vec<usize>) -> io::Result<()> {
        letter::write(&self.line, &Reply::Ready { not_taken })
    }

    /// Nothing will come of it.
    pub fn say_failed(&self, why: &str) {
        // It sees the end of this process too.
        let _ = letter::write(&self.line, &Reply::Failed(why.to_owned()));
    }

    /// Waits until it accepts no more, or is gone.
    pub fn wait(self) {
        let waited = letter::read::<()>(&self.line);
        match waited {
            Ok(_) => info!("process {} has handed over to this one", self.pid),
            Err(error) => info!("process {} does not let go: {error}", self.pid),
        }
    }
}

fn take(place: usize, group: PassedGroup) -> Result<Group, TakeOverError> {
    let PassedGroup { name, asked, address, ours, has_file, sockets } = group;
    let sockets: Result<Vec<OwnedFd>, _> =
        sockets.into_iter().map(uring::inherited_listener).collect();
    let address = match address.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Inet(address.parse().map_err(io::Error::other)?),
    };
    let from = From::Predecessor(place);
    Ok(Group { name, asked, address, ours, has_file, sockets: sockets?, from })
}

/// Names the descriptor of the line to the process that hands over.
pub(super) const HAND_OVER: &str = "EVENKEEL_HAND_OVER";

/// What takes longer than this on the same host is a process that is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

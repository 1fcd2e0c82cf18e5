//! The files and sockets that logs go to, opened before anything runs, so that what cannot be opened is told
//! instead of a start.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::config::plan::{LogConfig, SessionLogTo};
use crate::log_file::{LogFile, OpenError};

use super::journal::{Journal, SOCKET};
use super::sink::Sink;

/// Where logs go.
#[derive(Debug)]
pub struct Outputs {
    /// The program's own log, if that is not standard error.
    pub log: Option<Arc<LogFile>>,
    /// The lines about sessions, if there are any.
    pub sessions: Option<Sink>,
    /// Those of them that can be opened again.
    pub files: LogFiles,
}

/// Files that are opened again on SIGUSR1.
#[derive(Clone, Debug, Default)]
pub struct LogFiles(Vec<Arc<LogFile>>);

/// Why logs cannot go where they were meant to.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It is not to be had.
    #[error(transparent)]
    File(#[from] OpenError),
    /// There is no journal.
    #[error(
        "cannot log sessions to journald, {SOCKET}: {0}; run systemd-journald, or use a file or stderr"
    )]
    Journal(io::Error),
    /// It is closed, or descriptors ran out.
    #[error("cannot log sessions to standard error: {0}; leave it open, or use a file")]
    Stderr(io::Error),
}

impl Outputs {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// An [`OutputError`] that names the cause and the cure.
    pub fn open(config: &LogConfig) -> Result<Self, OutputError> {
        let mut files = LogFiles::default();
        let log = config.file.as_deref().map(|path| files.open(path)).transpose()?;
        let sessions = match &config.sessions {
            SessionLogTo::Off => None,
            SessionLogTo::Stderr => {
                let stderr = LogFile::stderr().map_err(OutputError::Stderr)?;
                Some(Sink::file(Arc::new(stderr), config.format))
            }
            SessionLogTo::Journald => {
                let journal = Journal::open().map_err(OutputError::Journal)?;
                Some(Sink::journal(journal, config.format))
            }
            // Both write to one file by one descriptor.
            SessionLogTo::File(path) if Some(path) == config.file.as_ref() => {
                log.clone().map(|file| Sink::file(file, config.format))
            }
            SessionLogTo::File(path) => Some(Sink::file(files.open(path)?, config.format)),
        };
        Ok(Self { log, sessions, files })
    }

    /// Whether that could be done, without making a file.
    ///
    /// # Errors
    /// The same.
    pub fn check(config: &LogConfig) -> Result<(), OutputError> {
        config.file.as_deref().map(LogFile::check).transpose()?;
        match &config.sessions {
            SessionLogTo::Off => {}
            SessionLogTo::Stderr => drop(LogFile::stderr().map_err(OutputError::Stderr)?),
            SessionLogTo::Journald => drop(Journal::open().map_err(OutputError::Journal)?),
            SessionLogTo::File(path) => LogFile::check(path)?,
        }
        Ok(())
    }
}

impl LogFiles {
    /// Opens all of them again. One that cannot be opened goes on as it is.
    ///
    /// # Errors
    /// What went wrong, for each of those.
    pub fn reopen(&self) -> Result<(), Vec<OpenError>> {
        let errors: Vec<_> = self.0.iter().filter_map(|file| file.reopen().err()).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn open(&mut self, path: &Path) -> Result<Arc<LogFile>, OpenError> {
        let file = Arc::new(LogFile::open(path)?);
        self.0.push(Arc::clone(&file));
        Ok(file)
    }
}

impl fmt::Display for LogFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(", "))
    }
}

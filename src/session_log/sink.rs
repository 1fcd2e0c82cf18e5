//! Where lines go.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::log_file::{LogFile, cure};
use crate::shard::record::Record;

use super::batch::Batch;
use super::journal::{self, Journal, SOCKET};
use super::wall::Times;
use super::{Format, json, text};

/// Where lines go, and in what form.
#[derive(Debug)]
pub struct Sink {
    to: To,
    format: Format,
}

#[derive(Debug)]
enum To {
    File(Arc<LogFile>),
    Journal(Journal),
}

/// What came of an attempt to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Entries that are where they belong.
    pub(super) written: usize,
    /// Entries that never will be.
    pub(super) refused: usize,
}

impl Sink {
    /// Lines of a file, or of standard error.
    #[must_use]
    pub fn file(file: Arc<LogFile>, format: Format) -> Self {
        Self { to: To::File(file), format }
    }

    /// Entries of systemd's journal.
    pub(super) fn journal(journal: Journal, format: Format) -> Self {
        Self { to: To::Journal(journal), format }
    }

    /// Adds a record to a batch, in the form that is wanted here.
    pub(super) fn add(&self, batch: &mut Batch, record: &Record, times: &mut Times) {
        batch.add(|into| match (&self.to, self.format) {
            (To::File(_), Format::Text) => text::line(into, record, times),
            (To::File(_), Format::Json) => json::line(into, record, times),
            (To::Journal(_), format) => journal::entry(into, record, format, times),
        });
    }

    /// Writes what it takes of a batch.
    ///
    /// # Errors
    /// When it takes nothing: `WouldBlock` if that is only for now.
    pub(super) fn write(&mut self, batch: &mut Batch) -> io::Result<Done> {
        match &mut self.to {
            To::File(file) => {
                let bytes = file.append(batch.rest())?;
                Ok(Done { written: batch.advance_by(bytes), refused: 0 })
            }
            To::Journal(journal) => send(journal, batch),
        }
    }

    /// What helps against an error.
    pub(super) fn cure(&self, error: &io::Error) -> &'static str {
        match self.to {
            To::File(_) => cure(error),
            To::Journal(_) => "see `systemctl status systemd-journald`, or use a file",
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            To::File(file) => file.fmt(f),
            To::Journal(_) => f.write_str(SOCKET),
        }
    }
}

/// One datagram after the other.
fn send(journal: &mut Journal, batch: &mut Batch) -> io::Result<Done> {
    let mut done = Done::default();
    while let Some(entry) = batch.next() {
        match journal.send(entry) {
            Ok(()) => done.written += 1,
            // No second attempt would make it smaller.
            Err(error) if error.kind() == ErrorKind::FileTooLarge => done.refused += 1,
            Err(error) if done == Done::default() => return Err(error),
            Err(_) => break,
        }
        batch.advance();
    }
    Ok(done)
}

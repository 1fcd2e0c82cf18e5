//! Logs to standard error or a file, through a thread of their own: a shard hands a line over and goes on.
//! A queue that is full drops lines, and they are counted.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::cli::LogLevel;
use crate::log_file::{LogFile, cure};

pub mod journal;

/// Writes what is left when it is dropped.
#[derive(Debug)]
pub struct Logging {
    lost: LostLines,
    _flush_on_drop: WorkerGuard,
}

impl Logging {
    /// Starts to log what is at least as important as `level`, to `file` or else to standard error, which
    /// the journal may read. A second call in one process has no effect on where lines go.
    #[must_use]
    pub fn start(level: LogLevel, file: Option<Arc<LogFile>>) -> Self {
        let unwritten = Arc::<AtomicU64>::default();
        let for_journal = file.is_none() && journal::reads_stderr();
        let (ansi, (writer, guard)) = match file {
            None => {
                let wanted = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                (wanted, non_blocking(io::stderr()))
            }
            Some(file) => {
                let unwritten = Arc::clone(&unwritten);
                (false, non_blocking(ToFile { file, unwritten, told: false }))
            }
        };
        let dropped = writer.error_counter();
        let lines = tracing_subscriber::fmt()
            .with_writer(writer)
            .with_ansi(ansi)
            .with_target(false)
            .with_max_level(filter(level));
        // An error means that a subscriber is there already, as in tests.
        let _ = match for_journal {
            true => lines.event_format(journal::ForJournal).try_init(),
            false => lines.try_init(),
        };
        Self { lost: LostLines { dropped, unwritten }, _flush_on_drop: guard }
    }

    /// Counts the lines that are lost.
    #[must_use]
    pub fn lost(&self) -> LostLines {
        self.lost.clone()
    }

    /// Lines that the queue had no room for, or the file.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.lost.lines()
    }
}

/// A count of lines that nobody got to read.
#[derive(Clone, Debug)]
pub struct LostLines {
    dropped: ErrorCounter,
    unwritten: Arc<AtomicU64>,
}

impl LostLines {
    /// Lines that the queue had no room for, or the file.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.dropped.dropped_lines() as u64 + self.unwritten.load(Ordering::Relaxed)
    }
}

fn non_blocking(writer: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    let builder = NonBlockingBuilder::default();
    builder.lossy(true).buffered_lines_limit(QUEUED_LINES).thread_name("log").finish(writer)
}

/// What the thread writes to. A line that the file does not take is counted, and told on standard error
/// the first time: later lines may fit again.
struct ToFile {
    file: Arc<LogFile>,
    unwritten: Arc<AtomicU64>,
    told: bool,
}

impl Write for ToFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.file.append(line) {
            Ok(_) => self.told = false,
            Err(error) => {
                self.unwritten.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.told, true) {
                    let (file, cure) = (&self.file, cure(&error));
                    // Nobody is left to be told where that fails.
                    let _ = writeln!(
                        io::stderr(),
                        "evenkeel: cannot write to the log file {file}: {error}; {cure}; until then lines \
                         are dropped and counted"
                    );
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

/// Some MiB of lines at most.
const QUEUED_LINES: usize = 16 * 1024;

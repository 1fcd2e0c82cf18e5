//! Logs to standard error, through a thread of their own: a shard hands a line over and goes on. A
//! queue that is full drops lines, and they are counted.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

use crate::cli::LogLevel;

/// Writes what is left when it is dropped.
#[derive(Debug)]
pub struct Logging {
    dropped: ErrorCounter,
    _flush_on_drop: WorkerGuard,
}

impl Logging {
    /// Starts to log what is at least as important as `level`. A second call in one process has no
    /// effect on where lines go.
    #[must_use]
    pub fn start(level: LogLevel) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUED_LINES)
            .thread_name("log")
            .finish(std::io::stderr());
        let dropped = writer.error_counter();
        // An error means that a subscriber is there already, as in tests.
        let _ = tracing_subscriber::fmt()
            .with_writer(writer)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
            .with_max_level(filter(level))
            .try_init();
        Self { dropped, _flush_on_drop: guard }
    }

    /// Counts the lines that the queue had no room for.
    #[must_use]
    pub fn counter(&self) -> ErrorCounter {
        self.dropped.clone()
    }

    /// Lines that the queue had no room for.
    #[must_use]
    pub fn dropped_lines(&self) -> usize {
        self.dropped.dropped_lines()
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

//! Standard error that systemd's journal reads: a line begins with its priority (sd-daemon(3)), so that
//! `journalctl --priority warning` finds it, and has no time, because the journal keeps its own.

use std::fmt;
use std::io;

use nix::sys::stat::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Before a line that says why the program cannot go on.
pub const ERROR: &str = "<3>";

/// Whether the journal reads what is written to standard error: `JOURNAL_STREAM` names it
/// (systemd.exec(5)). A child whose standard error is another one has inherited only the variable.
#[must_use]
pub fn reads_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Lines for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForJournal;

impl<S, F> FormatEvent<S, F> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, F>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        line.write_str(prefix(*event.metadata().level()))?;
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

fn prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => ERROR,
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

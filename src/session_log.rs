//! One line for each session that has ended, for people and programs: as text or JSON, to
//! standard error, a file or systemd's journal.
//!
//! Shards put records into queues ([`crate::shard::record`]) and go on; a thread of its own takes them out,
//! formats and writes them. It owns the file, what can go wrong with it, and the wall clock; it does not
//! know what a session is. Every session that has ended is a line that is written, or is counted as dropped
//! (its queue was full) or lost (the program ended before it could be written).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::Thread;
use std::time::Duration;

use crate::config::plan::SessionLogFormat as Format;
use crate::shard::shared::Shared;

mod append;
mod batch;
#[cfg(test)]
mod example;
mod journal;
mod json;
mod name;
mod outputs;
mod sink;
mod text;
mod wall;
mod writer;

pub use outputs::{LogFiles, OutputError, Outputs};
pub use sink::Sink;

use writer::Writer;

/// The thread that writes the log.
#[derive(Debug)]
pub struct SessionLog {
    thread: Thread,
    stop: Arc<AtomicBool>,
    /// Closed when it has ended.
    ended: Receiver<()>,
}

impl SessionLog {
    /// Begins to write the records of `shared`; nothing if it has none, or nowhere to write them.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(shared: &Arc<Shared>, sink: Option<Sink>) -> io::Result<Option<Self>> {
        let (Some(records), Some(sink)) = (shared.records.clone(), sink) else { return Ok(None) };
        let stop = Arc::new(AtomicBool::new(false));
        let writer = Writer::new(Arc::clone(shared), records, sink, Arc::clone(&stop));
        let (ends, ended) = channel::<()>();
        let run = move || {
            let _ends = ends;
            writer.run();
        };
        let thread = std::thread::Builder::new().name("session-log".to_owned()).spawn(run)?;
        Ok(Some(Self { thread: thread.thread().clone(), stop, ended }))
    }

    /// Writes what is queued, when no shard is left that could queue more. Whoever does not take it in a
    /// few seconds, such as a terminal that was stopped, does not keep the program from ending.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
        // Nothing is ever sent: the channel is closed, or the time is over.
        let _ = self.ended.recv_timeout(LONGEST_END);
    }
}

/// The writer gives up a little earlier by itself, unless the kernel holds it.
const LONGEST_END: Duration = Duration::from_secs(5);

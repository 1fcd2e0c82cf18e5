//! The thread that writes: it looks whether there are records, formats them, and writes many at once.
//!
//! Nobody wakes it, because that would cost each shard a system call for each of its sessions: while
//! there are records it looks every [`BUSY`], and less and less often when there are none. What cannot
//! be written stays in the batch, and what comes then in the queues; when these are full, shards drop
//! and count. So whatever the file does, memory has a bound and no shard notices.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::batch::Batch;
use super::sink::{Done, Sink};
use super::wall::{Times, Wall};
use crate::shard::record::{LogCounts, Records};
use crate::shard::shared::Shared;

/// What the thread has.
pub(super) struct Writer {
    shared: Arc<Shared>,
    records: Arc<Records>,
    sink: Sink,
    batch: Batch,
    times: Times,
    stop: Arc<AtomicBool>,
    /// Since when nothing can be written, and whether that was told.
    trouble: Option<Trouble>,
    drops: Drops,
}

/// What came of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// There was nothing.
    Nothing,
    /// All that was there is written.
    Written,
    /// A part is written, then whoever reads was behind.
    Partly,
    /// Whoever reads is behind.
    Full,
    /// It cannot be written.
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    since: Instant,
    told: bool,
}

/// Lines that shards dropped, as far as that was told.
#[derive(Debug)]
struct Drops {
    told: u64,
    next_at: Instant,
}

impl Writer {
    /// Nothing is written yet.
    pub(super) fn new(
        shared: Arc<Shared>,
        records: Arc<Records>,
        sink: Sink,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let drops = Drops { told: 0, next_at: Instant::now() };
        let (batch, times) = (Batch::new(), Times::new(Wall::now()));
        Self { shared, records, sink, batch, times, stop, trouble: None, drops }
    }

    /// Writes until it is asked to stop and nothing is left, or nothing more can be written.
    pub(super) fn run(mut self) {
        let mut before = (Look::Nothing, BUSY);
        let mut waiting_since = None;
        loop {
            // Before the look: what was queued before the request is seen by it.
            let stopping = self.stop.load(Ordering::Acquire);
            let look = self.look();
            self.tell_drops();
            match look {
                _ if !stopping => {}
                Look::Nothing | Look::Written | Look::Failed => return,
                Look::Partly => waiting_since = None,
                Look::Full => {
                    let since: &mut Instant = waiting_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= PATIENCE {
                        return;
                    }
                }
            }
            before = (look, look.rest(before));
            std::thread::park_timeout(before.1);
        }
    }

    /// Writes what is there.
    fn look(&mut self) -> Look {
        let mut look = Look::Nothing;
        loop {
            if self.batch.is_empty() && !self.fill() {
                return look;
            }
            match self.sink.write(&mut self.batch) {
                Ok(done) => self.note_written(done),
                Err(error) => match self.note_trouble(&error) {
                    Look::Full if look == Look::Written => return Look::Partly,
                    trouble => return trouble,
                },
            }
            look = Look::Written;
        }
    }

    /// Takes a few records of each shard in turn, so that a busy one does not keep the others waiting.
    fn fill(&mut self) -> bool {
        self.times.wall = Wall::now();
        let mut taken = 0;
        loop {
            let before = taken;
            for shard in 0..self.records.shards() {
                for _ in 0..OF_A_SHARD {
                    let Some(record) = self.records.take(shard) else { break };
                    self.sink.add(&mut self.batch, &record, &mut self.times);
                    taken += 1;
                }
            }
            if taken == before || self.batch.is_full() {
                break;
            }
        }
        self.counts().taken(taken);
        taken > 0
    }

    fn note_written(&mut self, done: Done) {
        self.counts().written(done.written as u64);
        if done.refused > 0 {
            self.counts().error();
        }
        if self.trouble.take().is_some_and(|trouble| trouble.told) {
            info!("session log: {} takes lines again", self.sink);
        }
    }

    fn note_trouble(&mut self, error: &io::Error) -> Look {
        let full = error.kind() == ErrorKind::WouldBlock;
        if !full {
            self.counts().error();
        }
        let now = Instant::now();
        let trouble = self.trouble.get_or_insert(Trouble { since: now, told: false });
        // A reader may be behind for a moment.
        if !trouble.told && (!full || now.duration_since(trouble.since) >= PATIENCE) {
            trouble.told = true;
            let sink = &self.sink;
            match full {
                true => warn!("session log: nobody takes the lines from {sink}; {UNTIL_THEN}"),
                false => {
                    let cure = sink.cure(error);
                    error!("session log: cannot write to {sink}: {error}; {cure}; {UNTIL_THEN}");
                }
            }
        }
        if full { Look::Full } else { Look::Failed }
    }

    fn tell_drops(&mut self) {
        let counters = self.shared.counters.iter();
        let dropped: u64 = counters.map(|one| one.session_log_dropped.value()).sum();
        let now = Instant::now();
        if dropped > self.drops.told && now >= self.drops.next_at {
            let (more, sink) = (dropped - self.drops.told, &self.sink);
            warn!(
                "session log: {more} lines dropped, because {sink} did not take them in time; if it is a \
                 matter of moments, a larger session_log_queue helps"
            );
            self.drops = Drops { told: dropped, next_at: now + TELL_DROPS_AGAIN };
        }
    }

    fn counts(&self) -> &LogCounts {
        &self.shared.session_log
    }
}

impl Look {
    /// How long to rest after it, and after the look and the rest before.
    fn rest(self, before: (Self, Duration)) -> Duration {
        match (self, before) {
            (Self::Written, _) => BUSY,
            // Whoever reads a pipe makes room in no time.
            (Self::Full, (Self::Full, last)) => (last * 2).min(BUSY),
            (Self::Full | Self::Partly, _) => SOON,
            (Self::Nothing | Self::Failed, (_, last)) => (last * 2).clamp(BUSY, IDLE),
        }
    }
}

/// While there are records: ten thousand sessions a second are two hundred records then.
const BUSY: Duration = Duration::from_millis(20);

/// While there are none. 65 000 sessions a second of one shard fit its queue in this time.
const IDLE: Duration = Duration::from_millis(250);

/// After somebody was found to be behind, the first time.
const SOON: Duration = Duration::from_millis(1);

/// For a reader that is behind: before it is told, and at the end of the program.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often at most a shortage is told.
const TELL_DROPS_AGAIN: Duration = Duration::from_secs(10);

/// Records of one shard before it is another's turn.
const OF_A_SHARD: usize = 64;

const UNTIL_THEN: &str =
    "until then lines wait, and are dropped and counted when the queue is full";

#[cfg(test)]
mod tests;

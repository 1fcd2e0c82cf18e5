//! What shards have in common: the configuration that is in force, the counters, and whether to
//! stop. All of it is atomic and none of it is locked.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

use super::bells::{Bells, Crowd};
use super::commands::Command;
use super::counters::Counters;
use super::driver::Counts;
use super::listener::Listener;
use super::notices::Notices;
use super::pool::Pool;
use super::record::{LogCounts, Records};

/// What every shard can read, and the counters that every shard writes.
#[derive(Debug)]
pub struct Shared {
    current: ArcSwap<Snapshot>,
    /// The number of the snapshot, so that a shard sees without a look at it that there is another.
    version: CachePadded<AtomicU64>,
    /// One for each shard.
    pub counters: Vec<CachePadded<Counters>>,
    /// Wakes them.
    pub bells: Arc<Bells>,
    /// What shards have to tell the operator.
    pub notices: Notices,
    /// Backends whose sessions are to be cut, by uid; one list for each shard.
    cuts: Vec<ArrayQueue<u32>>,
    /// What shards are asked; one list for each.
    commands: Vec<ArrayQueue<Command>>,
    /// Sessions that have ended, if there is a log of them.
    pub records: Option<Arc<Records>>,
    /// What became of them.
    pub session_log: LogCounts,
    /// Whether shards look at some of their connections (`TCP_INFO`).
    pub watches: bool,
    /// How long open sessions may go on when the program is asked to end, in nanoseconds.
    drain_ns: AtomicU64,
    /// Of shards that have ended, as they do one after the other while the program ends.
    last_words: Vec<OnceLock<LastWords>>,
    stopping: AtomicU8,
    next_id: AtomicU32,
}

/// What a shard says at its end, for those who ask later.
#[derive(Clone, Debug, Default)]
pub struct LastWords {
    /// What its driver counted.
    pub counts: Counts,
    /// What its thread used, in nanoseconds.
    pub cpu_ns: u64,
}

/// A configuration as shards see it.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Where clients connect, and which pool serves them.
    pub listeners: Vec<Arc<Listener>>,
    /// Listeners that are closed, and of which some shard has not taken its socket yet: clients may be
    /// in its queue.
    pub leaving: Vec<Arc<Listener>>,
    /// Every pool, also those that no listener uses.
    pub pools: Vec<Arc<Pool>>,
    /// Whether accepts are asked for anew: the kernel wakes one for each client, and another process may
    /// have ended with one that was woken.
    pub accept_anew: bool,
}

/// How urgently the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopping {
    /// It does not.
    No,
    /// When its sessions have ended, or are too old.
    Drain,
    /// At once.
    Cut,
}

impl Shared {
    /// The state at the start, for `shards` shards, without a listener.
    #[must_use]
    pub fn new(shards: usize, drain: Duration, bells: Arc<Bells>) -> Self {
        Self {
            current: ArcSwap::default(),
            version: CachePadded::default(),
            counters: (0..shards).map(|_| CachePadded::default()).collect(),
            bells,
            notices: Notices::default(),
            cuts: (0..shards).map(|_| ArrayQueue::new(CUTS)).collect(),
            commands: (0..shards).map(|_| ArrayQueue::new(COMMANDS)).collect(),
            records: None,
            session_log: LogCounts::default(),
            watches: true,
            drain_ns: AtomicU64::new(nanoseconds(drain)),
            last_words: (0..shards).map(|_| OnceLock::new()).collect(),
            stopping: AtomicU8::new(Stopping::No as u8),
            next_id: AtomicU32::new(0),
        }
    }

    /// How long open sessions may go on when the program is asked to end.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_nanos(self.drain_ns.load(Ordering::Relaxed))
    }

    /// The same, from now on.
    pub fn set_drain(&self, drain: Duration) {
        self.drain_ns.store(nanoseconds(drain), Ordering::Relaxed);
    }

    /// A number that was never given before, for what outlives a configuration.
    pub fn next_id(&self) -> u32 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The configuration that is in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The number of that configuration; it is never later than what [`Shared::snapshot`] gives.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Puts another configuration in force, and wakes the shards and those who wait.
    pub fn publish(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        self.current.store(Arc::clone(&snapshot));
        self.version.fetch_add(1, Ordering::AcqRel);
        self.bells.ring_all();
        snapshot.pools.iter().for_each(|pool| pool.state.stir());
    }

    /// Has every shard look for clients whom the kernel has told to another process that is no more.
    pub fn accept_anew(&self) {
        let now = self.snapshot();
        let (listeners, leaving) = (now.listeners.clone(), now.leaving.clone());
        let pools = now.pools.clone();
        self.publish(Snapshot { listeners, leaving, pools, accept_anew: true });
    }

    /// `shard` has ended, and answers nothing more.
    pub fn say_last(&self, shard: usize, words: LastWords) {
        // It ends once.
        let _ = self.last_words[shard].set(words);
    }

    /// What `shard` said at its end, if it has ended.
    #[must_use]
    pub fn last_words(&self, shard: usize) -> Option<&LastWords> {
        self.last_words[shard].get()
    }

    /// Has every shard cut the sessions of a backend.
    ///
    /// # Errors
    /// When a shard has too much to cut at the moment: try again.
    pub fn cut_sessions_of(&self, uid: u32) -> Result<(), Busy> {
        let full = self.cuts.iter().filter(|list| list.push(uid).is_err()).count();
        self.bells.ring_all();
        if full > 0 { Err(Busy) } else { Ok(()) }
    }

    /// The next backend whose sessions `shard` has to cut.
    #[must_use]
    pub fn next_cut(&self, shard: usize) -> Option<u32> {
        self.cuts[shard].pop()
    }

    /// Asks something of a shard.
    ///
    /// # Errors
    /// When it has been asked too much that it has not answered.
    pub fn ask(&self, shard: usize, command: Command) -> Result<(), Busy> {
        self.commands[shard].push(command).map_err(|_| Busy)?;
        self.bells.ring(shard);
        Ok(())
    }

    /// The next question to `shard`.
    #[must_use]
    pub fn next_command(&self, shard: usize) -> Option<Command> {
        self.commands[shard].pop()
    }

    /// Whether there is a question to `shard`.
    #[must_use]
    pub fn has_command(&self, shard: usize) -> bool {
        !self.commands[shard].is_empty()
    }

    /// Asks every shard to stop, more urgently than before.
    pub fn stop(&self, how: Stopping) {
        self.stopping.fetch_max(how as u8, Ordering::AcqRel);
        self.bells.ring_all();
    }

    /// Whether, and how urgently, shards were asked to stop.
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        match self.stopping.load(Ordering::Acquire) {
            0 => Stopping::No,
            1 => Stopping::Drain,
            _ => Stopping::Cut,
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A list of backends to cut, or of questions, is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// What all versions of a listener share: how many sessions it has, and who waits for room.
#[derive(Debug, Default)]
pub struct Gate {
    sessions: CachePadded<AtomicU32>,
    /// Clients that have been accepted and wait outside.
    pub crowd: Crowd,
}

impl Gate {
    /// One more session, unless there are `most`.
    #[must_use]
    pub fn enter(&self, most: Option<u32>) -> bool {
        let add = |sessions| (sessions < most.unwrap_or(u32::MAX)).then_some(sessions + 1);
        // Who says that it waits, and then finds no room, while another leaves and finds nobody
        // waiting, would wait for ever: one order of the four is the same for both.
        self.sessions.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).is_ok()
    }

    /// One session less.
    pub fn leave(&self, bells: &Bells) {
        self.sessions.fetch_sub(1, Ordering::SeqCst);
        if !self.crowd.is_empty() {
            self.crowd.make_room(bells);
        }
    }

    /// Sessions now.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Relaxed)
    }
}

/// Backends that may be marked down between two looks of a shard.
const CUTS: usize = 1024;

/// Questions that a shard may be behind with.
const COMMANDS: usize = 64;

//! Watching a few sessions at a time: what the kernel says of their sockets, and who is to speak.
//!
//! Each is looked at about ten times a second for some seconds, then others take its place; those who
//! moved bytes lately are chosen. Looks come at random distances and wake the shard: if they came with
//! completions, they would always find that somebody has just spoken. A shard in which nothing happens
//! has nobody to watch after a while, and is not woken.

use std::time::Duration;

use uring::Owner;

use crate::core::bottleneck::{Floor, Interval, Pair, Sample, Talk};
use crate::core::moment::Moment;
use crate::core::{Direction, Side};
use crate::shard::driver::Driver;

use super::{Entry, Shard};

/// Who is watched.
#[derive(Debug, Default)]
pub(super) struct Watch {
    watched: Vec<Watched>,
    /// When to look next, if there was traffic or anybody is watched.
    due: Option<Moment>,
    /// Whether anything was answered since the last look.
    traffic: bool,
    /// Where the search for sessions goes on.
    slot: usize,
}

/// A session that is watched.
#[derive(Debug)]
struct Watched {
    owner: Owner,
    /// A session that moves to another backend is not what it was.
    backend: u32,
    began: Moment,
    looked: Moment,
    samples: [Option<Sample>; 2],
    talk: Talk,
}

impl<D: Driver> Shard<D> {
    /// Takes a look if it is time for one; `traffic` says that something has happened.
    pub(super) fn watch_sessions(&mut self, traffic: bool) {
        let Some(watch) = &mut self.watch else { return };
        watch.traffic |= traffic;
        match watch.due {
            None if traffic => self.plan_look(),
            Some(due) if due <= self.now => self.look(),
            _ => {}
        }
    }

    /// When the shard has to wake up for a look.
    pub(super) fn watch_deadline(&self) -> Option<Moment> {
        self.watch.as_ref()?.due
    }

    fn plan_look(&mut self) {
        let pause = PAUSE_MIN + self.rng.u32(..PAUSE_SPREAD_US) * Duration::from_micros(1);
        let due = self.now + pause;
        if let Some(watch) = &mut self.watch {
            watch.due = Some(due);
        }
    }

    fn look(&mut self) {
        let Some(mut watch) = self.watch.take() else { return };
        watch.watched.retain_mut(|one| self.look_at(one));
        self.find_more(&mut watch);
        watch.due = None;
        let goes_on = std::mem::take(&mut watch.traffic) || !watch.watched.is_empty();
        self.watch = Some(watch);
        if goes_on {
            self.plan_look();
        }
    }

    /// Adds what came since the last look; whether to go on watching it.
    fn look_at(&self, one: &mut Watched) -> bool {
        let Some(entry) = self.sessions.get(one.owner) else { return false };
        let Some(backend) = entry.charged.filter(|_| entry.session.is_relaying()) else {
            return false;
        };
        if entry.here.pool.backend(backend).uid != one.backend {
            return false;
        }
        let samples = self.samples(entry);
        let pair = |side: Side| {
            let (before, after) = (one.samples[side as usize]?, samples[side as usize]?);
            Some(Pair { before, after })
        };
        let since = self.now.since(one.looked).as_micros();
        let interval = Interval {
            us: u64::try_from(since).unwrap_or(u64::MAX),
            client: pair(Side::Client),
            backend: pair(Side::Backend),
            floor: entry.floor(&mut one.talk),
        };
        entry.here.tally(backend).tcp.add(&interval);
        self.counters().watched.add(1);
        (one.looked, one.samples) = (self.now, samples);
        let rests = interval.floor == Floor::Client && !entry.moved_within(REST, self.now);
        !rests && self.now.since(one.began) < TURN
    }

    fn samples(&self, entry: &Entry<D::Socket>) -> [Option<Sample>; 2] {
        let backend = entry.backend.as_ref();
        [self.driver.tcp_info(&entry.client), backend.and_then(|one| self.driver.tcp_info(one))]
    }

    /// Looks for sessions to watch in a part of the table.
    fn find_more(&self, watch: &mut Watch) {
        let places = self.sessions.places();
        for _ in 0..places.min(SEARCHED) {
            if watch.watched.len() >= WATCHED {
                return;
            }
            watch.slot = if watch.slot + 1 < places { watch.slot + 1 } else { 0 };
            let known = |owner: &Owner| watch.watched.iter().any(|one| one.owner == *owner);
            let owner = u32::try_from(watch.slot).ok().and_then(|slot| self.sessions.owner(slot));
            let found = owner.filter(|owner| !known(owner)).and_then(|owner| self.begin(owner));
            watch.watched.extend(found);
        }
    }

    /// The first look at a session, if it is worth to be watched.
    fn begin(&self, owner: Owner) -> Option<Watched> {
        let entry = self.sessions.get(owner)?;
        let backend = entry.charged.filter(|_| entry.session.is_relaying())?;
        let lately = if entry.marks.awaits_reply { PATIENCE } else { LATELY };
        entry.moved_within(lately, self.now).then(|| Watched {
            owner,
            backend: entry.here.pool.backend(backend).uid,
            began: self.now,
            looked: self.now,
            samples: self.samples(entry),
            talk: Talk::new(entry.bytes()),
        })
    }
}

impl<S> Entry<S> {
    fn floor(&self, talk: &mut Talk) -> Floor {
        let floor = talk.look(self.bytes(), self.marks.awaits_reply);
        let starves = |side| self.session.relay(side).is_starved();
        if Direction::BOTH.into_iter().any(starves) { Floor::Balancer } else { floor }
    }

    /// Bytes that went each way.
    fn bytes(&self) -> [u64; 2] {
        [Side::Backend, Side::Client].map(|to| {
            let moved = self.moved_to(to);
            moved.copied + moved.spliced
        })
    }

    fn moved_within(&self, time: Duration, now: Moment) -> bool {
        now.since(self.session.last_progress()) < time
    }
}

/// Sessions that a shard watches at a time. A look at all of them takes a tenth of a millisecond, ten times
/// a second: a tenth of a percent of its time (docs/decisions/0013-sessions-are-sampled.md).
const WATCHED: usize = 32;

/// How long each of them is watched.
const TURN: Duration = Duration::from_secs(10);

/// A session in which nothing is due, and nothing has moved for so long, makes place earlier.
const REST: Duration = Duration::from_secs(3);

/// Who is chosen has moved a byte within this time,
const LATELY: Duration = Duration::from_secs(1);

/// or within this, if its backend owes it an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest time between two looks, and by how much it may be longer.
const PAUSE_MIN: Duration = Duration::from_millis(75);
const PAUSE_SPREAD_US: u32 = 50_000;

/// Slots that are looked through in one look: a table of ten thousand is gone through in two seconds.
const SEARCHED: usize = 512;

//! What is noted of a session while it runs: when things happened to it, and what its backend is
//! credited with.

use std::sync::Arc;

use uring::Owner;

use crate::config::plan::Destination;
use crate::core::balance::By;
use crate::core::moment::Moment;
use crate::core::relay;
use crate::core::session::EndReason;
use crate::core::{Direction, Side};
use crate::shard::commands::Moved;
use crate::shard::driver::Driver;
use crate::shard::record::Record;

use super::here::{Extra, Here};
use super::place::canonical;
use super::{ALIVE, Entry, Shard};

/// When things happened to a session. It is as small as it can be, because idle sessions have it, too:
/// all but the beginning are the lowest bits of a count of microseconds, and the distance between two
/// of them is right if it is less than 71 minutes.
#[derive(Debug)]
pub(super) struct Marks {
    /// The client was accepted.
    pub(super) began: Moment,
    /// The last connect began, or succeeded.
    connect_us: u32,
    /// Something was sent to the backend.
    asked_us: u32,
    pub(super) by: Option<By>,
    /// Whether the backend has not said anything yet.
    awaits_first: bool,
    /// Whether the backend has not said anything since something was sent to it.
    pub(super) awaits_reply: bool,
}

impl Marks {
    pub(super) const fn new(now: Moment) -> Self {
        Self {
            began: now,
            connect_us: 0,
            asked_us: 0,
            by: None,
            awaits_first: false,
            awaits_reply: false,
        }
    }

    pub(super) fn on_connect(&mut self, now: Moment) {
        self.connect_us = low_us(now);
    }

    /// How long the connect took, in microseconds.
    pub(super) fn on_connected(&mut self, now: Moment) -> u32 {
        let began_us = std::mem::replace(&mut self.connect_us, low_us(now));
        (self.awaits_first, self.awaits_reply) = (true, false);
        low_us(now).wrapping_sub(began_us)
    }
}

/// The lowest bits of a moment in microseconds.
#[expect(clippy::cast_possible_truncation, reason = "the lowest bits are what is wanted")]
const fn low_us(moment: Moment) -> u32 {
    (moment.ns() / 1000) as u32
}

impl<S> Entry<S> {
    /// Something happened in one direction: bytes are credited to the backend, and what it took to
    /// answer is noted.
    pub(super) fn note(&mut self, direction: Direction, event: relay::Event, now: Moment) {
        let Some(backend) = self.charged else { return };
        let tally = self.here.tally(backend);
        let (bytes, counter) = match event {
            relay::Event::Sent(bytes) => (bytes, &tally.copied),
            relay::Event::Drained { bytes, .. } => (bytes, &tally.spliced),
            relay::Event::Received(_) | relay::Event::Filled(_) => {
                if direction == Direction::BackendToClient {
                    self.note_answer(now);
                }
                return;
            }
            _ => return,
        };
        counter[direction as usize].add(bytes.into());
        if direction == Direction::ClientToBackend && bytes > 0 {
            (self.marks.asked_us, self.marks.awaits_reply) = (low_us(now), true);
        }
    }

    /// A connect begins.
    pub(super) fn note_connect(&mut self, now: Moment) {
        self.marks.on_connect(now);
        let (Some(extra), Some(backend)) = (&mut self.extra, self.charged) else { return };
        let times = &mut extra.times;
        times.queue_us.get_or_insert(short_us(now.since(self.marks.began)));
        times.connects = times.connects.saturating_add(1);
        times.backend = Some(Arc::clone(&self.here.pool.member(backend).backend));
    }

    /// It has succeeded.
    pub(super) fn note_connected(&mut self, now: Moment) {
        let us = self.marks.on_connected(now);
        let Some(backend) = self.charged else { return };
        self.here.tally(backend).connect.record_ns(u64::from(us) * 1000);
        if let Some(extra) = &mut self.extra {
            extra.times.connect_us = Some(us);
        }
    }

    fn note_answer(&mut self, now: Moment) {
        let Some(backend) = self.charged else { return };
        let (marks, tally) = (&mut self.marks, self.here.tally(backend));
        if std::mem::take(&mut marks.awaits_reply) {
            let us = low_us(now).wrapping_sub(marks.asked_us);
            tally.response.record_ns(u64::from(us) * 1000);
        }
        if std::mem::take(&mut marks.awaits_first) {
            let us = low_us(now).wrapping_sub(marks.connect_us);
            tally.first_byte.record_ns(u64::from(us) * 1000);
            if let Some(extra) = &mut self.extra {
                extra.times.first_byte_us.get_or_insert(us);
            }
        }
    }
}

impl<D: Driver> Shard<D> {
    /// The session is about to be forgotten.
    pub(super) fn note_end(&mut self, owner: Owner, reason: EndReason) {
        let entry = self.sessions.get(owner).expect(ALIVE);
        entry.here.listener_tally().ended[reason as usize].add(1);
        if let Some(backend) = entry.charged {
            let tally = entry.here.tally(backend);
            tally.ended[reason as usize].add(1);
            let length = self.now.since(entry.marks.began).as_nanos();
            tally.session.record_ns(u64::try_from(length).unwrap_or(u64::MAX));
        }
        self.log(|| self.record(owner, entry, reason));
    }

    /// A client is sent away that waited outside, and never had a session.
    pub(super) fn note_sent_away(&self, here: &Here, client: &D::Socket) {
        let reason = EndReason::Cut;
        self.counters().count_end(reason);
        here.listener_tally().ended[reason as usize].add(1);
        self.log(|| Record {
            began: self.now,
            ended: self.now,
            shard: self.index,
            owner: None,
            listener: Arc::clone(&here.listener),
            pool: Arc::clone(&here.pool),
            backend: None,
            client: self.driver.peer_address(client).map(canonical),
            destination: None,
            by: None,
            queue_us: None,
            connect_us: None,
            first_byte_us: None,
            to_backend: Moved::default(),
            to_client: Moved::default(),
            reason,
            retries: 0,
            moves: 0,
        });
    }

    /// For the session log, if there is one; it is dropped if there is no room.
    fn log(&self, record: impl FnOnce() -> Record) {
        if let Some(records) = &self.shared.records
            && !records.put(record())
        {
            self.counters().session_log_dropped.add(1);
        }
    }

    fn record(&self, owner: Owner, entry: &Entry<D::Socket>, reason: EndReason) -> Record {
        let Entry { session, here, extra, marks, .. } = entry;
        let nothing = Extra::default();
        let Extra { client, destination, times, .. } = extra.as_deref().unwrap_or(&nothing);
        let original = here.pool.destination == Destination::OriginalDst;
        Record {
            began: marks.began,
            ended: self.now,
            shard: self.index,
            owner: Some(owner),
            listener: Arc::clone(&here.listener),
            pool: Arc::clone(&here.pool),
            backend: times.backend.clone(),
            client: client.map(canonical),
            destination: destination.filter(|_| original),
            by: marks.by,
            queue_us: times.queue_us,
            connect_us: times.connect_us,
            first_byte_us: times.first_byte_us,
            to_backend: entry.moved_to(Side::Backend),
            to_client: entry.moved_to(Side::Client),
            reason,
            retries: times.connects.saturating_sub(1).saturating_sub(session.moves()),
            moves: session.moves(),
        }
    }
}

/// In microseconds, if that is less than 71 minutes.
fn short_us(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_stays_small() {
        // A tenth of what HAProxy keeps for one, with its slot, its timer and its sockets' share.
        assert!(size_of::<Entry<crate::shard::conn::Conn>>() <= 216);
    }

    #[test]
    fn distances_are_right_when_the_count_has_wrapped() {
        let moment = |us: u64| Moment::from_ns(us * 1000);
        let wraps = u64::from(u32::MAX) - 5;
        let mut marks = Marks::new(moment(wraps));
        marks.on_connect(moment(wraps));
        assert_eq!(marks.on_connected(moment(wraps + 100)), 100);
    }
}

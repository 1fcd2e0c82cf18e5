//! Answering what the control thread asks: a part of the sessions in each turn.

use std::sync::Arc;

use uring::Owner;

use crate::core::session::{EndReason, Event, Phase};
use crate::core::{Direction, Side};
use crate::shard::commands::{Command, Listing, Moved, Query, Reply, Row};
use crate::shard::driver::Driver;

use super::place::canonical;
use super::{ALIVE, Entry, Shard};

/// A command that is being answered.
#[derive(Debug)]
pub(super) struct Inspection {
    query: Query,
    /// What becomes of the sessions that are meant.
    purpose: Purpose,
    /// The next slot to look at.
    slot: u32,
}

#[derive(Debug)]
enum Purpose {
    Tell(Listing, usize, Reply<Listing>),
    Kill(u64, Reply<u64>),
}

impl<D: Driver> Shard<D> {
    /// Takes a step with what is asked, if anything is.
    pub(super) fn answer_commands(&mut self) {
        if let Some(inspection) = self.inspection.take() {
            return self.inspect(inspection);
        }
        match self.shared.next_command(self.index) {
            None => {}
            Some(Command::Counts(reply)) => reply.send(self.driver.counters()),
            Some(Command::List(query, most, reply)) => {
                let purpose = Purpose::Tell(Listing::default(), most, reply);
                self.inspect(Inspection::new(query, purpose));
            }
            Some(Command::Kill(query, reply)) => {
                self.inspect(Inspection::new(query, Purpose::Kill(0, reply)));
            }
        }
    }

    /// Whether there is more to answer.
    pub(super) fn is_asked(&self) -> bool {
        self.inspection.is_some() || self.shared.has_command(self.index)
    }

    fn inspect(&mut self, mut inspection: Inspection) {
        // The table may grow and shrink meanwhile; whoever is there all the time is met.
        let end = inspection.slot.saturating_add(SLOTS_A_TURN);
        while inspection.slot < end {
            let slot = inspection.slot;
            if slot as usize >= self.sessions.places() {
                return self.conclude(inspection.purpose);
            }
            inspection.slot += 1;
            if let Some(owner) = self.sessions.owner(slot)
                && self.is_meant(owner, &inspection.query)
            {
                self.meet(owner, &mut inspection.purpose);
            }
        }
        self.inspection = Some(inspection);
    }

    fn meet(&mut self, owner: Owner, purpose: &mut Purpose) {
        match purpose {
            Purpose::Tell(listing, most, _) => {
                listing.matched += 1;
                if listing.rows.len() < *most {
                    let row = self.row(owner);
                    listing.rows.push(row);
                }
            }
            Purpose::Kill(killed, _) => {
                *killed += 1;
                self.drive(owner, Event::Cut(EndReason::Killed));
            }
        }
    }

    fn conclude(&self, purpose: Purpose) {
        match purpose {
            Purpose::Tell(mut listing, _, reply) => {
                listing.total = self.sessions.len() as u64;
                reply.send(listing);
            }
            Purpose::Kill(killed, reply) => reply.send(killed),
        }
    }

    fn is_meant(&mut self, owner: Owner, query: &Query) -> bool {
        let Query { session, pool, backend, listener, client, phase, min_age, min_idle } = query;
        let entry = self.sessions.get(owner).expect(ALIVE);
        let named = |wanted: &Option<String>, name: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == name)
        };
        // What is ending already is nobody's any more.
        let open = entry.session.phase() != Phase::Closing || *phase == Some(Phase::Closing);
        open && session.is_none_or(|session| session == owner)
            && named(pool, Some(&entry.here.pool.name))
            && named(listener, Some(&entry.here.listener.name))
            && named(backend, entry.backend_name())
            && phase.is_none_or(|phase| phase == entry.session.phase())
            && self.now.since(entry.marks.began) >= *min_age
            && self.now.since(entry.session.last_progress()) >= *min_idle
            && client.is_none_or(|(net, port)| {
                self.client_of(owner).is_some_and(|client| {
                    net.contains(&client.ip()) && port.is_none_or(|port| port == client.port())
                })
            })
    }

    /// Who the client is. Where nobody had to know before, the kernel is asked, which has forgotten it
    /// if the client is gone.
    fn client_of(&self, owner: Owner) -> Option<std::net::SocketAddr> {
        let entry = self.sessions.get(owner).expect(ALIVE);
        let known = entry.extra.as_ref().and_then(|extra| extra.client);
        known.or_else(|| self.driver.peer_address(&entry.client)).map(canonical)
    }

    fn row(&self, owner: Owner) -> Row {
        let entry = self.sessions.get(owner).expect(ALIVE);
        let Entry { session, here, charged, marks, .. } = entry;
        Row {
            owner,
            shard: self.index,
            client: self.client_of(owner),
            listener: Arc::clone(&here.listener),
            pool: Arc::clone(&here.pool),
            backend: charged.map(|id| Arc::clone(&here.pool.member(id).backend)),
            phase: session.phase(),
            by: marks.by,
            age: self.now.since(marks.began),
            idle: self.now.since(session.last_progress()),
            to_backend: entry.moved_to(Side::Backend),
            to_client: entry.moved_to(Side::Client),
            moves: session.moves(),
        }
    }
}

impl Inspection {
    const fn new(query: Query, purpose: Purpose) -> Self {
        Self { query, purpose, slot: 0 }
    }
}

impl<S> Entry<S> {
    /// Bytes that were delivered to one side.
    pub(super) fn moved_to(&self, side: Side) -> Moved {
        let direction = match side {
            Side::Client => Direction::BackendToClient,
            Side::Backend => Direction::ClientToBackend,
        };
        let relay = self.session.relay(direction);
        Moved { copied: relay.copied(), spliced: relay.spliced() }
    }

    fn backend_name(&self) -> Option<&str> {
        self.charged.map(|id| self.here.pool.backend(id).name.as_str())
    }
}

/// Sessions that are looked at in one turn. Each that is told costs a system call, which adds up to a
/// tenth of a millisecond.
const SLOTS_A_TURN: u32 = 256;

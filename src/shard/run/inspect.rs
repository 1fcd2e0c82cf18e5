//! Answering what the control thread asks: a part of the sessions in each turn.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use uring::Owner;

use crate::core::moment::Moment;
use crate::core::session::{EndReason, Event, Phase};
use crate::core::{Direction, Side};
use crate::shard::commands::{Command, Figures, First, Listing, Moved, Query, Reply, Row};
use crate::shard::driver::Driver;

use super::place::canonical;
use super::{ALIVE, Entry, Shard};

/// A command that is being answered.
#[derive(Debug)]
pub(super) enum Inspection {
    /// The table is looked through.
    Look(Look),
    /// These are told of, the last of them first.
    Tell(Vec<Owner>, Listing, Reply<Listing>),
}

/// How far the table was looked through.
#[derive(Debug)]
pub(super) struct Look {
    query: Query,
    /// What becomes of the sessions that are meant.
    purpose: Purpose,
    /// The next slot to look at.
    slot: u32,
}

#[derive(Debug)]
enum Purpose {
    /// To find those that come first. To tell of one costs a system call, so that it is first found
    /// out who they are.
    Find(Search, Reply<Listing>),
    Kill(u64, Reply<u64>),
}

/// A look for those that come first.
#[derive(Debug)]
struct Search {
    first: First,
    /// When it was asked: ages are of then, however many turns it takes.
    asked_at: Moment,
    /// The first ones until now; on top the one whose place the next better one takes.
    found: BinaryHeap<Reverse<Found>>,
    /// How many are meant.
    matched: u64,
}

/// A session by its rank, and in the order of the table among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    rank: (u64, u64),
    slot: Reverse<u32>,
    generation: u32,
}

impl<D: Driver> Shard<D> {
    /// Takes a step with what is asked, if anything is.
    pub(super) fn answer_commands(&mut self) {
        match self.inspection.take() {
            Some(Inspection::Look(look)) => return self.look_through(look),
            Some(Inspection::Tell(left, listing, reply)) => return self.tell(left, listing, reply),
            None => {}
        }
        match self.shared.next_command(self.index) {
            None => {}
            Some(Command::Counts(reply)) => reply.send(self.driver.counters()),
            Some(Command::List(query, first, reply)) => {
                let search = Search::of(first, self.now);
                self.look_through(Look { query, purpose: Purpose::Find(search, reply), slot: 0 });
            }
            Some(Command::Kill(query, reply)) => {
                self.look_through(Look { query, purpose: Purpose::Kill(0, reply), slot: 0 });
            }
        }
    }

    /// Whether there is more to answer.
    pub(super) fn is_asked(&self) -> bool {
        self.inspection.is_some() || self.shared.has_command(self.index)
    }

    fn look_through(&mut self, mut look: Look) {
        // The table may grow and shrink meanwhile; whoever is there all the time is met.
        let end = look.slot.saturating_add(SLOTS_A_TURN);
        while look.slot < end {
            let slot = look.slot;
            if slot as usize >= self.sessions.places() {
                return self.conclude(look.purpose);
            }
            look.slot += 1;
            if let Some(owner) = self.sessions.owner(slot)
                && self.is_meant(owner, &look.query)
            {
                self.meet(owner, &mut look.purpose);
            }
        }
        self.inspection = Some(Inspection::Look(look));
    }

    fn meet(&mut self, owner: Owner, purpose: &mut Purpose) {
        match purpose {
            Purpose::Find(search, _) => {
                let figures = self.figures(owner, search.asked_at);
                search.meet(owner, figures);
            }
            Purpose::Kill(killed, _) => {
                *killed += 1;
                self.drive(owner, Event::Cut(EndReason::Killed));
            }
        }
    }

    fn conclude(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Find(search, reply) => {
                let listing = Listing { matched: search.matched, ..Listing::default() };
                self.tell(search.last_first(), listing, reply);
            }
            Purpose::Kill(killed, reply) => reply.send(killed),
        }
    }

    /// Tells of as many as a turn has time for. Whoever has ended meanwhile is left out.
    fn tell(&mut self, mut left: Vec<Owner>, mut listing: Listing, reply: Reply<Listing>) {
        let later = left.len().saturating_sub(SLOTS_A_TURN as usize);
        for owner in left.drain(later..).rev() {
            if self.sessions.get(owner).is_some() {
                listing.rows.push(self.row(owner));
            }
        }
        if left.is_empty() {
            listing.total = self.sessions.len() as u64;
            return reply.send(listing);
        }
        self.inspection = Some(Inspection::Tell(left, listing, reply));
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

    /// What decides about its place, as of this moment.
    fn figures(&self, owner: Owner, at: Moment) -> Figures {
        let entry = self.sessions.get(owner).expect(ALIVE);
        let moved = |side| entry.moved_to(side).total();
        Figures {
            age: at.since(entry.marks.began),
            idle: at.since(entry.session.last_progress()),
            bytes: moved(Side::Backend).saturating_add(moved(Side::Client)),
        }
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

impl Search {
    const fn of(first: First, asked_at: Moment) -> Self {
        Self { first, asked_at, found: BinaryHeap::new(), matched: 0 }
    }

    /// One more that is meant.
    fn meet(&mut self, owner: Owner, figures: Figures) {
        self.matched += 1;
        let rank = self.first.order.rank(figures);
        let slot = Reverse(owner.slot);
        let found = Reverse(Found { rank, slot, generation: owner.generation });
        if self.found.len() < self.first.most {
            self.found.push(found);
        } else if let Some(mut last) = self.found.peek_mut()
            && found < *last
        {
            *last = found;
        }
    }

    fn last_first(self) -> Vec<Owner> {
        let owner = |Reverse(found): Reverse<Found>| Owner {
            slot: found.slot.0,
            generation: found.generation,
            tag: 0,
        };
        self.found.into_sorted_vec().into_iter().rev().map(owner).collect()
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

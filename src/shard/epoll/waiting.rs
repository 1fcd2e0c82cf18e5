//! Where the operations of each session wait, so that a cancel finds them without a search.

use uring::{Op, Owner, Token};

use crate::shard::driver::direction;

/// The socket at which the operation of each session and direction waited last, and its connect: a
/// direction has one operation in flight at a time, and a client may be heard while its session is
/// connected to another backend. Only a hint, because nothing is taken out of it; the socket knows what waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// By the slot of the session, then by direction; the last is the connect.
    places: Vec<[Owner; 3]>,
}

impl Waiting {
    /// Nothing waits; the table has room for so many sessions before it has to move.
    pub(super) fn with_capacity(sessions: usize) -> Self {
        Self { places: Vec::with_capacity(sessions) }
    }

    /// The operation waits at the socket `place`.
    pub(super) fn note(&mut self, token: Token, place: Owner) {
        let slot = token.owner.slot as usize;
        if slot >= self.places.len() {
            self.places.resize(slot + 1, [NOWHERE; 3]);
        }
        self.places[slot][index(token)] = place;
    }

    /// Where the operation waits, if it waits anywhere.
    pub(super) fn place(&self, token: Token) -> Owner {
        let places = self.places.get(token.owner.slot as usize);
        places.map_or(NOWHERE, |places| places[index(token)])
    }
}

fn index(token: Token) -> usize {
    match token.op {
        Op::Connect => 2,
        _ => direction(token.owner) as usize,
    }
}

/// No table gets that large.
const NOWHERE: Owner = Owner::slot(u32::MAX);

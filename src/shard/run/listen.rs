//! The listeners of a shard: taken over from the configuration, closed without losing anybody who
//! is in their queue.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;
use uring::{Op, Owner, Token};

use crate::core::moment::Moment;
use crate::shard::driver::{Driver, ListenerNumber};
use crate::shard::listener::Listener;

use super::here::At;
use super::{ACCEPTS, Here, Shard};

/// A listener of this shard.
#[derive(Debug)]
pub(super) struct Listening<S> {
    /// For sessions that begin now.
    pub(super) here: Rc<Here>,
    pub(super) number: ListenerNumber,
    /// A bit for each accept that is in flight.
    pub(super) accepts: u64,
    /// Clients that came, here or from another shard, when the last room had just been taken.
    pub(super) outside: VecDeque<S>,
    pub(super) closing: Option<Closing>,
}

/// How far the closing of a listener is. No new client can reach it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Handshakes that were under way may still end.
    Until(Moment),
    /// Accepts are being cancelled.
    Cancelling,
    /// Its socket is closed; who came in by it may still wait outside.
    Closed,
}

impl<D: Driver> Shard<D> {
    /// Takes over another configuration, if there is one.
    pub(super) fn look_for_changes(&mut self) {
        let version = self.shared.version();
        if version == self.version {
            return;
        }
        self.version = version;
        let snapshot = self.shared.snapshot();
        for index in 0..self.listening.len() {
            let Some(listening) = &mut self.listening[index] else { continue };
            let id = listening.here.listener.id;
            match snapshot.listeners.iter().find(|listener| listener.id == id) {
                Some(listener) => {
                    let at = At { shard: self.index, index, version };
                    listening.here =
                        Rc::new(Here::new(listener, at, self.shared.records.is_some()));
                }
                None => self.begin_closing(index),
            }
        }
        for listener in &snapshot.listeners {
            if self.index_of(listener.id).is_none() {
                self.begin_listening(listener);
            }
        }
        // What came and went between two looks: clients may have reached it all the same.
        for listener in &snapshot.leaving {
            if self.index_of(listener.id).is_none() {
                self.begin_listening(listener);
                self.index_of(listener.id).inspect(|&index| self.begin_closing(index));
            }
        }
        if self.is_stopping() {
            (0..self.listening.len()).for_each(|index| self.begin_closing(index));
        }
        self.wait_by_new_rules();
    }

    /// The place of a listener among those that are not closed yet.
    pub(super) fn index_of(&self, id: u32) -> Option<usize> {
        let is_it = |one: &Option<Listening<D::Socket>>| {
            one.as_ref().is_some_and(|one| one.here.listener.id == id)
        };
        self.listening.iter().position(is_it)
    }

    fn begin_listening(&mut self, listener: &Arc<Listener>) {
        let Some(socket) = self.driver.claim(&listener.sockets) else { return };
        let number = match self.driver.listen(socket) {
            Ok(number) => number,
            Err(error) => {
                // The other shards take its clients.
                return error!(
                    "shard {} cannot listen on {}: {error}",
                    self.index, listener.address
                );
            }
        };
        let free = self.listening.iter().position(Option::is_none);
        let index = free.unwrap_or(self.listening.len());
        if index == self.listening.len() {
            self.listening.push(None);
        }
        let at = At { shard: self.index, index, version: self.version };
        let here = Here::new(listener, at, self.shared.records.is_some());
        self.listening[index] = Some(Listening {
            here: Rc::new(here),
            number,
            accepts: 0,
            outside: VecDeque::new(),
            closing: None,
        });
    }

    /// The kernel takes no new client for this listener; those who are on their way come in.
    pub(super) fn begin_closing(&mut self, index: usize) {
        let until = self.now + HANDSHAKE;
        if let Some(listening) = &mut self.listening[index] {
            listening.closing.get_or_insert(Closing::Until(until));
        }
    }

    /// Without waiting for handshakes.
    pub(super) fn close_now(&mut self, index: usize) {
        let now = self.now;
        let Some(listening) = &mut self.listening[index] else { return };
        if !matches!(listening.closing, Some(Closing::Cancelling | Closing::Closed)) {
            listening.closing = Some(Closing::Until(now));
        }
        // Cancels get lost now and then.
        self.cancel_accepts(index);
    }

    /// When a listener that closes has to be looked at.
    pub(super) fn listening_deadline(&self) -> Option<Moment> {
        let closing = self.listening.iter().flatten().filter_map(|one| one.closing);
        let until = closing.filter_map(|closing| match closing {
            Closing::Until(moment) => Some(moment),
            Closing::Cancelling | Closing::Closed => None,
        });
        until.min()
    }

    /// Closes what has nobody in its queue any more.
    pub(super) fn go_on_closing(&mut self, index: usize) {
        let Some(listening) = &mut self.listening[index] else { return };
        if let Some(Closing::Until(moment)) = listening.closing
            && self.now >= moment
        {
            listening.closing = Some(Closing::Cancelling);
            self.cancel_accepts(index);
        }
        let Some(listening) = &mut self.listening[index] else { return };
        match listening.closing {
            // Where none was in flight, nothing would be answered that leads here again.
            Some(Closing::Cancelling) if listening.accepts == 0 => {
                let number = listening.number;
                // An accept may have been cancelled just as somebody came.
                while let Some(client) = self.driver.accept_now(number) {
                    self.count_accepted(index);
                    self.open_or_wait(index, client);
                }
                // Before those who wait outside are in, which may take long: a client that comes now
                // is refused, or meets who listens there instead.
                self.driver.stop_listening(number);
                let Some(listening) = &mut self.listening[index] else { return };
                match listening.outside.is_empty() {
                    true => self.listening[index] = None,
                    false => listening.closing = Some(Closing::Closed),
                }
            }
            Some(Closing::Closed) if listening.outside.is_empty() => self.listening[index] = None,
            _ => {}
        }
    }

    pub(super) fn cancel_accepts(&mut self, index: usize) {
        let Some(listening) = &self.listening[index] else { return };
        let accepts = listening.accepts;
        for accept in (0..ACCEPTS).filter(|accept| accepts & (1 << accept) != 0) {
            let owner = accept_owner(index, accept);
            self.driver.cancel(Token { op: Op::Accept, owner });
        }
    }
}

/// Names one of the accepts of a listener.
pub(super) fn accept_owner(index: usize, accept: u32) -> Owner {
    let index = u32::try_from(index).expect("listeners are numbered by u16");
    Owner::slot(index * ACCEPTS + accept)
}

/// The listener and the accept that [`accept_owner`] named.
pub(super) fn accept_of(slot: u32) -> (usize, u32) {
    ((slot / ACCEPTS) as usize, slot % ACCEPTS)
}

/// A round trip of a client that has our SYN-ACK and whose ACK is on its way; the farthest take a few
/// tenths of a second.
const HANDSHAKE: Duration = Duration::from_millis(250);

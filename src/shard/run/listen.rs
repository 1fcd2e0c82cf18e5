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
    /// Another process accepts; so many accepts here are being cancelled.
    LettingGo(Moment, u32),
    /// None is in flight any more; other shards may still send who they accepted.
    LetGo(Moment),
    /// Accepts are being cancelled.
    Cancelling,
    /// Its socket is closed; who came in by it may still wait outside.
    Closed,
}

impl<S> Listening<S> {
    /// Whether another process accepts its clients.
    pub(super) fn is_handed_on(&self) -> bool {
        self.here.listener.sockets.are_handed_on()
    }

    /// Whether it shall have no client from the kernel any more.
    pub(super) fn takes_nobody(&self) -> bool {
        !matches!(self.closing, None | Some(Closing::Until(_)))
    }
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
                self.begin_closing_all_of(listener.id);
            }
        }
        if self.is_stopping() {
            (0..self.listening.len()).for_each(|index| self.begin_closing(index));
        }
        if snapshot.accept_anew {
            // They are asked for again when they have been answered, and look at the queue then.
            (0..self.listening.len()).for_each(|index| self.cancel_accepts(index));
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

    /// Listens on each socket that is this shard's: more than one where there are more than shards.
    fn begin_listening(&mut self, listener: &Arc<Listener>) {
        while let Some(socket) = self.driver.claim(&listener.sockets) {
            self.begin_listening_on(listener, socket);
        }
    }

    fn begin_listening_on(&mut self, listener: &Arc<Listener>, socket: D::Listener) {
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

    fn begin_closing_all_of(&mut self, id: u32) {
        for index in 0..self.listening.len() {
            if self.listening[index].as_ref().is_some_and(|one| one.here.listener.id == id) {
                self.begin_closing(index);
            }
        }
    }

    /// The kernel takes no new client for this listener; those who are on their way come in, also from
    /// other shards. If another process has the listener, nobody more comes from the kernel.
    pub(super) fn begin_closing(&mut self, index: usize) {
        let until = self.now + HANDSHAKE;
        let Some(listening) = &mut self.listening[index] else { return };
        if listening.is_handed_on() {
            if matches!(listening.closing, None | Some(Closing::Until(_))) {
                let accepts = listening.accepts.count_ones();
                listening.closing = Some(Closing::LettingGo(until, accepts));
                self.cancel_accepts(index);
            }
        } else {
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
            Closing::Until(moment) | Closing::LettingGo(moment, _) | Closing::LetGo(moment) => {
                Some(moment)
            }
            Closing::Cancelling | Closing::Closed => None,
        });
        until.min()
    }

    /// Closes what has nobody in its queue any more, or whose queue is another's.
    pub(super) fn go_on_closing(&mut self, index: usize) {
        let Some(listening) = &mut self.listening[index] else { return };
        match listening.closing {
            Some(Closing::Until(moment)) if self.now >= moment => {
                listening.closing = Some(Closing::Cancelling);
                self.cancel_accepts(index);
            }
            Some(Closing::LettingGo(moment, accepts)) if self.now >= moment => {
                let again = self.now + HANDSHAKE;
                listening.closing = Some(Closing::LettingGo(again, accepts));
                self.cancel_accepts(index);
            }
            _ => {}
        }
        let Some(listening) = &mut self.listening[index] else { return };
        let number = listening.number;
        match listening.closing {
            // The kernel has woken one accept for each client: for whom it was one of these, no accept
            // of the other process will be. All others are the other process's.
            Some(Closing::LettingGo(moment, accepts)) if listening.accepts == 0 => {
                listening.closing = Some(Closing::LetGo(moment));
                self.take_some(index, number, accepts);
            }
            Some(Closing::LetGo(moment)) if self.now >= moment => self.stop_listening(index),
            // Where none was in flight, nothing would be answered that leads here again.
            Some(Closing::Cancelling) if listening.accepts == 0 => {
                if !listening.is_handed_on() {
                    self.take_some(index, number, u32::MAX);
                }
                self.stop_listening(index);
            }
            Some(Closing::Closed) if listening.outside.is_empty() => self.listening[index] = None,
            _ => {}
        }
    }

    /// Before those who wait outside are in, which may take long: a client that comes now is refused,
    /// or meets who listens there instead.
    fn stop_listening(&mut self, index: usize) {
        let Some(listening) = &mut self.listening[index] else { return };
        let (number, is_handed_on) = (listening.number, listening.is_handed_on());
        match listening.outside.is_empty() {
            true => self.listening[index] = None,
            false => listening.closing = Some(Closing::Closed),
        }
        self.driver.stop_listening(number);
        self.counters().sockets_handed_on.add(u64::from(is_handed_on));
    }

    /// An accept may have been cancelled just as somebody came.
    fn take_some(&mut self, index: usize, number: ListenerNumber, most: u32) {
        for _ in 0..most {
            let Some(client) = self.driver.accept_now(number) else { return };
            self.count_accepted(index);
            self.open_or_wait(index, client);
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

//! What a worker starts: connections, and requests in the places that are free.

use std::rc::Rc;

use uring::{ConnectOptions, Readiness};

use super::slots::Asked;
use super::{CONNECTING_MAX, Phase, Place, QUEUE_MAX, Worker};
use crate::io::Io;
use crate::load::failure::Failure;
use crate::load::flow::State;
use crate::load::plan::{Address, Workload};

impl<I: Io> Worker<'_, I> {
    /// Opens what shall be open, and sends what is due, as far as the queue goes.
    pub(super) fn start_what_may(&mut self) {
        while self.queued < QUEUE_MAX && self.may_open() {
            let Some(index) = self.to_open.pop_front() else { break };
            self.open(index);
        }
        while self.queued < QUEUE_MAX && self.start_next() {}
        if let Phase::Running(offer) = &mut self.phase {
            offer.close(self.now_ns);
        }
    }

    /// Whether a place is free, and something due that it now has.
    fn start_next(&mut self) -> bool {
        let Some(place) = self.first_place() else { return false };
        match self.plan.workload {
            Workload::Ping | Workload::Http => self.send_batch(place),
            Workload::Conn => self.start_conn(place),
        }
    }

    /// While all connect, only so many at a time: a backlog that overflows costs a second.
    pub(super) fn may_open(&self) -> bool {
        match &self.phase {
            Phase::Connecting { .. } => self.connecting < CONNECTING_MAX,
            Phase::Waiting => true,
            Phase::Running(offer) => !offer.is_over(self.now_ns),
        }
    }

    /// The place that has been free for longest. Places whose connection is gone are dropped, those
    /// whose connection is sending wait for the end of that.
    pub(super) fn first_place(&mut self) -> Option<Place> {
        loop {
            let place = self.places.first()?;
            let slot = &mut self.slots[place.slot as usize];
            let is_of_now = slot.owner(place.slot).generation == place.generation;
            match (slot.flow.state(), self.plan.workload) {
                (State::Idle, Workload::Conn) if is_of_now => return Some(place),
                (State::Open, Workload::Ping | Workload::Http) if is_of_now => {
                    if slot.flow.can_send() {
                        return Some(place);
                    }
                    slot.hold(place.count, place.since_ns);
                }
                _ => {}
            }
            self.places.remove_first();
        }
    }

    /// Gives due requests to a place, in one send; whether there were any.
    fn send_batch(&mut self, place: Place) -> bool {
        let Phase::Running(offer) = &mut self.phase else { return false };
        let slot = &mut self.slots[place.slot as usize];
        let room = place.count.min(self.request.copies);
        let mut count = 0;
        while count < room {
            let Some(due) = offer.take(self.now_ns) else { break };
            slot.asked.push_back(Asked::new(due, place.since_ns));
            self.in_flight += u64::from(due.measured);
            count += 1;
        }
        if count == 0 {
            return false;
        }
        self.places.remove_first();
        slot.free -= count;
        slot.hold(place.count - count, place.since_ns);
        self.send(place.slot, count);
        true
    }

    /// Sends so many requests, which are asked already.
    pub(super) fn send(&mut self, index: u32, count: u32) {
        let slot = &mut self.slots[index as usize];
        let socket = slot.socket.as_ref().expect("a connection that sends has a socket");
        let bytes = count * self.request.len;
        self.io.send_whole(socket, self.request.buffer, 0..bytes, slot.owner(index));
        slot.flow.send();
        slot.sending = bytes;
        self.queued += 1;
        self.to_stamp.push(index);
        if self.recorder.counts_at(self.now_ns) {
            self.recorder.sent(bytes);
        }
    }

    /// Starts a connection for the request that is due; whether there was one.
    fn start_conn(&mut self, place: Place) -> bool {
        let Phase::Running(offer) = &mut self.phase else { return false };
        let Some(due) = offer.take(self.now_ns) else { return false };
        self.places.remove_first();
        let slot = &mut self.slots[place.slot as usize];
        slot.free = 0;
        slot.asked.push_back(Asked::new(due, place.since_ns));
        self.in_flight += u64::from(due.measured);
        self.open(place.slot);
        true
    }

    /// Starts the slot's next connection.
    fn open(&mut self, index: u32) {
        let socket = match uring::stream_socket(&self.address, &self.connect_options(index)) {
            Ok(socket) => socket,
            Err(error) => {
                let failure = Failure::from_errno(uring::errno(&error));
                self.connect_failed(index, failure);
                self.come_back(index);
                return;
            }
        };
        if self.plan.workload != Workload::Conn && matches!(self.plan.address, Address::Tcp(_)) {
            // A request must not wait for the acknowledgement of another. If it fails the
            // connection is as good, only slower.
            let _ = uring::set_nodelay(&socket);
        }
        let socket = Rc::new(socket);
        let slot = &mut self.slots[index as usize];
        let owner = slot.renew(index);
        self.io.connect(&socket, &self.address, owner);
        slot.socket = Some(socket);
        // For the sweep; the time of the enter is put in when it comes.
        slot.send_ns = 0;
        self.to_stamp.push(index);
        self.queued += 1;
        self.connecting += 1;
    }

    fn connect_options(&self, index: u32) -> ConnectOptions {
        let sources = &self.plan.sources;
        let turn = index as usize * self.plan.workers() + self.index;
        let source = sources.get(turn % sources.len().max(1)).copied();
        ConnectOptions { source, ..ConnectOptions::default() }
    }

    /// Starts a receive.
    pub(super) fn receive(&mut self, index: u32, readiness: Readiness) {
        let slot = &mut self.slots[index as usize];
        let socket = slot.socket.as_ref().expect("a connection that receives has a socket");
        self.io.recv(socket, readiness, slot.owner(index));
        slot.flow.receive();
        self.queued += 1;
    }
}

//! How operations end: what the simulated kernel does when it gets to one.

use uring::{Errno, Spliced};

use crate::core::Side;
use crate::core::relay::Held;
use crate::shard::driver::{Completion, Outcome, Readiness};
use crate::shard::sim::faults::Fault;
use crate::shard::sim::pipes::SimPipe;
use crate::shard::sim::plan::Answer;
use crate::shard::sim::tcp::{End, Read, Write};
use crate::shard::sim::world::World;

use super::{EXHAUSTED, InFlight, Ready, SimDriver, SimSocket, What};

impl SimDriver {
    /// Ends what can end now.
    pub(super) fn execute_all(&mut self) {
        let first = self.world.rng.usize(..=self.in_flight.len());
        self.in_flight.rotate_left(first);
        let mut index = 0;
        while index < self.in_flight.len() {
            let op = self.in_flight[index];
            let Some(outcome) = self.execute(op) else {
                index += 1;
                // Tried once: from now on it waits for something to read.
                if let What::Recv { eager, .. } = &mut self.in_flight[index - 1].what {
                    *eager &= self.world.now < op.not_before;
                }
                continue;
            };
            self.in_flight.swap_remove(index);
            let completion = Completion { token: op.token, outcome };
            self.ready.push(Ready { what: op.what, cancelled: op.cancelled, completion });
        }
    }

    fn execute(&mut self, op: InFlight) -> Option<Outcome<SimSocket>> {
        if self.world.now < op.not_before {
            return None;
        }
        if !op.cancelled {
            return self.perform(op.what);
        }
        let too_late =
            self.strike(Fault::CancelledTooLate).then(|| self.perform(op.what)).flatten();
        if let (None, What::Connect { link, answer: Answer::Accept }) = (&too_late, op.what)
            && self.strike(Fault::ConnectedAnyway)
        {
            self.world.answer(link);
        }
        Some(too_late.unwrap_or(Outcome::Failed(Errno::ECANCELED)))
    }

    fn perform(&mut self, what: What) -> Option<Outcome<SimSocket>> {
        match what {
            What::Accept { backlog } => self.perform_accept(backlog),
            What::Connect { link, answer: Answer::Accept } => {
                self.world.answer(link);
                Some(Outcome::Done(0))
            }
            What::Connect { answer: Answer::Refuse, .. } => {
                let errnos = [
                    Errno::ECONNREFUSED,
                    Errno::EHOSTUNREACH,
                    Errno::ETIMEDOUT,
                    Errno::EADDRNOTAVAIL,
                ];
                Some(Outcome::Failed(errnos[self.world.rng.usize(..errnos.len())]))
            }
            What::Connect { answer: Answer::Lose, .. } => None,
            What::Recv { link, eager } => self.perform_recv(link, eager),
            What::Send { link, held } => self.perform_send(link, held),
            What::Poll { link, readiness } => {
                let conn = &self.world.links[link].conn;
                let ready = match readiness {
                    Readiness::Readable => conn.is_readable(End::Balancer),
                    Readiness::Writable => conn.is_writable(End::Balancer),
                };
                ready.then_some(Outcome::Done(1))
            }
        }
    }

    fn perform_accept(&mut self, backlog: usize) -> Option<Outcome<SimSocket>> {
        if !self.world.has_waiting(backlog) {
            return None;
        }
        if self.strike(Fault::AcceptExhausted) {
            return Some(Outcome::Failed(EXHAUSTED[self.world.rng.usize(..EXHAUSTED.len())]));
        }
        let link = self.world.accept(backlog)?;
        if self.strike(Fault::AcceptAborted) {
            self.world.close(link, true);
            return Some(Outcome::Failed(Errno::ECONNABORTED));
        }
        Some(Outcome::Accepted(SimSocket { link }))
    }

    fn perform_recv(&mut self, link: usize, eager: bool) -> Option<Outcome<SimSocket>> {
        let readable = self.world.links[link].conn.is_readable(End::Balancer);
        // The kernel picks the buffer before it looks into the socket (io_recv in linux
        // io_uring/net.c), unless it was told to poll first.
        if (readable || eager) && self.buffers.free() == 0 {
            return Some(Outcome::NoBuffer);
        }
        if readable && self.strike(Fault::NoBuffer) {
            return Some(Outcome::NoBuffer);
        }
        let short = readable && self.strike(Fault::ShortRecv);
        let wrong = readable && self.strike(Fault::WrongMore);
        let World { links, rng, .. } = &mut self.world;
        let (buffer, space) = self.buffers.next(rng)?;
        let limit = if short { rng.usize(1..=space.len()) } else { space.len() };
        let conn = &mut links[link].conn;
        match conn.read(End::Balancer, &mut space[..limit]) {
            Read::Bytes(len) => {
                self.buffers.lend(buffer, len);
                let end = u32::try_from(len).expect("buffers are small");
                let more = conn.has_unread(End::Balancer) != wrong;
                Some(Outcome::Received(Held { buffer, start: 0, end, more }))
            }
            Read::EndOfStream => Some(Outcome::EndOfStream),
            Read::Failed(errno) => Some(Outcome::Failed(errno)),
            Read::Nothing => None,
        }
    }

    fn perform_send(&mut self, link: usize, held: Held) -> Option<Outcome<SimSocket>> {
        let has_room = self.world.links[link].conn.has_room(End::Balancer);
        let short = has_room && self.strike(Fault::ShortSend);
        let bytes = self.buffers.held(held);
        let limit = if short { self.world.rng.usize(1..=bytes.len()) } else { bytes.len() };
        match self.world.links[link].conn.write(End::Balancer, &bytes[..limit]) {
            Write::Taken(len) => {
                Some(Outcome::Done(u32::try_from(len).expect("buffers are small")))
            }
            Write::Failed(errno) => Some(Outcome::Failed(errno)),
            Write::Full => None,
        }
    }

    /// What recv(2) with MSG_PEEK does.
    pub(super) fn perform_peek(&mut self, link: usize, into: &mut [u8]) -> Result<usize, Errno> {
        match self.world.links[link].conn.peek(End::Balancer, into) {
            Read::Bytes(len) => Ok(len),
            Read::EndOfStream => Ok(0),
            Read::Failed(errno) => Err(errno),
            Read::Nothing => Err(Errno::EAGAIN),
        }
    }

    /// What recv(2) does.
    pub(super) fn perform_take(&mut self, link: usize, bytes: usize) -> Result<usize, Errno> {
        let conn = &mut self.world.links[link].conn;
        match conn.read(End::Balancer, &mut vec![0; bytes]) {
            Read::Bytes(len) => {
                conn.put_aside(End::Balancer, len);
                Ok(len)
            }
            Read::EndOfStream => Ok(0),
            Read::Failed(errno) => Err(errno),
            Read::Nothing => Err(Errno::EAGAIN),
        }
    }

    /// What send(2) does.
    pub(super) fn perform_send_now(&mut self, link: usize, bytes: &[u8]) -> Result<usize, Errno> {
        let is_backend = self.world.links[link].side == Side::Backend;
        let limit = self.limit(Fault::ShortHeader, bytes.len(), is_backend);
        match self.world.links[link].conn.write_first(End::Balancer, &bytes[..limit]) {
            Write::Taken(len) => {
                let peer = self.world.links[link].peer.as_mut().expect("it is connected");
                peer.expect_greeting(&bytes[..len]);
                Ok(len)
            }
            Write::Failed(errno) => Err(errno),
            Write::Full => Err(Errno::EAGAIN),
        }
    }

    /// What splice(2) from a socket does.
    pub(super) fn perform_fill(
        &mut self,
        pipe: &mut SimPipe,
        link: usize,
    ) -> Result<Spliced, Errno> {
        let unread = self.world.links[link].conn.has_unread(End::Balancer);
        let ended = self.world.links[link].conn.has_finished(End::Peer);
        if unread && ended && self.strike(Fault::SpliceEnd) {
            self.ledger.on_spliced(&self.world, link, false);
            return Ok(Spliced::EndOfStream);
        }
        if unread && self.strike(Fault::SpliceNothing) {
            return Ok(Spliced::NotNow);
        }
        let limit = self.limit(Fault::ShortFill, pipe.capacity, unread);
        let mut space = vec![0; limit];
        let read = self.world.links[link].conn.read(End::Balancer, &mut space);
        if read != Read::Nothing {
            self.ledger.on_spliced(&self.world, link, matches!(read, Read::Failed(_)));
        }
        match read {
            Read::Bytes(len) => {
                pipe.fill(link, &space[..len]);
                Ok(Spliced::Moved(u32::try_from(len).expect("pipes are small")))
            }
            Read::EndOfStream => Ok(Spliced::EndOfStream),
            Read::Failed(errno) => Err(errno),
            Read::Nothing => Ok(Spliced::NotNow),
        }
    }

    /// What splice(2) to a socket does.
    pub(super) fn perform_drain(
        &mut self,
        pipe: &mut SimPipe,
        link: usize,
    ) -> Result<Spliced, Errno> {
        let source = pipe.source.expect("a pipe is drained after it was filled");
        self.ledger.check_way(source, link);
        let has_room = self.world.links[link].conn.has_room(End::Balancer);
        let limit = self.limit(Fault::ShortDrain, pipe.bytes.len(), has_room);
        let bytes: Vec<u8> = pipe.bytes.iter().copied().take(limit).collect();
        let written = self.world.links[link].conn.write(End::Balancer, &bytes);
        if written != Write::Full {
            self.ledger.on_spliced(&self.world, link, matches!(written, Write::Failed(_)));
        }
        match written {
            Write::Taken(len) => {
                pipe.bytes.drain(..len);
                Ok(Spliced::Moved(u32::try_from(len).expect("pipes are small")))
            }
            Write::Failed(errno) => Err(errno),
            Write::Full => Ok(Spliced::NotNow),
        }
    }

    /// How much of `most` a call moves.
    fn limit(&mut self, fault: Fault, most: usize, possible: bool) -> usize {
        if possible && self.strike(fault) { self.world.rng.usize(1..=most) } else { most }
    }
}

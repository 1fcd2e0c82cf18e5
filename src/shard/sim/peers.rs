//! Clients and backends: each a script that writes its own stream, reads and checks the other's,
//! and leaves in one of many ways.

use std::collections::VecDeque;

use super::tcp::{Conn, End, Read, Write};

/// How a peer behaves, drawn before it begins.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// What it says before its stream, for the balancer to take.
    pub(super) preamble: Vec<u8>,
    pub(super) volume: Volume,
    pub(super) then: Then,
    pub(super) write_chunk: usize,
    pub(super) write_pause_ns: u64,
    pub(super) read_chunk: usize,
    pub(super) read_pause_ns: u64,
    /// Stops reading for a while after so many bytes: the bytes, and the nanoseconds.
    pub(super) stall: Option<(u64, u64)>,
    /// Resets the connection when it has read so many bytes.
    pub(super) reset_after_read: Option<u64>,
}

/// How much a peer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Volume {
    Fixed(u64),
    /// As much as it has read, until the other finishes.
    Echo,
}

/// What a peer does when it has written everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Finishes writing, and reads to the end.
    HalfClose,
    /// Closes at once, whatever is still to be read.
    Close,
    /// Resets the connection.
    Reset,
    /// Leaves the first step to the other.
    Wait,
}

/// One peer on one connection.
#[derive(Debug)]
pub(super) struct Peer {
    script: Script,
    /// Bytes of the balancer's own that come before the other's stream.
    greeting: VecDeque<u8>,
    sent: u64,
    got: u64,
    next_write_at: u64,
    next_read_at: u64,
    writing: bool,
    /// How what it reads ended; nothing if it left before.
    pub(super) saw: Option<Saw>,
    /// Whether it reset the connection, or left before it saw the end of what it reads.
    pub(super) left: bool,
    /// Whether a write told it of a reset.
    pub(super) write_failed: bool,
    gone: bool,
}

/// The end of a stream as a peer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saw {
    Finish,
    Reset,
}

impl Peer {
    pub(super) fn new(script: Script, now: u64) -> Self {
        Self {
            script,
            greeting: VecDeque::new(),
            sent: 0,
            got: 0,
            next_write_at: now,
            next_read_at: now,
            writing: true,
            saw: None,
            left: false,
            write_failed: false,
            gone: false,
        }
    }

    /// The balancer sends these bytes before the other's stream.
    pub(super) fn expect_greeting(&mut self, bytes: &[u8]) {
        assert_eq!(self.got, 0, "a greeting in the middle of the stream");
        self.greeting.extend(bytes);
    }

    /// Whether the peer is through.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Bytes of the balancer's own that were sent and not read.
    pub(super) fn unread_greeting(&self) -> u64 {
        self.greeting.len() as u64
    }

    /// Bytes that it has read, all of them checked.
    pub(super) fn got(&self) -> u64 {
        self.got
    }

    /// Does what can be done now; whether that was anything. `own` and `other` name the streams.
    pub(super) fn step(
        &mut self,
        conn: &mut Conn,
        own: usize,
        other: Option<usize>,
        now: u64,
        rng: &mut fastrand::Rng,
    ) -> bool {
        let mut progress = self.read(conn, other, now, rng);
        progress |= self.write(conn, own, now, rng);
        if !self.gone && !self.writing && self.saw.is_some() {
            self.close(conn, false, rng);
        }
        progress
    }

    fn read(
        &mut self,
        conn: &mut Conn,
        other: Option<usize>,
        now: u64,
        rng: &mut fastrand::Rng,
    ) -> bool {
        if self.gone || self.saw.is_some() || now < self.next_read_at {
            return false;
        }
        let mut space = [0; READ_MAX];
        match conn.read(End::Peer, &mut space[..self.script.read_chunk]) {
            Read::Nothing => return false,
            Read::Bytes(len) => {
                let greeted = self.check_greeting(&space[..len]);
                conn.put_aside(End::Peer, greeted);
                self.check(&space[greeted..len], other, now);
            }
            Read::EndOfStream => self.saw = Some(Saw::Finish),
            Read::Failed(_) => self.see_reset(),
        }
        if self.saw.is_none() && self.script.reset_after_read.is_some_and(|at| self.got >= at) {
            self.close(conn, true, rng);
        }
        true
    }

    /// How many of the bytes are of the greeting.
    fn check_greeting(&mut self, bytes: &[u8]) -> usize {
        let len = self.greeting.len().min(bytes.len());
        let expected: Vec<u8> = self.greeting.drain(..len).collect();
        assert_eq!(&bytes[..len], expected, "the greeting is another");
        len
    }

    fn check(&mut self, bytes: &[u8], other: Option<usize>, now: u64) {
        if bytes.is_empty() {
            return;
        }
        let other = other.expect("bytes came over a connection that no session has");
        for (index, &byte) in (self.got..).zip(bytes) {
            assert_eq!(byte, byte_at(other, index), "byte {index} of stream {other} is another");
        }
        self.got += bytes.len() as u64;
        self.next_read_at = now + self.script.read_pause_ns;
        if let Some((_, ns)) = self.script.stall.take_if(|(at, _)| self.got >= *at) {
            self.next_read_at += ns;
        }
    }

    fn write(&mut self, conn: &mut Conn, own: usize, now: u64, rng: &mut fastrand::Rng) -> bool {
        if self.gone || !self.writing || now < self.next_write_at {
            return false;
        }
        if !self.script.preamble.is_empty() {
            return self.write_preamble(conn, now);
        }
        let (goal, is_last) = match self.script.volume {
            Volume::Fixed(bytes) => (bytes, true),
            Volume::Echo => (self.got, self.saw.is_some()),
        };
        if self.sent < goal {
            self.write_chunk(conn, own, goal, now)
        } else {
            is_last && self.stop_writing(conn, rng)
        }
    }

    fn write_preamble(&mut self, conn: &mut Conn, now: u64) -> bool {
        let until = self.script.preamble.len().min(self.script.write_chunk);
        match conn.write(End::Peer, &self.script.preamble[..until]) {
            Write::Full => return false,
            Write::Taken(len) => {
                self.script.preamble.drain(..len);
                self.next_write_at = now + self.script.write_pause_ns;
            }
            Write::Failed(_) => self.see_reset(),
        }
        true
    }

    fn write_chunk(&mut self, conn: &mut Conn, own: usize, goal: u64, now: u64) -> bool {
        // What there is no room for is not made: most of the time of a simulation went into that.
        let most = self.script.write_chunk.min(conn.room(End::Peer));
        let until = goal.min(self.sent + most as u64);
        let chunk: Vec<u8> = (self.sent..until).map(|index| byte_at(own, index)).collect();
        match conn.write(End::Peer, &chunk) {
            Write::Full => return false,
            Write::Taken(len) => {
                self.sent += len as u64;
                self.next_write_at = now + self.script.write_pause_ns;
            }
            Write::Failed(_) => self.see_reset(),
        }
        true
    }

    fn stop_writing(&mut self, conn: &mut Conn, rng: &mut fastrand::Rng) -> bool {
        match self.script.then {
            Then::HalfClose => conn.finish(End::Peer),
            Then::Close => self.close(conn, false, rng),
            Then::Reset => self.close(conn, true, rng),
            Then::Wait if self.saw.is_none() => return false,
            Then::Wait => {}
        }
        self.writing = false;
        true
    }

    fn see_reset(&mut self) {
        self.writing = false;
        if self.saw.is_none() {
            self.saw = Some(Saw::Reset);
        } else {
            self.write_failed = true;
        }
    }

    fn close(&mut self, conn: &mut Conn, reset: bool, rng: &mut fastrand::Rng) {
        conn.close(End::Peer, reset, rng);
        (self.gone, self.left) = (true, reset || self.saw.is_none());
    }

    /// When the peer can do something although nothing happens to it.
    pub(super) fn next_at(&self, now: u64) -> Option<u64> {
        let write_at = self.writing.then_some(self.next_write_at);
        let read_at = self.saw.is_none().then_some(self.next_read_at);
        [write_at, read_at].into_iter().flatten().filter(|&at| at > now && !self.gone).min()
    }
}

/// The byte at `index` of what the peer on connection `stream` says: every stream is another.
pub(super) fn byte_at(stream: usize, index: u64) -> u8 {
    let mixed = ((stream as u64) << 40 ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes()[0]
}

/// The largest `read_chunk`.
pub(super) const READ_MAX: usize = 512;

//! A connection as the kernel shows it to its two ends: a bounded queue of bytes each way, FIN,
//! RST, and an error that is reported once.
//!
//! What is modelled, after Linux `net/ipv4/tcp.c` and `tcp_input.c`:
//! - Bytes and a FIN that came before a reset can still be read; then comes `ECONNRESET`, once
//!   (`sk_err` is taken by whoever sees it first, send or receive); after it, the end of the stream.
//! - A reset drops what its sender had queued and the receiver had not got.
//! - A close with unread bytes is a reset, not a FIN.
//! - What is sent to an end that has closed is taken, and answered with a reset.

use std::collections::VecDeque;

use uring::Errno;

/// Who does something to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Balancer = 0,
    Peer = 1,
}

/// One connection, both ends.
#[derive(Debug)]
pub(super) struct Conn {
    ends: [EndState; 2],
    /// By who writes into it.
    queues: [Queue; 2],
}

#[derive(Debug, Default)]
struct EndState {
    closed: bool,
    /// The other end has reset the connection.
    reset: bool,
    /// What the next send or receive reports.
    error: Option<Errno>,
}

/// What one end has written and the other has not yet read, and how much there ever was.
#[derive(Debug)]
pub(super) struct Queue {
    bytes: VecDeque<u8>,
    capacity: usize,
    fin: Fin,
    /// Bytes ever taken from the writer.
    pub(super) written: u64,
    /// Bytes ever given to the reader.
    pub(super) read: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    Unsent,
    Sent,
    Read,
}

/// What a read led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(usize),
    EndOfStream,
    Failed(Errno),
    /// It has to wait.
    Nothing,
}

/// What a write led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Taken(usize),
    Failed(Errno),
    /// It has to wait.
    Full,
}

impl End {
    const fn other(self) -> Self {
        match self {
            Self::Balancer => Self::Peer,
            Self::Peer => Self::Balancer,
        }
    }
}

impl Conn {
    /// A connection that stands; each queue holds `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        let queue =
            || Queue { bytes: VecDeque::new(), capacity, fin: Fin::Unsent, written: 0, read: 0 };
        Self { ends: Default::default(), queues: [queue(), queue()] }
    }

    /// Reads what the other end wrote, into `space`.
    pub(super) fn read(&mut self, end: End, space: &mut [u8]) -> Read {
        assert!(!self.is_closed(end), "{end:?} reads from a closed socket");
        let queue = &mut self.queues[end.other() as usize];
        let len = queue.bytes.len().min(space.len());
        if len > 0 {
            queue.bytes.drain(..len).zip(space).for_each(|(byte, place)| *place = byte);
            queue.read += len as u64;
            return Read::Bytes(len);
        }
        let state = &mut self.ends[end as usize];
        match (queue.fin, state.error.take()) {
            (Fin::Sent, error) => {
                state.error = error;
                queue.fin = Fin::Read;
                Read::EndOfStream
            }
            (Fin::Unsent | Fin::Read, Some(errno)) => Read::Failed(errno),
            (Fin::Read, None) => Read::EndOfStream,
            (Fin::Unsent, None) if state.reset => Read::EndOfStream,
            (Fin::Unsent, None) => Read::Nothing,
        }
    }

    /// Looks at what the other end wrote. An error is reported, and is no more, as by a read.
    pub(super) fn peek(&mut self, end: End, space: &mut [u8]) -> Read {
        let queue = &self.queues[end.other() as usize];
        let len = queue.bytes.len().min(space.len());
        if len > 0 {
            queue.bytes.iter().zip(space).for_each(|(byte, place)| *place = *byte);
            return Read::Bytes(len);
        }
        // `EndOfStream` is told again by the read: only the first look at it precedes an error.
        let fin = queue.fin;
        let read = self.read(end, space);
        self.queues[end.other() as usize].fin = fin;
        read
    }

    /// So many bytes that `end` has read were no part of the other's stream, and count as nobody's.
    pub(super) fn put_aside(&mut self, end: End, bytes: usize) {
        let queue = &mut self.queues[end.other() as usize];
        queue.read -= bytes as u64;
        queue.written -= bytes as u64;
    }

    /// How many bytes a write would take now; what a reset or a closed end makes of it aside.
    pub(super) fn room(&self, end: End) -> usize {
        let queue = &self.queues[end as usize];
        if self.ends[end.other() as usize].closed {
            return usize::MAX;
        }
        queue.capacity.saturating_sub(queue.bytes.len())
    }

    /// Writes as much of `bytes` as the queue has room for.
    pub(super) fn write(&mut self, end: End, bytes: &[u8]) -> Write {
        assert!(!self.is_closed(end), "{end:?} writes to a closed socket");
        let state = &mut self.ends[end as usize];
        if let Some(errno) = state.error.take() {
            return Write::Failed(errno);
        }
        if state.reset {
            return Write::Failed(Errno::EPIPE);
        }
        let len = self.room(end).min(bytes.len());
        let queue = &mut self.queues[end as usize];
        assert!(queue.fin == Fin::Unsent, "{end:?} writes after its FIN");
        if self.ends[end.other() as usize].closed {
            queue.written += len as u64;
            self.receive_reset(end);
            return Write::Taken(len);
        }
        queue.bytes.extend(&bytes[..len]);
        queue.written += len as u64;
        if len == 0 { Write::Full } else { Write::Taken(len) }
    }

    /// Writes into an empty queue, which in the kernel is never too small for a few words.
    pub(super) fn write_first(&mut self, end: End, bytes: &[u8]) -> Write {
        let queue = &mut self.queues[end as usize];
        let capacity = queue.capacity;
        if queue.bytes.is_empty() {
            queue.capacity = capacity.max(bytes.len());
        }
        let write = self.write(end, bytes);
        self.queues[end as usize].capacity = capacity;
        write
    }

    /// `shutdown(SHUT_WR)`; nothing on a connection that was reset.
    pub(super) fn finish(&mut self, end: End) {
        assert!(!self.is_closed(end), "{end:?} finishes on a closed socket");
        let queue = &mut self.queues[end as usize];
        if !self.ends[end as usize].reset && queue.fin == Fin::Unsent {
            queue.fin = Fin::Sent;
        }
    }

    /// Closes; whether the other end sees a reset of it. What a reset overtakes is drawn from `rng`.
    pub(super) fn close(&mut self, end: End, reset: bool, rng: &mut fastrand::Rng) -> bool {
        assert!(!self.is_closed(end), "{end:?} closes a socket twice");
        let unread = !self.queues[end.other() as usize].bytes.is_empty();
        self.ends[end as usize].closed = true;
        if self.ends[end as usize].reset || self.is_closed(end.other()) {
            return false;
        }
        if reset || unread {
            self.queues[end as usize].lose_some(rng);
            self.receive_reset(end.other());
            return true;
        }
        let queue = &mut self.queues[end as usize];
        if queue.fin == Fin::Unsent {
            queue.fin = Fin::Sent;
        }
        false
    }

    fn receive_reset(&mut self, end: End) {
        let state = &mut self.ends[end as usize];
        if !state.reset {
            (state.reset, state.error) = (true, Some(Errno::ECONNRESET));
        }
    }

    /// Whether `end` has closed its socket.
    pub(super) fn is_closed(&self, end: End) -> bool {
        self.ends[end as usize].closed
    }

    /// Whether `end` has read everything, the end of the stream included.
    pub(super) fn has_read_all(&self, end: End) -> bool {
        let queue = &self.queues[end.other() as usize];
        queue.bytes.is_empty() && queue.fin == Fin::Read
    }

    /// Whether `end` was sent a reset, noticed or not.
    pub(super) fn was_reset(&self, end: End) -> bool {
        self.ends[end as usize].reset
    }

    /// Whether a read by `end` would not have to wait.
    pub(super) fn is_readable(&self, end: End) -> bool {
        let fin = self.queues[end.other() as usize].fin != Fin::Unsent;
        self.has_unread(end) || fin || self.ends[end as usize].reset
    }

    /// Whether a write by `end` would be taken, were the connection sound.
    pub(super) fn has_room(&self, end: End) -> bool {
        let queue = &self.queues[end as usize];
        queue.bytes.len() < queue.capacity
    }

    /// Whether a write by `end` would do something at once.
    pub(super) fn is_writable(&self, end: End) -> bool {
        let peer_closed = self.ends[end.other() as usize].closed;
        self.has_room(end) || self.ends[end as usize].reset || peer_closed
    }

    /// Whether there are bytes that `end` has not read.
    pub(super) fn has_unread(&self, end: End) -> bool {
        !self.queues[end.other() as usize].bytes.is_empty()
    }

    /// Whether `end` has sent a FIN.
    pub(super) fn has_finished(&self, end: End) -> bool {
        self.queues[end as usize].fin != Fin::Unsent
    }

    /// What `end` wrote.
    pub(super) fn written_by(&self, end: End) -> &Queue {
        &self.queues[end as usize]
    }
}

impl Queue {
    /// A reset overtakes the end of what its sender had queued, and the FIN behind it.
    fn lose_some(&mut self, rng: &mut fastrand::Rng) {
        let kept = rng.usize(..=self.bytes.len());
        let lost = kept < self.bytes.len() || rng.bool();
        self.bytes.truncate(kept);
        if lost && self.fin == Fin::Sent {
            self.fin = Fin::Unsent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_reads(conn: &mut Conn, expected: &[Read]) {
        let mut space = [0; 8];
        let reads: Vec<Read> =
            expected.iter().map(|_| conn.read(End::Balancer, &mut space)).collect();
        assert_eq!(reads, expected);
    }

    #[test]
    fn an_error_is_reported_once_and_then_the_stream_ends() {
        let mut conn = Conn::new(8);
        conn.close(End::Peer, true, &mut fastrand::Rng::with_seed(1));
        check_reads(&mut conn, &[Read::Failed(Errno::ECONNRESET), Read::EndOfStream]);
        assert_eq!(conn.write(End::Balancer, b"x"), Write::Failed(Errno::EPIPE));
    }

    #[test]
    fn a_send_that_reports_the_error_leaves_the_receive_a_clean_end() {
        let mut conn = Conn::new(8);
        conn.close(End::Peer, true, &mut fastrand::Rng::with_seed(1));
        assert_eq!(conn.write(End::Balancer, b"x"), Write::Failed(Errno::ECONNRESET));
        check_reads(&mut conn, &[Read::EndOfStream]);
    }

    #[test]
    fn a_look_leaves_bytes_and_the_end_and_takes_an_error() {
        let mut conn = Conn::new(8);
        let mut space = [0; 8];
        assert_eq!(conn.peek(End::Balancer, &mut space), Read::Nothing);
        assert_eq!(conn.write(End::Peer, b"bytes"), Write::Taken(5));
        conn.finish(End::Peer);
        assert_eq!(conn.peek(End::Balancer, &mut space), Read::Bytes(5));
        check_reads(&mut conn, &[Read::Bytes(5)]);
        assert_eq!(conn.peek(End::Balancer, &mut space), Read::EndOfStream);
        conn.close(End::Peer, true, &mut fastrand::Rng::with_seed(1));
        // The end comes first, and only who reads it gets to the error.
        assert_eq!(conn.peek(End::Balancer, &mut space), Read::EndOfStream);

        let mut conn = Conn::new(8);
        conn.close(End::Peer, true, &mut fastrand::Rng::with_seed(1));
        assert_eq!(conn.peek(End::Balancer, &mut space), Read::Failed(Errno::ECONNRESET));
        check_reads(&mut conn, &[Read::EndOfStream]);
    }

    #[test]
    fn a_close_with_unread_bytes_is_a_reset() {
        let mut conn = Conn::new(8);
        assert_eq!(conn.write(End::Balancer, b"unread"), Write::Taken(6));
        assert!(conn.close(End::Peer, false, &mut fastrand::Rng::with_seed(1)));
        check_reads(&mut conn, &[Read::Failed(Errno::ECONNRESET)]);
    }

    #[test]
    fn what_is_sent_to_a_closed_end_is_answered_with_a_reset() {
        let mut conn = Conn::new(8);
        assert!(!conn.close(End::Peer, false, &mut fastrand::Rng::with_seed(1)));
        check_reads(&mut conn, &[Read::EndOfStream]);
        assert_eq!(conn.write(End::Balancer, b"x"), Write::Taken(1));
        assert_eq!(conn.write(End::Balancer, b"x"), Write::Failed(Errno::ECONNRESET));
    }
}

//! The backends of a soak: one thread over epoll(7), so that ten thousand connections are cheap.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::{SOCK_CLOEXEC, SOCK_NONBLOCK};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::Socket;
use uring::{Listen, ListenOptions};

use super::talk::{self, Kind, REQUEST_BYTES, RIGHT, Request, WRONG};

/// Listeners and their connections.
pub(super) struct Backends {
    epoll: Epoll,
    listeners: Vec<Socket>,
    conns: HashMap<u64, Conn>,
    next: u64,
    buffer: Vec<u8>,
    /// Connections that carried other bytes than they should.
    wrong: u64,
}

struct Conn {
    socket: Socket,
    talk: Talk,
    /// What is owed and had no room yet.
    out: Vec<u8>,
    waits_for: EpollFlags,
}

/// Where a conversation is. No sockets here.
#[derive(Debug, Default)]
struct Talk {
    head: Vec<u8>,
    /// The request that is being answered, and how far it is.
    now: Option<(Request, u32)>,
    sunk_wrong: bool,
    finished_writing: bool,
    leaves: bool,
    wrong: bool,
}

impl Backends {
    /// `count` backends on ports that the kernel chooses.
    pub(super) fn listen(count: usize) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listeners = Vec::new();
        for index in 0..count as u64 {
            let how = Listen {
                address,
                backlog: BACKLOG,
                shared: false,
                options: ListenOptions::default(),
            };
            let listener: Socket = uring::listen(&how).map_err(io::Error::other)?.into();
            epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, index))?;
            listeners.push(listener);
        }
        let (conns, next) = (HashMap::new(), count as u64);
        Ok(Self { epoll, listeners, conns, next, buffer: vec![0; BUFFER_BYTES], wrong: 0 })
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(uring::local_address).collect()
    }

    /// Answers until `ended` says so, which is asked a few times a second; how many connections
    /// carried wrong bytes.
    pub(super) fn serve(mut self, ended: impl Fn() -> bool) -> io::Result<u64> {
        let mut events = vec![EpollEvent::empty(); 256];
        while !ended() {
            let count = match self.epoll.wait(&mut events, EpollTimeout::from(100_u8)) {
                Err(Errno::EINTR) => 0,
                waited => waited?,
            };
            for event in &events[..count] {
                let key = event.data();
                match usize::try_from(key).ok().filter(|&index| index < self.listeners.len()) {
                    Some(index) => self.accept(index)?,
                    None => self.on_event(key),
                }
            }
        }
        Ok(self.wrong)
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        loop {
            let socket = match self.listeners[index].accept4(SOCK_NONBLOCK | SOCK_CLOEXEC) {
                Ok((socket, _)) => socket,
                Err(error) => match uring::errno(&error) {
                    Errno::EAGAIN => return Ok(()),
                    Errno::ECONNABORTED | Errno::EINTR => continue,
                    _ => return Err(error),
                },
            };
            let waits_for = EpollFlags::EPOLLIN;
            self.epoll.add(&socket, EpollEvent::new(waits_for, self.next))?;
            let conn = Conn { socket, talk: Talk::default(), out: Vec::new(), waits_for };
            self.conns.insert(self.next, conn);
            self.next += 1;
        }
    }

    fn on_event(&mut self, key: u64) {
        let Some(conn) = self.conns.get_mut(&key) else { return };
        match conn.serve(&mut self.buffer) {
            Ok(waits_for) if !waits_for.is_empty() => {
                if waits_for != conn.waits_for {
                    conn.waits_for = waits_for;
                    let mut event = EpollEvent::new(waits_for, key);
                    self.epoll.modify(&conn.socket, &mut event).expect("it was added");
                }
            }
            _ => {
                self.wrong += u64::from(conn.talk.wrong);
                self.conns.remove(&key);
            }
        }
    }
}

impl Conn {
    /// Sends what is owed, then reads; what to wait for, nothing when the connection has ended.
    fn serve(&mut self, buffer: &mut [u8]) -> Result<EpollFlags, Errno> {
        for _ in 0..ROUNDS {
            if self.out.is_empty() {
                self.talk.produce(&mut self.out);
            }
            if !self.out.is_empty() {
                match send(self.socket.as_raw_fd(), &self.out, MsgFlags::MSG_NOSIGNAL) {
                    Ok(sent) => drop(self.out.drain(..sent)),
                    Err(Errno::EAGAIN) => return Ok(EpollFlags::EPOLLOUT),
                    Err(error) => return Err(error),
                }
                continue;
            }
            // Ten thousand idle connections: none keeps the memory of its largest answer.
            self.out = Vec::new();
            if self.talk.finished_writing {
                let _ = uring::finish_writing(&self.socket);
            }
            if self.talk.leaves {
                return Ok(EpollFlags::empty());
            }
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) => return Ok(EpollFlags::empty()),
                Ok(received) => self.talk.on_bytes(&buffer[..received], &mut self.out),
                Err(Errno::EAGAIN) => return Ok(EpollFlags::EPOLLIN),
                Err(error) => return Err(error),
            }
        }
        // Others have their turn; epoll tells of this one again at once.
        let owes = !self.out.is_empty() || self.talk.sends();
        Ok(if owes { EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN })
    }
}

impl Talk {
    /// Bytes came; the answer, as far as it is known, goes to `out`.
    fn on_bytes(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() && !self.leaves {
            let Some((request, at)) = &mut self.now else {
                let missing = REQUEST_BYTES - self.head.len();
                let (head, tail) = bytes.split_at(missing.min(bytes.len()));
                self.head.extend_from_slice(head);
                bytes = tail;
                self.begin();
                continue;
            };
            let left = (request.len - *at) as usize;
            let (mine, tail) = bytes.split_at(left.min(bytes.len()));
            bytes = tail;
            match request.kind {
                Kind::Echo => out.extend_from_slice(mine),
                Kind::Sink => self.sunk_wrong |= !talk::is_right(request.seed, *at, mine),
                // The client waits for its answer before it says more.
                Kind::Source | Kind::SourceAndFinish | Kind::Leave => return self.is_wrong(),
            }
            *at += u32::try_from(mine.len()).expect("a buffer is small");
            if *at == request.len {
                self.end(out);
            }
        }
    }

    fn begin(&mut self) {
        let Ok(head) = <&[u8; REQUEST_BYTES]>::try_from(self.head.as_slice()) else { return };
        match Request::unpack(head) {
            Some(Request { kind: Kind::Leave, .. }) => self.leaves = true,
            Some(request) if request.len > 0 => self.now = Some((request, 0)),
            _ => self.is_wrong(),
        }
        self.head.clear();
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let Some((request, _)) = self.now.take() else { return };
        match request.kind {
            Kind::Sink => {
                let wrong = std::mem::take(&mut self.sunk_wrong);
                self.wrong |= wrong;
                // After the end there is nobody to tell; it is counted here all the same.
                if !self.finished_writing {
                    out.push(if wrong { WRONG } else { RIGHT });
                }
            }
            Kind::SourceAndFinish => self.finished_writing = true,
            Kind::Echo | Kind::Source | Kind::Leave => {}
        }
    }

    /// Whether a stream that this side sends is not at its end.
    fn sends(&self) -> bool {
        let kind = self.now.map(|(request, _)| request.kind);
        matches!(kind, Some(Kind::Source | Kind::SourceAndFinish))
    }

    /// Adds the next bytes of a stream that this side sends, if there is one.
    fn produce(&mut self, out: &mut Vec<u8>) {
        let Some((Request { kind: Kind::Source | Kind::SourceAndFinish, seed, len }, at)) =
            &mut self.now
        else {
            return;
        };
        let left = (*len - *at) as usize;
        let bytes = talk::pattern(*seed, *at, left.min(BUFFER_BYTES));
        out.extend_from_slice(bytes);
        *at += u32::try_from(bytes.len()).expect("a block is small");
        if *at == *len {
            self.end(out);
        }
    }

    /// What came is not what a client says: the connection ends, and is counted.
    fn is_wrong(&mut self) {
        self.wrong = true;
        self.leaves = true;
    }
}

const BUFFER_BYTES: usize = 64 * 1024;
const ROUNDS: u32 = 8;
const BACKLOG: u16 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(kind: Kind, seed: u32, len: u32) -> Vec<u8> {
        Request { kind, seed, len }.pack().to_vec()
    }

    #[test]
    fn bytes_in_any_pieces_get_the_same_answer() {
        let mut said = ask(Kind::Echo, 1, 3);
        said.extend_from_slice(b"abc");
        said.extend(ask(Kind::Sink, 5, 4));
        said.extend_from_slice(talk::pattern(5, 0, 4));
        said.extend(ask(Kind::Leave, 0, 0));
        for piece in [1, 2, 5, said.len()] {
            let (mut talk, mut out) = (Talk::default(), Vec::new());
            said.chunks(piece).for_each(|bytes| talk.on_bytes(bytes, &mut out));
            assert_eq!(out, [b"abc".as_slice(), &[RIGHT]].concat(), "in pieces of {piece}");
            assert!(talk.leaves && !talk.wrong);
        }
    }

    #[test]
    fn wrong_bytes_are_told_and_counted() {
        let (mut talk, mut out) = (Talk::default(), Vec::new());
        talk.on_bytes(&ask(Kind::Sink, 5, 4), &mut out);
        talk.on_bytes(&[talk::pattern(5, 0, 1), talk::pattern(5, 0, 3)].concat(), &mut out);
        assert_eq!((out.as_slice(), talk.wrong), ([WRONG].as_slice(), true));
        let (mut talk, mut out) = (Talk::default(), Vec::new());
        talk.on_bytes(&[b'x'; REQUEST_BYTES], &mut out);
        assert!(talk.wrong && talk.leaves);
    }

    #[test]
    fn a_stream_is_as_long_as_it_was_asked_for_and_ends() {
        let (mut talk, mut out) = (Talk::default(), Vec::new());
        talk.on_bytes(&ask(Kind::SourceAndFinish, 3, 300_000), &mut out);
        while talk.sends() {
            talk.produce(&mut out);
        }
        assert_eq!(out.len(), 300_000);
        assert!(talk::is_right(3, 0, &out) && talk.finished_writing && !talk.leaves);
    }
}

//! The engine for hosts without io_uring: what is queued is tried when it is submitted, and waits
//! for epoll when it would block.

mod watched;

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use ::uring::{BufferId, Completion, Config, Errno, Owner, Poller, Readiness, SetupError, Token};
use nix::sys::epoll::EpollEvent;
use socket2::SockAddr;

use super::buffers::Buffers;
use super::{Io, Socket};
use watched::{Output, Watched};

/// An epoll instance, the sockets that it watches, and what waits for them.
#[derive(Debug)]
pub(crate) struct Epoll {
    poller: Poller,
    /// By the number of the descriptor, which is not given to another while it is here.
    sockets: Vec<Option<Watched>>,
    /// The socket of each owner's last operation, by slot.
    places: Vec<RawFd>,
    /// What shall be tried when it is submitted, in order.
    queue: Vec<Queued>,
    /// What has ended and was not told.
    answers: VecDeque<Completion>,
    buffers: Buffers,
    events: Vec<EpollEvent>,
    /// Whether the last wait did without a look at epoll.
    looked_away: bool,
}

#[derive(Clone, Copy, Debug)]
enum Queued {
    Input(RawFd),
    Output(RawFd),
    Cancel(Token),
}

impl Epoll {
    fn watched(&mut self, socket: &Socket, owner: Owner) -> &mut Watched {
        let (number, slot) = (socket.as_raw_fd(), owner.slot as usize);
        if slot >= self.places.len() {
            self.places.resize(slot + 1, NOWHERE);
        }
        self.places[slot] = number;
        let index = index(number);
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index].get_or_insert_with(|| Watched::new(socket.clone()))
    }

    fn find(&mut self, number: RawFd) -> Option<&mut Watched> {
        usize::try_from(number).ok().and_then(|index| self.sockets.get_mut(index)?.as_mut())
    }

    /// Tries everything that is queued.
    fn submit(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        for queued in queue.drain(..) {
            match queued {
                Queued::Input(number) => self.attempt(number, true, false),
                Queued::Output(number) => self.attempt(number, false, true),
                Queued::Cancel(target) => self.cancel_now(target),
            }
        }
        self.queue = queue;
    }

    /// Tries what waits at a socket; what goes on waiting is told by epoll.
    fn attempt(&mut self, number: RawFd, input: bool, output: bool) {
        let Self { sockets, buffers, answers, poller, .. } = self;
        let Some(watched) = sockets[index(number)].as_mut() else { return };
        if input {
            answers.extend(watched.try_input(buffers));
        }
        if output {
            answers.extend(watched.try_output(buffers));
        }
        if let Err(errno) = watched.watch(poller, data(number)) {
            answers.extend(watched.give_up(errno));
        }
    }

    fn cancel_now(&mut self, target: Token) {
        let place = self.places.get(target.owner.slot as usize).copied().unwrap_or(NOWHERE);
        let outcome = self.find(place).and_then(|watched| watched.cancel(target));
        // Otherwise it has just ended, and its answer is on its way.
        self.answers.extend(outcome.map(|outcome| Completion { token: target, outcome }));
    }

    /// Waits for events, or only looks, and answers what they make possible; whether a signal came
    /// first.
    fn look(&mut self, timeout: Option<Duration>) -> std::io::Result<bool> {
        self.looked_away = false;
        let count = match self.poller.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        };
        for at in 0..count {
            let event = self.events[at];
            let number = number(event.data());
            if let Some(watched) = self.find(number) {
                watched.note(event.events());
                self.attempt(number, true, true);
            }
        }
        Ok(false)
    }

    fn wait(&mut self, want: usize, timeout: Option<Duration>) -> std::io::Result<()> {
        let started_ns = ::uring::monotonic_ns();
        let mut left = timeout;
        while !self.look(left)? && self.answers.len() < want {
            if let Some(timeout) = timeout {
                let waited = Duration::from_nanos(::uring::monotonic_ns() - started_ns);
                if waited >= timeout {
                    break;
                }
                left = Some(timeout - waited);
            }
        }
        Ok(())
    }

    fn forget(&mut self, socket: &Socket) {
        if let Some(place) = self.sockets.get_mut(index(socket.as_raw_fd()))
            && let Some(watched) = place.take()
        {
            debug_assert!(!watched.is_busy(), "a socket is closed with something in flight");
        }
    }
}

impl Io for Epoll {
    fn open(config: &Config) -> Result<Self, SetupError> {
        Ok(Self {
            poller: Poller::new().map_err(SetupError::Resources)?,
            sockets: Vec::new(),
            places: Vec::new(),
            queue: Vec::new(),
            answers: VecDeque::new(),
            buffers: Buffers::new(config.buffers, config.buffer_bytes, config.reserved),
            events: vec![EpollEvent::empty(); EVENTS],
            looked_away: false,
        })
    }

    fn connect(&mut self, socket: &Socket, address: &SockAddr, owner: Owner) {
        self.watched(socket, owner).start_output(Output::Connect(owner, address.clone()));
        self.queue.push(Queued::Output(socket.as_raw_fd()));
    }

    fn send_whole(&mut self, socket: &Socket, buffer: BufferId, range: Range<u32>, owner: Owner) {
        self.watched(socket, owner).start_output(Output::Send { owner, buffer, range, sent: 0 });
        self.queue.push(Queued::Output(socket.as_raw_fd()));
    }

    /// Whether it is empty is known here: epoll tells.
    fn recv(&mut self, socket: &Socket, _readiness: Readiness, owner: Owner) {
        self.watched(socket, owner).start_input(owner);
        self.queue.push(Queued::Input(socket.as_raw_fd()));
    }

    fn cancel(&mut self, target: Token) {
        self.queue.push(Queued::Cancel(target));
    }

    fn close(&mut self, socket: Socket) {
        // Closed with the last of its owners, it is watched no more (epoll(7)).
        self.forget(&socket);
    }

    fn reset(&mut self, socket: Socket) {
        self.forget(&socket);
        if let Some(fd) = std::rc::Rc::into_inner(socket) {
            ::uring::close_with_reset(fd);
        }
    }

    fn submit_and_wait(&mut self, want: u32, timeout: Option<Duration>) -> std::io::Result<()> {
        self.submit();
        let want = want as usize;
        if self.answers.len() < want {
            self.wait(want, timeout)
        } else if want > 0 && !self.looked_away {
            // There is enough to do; but not twice without a look at who else has something.
            self.looked_away = true;
            Ok(())
        } else {
            self.look(Some(Duration::ZERO)).map(drop)
        }
    }

    fn completions(&mut self, out: &mut Vec<Completion>) {
        let count = self.answers.len().min(out.capacity() - out.len());
        out.extend(self.answers.drain(..count));
    }

    fn bytes(&self, buffer: BufferId, range: Range<u32>) -> &[u8] {
        self.buffers.bytes(buffer, range)
    }

    fn bytes_mut(&mut self, buffer: BufferId) -> &mut [u8] {
        self.buffers.space(buffer)
    }

    fn release(&mut self, buffer: BufferId) {
        self.buffers.release(buffer);
    }

    fn take_reserved(&mut self) -> Option<BufferId> {
        self.buffers.take_reserved()
    }

    fn buffers_free(&self) -> u16 {
        self.buffers.free()
    }
}

fn index(number: RawFd) -> usize {
    usize::try_from(number).expect("an open descriptor is not negative")
}

fn data(number: RawFd) -> u64 {
    u64::try_from(number).expect("an open descriptor is not negative")
}

fn number(data: u64) -> RawFd {
    RawFd::try_from(data).expect("it was made of one")
}

/// No descriptor.
const NOWHERE: RawFd = -1;
/// Told by one wait at most; more are told by the next.
const EVENTS: usize = 256;

//! A listener: it is watched level-triggered, so that a batch of accepts may leave clients behind,
//! and only while somebody wants them.

use std::os::fd::OwnedFd;

use nix::sys::epoll::EpollFlags;
use uring::{Errno, Owner, Poller};

/// A listener and the accepts that wait.
#[derive(Debug)]
pub(super) struct Listener {
    fd: OwnedFd,
    /// What comes with each event.
    data: u64,
    accepts: Vec<Owner>,
    /// Whether epoll tells of clients. When it does not, there was one that nobody wanted, so the next
    /// accept is tried at once.
    watched: bool,
    /// Tries for one event. An accept that finds nobody costs as much as one that finds somebody, so
    /// there is one try until clients come in crowds.
    tries: u32,
}

/// What became of one accept.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) owner: Owner,
    pub(super) result: Result<OwnedFd, Errno>,
}

impl Listener {
    /// Lets `poller` watch it; `data` comes with each event.
    pub(super) fn new(fd: OwnedFd, poller: &Poller, data: u64) -> Result<Self, Errno> {
        poller.add(&fd, EpollFlags::EPOLLIN, data)?;
        Ok(Self { fd, data, accepts: Vec::new(), watched: true, tries: 1 })
    }

    /// One more client is wanted.
    pub(super) fn want(&mut self, owner: Owner) {
        self.accepts.push(owner);
    }

    /// Whether a client waited when nobody wanted one.
    pub(super) fn is_worth_a_try(&self) -> bool {
        !self.watched
    }

    /// Whether the accept was waiting; it is not any more.
    pub(super) fn cancel(&mut self, owner: Owner) -> bool {
        let waiting = self.accepts.iter().position(|&accept| accept == owner);
        waiting.map(|index| self.accepts.swap_remove(index)).is_some()
    }

    /// A client waits. Takes as many as are wanted, up to a batch that grows while it is used up.
    pub(super) fn on_event(&mut self, poller: &Poller, answer: &mut dyn FnMut(Accepted)) {
        if self.accepts.is_empty() {
            // Level-triggered, it would be told again and again.
            self.watch(poller, false);
            return;
        }
        for _ in 0..self.tries {
            match self.accept(answer) {
                Took::One => {}
                Took::Nobody => {
                    self.tries = 1;
                    return;
                }
                Took::NoneWanted => return,
            }
        }
        self.tries = (self.tries * 2).min(MOST_TRIES);
    }

    /// Tries one accept although nothing was told.
    pub(super) fn try_once(&mut self, poller: &Poller, answer: &mut dyn FnMut(Accepted)) {
        if let Took::Nobody = self.accept(answer) {
            self.watch(poller, true);
        }
    }

    /// Watches it no more. Closing alone does not end that where other shards have the same listener
    /// by another descriptor (epoll(7)).
    pub(super) fn close(self, poller: &Poller) {
        debug_assert!(self.accepts.is_empty(), "a listener is closed with accepts in flight");
        poller.delete(&self.fd).expect("it was added, and is open");
    }

    /// Takes a client at once, if one waits.
    pub(super) fn accept_now(&self) -> Option<OwnedFd> {
        uring::try_accept(&self.fd).ok()
    }

    fn accept(&mut self, answer: &mut dyn FnMut(Accepted)) -> Took {
        let Some(owner) = self.accepts.pop() else { return Took::NoneWanted };
        match uring::try_accept(&self.fd) {
            Err(Errno::EAGAIN) => {
                self.accepts.push(owner);
                Took::Nobody
            }
            // Trying again finds the same until something is freed: who wants a client is told, and
            // wants one again when that may help.
            Err(shortage @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)) => {
                answer(Accepted { owner, result: Err(shortage) });
                for owner in self.accepts.drain(..) {
                    answer(Accepted { owner, result: Err(shortage) });
                }
                Took::NoneWanted
            }
            result => {
                answer(Accepted { owner, result });
                Took::One
            }
        }
    }

    fn watch(&mut self, poller: &Poller, watched: bool) {
        let events = if watched { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
        poller.modify(&self.fd, events, self.data).expect("it was added, and is open");
        self.watched = watched;
    }
}

enum Took {
    One,
    /// Nobody waits.
    Nobody,
    /// Nobody is wanted any more.
    NoneWanted,
}

/// As many as a shard wants at a time.
const MOST_TRIES: u32 = 64;

//! Moving bytes through pipes, for directions that are bulk.

use tracing::{debug, warn};
use uring::{Errno, Owner, Spliced};

use crate::core::relay::{Event, PathChange};
use crate::core::{Direction, PipeId};
use crate::shard::driver::Driver;
use crate::shard::pipes::NoPipe;

use super::{ALIVE, Shard};

/// What the failure of a send says of the peer. The kernel says `EPIPE` first only where the peer's end
/// of the stream has come before its reset (tcp_reset in net/ipv4/tcp_input.c): it had closed, and did
/// not want what was sent since.
pub(super) fn send_failed(errno: Errno) -> Event {
    match errno {
        Errno::EPIPE => Event::DestinationEnded,
        _ => Event::SendFailed,
    }
}

impl<D: Driver> Shard<D> {
    /// Lends a pipe and fills it from the direction's source.
    pub(super) fn fill(&mut self, owner: Owner, direction: Direction) -> Event {
        let Some(pipe) = self.lend_pipe() else { return Event::NoPipe };
        let entry = self.sessions.find(owner).expect(ALIVE);
        let source = entry.socket(direction.source());
        let filled = self.driver.fill(self.pipes.lent(pipe), source);
        if let Ok(Spliced::Moved(_)) = filled {
            return Event::Filled(pipe);
        }
        self.pipes.give_back(pipe);
        match filled {
            Ok(Spliced::EndOfStream) => Event::FilledEnd,
            Ok(_) => Event::FilledNothing,
            Err(errno) => {
                debug!(slot = owner.slot, side = ?direction.source(), %errno, "splice from it failed");
                Event::RecvFailed
            }
        }
    }

    /// Empties `pipe` into the direction's destination, and gives it back if it is empty then.
    pub(super) fn drain(&mut self, owner: Owner, direction: Direction, pipe: PipeId) -> Event {
        let entry = self.sessions.find(owner).expect(ALIVE);
        let destination = entry.socket(direction.destination());
        let lent = self.pipes.lent(pipe);
        match self.driver.drain(lent, destination) {
            Ok(Spliced::Moved(bytes)) => {
                let empty = self.driver.held(lent) == 0;
                if empty {
                    self.pipes.give_back(pipe);
                }
                self.counters().spliced(direction).add(bytes.into());
                Event::Drained { bytes, empty }
            }
            Ok(Spliced::NotNow | Spliced::EndOfStream) => Event::Drained { bytes: 0, empty: false },
            Err(errno) => {
                debug!(slot = owner.slot, side = ?direction.destination(), %errno, "splice to it failed");
                send_failed(errno)
            }
        }
    }

    /// Closes a pipe with bytes in it.
    pub(super) fn close_pipe(&mut self, pipe: PipeId) {
        self.counters().pipe_closed_full.add(1);
        self.pipes.close(pipe);
    }

    fn lend_pipe(&mut self) -> Option<PipeId> {
        let Self { pipes, driver, .. } = self;
        let lent = pipes.lend(self.now, || driver.make_pipe());
        match lent {
            Ok(pipe) => return Some(pipe),
            Err(NoPipe::AllLent) => self.counters().pipe_all_lent.add(1),
            Err(NoPipe::Failed(errno)) => {
                self.counters().pipe_failed.add(1);
                self.tell_no_pipe(errno);
            }
        }
        None
    }

    fn tell_no_pipe(&mut self, errno: Option<Errno>) {
        let Some(errno) = errno.filter(|_| self.may_warn()) else { return };
        let cure = match errno {
            Errno::EPERM => {
                "pipes of a useful size are used up for this user; raise fs.pipe-user-pages-soft, \
                 or close other programs' pipes"
            }
            Errno::EMFILE => "raise `ulimit -n`",
            _ => "raise fs.file-max",
        };
        warn!("no pipe to splice through, so bulk is copied: {}; {cure}", errno.desc());
    }

    pub(super) fn count_path(&self, direction: Direction, change: PathChange) {
        self.counters().path_change(direction, change).add(1);
    }
}

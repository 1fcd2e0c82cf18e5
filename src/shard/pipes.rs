//! The pipes of a shard, lent to directions that are spliced: each only while it is filled and
//! drained, so a few serve many, and the one that was used last, whose pages are warm, goes first.
//!
//! A pipe that comes back with bytes in it is closed: nobody else may get them.

use std::time::Duration;

use uring::{Errno, Pipe};

use crate::core::PipeId;
use crate::core::moment::Moment;

/// A bounded pool; it makes pipes when none is idle.
#[derive(Debug)]
pub(super) struct Pipes<P> {
    all: Vec<Option<P>>,
    /// Empty ones; the last goes first.
    idle: Vec<PipeId>,
    /// Places of pipes that were closed.
    vacant: Vec<PipeId>,
    most: u16,
    /// Not before this is a pipe made again, after that failed.
    make_again_at: Moment,
}

/// Why there is no pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPipe {
    /// All are lent, and there may be no more.
    AllLent,
    /// One could not be made just now, or a moment ago.
    Failed(Option<Errno>),
}

impl<P> Pipes<P> {
    /// None yet, and never more than `most`.
    pub(super) fn new(most: u16) -> Self {
        let make_again_at = Moment::default();
        Self { all: Vec::new(), idle: Vec::new(), vacant: Vec::new(), most, make_again_at }
    }

    /// An empty pipe, which `make` makes if none is idle.
    pub(super) fn lend(
        &mut self,
        now: Moment,
        make: impl FnOnce() -> Result<P, Errno>,
    ) -> Result<PipeId, NoPipe> {
        if let Some(pipe) = self.idle.pop() {
            return Ok(pipe);
        }
        let id = match self.vacant.last() {
            Some(&vacant) => vacant,
            None => PipeId(u16::try_from(self.all.len()).map_err(|_| NoPipe::AllLent)?),
        };
        if id.0 >= self.most {
            return Err(NoPipe::AllLent);
        }
        if now < self.make_again_at {
            return Err(NoPipe::Failed(None));
        }
        let pipe = make().map_err(|errno| {
            self.make_again_at = now + MAKE_AGAIN_AFTER;
            NoPipe::Failed(Some(errno))
        })?;
        if self.vacant.pop().is_some() {
            self.all[usize::from(id.0)] = Some(pipe);
        } else {
            self.all.push(Some(pipe));
        }
        Ok(id)
    }

    /// A pipe that is lent.
    pub(super) fn lent(&mut self, pipe: PipeId) -> &mut P {
        self.all[usize::from(pipe.0)].as_mut().expect("it is lent, so it is there")
    }

    /// Takes an empty pipe back.
    pub(super) fn give_back(&mut self, pipe: PipeId) {
        self.idle.push(pipe);
    }

    /// Closes a pipe with what is in it.
    pub(super) fn close(&mut self, pipe: PipeId) {
        self.all[usize::from(pipe.0)] = None;
        self.vacant.push(pipe);
    }

    /// Closes the idle ones and makes none for a while: others need the descriptors.
    pub(super) fn make_way(&mut self, now: Moment) {
        self.make_again_at = now + MAKE_AGAIN_AFTER;
        while let Some(pipe) = self.idle.pop() {
            self.close(pipe);
        }
    }

    /// Pipes that are open, and of these the idle ones.
    #[cfg(test)]
    pub(super) fn open_and_idle(&self) -> (usize, usize) {
        (self.all.len() - self.vacant.len(), self.idle.len())
    }
}

/// A pipe that is worth splicing through, for the drivers of real sockets.
///
/// # Errors
/// `EMFILE` or `ENFILE` without a descriptor; `EPERM` when the kernel gives only a tiny pipe, because
/// this user has so many (`fs.pipe-user-pages-soft`).
pub(super) fn make_pipe() -> Result<Pipe, Errno> {
    let pipe = Pipe::new(PIPE_BYTES).map_err(|error| uring::errno(&error))?;
    if pipe.capacity() < PIPE_BYTES_MIN { Err(Errno::EPERM) } else { Ok(pipe) }
}

/// What a pipe is asked to hold.
pub(crate) const PIPE_BYTES: u32 = 256 * 1024;

/// A pipe of one or two pages costs more system calls than copying does.
pub(crate) const PIPE_BYTES_MIN: u32 = 64 * 1024;

/// A host that has no pipe now is asked once a second, not for every bulk transfer.
const MAKE_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_ns(5);

    fn made() -> Result<&'static str, Errno> {
        Ok("pipe")
    }

    fn never() -> Result<&'static str, Errno> {
        panic!("no pipe should be made")
    }

    #[test]
    fn what_came_back_empty_is_lent_again() {
        let mut pipes = Pipes::new(2);
        let first = pipes.lend(NOW, made).expect("none is lent");
        pipes.give_back(first);
        assert_eq!(pipes.lend(NOW, never), Ok(first));
    }

    #[test]
    fn what_came_back_with_bytes_is_never_lent_again() {
        let mut pipes = Pipes::new(1);
        let first = pipes.lend(NOW, || Ok("with bytes")).expect("none is lent");
        pipes.close(first);
        assert_eq!(pipes.open_and_idle(), (0, 0));
        let second = pipes.lend(NOW, made).expect("the place is free");
        assert_eq!(*pipes.lent(second), "pipe");
    }

    #[test]
    fn idle_ones_make_way_and_none_is_made_for_a_while() {
        let mut pipes = Pipes::new(3);
        let [lent, idle] = [(); 2].map(|()| pipes.lend(NOW, made).expect("there are three"));
        pipes.give_back(idle);
        pipes.make_way(NOW);
        assert_eq!(pipes.open_and_idle(), (1, 0));
        assert_eq!(*pipes.lent(lent), "pipe");
        assert_eq!(pipes.lend(NOW, never), Err(NoPipe::Failed(None)));
        assert_eq!(pipes.lend(NOW + MAKE_AGAIN_AFTER, made), Ok(idle));
    }

    #[test]
    fn there_are_never_more_than_allowed() {
        let mut pipes = Pipes::new(2);
        let lent: Vec<_> = (0..2).map(|_| pipes.lend(NOW, made).expect("there are two")).collect();
        assert_ne!(lent[0], lent[1]);
        assert_eq!(pipes.lend(NOW, never), Err(NoPipe::AllLent));
        assert_eq!(Pipes::new(0).lend(NOW, never), Err(NoPipe::AllLent));
    }

    #[test]
    fn after_a_failure_no_pipe_is_made_for_a_while() {
        let mut pipes = Pipes::new(2);
        let failed = pipes.lend(NOW, || Err(Errno::EMFILE));
        assert_eq!(failed, Err(NoPipe::Failed(Some(Errno::EMFILE))));
        assert_eq!(pipes.lend(NOW, never), Err(NoPipe::Failed(None)));
        let later = NOW + MAKE_AGAIN_AFTER;
        assert!(pipes.lend(later, made).is_ok());
    }
}

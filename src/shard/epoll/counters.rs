//! What happened between a shard and epoll that is worth knowing.

use crate::shard::driver::Counts;

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EpollCounters {
    /// Calls of epoll_pwait2(2), or epoll_wait(2).
    pub(super) waits: u64,
    /// Receives that found nothing, although there should have been something.
    pub(super) recv_eagain: u64,
    /// Sends that found no room at all.
    pub(super) send_eagain: u64,
    /// Accepts that found nobody.
    pub(super) accept_eagain: u64,
    /// Cancels that found nothing to cancel: the operation had just ended.
    pub(super) cancel_missed: u64,
    /// Events for a socket that is gone.
    pub(super) stale_event: u64,
}

impl EpollCounters {
    pub(super) fn list(&self) -> Counts {
        vec![
            ("epoll_waits", self.waits),
            ("epoll_recv_eagain", self.recv_eagain),
            ("epoll_send_eagain", self.send_eagain),
            ("epoll_accept_eagain", self.accept_eagain),
            ("epoll_cancel_missed", self.cancel_missed),
            ("epoll_stale_event", self.stale_event),
        ]
    }
}

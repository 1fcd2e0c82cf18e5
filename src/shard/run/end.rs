//! The end of a session, and of the shard.

use std::rc::Rc;
use std::time::Duration;

use tracing::{debug, info};
use uring::Owner;

use crate::core::moment::Moment;
use crate::core::session::{EndReason, Event, Phase};
use crate::shard::driver::Driver;
use crate::shard::per_ip::Ticket;
use crate::shard::shared::Stopping;

use super::{ALIVE, Accepting, Entry, Shard, Turn};

impl<D: Driver> Shard<D> {
    pub(super) fn free(
        &mut self,
        owner: Owner,
        reason: EndReason,
        reset_client: bool,
        reset_backend: bool,
    ) {
        self.wait_no_more(owner);
        self.defer_no_more(owner);
        self.note_end(owner, reason);
        self.discharge(owner);
        let entry = self.sessions.remove(owner).expect(ALIVE);
        // Before shards are woken that look for room here.
        self.count_sessions();
        entry.here.listener.gate.leave(&self.shared.bells);
        if let Some(extra) = entry.extra {
            extra.own_end.inspect(|&end| entry.here.pool.state.forget_own_end(end));
            extra.ticket.into_iter().for_each(Ticket::leave);
        }
        self.timers.disarm(owner.slot);
        self.counters().count_end(reason);
        debug!(slot = owner.slot, reason = reason.label(), "session ended");
        // Who has been told the end of the other side and is still at work would never learn that nobody
        // waits for it; and what it has got, the kernel keeps for it (tcp_reset, net/ipv4/tcp_input.c).
        // Who has gone needs no telling.
        let cut_short = reset_client || reset_backend;
        let reset = |socket: &D::Socket, reset: bool, gone: EndReason| {
            reset || (cut_short && reason != gone && self.driver.has_delivered_all(socket))
        };
        let reset_client = reset(&entry.client, reset_client, EndReason::ClientGone);
        let of_backend = |backend| reset(backend, reset_backend, EndReason::BackendGone);
        let reset_backend = entry.backend.as_ref().map(of_backend);
        self.driver.close(entry.client, reset_client);
        if let Some((backend, reset)) = entry.backend.zip(reset_backend) {
            self.driver.close(backend, reset);
        }
        // Descriptors are free again.
        self.paused_until = None;
    }

    /// Nobody tells that a client has gone while nothing is in flight on its socket, and the place that it
    /// has may be somebody else's: who waits is looked at now and then.
    pub(super) fn arm_timer(&mut self, owner: Owner, deadline: Moment) {
        let session = &self.sessions.get(owner).expect(ALIVE).session;
        let waits = matches!(session.phase(), Phase::Waiting | Phase::Connecting);
        let look = if waits { self.now + LOOK_AFTER } else { deadline };
        self.timers.arm(owner.slot, deadline.min(look));
    }

    /// Whether its client went while it waits for a backend or is being connected to one.
    pub(super) fn is_abandoned(&self, owner: Owner) -> bool {
        let Entry { session, client, .. } = self.sessions.get(owner).expect(ALIVE);
        matches!(session.phase(), Phase::Waiting | Phase::Connecting) && self.driver.is_gone(client)
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.accepting, Accepting::Stopping { .. })
    }

    pub(super) fn stop_if_asked(&mut self) -> Turn {
        let asked = self.shared.stopping();
        match self.accepting {
            _ if asked == Stopping::No => return Turn::Again,
            Accepting::Stopping { how, .. } if how == asked => {}
            _ => self.begin_stopping(asked),
        }
        let Accepting::Stopping { how, cut_at, cuts } = self.accepting else {
            return Turn::Again;
        };
        if self.now >= cut_at {
            let cut_at = self.now + CUT_AGAIN_AFTER;
            self.accepting = Accepting::Stopping { how, cut_at, cuts: cuts + 1 };
            self.cut();
        }
        // What has not answered several cancels is left to the driver's own end.
        if self.is_open() && cuts < MOST_CUTS { Turn::Again } else { Turn::Stopped }
    }

    /// Whether there is a session, or may come one.
    pub(super) fn is_open(&self) -> bool {
        !self.sessions.is_empty() || self.listening.iter().any(Option::is_some)
    }

    /// Nobody new can come; who is here may stay until the drain is over, or is cut now.
    fn begin_stopping(&mut self, how: Stopping) {
        let cut_at = match how {
            Stopping::Drain => self.now + self.shared.drain(),
            Stopping::No | Stopping::Cut => self.now,
        };
        self.accepting = Accepting::Stopping { how, cut_at, cuts: 0 };
        (0..self.listening.len()).for_each(|index| self.begin_closing(index));
    }

    /// Who is still outside when the program ends.
    fn send_away(&mut self, index: usize) {
        let Some(listening) = &mut self.listening[index] else { return };
        let (outside, here) = (std::mem::take(&mut listening.outside), Rc::clone(&listening.here));
        for client in outside {
            self.note_sent_away(&here, &client);
            here.listener.gate.crowd.leave();
            self.driver.close(client, true);
        }
    }

    fn cut(&mut self) {
        for index in 0..self.listening.len() {
            self.send_away(index);
            self.close_now(index);
        }
        let open: Vec<Owner> = self.sessions.owners().collect();
        if !open.is_empty() {
            info!("cutting {} open sessions", open.len());
        }
        open.into_iter().for_each(|owner| self.drive(owner, Event::Cut(EndReason::Cut)));
    }

    /// Cuts the sessions of backends that were marked down, where that is wanted.
    pub(super) fn cut_marked(&mut self) {
        while let Some(uid) = self.shared.next_cut(self.index) {
            let owners: Vec<Owner> = self.sessions.owners().collect();
            for owner in owners {
                let Some(entry) = self.sessions.find(owner) else { continue };
                let backend = entry.charged.map(|id| entry.here.pool.backend(id).uid);
                if backend == Some(uid) && entry.session.is_relaying() {
                    self.drive(owner, Event::Cut(EndReason::BackendDown));
                }
            }
        }
    }
}

/// What has not answered a cut is cut again, so often.
const CUT_AGAIN_AFTER: Duration = Duration::from_secs(1);
const MOST_CUTS: u32 = 30;

/// Who has gone is noticed so late at most.
const LOOK_AFTER: Duration = Duration::from_millis(250);

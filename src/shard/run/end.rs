//! The end of a session, and of the shard.

use std::time::Duration;

use tracing::{debug, info};
use uring::{Op, Owner, Token};

use crate::core::session::{EndReason, Event};
use crate::shard::driver::Driver;

use super::{ACCEPTS, ALIVE, Accepting, LISTENER, Shard, Turn, discharge};

impl<D: Driver> Shard<D> {
    pub(super) fn free(
        &mut self,
        owner: Owner,
        reason: EndReason,
        reset_client: bool,
        reset_backend: bool,
    ) {
        let entry = self.sessions.remove(owner).expect(ALIVE);
        self.timers.disarm(owner.slot);
        self.deferred -= usize::from(entry.deferred);
        discharge(&self.shared, entry.charged);
        self.count_sessions();
        self.counters().count_end(reason);
        debug!(slot = owner.slot, reason = reason.label(), "session ended");
        self.driver.close(entry.client, reset_client);
        if let Some(backend) = entry.backend {
            self.driver.close(backend, reset_backend);
        }
        if let Accepting::PausedUntil(_) = self.accepting {
            // Descriptors are free again.
            self.accepting = Accepting::Yes;
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.accepting, Accepting::Stopping { .. })
    }

    pub(super) fn stop_if_asked(&mut self) -> Turn {
        if let Accepting::Stopping { cut_at, cuts } = self.accepting {
            if self.accepts == 0 {
                self.driver.stop_listening(LISTENER);
            }
            if self.now >= cut_at {
                self.accepting =
                    Accepting::Stopping { cut_at: self.now + CUT_AFTER, cuts: cuts + 1 };
                self.cut();
            }
            // What has not answered several cancels is left to the driver's own end.
            let open = !self.sessions.is_empty() || self.accepts != 0;
            return if open && cuts < MOST_CUTS { Turn::Again } else { Turn::Stopped };
        }
        if self.shared.is_stopping() {
            self.accepting = Accepting::Stopping { cut_at: self.now + CUT_AFTER, cuts: 0 };
            self.cancel_accepts();
            self.send_away();
        }
        Turn::Again
    }

    /// Who is still outside when the program ends.
    fn send_away(&mut self) {
        for client in std::mem::take(&mut self.outside) {
            self.counters().count_end(EndReason::Cut);
            self.driver.close(client, true);
        }
    }

    fn cancel_accepts(&mut self) {
        for accept in (0..ACCEPTS).filter(|accept| self.accepts & (1 << accept) != 0) {
            self.driver.cancel(Token { op: Op::Accept, owner: Owner::slot(accept) });
        }
    }

    fn cut(&mut self) {
        self.cancel_accepts();
        let open: Vec<Owner> = self.sessions.owners().collect();
        if !open.is_empty() {
            info!("cutting {} open sessions", open.len());
        }
        open.into_iter().for_each(|owner| self.drive(owner, Event::Cut));
    }
}

/// How long open sessions may go on when the program is asked to end, and how long a cut may take.
const CUT_AFTER: Duration = Duration::from_secs(1);
const MOST_CUTS: u32 = 30;

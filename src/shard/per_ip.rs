//! What each client has at the moment, so that none has more than its limits. One table for all
//! shards: the kernel gives a client's connections to any of them.
//!
//! A client with sessions is never forgotten: its count is exact, and there are no more such clients
//! than sessions. Of one that has none, only what it has spent of its rate is remembered, for a
//! bounded number of clients; who is forgotten before its time is counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::limits::{ClientKey, Limits, Spent};
use crate::core::moment::Moment;

use super::striped::{ByUse, Striped};

/// The clients and what they have.
#[derive(Debug)]
pub struct PerIpTable {
    stripes: Striped<Stripe>,
    /// Clients without sessions in one stripe.
    idle_max: usize,
    forgotten: Arc<AtomicU64>,
}

/// Why a client may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// It has as many sessions as it may have.
    TooManySessions,
    /// It came too often.
    TooFast,
}

/// A client's right to one session; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the session is over when this is dropped"]
pub struct Ticket {
    table: Arc<PerIpTable>,
    client: ClientKey,
}

impl Default for PerIpTable {
    fn default() -> Self {
        Self::counted_in(Arc::default())
    }
}

impl PerIpTable {
    /// An empty table, which counts there whom it has no room for.
    #[must_use]
    pub fn counted_in(forgotten: Arc<AtomicU64>) -> Self {
        Self::with_room_for(MAX_IDLE, forgotten)
    }

    /// A table that remembers so many clients without sessions.
    fn with_room_for(idle: usize, forgotten: Arc<AtomicU64>) -> Self {
        let (stripes, idle_max) = Striped::new(idle);
        Self { stripes, idle_max, forgotten }
    }

    /// A session more for the client at `ip`. The limits come with each call, so that a reload
    /// changes them and the sessions that there are still count.
    ///
    /// # Errors
    ///
    /// If that would be more than `limits` allow; then nothing is counted.
    pub fn enter(
        self: &Arc<Self>,
        ip: IpAddr,
        limits: &Limits,
        now: Moment,
    ) -> Result<Ticket, Refused> {
        let client = ClientKey::from(ip);
        self.stripes.lock(&client).enter(client, limits, now)?;
        Ok(Ticket { table: Arc::clone(self), client })
    }

    /// Sessions that the client at `ip` has.
    #[must_use]
    pub fn sessions(&self, ip: IpAddr) -> u32 {
        let client = ClientKey::from(ip);
        self.stripes.lock(&client).busy.get(&client).map_or(0, |busy| busy.sessions)
    }

    /// Clients that are remembered.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.stripes.sum(|stripe| stripe.busy.len() + stripe.idle.len())
    }

    /// Clients that could have come faster than their rate because there was no room to remember
    /// what they had spent.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    fn leave(&self, client: ClientKey) {
        let forgotten = self.stripes.lock(&client).leave(client, self.idle_max);
        if forgotten {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Ticket {
    /// The session is over.
    pub fn leave(self) {}
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.table.leave(self.client);
    }
}

#[derive(Debug, Default)]
struct Stripe {
    /// Clients with sessions.
    busy: HashMap<ClientKey, Busy>,
    /// Clients without, in the order in which they left.
    idle: ByUse<ClientKey, Spent>,
    /// The latest moment that was heard of: nobody says what time it is when a session ends.
    now: Moment,
}

#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    sessions: u32,
    spent: Spent,
}

impl Stripe {
    fn enter(&mut self, client: ClientKey, limits: &Limits, now: Moment) -> Result<(), Refused> {
        self.now = self.now.max(now);
        self.drop_who_is_as_new();
        let busy = self.busy.get(&client).copied().unwrap_or_else(|| {
            let spent = self.idle.get(&client).copied().unwrap_or_default();
            Busy { sessions: 0, spent }
        });
        if limits.sessions.is_some_and(|max| busy.sessions >= max.get()) {
            return Err(Refused::TooManySessions);
        }
        let spent = match limits.pace {
            Some(pace) => busy.spent.after(now, pace).ok_or(Refused::TooFast)?,
            None => busy.spent,
        };
        self.idle.remove(&client);
        self.busy.insert(client, Busy { sessions: busy.sessions + 1, spent });
        Ok(())
    }

    /// Whether somebody had to be forgotten.
    fn leave(&mut self, client: ClientKey, idle_max: usize) -> bool {
        let busy = self.busy.get_mut(&client).expect("who has a ticket is in the table");
        busy.sessions -= 1;
        if busy.sessions > 0 {
            return false;
        }
        let spent = busy.spent;
        self.busy.remove(&client);
        if spent.is_nothing(self.now) {
            return false;
        }
        self.idle.insert(client, spent);
        self.idle.len() > idle_max
            && self.idle.pop_front().is_some_and(|(_, oldest)| !oldest.is_nothing(self.now))
    }

    /// A few at a time; faster than they come.
    fn drop_who_is_as_new(&mut self) {
        for _ in 0..2 {
            let as_new = self.idle.front().is_some_and(|(_, spent)| spent.is_nothing(self.now));
            if as_new {
                self.idle.pop_front();
            }
        }
    }
}

/// Some 15 MiB when it is full.
const MAX_IDLE: usize = 100_000;

#[cfg(test)]
mod tests;

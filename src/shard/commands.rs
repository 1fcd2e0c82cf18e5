//! What the control thread asks of a shard while it runs: who its sessions are, to end some of them,
//! and what its driver counts.
//!
//! A shard answers in its own time, a few hundred sessions a turn, so that asking about thousands delays
//! nobody. Whoever asks must not wait for ever: a shard that is stuck does not answer.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use uring::Owner;

use crate::core::balance::By;
use crate::core::session::Phase;

use super::backend::Backend;
use super::driver::Counts;
use super::listener::Listener;
use super::pool::Pool;

/// Something that a shard is asked.
#[derive(Debug)]
pub enum Command {
    /// Who its sessions are; those that come first are told one by one.
    List(Query, First, Reply<Listing>),
    /// To end the sessions that are meant; how many it has ended.
    Kill(Query, Reply<u64>),
    /// What its driver counts.
    Counts(Reply<Counts>),
}

/// Where an answer goes. Dropped without one when the shard ends.
pub struct Reply<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Reply<T> {
    /// `answer` is called on the shard's thread, and must not wait for anything.
    #[must_use]
    pub fn new(answer: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(answer))
    }

    /// Answers.
    pub fn send(self, value: T) {
        (self.0)(value);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// Which sessions are meant: those that everything in here fits.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// This one, by its slot and generation.
    pub session: Option<Owner>,
    /// Those of the pool with this name.
    pub pool: Option<String>,
    /// Those that a backend with this name has.
    pub backend: Option<String>,
    /// Those that came in by the listener with this name.
    pub listener: Option<String>,
    /// Those from there; with a port only those from that port.
    pub client: Option<(IpNet, Option<u16>)>,
    /// Those that stand there.
    pub phase: Option<Phase>,
    /// Those that were accepted at least so long ago.
    pub min_age: Duration,
    /// Those in which no byte has moved for so long.
    pub min_idle: Duration,
}

/// Which of the sessions that are meant are told one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// In this order.
    pub order: Order,
    /// At most so many.
    pub most: usize,
}

/// Which sessions come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest.
    #[default]
    Age,
    /// Those with the most bytes, both ways together.
    Bytes,
    /// Those in which no byte has moved for longest.
    Idle,
    /// Those in which a byte has moved last: whoever is busy is among them.
    Recent,
}

/// What orders are made of.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Since it was accepted.
    pub age: Duration,
    /// Since a byte moved.
    pub idle: Duration,
    /// Bytes both ways.
    pub bytes: u64,
}

impl Order {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Age, Self::Bytes, Self::Idle, Self::Recent];

    /// As it is asked for.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Bytes => "bytes",
            Self::Idle => "idle",
            Self::Recent => "recent",
        }
    }

    /// The higher, the earlier; what is equal in the first is ordered by the second.
    #[must_use]
    pub fn rank(self, figures: Figures) -> (u64, u64) {
        let Figures { age, idle, bytes } = figures;
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match self {
            Self::Age => (ns(age), bytes),
            Self::Bytes => (bytes, ns(age)),
            Self::Idle => (ns(idle), ns(age)),
            Self::Recent => (u64::MAX - ns(idle), bytes),
        }
    }
}

/// What a shard tells of its sessions.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Those that are meant, as far as they are told one by one, in the order that was asked for.
    pub rows: Vec<Row>,
    /// How many are meant.
    pub matched: u64,
    /// How many there are.
    pub total: u64,
}

/// A session, as it is told.
#[derive(Clone, Debug)]
pub struct Row {
    /// Names it in its shard.
    pub owner: Owner,
    /// In which shard.
    pub shard: usize,
    /// Who the client is, as far as is known: what a trusted proxy said, or the other end.
    pub client: Option<SocketAddr>,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Who serves it.
    pub pool: Arc<Pool>,
    /// Which of the pool's backends has it.
    pub backend: Option<Arc<Backend>>,
    /// Where it stands.
    pub phase: Phase,
    /// Why that backend.
    pub by: Option<By>,
    /// Since it was accepted.
    pub age: Duration,
    /// Since a byte moved.
    pub idle: Duration,
    /// Bytes delivered to the backend.
    pub to_backend: Moved,
    /// Bytes delivered to the client.
    pub to_client: Moved,
    /// How often it lost a backend and was to go on with another.
    pub moves: u8,
}

impl Row {
    /// What orders are made of.
    #[must_use]
    pub const fn figures(&self) -> Figures {
        let bytes = self.to_backend.total().saturating_add(self.to_client.total());
        Figures { age: self.age, idle: self.idle, bytes }
    }
}

/// Bytes of one direction of a session, by path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Through buffers.
    pub copied: u64,
    /// Through pipes.
    pub spliced: u64,
}

impl Moved {
    /// By either path.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.copied + self.spliced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_has_its_own_first() {
        let of = |age, idle, bytes| Figures {
            age: Duration::from_secs(age),
            idle: Duration::from_secs(idle),
            bytes,
        };
        let sessions = [of(9, 1, 10), of(5, 0, 20), of(5, 0, 30), of(3, 3, 99), of(8, 7, 0)];
        for (order, first) in
            [(Order::Age, 0), (Order::Bytes, 3), (Order::Idle, 4), (Order::Recent, 2)]
        {
            let ranks = sessions.map(|figures| order.rank(figures));
            let highest = ranks.iter().max();
            assert_eq!(
                ranks.iter().position(|rank| Some(rank) == highest),
                Some(first),
                "{order:?}"
            );
        }
    }
}

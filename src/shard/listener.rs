//! A listener as shards see it: one version of its configuration, its sockets, and what all versions
//! share.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uring::SocketFile;

use crate::config::plan::{Address, ListenerConfig};
use crate::core::access::{AccessList, Networks};
use crate::core::limits::Limits;

use super::per_ip::PerIpTable;
use super::pool::Pool;
use super::shared::Gate;
use super::tally::ListenerTallies;

/// One version of a listener. A session keeps the version that it began with.
#[derive(Debug)]
pub struct Listener {
    /// The same in every version, and never another's.
    pub id: u32,
    /// As it is configured.
    pub name: String,
    /// Where clients connect: the real port where port 0 was asked for.
    pub address: Address,
    /// Sessions that it may have.
    pub max_sessions: Option<u32>,
    /// Who may come in, unless everybody may.
    pub access: Option<AccessList>,
    /// What one client address may have, unless that is unlimited.
    pub per_ip: Option<ClientLimits>,
    /// Who has to say for whom it speaks.
    pub greets: Option<Greets>,
    /// Which pool serves its clients.
    pub pool: Arc<Pool>,
    /// How many sessions it has.
    pub gate: Arc<Gate>,
    /// What shards count of it; outlives it.
    pub tallies: Arc<ListenerTallies>,
    /// Where the kernel queues its clients.
    pub sockets: Arc<Sockets>,
}

/// What one client address may have, and what each has.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// What all versions of the listener share.
    pub table: Arc<PerIpTable>,
    /// The limits of this version.
    pub limits: Limits,
}

/// Clients that begin with a PROXY header.
#[derive(Debug)]
pub struct Greets {
    /// Which clients.
    pub from: Networks,
    /// How long they may take.
    pub timeout: Duration,
}

impl Listener {
    /// Whether a session has to know who its client is.
    #[must_use]
    pub fn asks_who(&self) -> bool {
        self.access.is_some()
            || self.per_ip.is_some()
            || self.greets.is_some()
            || self.pool.asks_who()
    }

    /// The parts of `config` that are looked at for each client.
    #[must_use]
    pub fn access_of(config: &ListenerConfig) -> Option<AccessList> {
        let everybody = config.access.allow.is_empty() && config.access.deny.is_empty();
        (!everybody).then(|| AccessList::new(&config.access.allow, &config.access.deny))
    }
}

/// The listening sockets of one listener, one for each shard, each held twice: by its shard, and here,
/// so that the control thread can have it refuse new clients.
#[derive(Debug, Default)]
pub struct Sockets {
    pairs: Mutex<Vec<Pair>>,
    /// Of a unix socket: removed when nobody listens there any more.
    file: Mutex<Option<SocketFile>>,
}

#[derive(Debug)]
struct Pair {
    shards: Option<OwnedFd>,
    control: Option<OwnedFd>,
}

impl Sockets {
    /// One for each shard, in their order.
    ///
    /// # Errors
    /// `EMFILE` without a descriptor for the second hold.
    pub fn new(sockets: Vec<OwnedFd>, file: Option<SocketFile>) -> io::Result<Self> {
        let pair = |shards: OwnedFd| {
            let control = Some(shards.try_clone()?);
            Ok(Pair { shards: Some(shards), control })
        };
        let pairs: io::Result<_> = sockets.into_iter().map(pair).collect();
        Ok(Self { pairs: Mutex::new(pairs?), file: Mutex::new(file) })
    }

    /// The one of `shard`, once. Only where a listener begins, so the lock is no matter.
    #[must_use]
    pub fn take(&self, shard: usize) -> Option<OwnedFd> {
        self.lock().get_mut(shard)?.shards.take()
    }

    /// Whether every shard has taken its own.
    #[must_use]
    pub fn are_taken(&self) -> bool {
        self.lock().iter().all(|pair| pair.shards.is_none())
    }

    /// From now on no client can connect; those who have are still in the queues. What the control
    /// thread holds is closed, but not what a shard has not taken yet.
    pub fn close(&self) {
        // Without its file nobody finds a unix socket.
        drop(self.file.lock().unwrap_or_else(PoisonError::into_inner).take());
        for control in self.lock().iter_mut().filter_map(|pair| pair.control.take()) {
            // Without it clients that connect in the last moment are reset; nothing else is lost.
            let _ = uring::refuse_new_connections(&control);
        }
    }

    /// Does something with each of them.
    pub fn for_each(&self, each: impl FnMut(&OwnedFd)) {
        self.lock().iter().filter_map(|pair| pair.control.as_ref()).for_each(each);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pair>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

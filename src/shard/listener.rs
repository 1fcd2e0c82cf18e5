//! A listener as shards see it: one version of its configuration, its sockets, and what all versions
//! share.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// The listening sockets of one listener, at least one for each shard, each held twice: by its shard,
/// and here, so that the control thread can have it refuse new clients, or hand it on.
#[derive(Debug, Default)]
pub struct Sockets {
    held: Mutex<Vec<Held>>,
    /// Of a unix socket: removed when nobody listens there any more.
    file: Mutex<Option<SocketFile>>,
    /// Whether another process goes on with the sockets, and with who is in their queues.
    handed_on: AtomicBool,
    /// Whether the process that hands over has not let go of them: should this one fail, that one
    /// goes on.
    lent: AtomicBool,
}

/// One listening socket.
#[derive(Debug)]
pub struct ListeningSocket {
    /// It, or a duplicate where shards share one.
    pub fd: OwnedFd,
    /// Whether this program, or one that handed over to it, has opened it. One that is not ours is
    /// somebody's who may go on with it.
    pub ours: bool,
}

#[derive(Debug)]
struct Held {
    shard: usize,
    of_shard: Option<OwnedFd>,
    of_control: Option<OwnedFd>,
    ours: bool,
}

impl Sockets {
    /// The first is the first shard's and so on; what is left when each of `shards` has one is given
    /// out in the same order again, because a socket that nobody accepts from would hold its clients
    /// for ever.
    ///
    /// # Errors
    /// `EMFILE` without a descriptor for the second hold.
    pub fn new(
        sockets: Vec<ListeningSocket>,
        shards: usize,
        file: Option<SocketFile>,
    ) -> io::Result<Self> {
        let shard = (0..shards).cycle();
        let held = sockets.into_iter().zip(shard).map(|(ListeningSocket { fd, ours }, shard)| {
            let of_control = Some(fd.try_clone()?);
            Ok(Held { shard, of_shard: Some(fd), of_control, ours })
        });
        let held: io::Result<_> = held.collect();
        let (held, file) = (Mutex::new(held?), Mutex::new(file));
        Ok(Self { held, file, handed_on: AtomicBool::new(false), lent: AtomicBool::new(false) })
    }

    /// The same, but another process has them too and may go on with them.
    #[must_use]
    pub fn lent(self) -> Self {
        Self { lent: AtomicBool::new(true), ..self }
    }

    /// The other process will not go on with them.
    pub fn own(&self) {
        if self.lent.swap(false, Ordering::AcqRel) {
            // If the file is gone nobody finds the socket, and there is nothing to remove.
            self.lock_file().iter_mut().for_each(|file| drop(file.own()));
        }
    }

    /// The next one of `shard`, each once. Only where a listener begins, so the lock is no matter.
    #[must_use]
    pub fn take(&self, shard: usize) -> Option<OwnedFd> {
        let mut held = self.lock();
        held.iter_mut().filter(|one| one.shard == shard).find_map(|one| one.of_shard.take())
    }

    /// Whether every shard has taken its own.
    #[must_use]
    pub fn are_taken(&self) -> bool {
        self.lock().iter().all(|one| one.of_shard.is_none())
    }

    /// From now on no client can connect; those who have are still in the queues. What the control
    /// thread holds is closed, but not what a shard has not taken yet. What is not ours stays as it
    /// is, for others, and is given back; and so does what is lent.
    pub fn close(&self) -> Vec<OwnedFd> {
        if self.lent.load(Ordering::Acquire) {
            self.hand_on();
            return Vec::new();
        }
        // Without its file nobody finds a unix socket.
        drop(self.lock_file().take());
        let mut others = Vec::new();
        for one in self.lock().iter_mut() {
            match one.of_control.take() {
                // Without it clients that connect in the last moment are reset; nothing else is lost.
                Some(socket) if one.ours => drop(uring::refuse_new_connections(&socket)),
                Some(socket) => others.push(socket),
                None => {}
            }
        }
        others
    }

    /// Another process has all of the sockets too, and accepts from them. Shards let go of theirs
    /// without a look at the queues, and the file of a unix socket stays.
    pub fn hand_on(&self) {
        self.handed_on.store(true, Ordering::Release);
        self.lock_file().take().into_iter().for_each(SocketFile::leave);
        self.lock().iter_mut().for_each(|one| one.of_control = None);
    }

    /// Whether that is so.
    #[must_use]
    pub fn are_handed_on(&self) -> bool {
        self.handed_on.load(Ordering::Acquire)
    }

    /// Whether there is a file that is removed at the end.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.lock_file().is_some()
    }

    /// Does something with each of them.
    pub fn for_each(&self, mut each: impl FnMut(&OwnedFd)) {
        self.lock().iter().filter_map(|one| one.of_control.as_ref()).for_each(&mut each);
    }

    /// One more hold of each that is ours, or of each that is not, in their order.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn copies(&self, ours: bool) -> io::Result<Vec<OwnedFd>> {
        let held = self.lock();
        let some = held.iter().filter(|one| one.ours == ours);
        some.filter_map(|one| one.of_control.as_ref()).map(OwnedFd::try_clone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_file(&self) -> MutexGuard<'_, Option<SocketFile>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn sockets() -> (TcpListener, Sockets) {
        let theirs = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let fd = OwnedFd::from(theirs.try_clone().expect("a descriptor"));
        let sockets = Sockets::new(vec![ListeningSocket { fd, ours: true }], 1, None);
        (theirs, sockets.expect("a descriptor").lent())
    }

    fn drops_syns(listener: &TcpListener) -> bool {
        // Attaching the same again is no way to see one, detaching is (socket(7)).
        socket2::SockRef::from(listener).detach_filter().is_ok()
    }

    #[test]
    fn what_is_lent_goes_back_as_it_was() {
        let (theirs, sockets) = sockets();
        assert!(sockets.close().is_empty() && sockets.are_handed_on());
        let address = theirs.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("it is not filtered");
        theirs.accept().expect("a client");
        drop(client);
        assert!(!drops_syns(&theirs));
    }

    #[test]
    fn what_is_owned_is_closed_without_a_reset() {
        let (theirs, sockets) = sockets();
        sockets.own();
        assert!(sockets.close().is_empty() && !sockets.are_handed_on());
        assert!(drops_syns(&theirs));
    }
}

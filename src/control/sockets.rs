//! The sockets of a listener: opened, or taken from those that were passed.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use nix::sys::stat::fstat;
use tracing::warn;
use uring::{Listen, ListenError, SocketFile, UnixListen, UnixListenError};

use crate::config::plan::{Address, ListenerConfig, On, PoolConfig};
use crate::service::passed::{From, Group, PassError};
use crate::shard::listener::{Listener, ListeningSocket, Sockets};

/// Why there is no listener, with the cure.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// On the network.
    #[error(transparent)]
    Inet(#[from] ListenError),
    /// In the file system.
    #[error(transparent)]
    Unix(#[from] UnixListenError),
    /// What was passed is not what it should be.
    #[error(transparent)]
    Passed(#[from] PassError),
    /// What was passed cannot have the options of the listener.
    #[error("listener {0}: the socket at {1} that was passed cannot be used: {2}")]
    Unfit(String, Address, io::Error),
    /// Where a socket that was passed is, or a port of the kernel's choice, is known only when it is there.
    #[error(
        "backend {backend} is where listener {listener} is, so it would connect to itself without end; \
         leave this backend out, or pass another socket"
    )]
    Itself {
        /// Its name.
        backend: String,
        /// The listener's.
        listener: String,
    },
    /// Somebody listens there, and passed a socket that is not at the address of the listener.
    #[error(
        "listener {listener}: {error}; a socket at {passed} was passed that no listener takes: give it the \
         address of the listener (in a socket unit ListenStream={address}) or its name \
         (FileDescriptorName={listener})"
    )]
    PassedElsewhere {
        /// Its name.
        listener: String,
        /// Its address.
        address: String,
        /// Where the socket is.
        passed: Address,
        /// What the kernel says.
        error: ListenError,
    },
    /// No descriptor is left.
    #[error("cannot listen on {0}: {1}; raise `ulimit -n`, or use fewer listeners or shards")]
    Descriptors(On<Address>, io::Error),
}

/// At least one socket for each shard, opened at the address of the listener; `ours` says whether
/// those that are there already are our own.
pub(super) fn open(
    config: &ListenerConfig,
    address: &Address,
    shards: usize,
    ours: bool,
) -> Result<(Address, Sockets), BindError> {
    match address {
        Address::Inet(address) => open_inet(*address, config, shards, ours),
        Address::Unix(path) => open_unix(path, config, shards),
    }
}

/// All of them share one queue, because the kernel does not spread here.
fn open_unix(
    path: &Path,
    config: &ListenerConfig,
    shards: usize,
) -> Result<(Address, Sockets), BindError> {
    let how = UnixListen { path: path.to_owned(), backlog: config.backlog, mode: None };
    let (fd, file) = uring::listen_unix(&how)?;
    let mut sockets = vec![ListeningSocket { fd, ours: true }];
    let sockets =
        share(&mut sockets, shards).and_then(|()| Sockets::new(sockets, shards, Some(file)));
    let sockets = sockets.map_err(|error| no_descriptor(config, error))?;
    Ok((Address::Unix(path.to_owned()), sockets))
}

/// All on one address; the kernel spreads connections over them.
fn open_inet(
    address: SocketAddr,
    config: &ListenerConfig,
    shards: usize,
    ours: bool,
) -> Result<(Address, Sockets), BindError> {
    if !ours {
        uring::check_unused(address)?;
    }
    let first = uring::listen(&how_to_listen(address, config))?;
    let address =
        uring::local_address(&first).map_err(|error| ListenError::Other(address, error))?;
    let mut sockets = vec![ListeningSocket { fd: first, ours: true }];
    for _ in 1..shards {
        let fd = uring::listen(&how_to_listen(address, config))?;
        sockets.push(ListeningSocket { fd, ours: true });
    }
    let sockets =
        Sockets::new(sockets, shards, None).map_err(|error| no_descriptor(config, error))?;
    Ok((Address::Inet(address), sockets))
}

fn how_to_listen(address: SocketAddr, config: &ListenerConfig) -> Listen {
    Listen { address, backlog: config.backlog, shared: true, options: config.options }
}

/// Those of `groups`, of which there is at least one, and as many more as shards need. The groups keep
/// theirs until it is known that everything is well; `lent` says that another process may go on with
/// them.
pub(super) fn take(
    config: &ListenerConfig,
    groups: &[&Group],
    shards: usize,
    lent: bool,
) -> Result<(Address, Sockets), BindError> {
    let address = &groups[0].address;
    let mut sockets = Vec::new();
    for group in groups {
        let unfit = |error| BindError::Unfit(config.name.clone(), group.address.clone(), error);
        for socket in &group.sockets {
            uring::listen_as(socket, config.backlog, &config.options).map_err(unfit)?;
            let fd = socket.try_clone().map_err(|error| no_descriptor(config, error))?;
            sockets.push(ListeningSocket { fd, ours: group.ours });
        }
        group.tell_taken(&config.name);
    }
    let one_address = groups.iter().all(|group| group.address == *address);
    if let Address::Inet(address) = *address
        && one_address
    {
        open_more(&mut sockets, address, config, shards);
    }
    share(&mut sockets, shards).map_err(|error| no_descriptor(config, error))?;
    let sockets = Sockets::new(sockets, shards, file_of(groups, lent));
    let sockets = sockets.map_err(|error| no_descriptor(config, error))?;
    Ok((address.clone(), if lent { sockets.lent() } else { sockets }))
}

/// A socket of its own for each shard that has none, where the kernel lets them be.
fn open_more(
    sockets: &mut Vec<ListeningSocket>,
    address: SocketAddr,
    config: &ListenerConfig,
    shards: usize,
) {
    if !sockets.iter().all(|socket| uring::shares_its_port(&socket.fd)) {
        return;
    }
    let passed = sockets.len();
    while sockets.len() < shards {
        match uring::listen(&how_to_listen(address, config)) {
            Ok(fd) => sockets.push(ListeningSocket { fd, ours: true }),
            Err(error) => return tell_shared(config, address, passed, shards, &error),
        }
    }
}

/// Says that shards share sockets, which costs connections that come at once, and no more.
fn tell_shared(
    config: &ListenerConfig,
    address: SocketAddr,
    passed: usize,
    shards: usize,
    error: &ListenError,
) {
    let listener = &config.name;
    let theirs = match passed {
        1 => "the socket that was passed".to_owned(),
        many => format!("the {many} sockets that were passed"),
    };
    match error {
        // A service manager is root, and the service is not.
        ListenError::InUse(_) => warn!(
            "listener {listener}: {shards} shards share {theirs}, because only the user who opened one may open \
             more at {address}; pass one for each shard (in a socket unit: ListenStream={address} so many times)"
        ),
        error => warn!("listener {listener}: {shards} shards share {theirs}, because {error}"),
    }
}

/// Shards without a socket get a duplicate of another's: they share its queue.
fn share(sockets: &mut Vec<ListeningSocket>, shards: usize) -> io::Result<()> {
    for place in 0..shards.saturating_sub(sockets.len()) {
        let ListeningSocket { fd, ours } = &sockets[place];
        let copy = ListeningSocket { fd: fd.try_clone()?, ours: *ours };
        sockets.push(copy);
    }
    Ok(())
}

fn file_of(groups: &[&Group], lent: bool) -> Option<SocketFile> {
    groups.iter().filter(|group| group.has_file).find_map(|group| match &group.address {
        // If it is gone nobody finds the socket, and there is nothing to remove.
        Address::Unix(path) if lent => Some(SocketFile::lent(path)),
        Address::Unix(path) => SocketFile::adopt(path).ok(),
        Address::Inet(_) => None,
    })
}

/// Nobody may connect to a listener of ours.
pub(super) fn refuse_itself(
    listeners: &[ListenerConfig],
    sockets: &[(Address, Arc<Sockets>)],
    pools: &[PoolConfig],
) -> Result<(), BindError> {
    for (config, (address, _)) in listeners.iter().zip(sockets) {
        let mut backends = pools.iter().flat_map(|pool| &pool.backends);
        if let Some(backend) = backends.find(|backend| backend.addresses.contains(address)) {
            let (backend, listener) = (backend.name.clone(), config.name.clone());
            return Err(BindError::Itself { backend, listener });
        }
    }
    Ok(())
}

/// What another process needs to go on with a listener: its own sockets, and those of others.
pub(super) fn to_pass(config: &ListenerConfig, listener: &Listener) -> io::Result<Vec<Group>> {
    let mut groups = Vec::new();
    for ours in [true, false] {
        let sockets = without_duplicates(listener.sockets.copies(ours)?)?;
        if !sockets.is_empty() {
            groups.push(Group { ours, ..group_of(config, listener, sockets) });
        }
    }
    Ok(groups)
}

/// Of a listener that is not configured any more: what others go on with.
pub(super) fn group_of(
    config: &ListenerConfig,
    listener: &Listener,
    sockets: Vec<OwnedFd>,
) -> Group {
    Group {
        name: Some(config.name.clone()),
        asked: Some(config.address.to_string()),
        address: listener.address.clone(),
        ours: false,
        has_file: listener.sockets.has_file(),
        sockets,
        from: From::Listener,
    }
}

/// One descriptor for each socket, where shards share some.
pub(super) fn without_duplicates(sockets: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let mut known = HashSet::new();
    let mut different = Vec::with_capacity(sockets.len());
    for socket in sockets {
        if known.insert(fstat(&socket)?.st_ino) {
            different.push(socket);
        }
    }
    Ok(different)
}

fn no_descriptor(config: &ListenerConfig, error: io::Error) -> BindError {
    BindError::Descriptors(config.address.clone(), error)
}

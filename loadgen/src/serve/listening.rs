//! Backends whose sockets are open, before they are dealt out to the threads.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use uring::{Listen, ListenError, ListenOptions, SocketFile, UnixListen};

use super::rules::Rules;
use super::service::{Personality, Place};
use super::{
    BACKLOG, Backend, Fault, Injection, NAME_BYTES_MAX, ServeError, Settings, UnixBackend,
};

/// A backend whose sockets are open: one listener for each thread.
pub(super) struct Listening {
    pub(super) personality: Arc<Personality>,
    pub(super) listeners: Vec<OwnedFd>,
}

impl Listening {
    /// Opens the sockets of a backend; where that is.
    pub(super) fn open(
        backend: &Backend,
        settings: &Settings,
    ) -> Result<(Self, SocketAddr), ServeError> {
        let name = usable_name(backend.name.as_deref())?;
        let threads = settings.threads.get();
        let shared = threads > 1;
        let mut how = Listen {
            address: backend.address,
            backlog: BACKLOG,
            shared,
            options: ListenOptions::default(),
        };
        let first = uring::listen(&how)?;
        // The first listener learns the port that the kernel chose, the others join it.
        how.address = uring::local_address(&first)
            .map_err(|error| ListenError::Other(backend.address, error))?;
        let place = Place::Port(how.address.port());
        let mut personality = Personality::new(name, backend.mode, place, threads);
        personality.rules = rules(&personality, false, settings)?;
        let refuses = personality.rules.as_ref().is_some_and(Rules::has_refusals);
        let mut listeners = Vec::with_capacity(threads);
        if refuses {
            // Only a port that was bound by its number stays while nobody listens.
            drop(first);
        } else {
            listeners.push(first);
        }
        while listeners.len() < threads {
            listeners.push(uring::listen(&how)?);
        }
        let personality = Arc::new(personality);
        Ok((Self { personality, listeners }, how.address))
    }

    /// The threads accept from the same listener: `SO_REUSEPORT` spreads nothing there.
    pub(super) fn open_unix(
        backend: &UnixBackend,
        settings: &Settings,
    ) -> Result<(Self, SocketFile), ServeError> {
        let name = usable_name(backend.name.as_deref())?;
        let threads = settings.threads.get();
        let how = UnixListen { path: backend.path.clone(), backlog: BACKLOG, mode: None };
        let (first, file) = uring::listen_unix(&how)?;
        let mut listeners = Vec::with_capacity(threads);
        for _ in 1..threads {
            listeners.push(first.try_clone().map_err(ServeError::Thread)?);
        }
        listeners.push(first);
        let place = Place::File(&backend.path);
        let mut personality = Personality::new(name, backend.mode, place, threads);
        personality.rules = rules(&personality, true, settings)?;
        let personality = Arc::new(personality);
        Ok((Self { personality, listeners }, file))
    }
}

/// The faults that are meant for `who`.
fn rules(who: &Personality, unix: bool, settings: &Settings) -> Result<Option<Rules>, ServeError> {
    let is_meant =
        |one: &&Injection| one.backend.as_ref().is_none_or(|backend| *backend == who.name);
    let faults: Vec<Fault> = settings.inject.iter().filter(is_meant).map(|one| one.fault).collect();
    for fault in &faults {
        let why = if who.mode.is_bulk() && fault.needs_requests() {
            "bulk has no requests; use stall, slow-read, accept-delay or refuse"
        } else if unix && matches!(fault, Fault::Refuse(_)) {
            "it listens in the file system; use a port"
        } else {
            continue;
        };
        return Err(ServeError::NoSuchFault { fault: fault.word(), name: who.name.clone(), why });
    }
    Ok(Rules::new(faults, settings.seed))
}

/// Whether everybody is there whom the injections name.
pub(super) fn check_names(
    injections: &[Injection],
    listening: &[Listening],
) -> Result<(), ServeError> {
    let names: Vec<&str> = listening.iter().map(|one| one.personality.name.as_str()).collect();
    let named = injections.iter().filter_map(|one| one.backend.as_deref());
    match named.into_iter().find(|name| !names.contains(name)) {
        Some(name) => {
            let known = names.join(", ");
            Err(ServeError::UnknownBackend { name: name.to_owned(), known })
        }
        None => Ok(()),
    }
}

fn usable_name(name: Option<&str>) -> Result<Option<&str>, ServeError> {
    match name.filter(|name| !is_usable(name)) {
        Some(name) => Err(ServeError::Name(name.to_owned())),
        None => Ok(name),
    }
}

fn is_usable(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

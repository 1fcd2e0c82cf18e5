//! Names become addresses, once; and nothing may be where evenkeel itself is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::draft::{Draft, ListenerDraft, PoolDraft};
use super::plan::{Address, BackendConfig, Destination, ListenerConfig, On, PoolConfig, Target};
use super::problem::{Place, Problem, Problems};
use crate::cli::Endpoint;

/// Why something cannot be where it was written to be.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// A name that stands for nothing.
    #[error(
        "cannot resolve {what} `{endpoint}`: {source}; check the spelling, or ask `getent hosts {host}`",
        host = endpoint.host
    )]
    Unresolvable {
        /// Whose name it is.
        what: &'static str,
        /// As it was typed.
        endpoint: Endpoint,
        /// What the resolver said.
        source: io::Error,
    },
    /// Each connection would become another one, until all sessions are taken.
    #[error(
        "backend {backend} is where evenkeel itself listens, so it would connect to itself without end; \
         choose another {option}, or leave this backend out"
    )]
    Itself {
        /// Its name.
        backend: String,
        /// Where the listener's address is written.
        option: String,
    },
    /// Nothing can come from there.
    #[error("{option} {address} is no address of this host; see `ip address`, or leave it out")]
    ForeignSource {
        /// How it is called where it is written.
        option: String,
        /// What was wanted.
        address: IpAddr,
    },
    /// Two listeners want the same.
    #[error("listener {0} and this one have the same address {1}; write another address or port")]
    Twice(String, On<Address>),
}

/// All listeners and pools with their addresses.
pub(super) fn names(draft: &Draft) -> Result<(Vec<ListenerConfig>, Vec<PoolConfig>), Problems> {
    let mut problems = Vec::new();
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for one in &draft.listeners {
        let resolved = listener(one).and_then(|new| refuse_twice(&listeners, new));
        match resolved {
            Ok(listener) => listeners.push(listener),
            Err(error) => problems.push(Problem::new(&one.place, error.to_string())),
        }
    }
    let pools = draft.pools.iter().map(|one| pool(one, &listeners, &mut problems)).collect();
    if problems.is_empty() { Ok((listeners, pools)) } else { Err(Problems(problems)) }
}

fn listener(draft: &ListenerDraft) -> Result<ListenerConfig, NameError> {
    let (address, unused_addresses) = match &draft.on {
        On::At(target) => {
            let addresses = resolve("the address to listen on", target)?;
            (On::At(addresses[0].clone()), addresses.len() - 1)
        }
        On::Fd(number) => (On::Fd(*number), 0),
    };
    Ok(ListenerConfig {
        name: draft.name.clone(),
        address,
        unused_addresses,
        pool: draft.pool,
        backlog: draft.backlog.min(super::host::somaxconn()),
        options: draft.options,
        max_sessions: draft.max_sessions,
        access: draft.access.clone(),
        per_ip: draft.per_ip,
        accept_proxy: draft.accept_proxy.clone(),
    })
}

fn refuse_twice(
    others: &[ListenerConfig],
    new: ListenerConfig,
) -> Result<ListenerConfig, NameError> {
    let any_port = matches!(new.address, On::At(Address::Inet(address)) if address.port() == 0);
    match others.iter().find(|other| other.address == new.address && !any_port) {
        Some(other) => Err(NameError::Twice(other.name.clone(), new.address)),
        None => Ok(new),
    }
}

fn pool(
    draft: &PoolDraft,
    listeners: &[ListenerConfig],
    problems: &mut Vec<Problem>,
) -> PoolConfig {
    let mut config = draft.config.clone();
    for (&address, place) in config.connect.sources.iter().zip(&draft.source_places) {
        if !uring::is_on_this_host(address) {
            let error = NameError::ForeignSource { option: place.option("source"), address };
            problems.push(Problem::new(place, error.to_string()));
        }
    }
    if config.destination == Destination::OriginalDst {
        // Each session has its own.
        let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        config.backends.iter_mut().for_each(|one| one.addresses = vec![Address::Inet(anywhere)]);
        return config;
    }
    for (backend, place) in config.backends.iter_mut().zip(&draft.backend_places) {
        let resolved = resolve("backend", &backend.target);
        match resolved.and_then(|addresses| refuse_itself(listeners, backend, addresses, place)) {
            Ok(addresses) => backend.addresses = addresses,
            Err(error) => problems.push(Problem::new(place, error.to_string())),
        }
    }
    config
}

fn refuse_itself(
    listeners: &[ListenerConfig],
    backend: &BackendConfig,
    addresses: Vec<Address>,
    place: &Place,
) -> Result<Vec<Address>, NameError> {
    let itself = |address: &Address| listeners.iter().any(|one| reaches(address, &one.address));
    if addresses.iter().any(itself) {
        let option = match place {
            Place::CommandLine => "--port",
            Place::File { .. } => "port in `listen`",
        };
        return Err(NameError::Itself { backend: backend.name.clone(), option: option.to_owned() });
    }
    Ok(addresses)
}

/// Whether a connect to `address` comes to a listener at `listening`.
fn reaches(address: &Address, listening: &On<Address>) -> bool {
    // Where a passed socket is, is known only when it is taken.
    let On::At(listening) = listening else { return false };
    match (address, listening) {
        (Address::Inet(address), Address::Inet(listening)) => {
            let all = listening.ip().is_unspecified() && uring::is_on_this_host(address.ip());
            let same = address.ip() == listening.ip() || all;
            address.port() == listening.port() && same
        }
        (Address::Unix(address), Address::Unix(listening)) => address == listening,
        (Address::Inet(_), Address::Unix(_)) | (Address::Unix(_), Address::Inet(_)) => false,
    }
}

/// Looks up what a backend stands for that is added while the program runs.
///
/// # Errors
/// What is wrong with it, and the cure.
pub fn new_backend(
    backend: &mut BackendConfig,
    listeners: &[ListenerConfig],
) -> Result<(), String> {
    let addresses = resolve("backend", &backend.target).map_err(|error| error.to_string())?;
    let itself = |address: &Address| listeners.iter().any(|one| reaches(address, &one.address));
    if addresses.iter().any(itself) {
        return Err(format!(
            "{} is where evenkeel itself listens, so it would connect to itself without end; choose \
             another address",
            backend.name
        ));
    }
    backend.addresses = addresses;
    Ok(())
}

fn resolve(what: &'static str, target: &Target) -> Result<Vec<Address>, NameError> {
    match target {
        Target::Unix(path) => Ok(vec![Address::Unix(path.clone())]),
        Target::Host(endpoint) => {
            Ok(look_up(what, endpoint)?.into_iter().map(Address::Inet).collect())
        }
    }
}

fn look_up(what: &'static str, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, NameError> {
    if let Ok(address) = endpoint.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::from((address, endpoint.port))]);
    }
    let failed = |source| NameError::Unresolvable { what, endpoint: endpoint.clone(), source };
    let resolved = (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(failed)?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in resolved {
        // A resolver repeats an address once for each socket type.
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(failed(io::Error::other("it has no address")));
    }
    Ok(addresses)
}

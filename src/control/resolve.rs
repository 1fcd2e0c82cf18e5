//! What names stand for, looked up again and again.
//!
//! The hosts file and the configuration of the system are read anew each time, so a change of either
//! is seen. After DNS has answered, the next look is when its time to live is over; nothing else
//! says how long it is valid. What DNS cannot answer, the C library may: it knows other sources
//! (nsswitch.conf).

use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::Duration;

use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, TokioResolver, system_conf};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// Where names are looked up.
#[derive(Clone, Debug)]
pub enum Source {
    /// As the system says at that moment.
    System,
    /// These servers, and nothing else.
    Servers(ResolverConfig, Box<ResolverOpts>),
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In the order of families and numbers, each once, and at least one: that of an answer changes
    /// from one to the next.
    pub addresses: Vec<IpAddr>,
    /// How long that holds, if the source says so.
    pub valid_for: Option<Duration>,
}

/// Why a name could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Servers answered: it has no address.
    #[error("it has no address")]
    NoAddress,
    /// Servers did not answer, or not with sense.
    #[error("{0}")]
    Dns(NetError),
    /// The C library says no, after DNS did.
    #[error("{dns}, and getaddrinfo says: {system}")]
    Both {
        /// What DNS said.
        dns: Box<Self>,
        /// What the C library said.
        system: io::Error,
    },
}

/// Looks `host` up again and again, for ever; calls `on_change` with the new list when it is another
/// than `known`, and then than the one before. A failure changes nothing, and is said once.
///
/// The next look comes after the time to live of the answer, but not before `floor`.
pub async fn follow(
    source: Source,
    host: String,
    floor: Duration,
    known: Vec<IpAddr>,
    on_change: impl Fn(Vec<IpAddr>),
) {
    let mut known = sorted(known);
    let mut failing = false;
    loop {
        let found = look_up(&source, &host, &known).await;
        let wait = wait(found.as_ref().ok(), floor);
        match found {
            Ok(Found { addresses, .. }) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("{host} can be looked up again");
                }
                if addresses != known {
                    tracing::info!("{host} is {} now, was {}", list(&addresses), list(&known));
                    known.clone_from(&addresses);
                    on_change(addresses);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    let known = list(&known);
                    tracing::warn!("{host} cannot be looked up: {error}; it stays {known}");
                }
            }
        }
        sleep(wait).await;
    }
}

/// How long until the next look.
fn wait(found: Option<&Found>, floor: Duration) -> Duration {
    let valid_for = found.and_then(|found| found.valid_for).unwrap_or_default();
    valid_for.max(floor).max(WAIT_MIN)
}

/// Looks `host` up once. If one family cannot be looked up and the other can, those `known` of it
/// stay.
///
/// # Errors
/// It has no address, or nobody answers.
pub async fn look_up(source: &Source, host: &str, known: &[IpAddr]) -> Result<Found, ResolveError> {
    if let Ok(address) = host.parse() {
        return Ok(Found { addresses: vec![address], valid_for: None });
    }
    let (config, options) = match source {
        Source::Servers(config, options) => (config.clone(), (**options).clone()),
        Source::System => {
            if let Some(addresses) = in_hosts_file(host) {
                return Ok(Found { addresses, valid_for: None });
            }
            match system_conf::read_system_conf() {
                Ok(system) => system,
                Err(error) => return ask_c_library(host, ResolveError::Dns(error)).await,
            }
        }
    };
    match (ask_servers(config, options, host, known).await, source) {
        (Err(error), Source::System) => ask_c_library(host, error).await,
        (result, _) => result,
    }
}

/// The hosts file gives no time to live, so it is looked at apart.
fn in_hosts_file(host: &str) -> Option<Vec<IpAddr>> {
    let (hosts, name) = (Hosts::from_system().ok()?, Name::from_utf8(host).ok()?);
    let of_type = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of_type);
    let addresses: Vec<_> = found
        .flat_map(|lookup| lookup.answers().to_vec())
        .filter_map(|record| record.data.ip_addr())
        .collect();
    (!addresses.is_empty()).then(|| sorted(addresses))
}

async fn ask_servers(
    config: ResolverConfig,
    mut options: ResolverOpts,
    host: &str,
    known: &[IpAddr],
) -> Result<Found, ResolveError> {
    options.use_hosts_file = ResolveHosts::Never;
    let resolver = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let resolver = resolver.with_options(options).build().map_err(ResolveError::Dns)?;
    let (v4, v6) = tokio::join!(
        family(&resolver, host, RecordType::A),
        family(&resolver, host, RecordType::AAAA)
    );
    let (v4, v6) = match (v4, v6) {
        (Ok(v4), Ok(v6)) => (v4, v6),
        (Ok(v4), Err(_)) if !v4.addresses.is_empty() => (v4, kept(known, IpAddr::is_ipv6)),
        (Err(_), Ok(v6)) if !v6.addresses.is_empty() => (kept(known, IpAddr::is_ipv4), v6),
        (Err(error), _) | (_, Err(error)) => return Err(ResolveError::Dns(error)),
    };
    let valid_for = [v4.valid_for, v6.valid_for].into_iter().flatten().min();
    match sorted([v4.addresses, v6.addresses].concat()) {
        addresses if addresses.is_empty() => Err(ResolveError::NoAddress),
        addresses => Ok(Found { addresses, valid_for }),
    }
}

/// The addresses of one family; none if servers say that there are none.
async fn family(resolver: &TokioResolver, host: &str, kind: RecordType) -> Result<Found, NetError> {
    match resolver.lookup(host, kind).await {
        Ok(lookup) => {
            let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr());
            let valid_for = lookup.valid_until().saturating_duration_since(Instant::now().into());
            Ok(Found { addresses: addresses.collect(), valid_for: Some(valid_for) })
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(Found::none()),
        Err(error) => Err(error),
    }
}

impl Found {
    const fn none() -> Self {
        Self { addresses: Vec::new(), valid_for: None }
    }
}

fn kept(known: &[IpAddr], family: impl Fn(&IpAddr) -> bool) -> Found {
    let addresses = known.iter().copied().filter(|one| family(one)).collect();
    Found { addresses, valid_for: None }
}

/// On a thread of its own, not one of the runtime's: the runtime would wait at its end for an answer
/// that takes half a minute.
fn ask_c_library(
    host: &str,
    dns: ResolveError,
) -> impl Future<Output = Result<Found, ResolveError>> {
    let (tx, rx) = oneshot::channel();
    let host = host.to_owned();
    let thread = std::thread::Builder::new().name("getaddrinfo".into()).spawn(move || {
        let found = (host.as_str(), 0).to_socket_addrs();
        let _ = tx.send(found.map(|all| sorted(all.map(|one| one.ip()).collect())));
    });
    async move {
        let answer = match thread {
            Ok(_) => rx.await.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())),
            Err(error) => Err(error),
        };
        match answer {
            Ok(addresses) if addresses.is_empty() => Err(ResolveError::NoAddress),
            Ok(addresses) => Ok(Found { addresses, valid_for: None }),
            Err(system) => Err(ResolveError::Both { dns: Box::new(dns), system }),
        }
    }
}

/// IPv4 first: a host without IPv6 may get addresses of it all the same.
fn sorted(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn list(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "nothing".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Whatever was configured, and even with a time to live of 0, a server is not asked in a loop.
const WAIT_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;

//! What a configuration wants of the host.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::cli::EngineName;
use crate::config::descriptors::Takers;
use crate::config::plan::{Address, Destination, ListenerConfig, On, PoolConfig};
use crate::config::{Config, Draft};
use crate::core::relay::Splice;

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Needs {
    /// Sessions at a time, if somebody said how many.
    pub(super) max_sessions: Option<u64>,
    /// What else takes descriptors.
    pub(super) takers: Takers,
    /// The CPU of each shard.
    pub(super) cpus: Vec<usize>,
    /// What shall move the bytes.
    pub(super) engine: EngineName,
    /// The longest queue that was asked for, of one shard.
    pub(super) backlog: u64,
    /// Ports to listen on that were chosen by somebody.
    pub(super) listening: BTreeSet<u16>,
    /// Where connections to backends go, for each pool.
    pub(super) routes: Vec<Route>,
    /// Whether all bytes shall go through pipes.
    pub(super) always_splices: bool,
}

/// Where the connections of a pool go, as far as local ports are concerned.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    /// Its name.
    pub(super) pool: String,
    /// The backends' addresses; backups apart, which stand in for the others.
    pub(super) targets: BTreeSet<SocketAddr>,
    /// Whether some of its connections take no port, or go where nobody knows before.
    pub(super) unbounded: bool,
    /// Addresses of this host to come from.
    pub(super) sources: Vec<IpAddr>,
    /// Sessions that it can have at most, for other reasons than this host's.
    pub(super) most: Option<u64>,
}

impl Needs {
    /// What the configuration wants, with what was asked for beside what has become of it.
    pub(super) fn of(draft: &Draft, config: &Config) -> Self {
        let (listeners, pools) = (&config.listeners, &config.pools);
        let cpus = config.process.cpus.clone();
        let backlog = draft.listeners.iter().map(|listener| listener.backlog).max();
        let routes = pools.iter().enumerate().map(|(index, pool)| {
            let mut serve = listeners.iter().filter(|listener| listener.pool == index);
            Route::of(pool, sum(&mut serve, |listener| listener.max_sessions))
        });
        Self {
            max_sessions: draft.process.max_sessions.as_ref().map(|most| most.value.into()),
            takers: Takers::new(
                cpus.len(),
                listeners.len(),
                config.process.admin.endpoints.len(),
                pools,
            ),
            cpus,
            engine: config.process.engine,
            backlog: backlog.unwrap_or_default().into(),
            listening: listeners.iter().filter_map(port).collect(),
            routes: routes.collect(),
            always_splices: pools.iter().any(|pool| pool.splice == Splice::Always),
        }
    }
}

impl Route {
    fn of(pool: &PoolConfig, most_of_listeners: Option<u64>) -> Self {
        let mut route = Self {
            pool: pool.name.clone(),
            unbounded: pool.destination == Destination::OriginalDst,
            sources: pool.connect.sources.clone(),
            ..Self::default()
        };
        let primaries: Vec<_> = pool.backends.iter().filter(|backend| !backend.backup).collect();
        let most = sum(&mut primaries.iter(), |backend| backend.max_connections);
        route.most = most.into_iter().chain(most_of_listeners).min();
        for address in primaries.iter().flat_map(|backend| &backend.addresses) {
            match address {
                Address::Inet(address) => drop(route.targets.insert(*address)),
                Address::Unix(_) => route.unbounded = true,
            }
        }
        route
    }

    /// Pairs of an address of this host and an address of a backend: each has all local ports.
    pub(super) fn pairs(&self) -> u64 {
        let from = |target: &SocketAddr| {
            let fits = |source: &&IpAddr| source.is_ipv4() == target.is_ipv4();
            self.sources.iter().filter(fits).count().max(1) as u64
        };
        self.targets.iter().map(from).sum()
    }
}

/// The sum of what all of them have as a limit; nothing if one has none.
fn sum<T>(
    all: &mut impl Iterator<Item = T>,
    limit: impl Fn(T) -> Option<std::num::NonZeroU32>,
) -> Option<u64> {
    all.map(|one| limit(one).map(|limit| u64::from(limit.get()))).sum()
}

fn port(listener: &ListenerConfig) -> Option<u16> {
    match &listener.address {
        On::At(Address::Inet(address)) => Some(address.port()).filter(|&port| port != 0),
        On::At(Address::Unix(_)) | On::Fd(_) => None,
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Of two shards and a listener, nothing asked for.
    pub(in crate::doctor) fn needs() -> Needs {
        Needs {
            max_sessions: None,
            takers: Takers { shards: 2, listeners: 1, endpoints: 0, splices: true },
            cpus: vec![0, 1],
            engine: EngineName::Auto,
            backlog: 4096,
            listening: BTreeSet::from([8080]),
            routes: Vec::new(),
            always_splices: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use uring::NofileLimit;

    fn of(text: &str) -> Needs {
        let draft = parse(text, "a.toml", &|_| None).expect("it is well written");
        let plenty = NofileLimit { before: u64::MAX, now: u64::MAX };
        Needs::of(&draft, &Config::resolve_under(&draft, plenty).expect("addresses only"))
    }

    #[test]
    fn what_a_file_asks_for_is_what_is_needed() {
        let needs = of(r#"
            [process]
            max_sessions = 5000
            shards = 2
            engine = "uring"
            [defaults]
            backlog = 100
            [[listener]]
            listen = ["127.0.0.1:1234", "unix:/tmp/evenkeel-needs.sock"]
            pool = "a"
            backlog = 300
            max_sessions = 40
            [[listener]]
            listen = "127.0.0.1:0"
            pool = "b"
            [pool.a]
            backends = ["127.0.0.1:1", "[::1]:2"]
            splice = "off"
            [pool.b]
            splice = "always"
            source = ["127.0.0.1", "127.0.0.2"]
            [[pool.b.backend]]
            address = "127.0.0.3:3"
            max_connections = 7
            [[pool.b.backend]]
            address = "unix:/tmp/evenkeel-b.sock"
            max_connections = 8
            [[pool.b.backend]]
            address = "127.0.0.4:4"
            backup = true
        "#);
        assert_eq!((needs.max_sessions, needs.backlog), (Some(5000), 300));
        assert_eq!((needs.engine, needs.always_splices), (EngineName::Uring, true));
        assert_eq!(needs.takers, Takers { shards: 2, listeners: 3, endpoints: 0, splices: true });
        assert_eq!(needs.listening, BTreeSet::from([1234]));
        let [a, b] = needs.routes.as_slice() else { panic!("two pools: {needs:?}") };
        assert_eq!((a.pool.as_str(), a.pairs(), a.unbounded, a.most), ("a", 2, false, Some(80)));
        assert_eq!((b.pool.as_str(), b.pairs(), b.unbounded, b.most), ("b", 2, true, Some(15)));
    }

    #[test]
    fn where_the_client_wanted_to_go_nobody_knows_before() {
        let needs = of("[[listener]]\nlisten = \"127.0.0.1:0\"\npool = \"a\"\n\
                        [pool.a]\ndestination = \"original-dst\"\n");
        assert!(needs.routes[0].unbounded && needs.max_sessions.is_none());
    }
}

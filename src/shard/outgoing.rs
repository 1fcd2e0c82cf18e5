//! How connections to backends are made: where they come from, and what else is asked of them.

use std::net::{IpAddr, SocketAddr};

use socket2::SockAddr;
use uring::ConnectOptions;

use crate::config::plan::Connect;

/// What is asked of connections to the backends of a pool.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The same for all of them.
    common: ConnectOptions,
    /// Addresses to come from, of each family.
    v4: Box<[IpAddr]>,
    v6: Box<[IpAddr]>,
}

impl Outgoing {
    /// As it is configured.
    #[must_use]
    pub fn new(config: &Connect) -> Self {
        let Connect { sources, keepalive, user_timeout } = config;
        let common =
            ConnectOptions { source: None, keepalive: *keepalive, user_timeout: *user_timeout };
        let (v4, v6): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.is_ipv4());
        Self { common, v4: v4.into(), v6: v6.into() }
    }

    /// What is asked of the next connection to `backend`; `turn` is only asked for if there is a
    /// choice of addresses to come from.
    #[must_use]
    pub fn options(&self, backend: &SockAddr, turn: impl FnOnce() -> u32) -> ConnectOptions {
        let source = match self.sources(backend) {
            [] => None,
            [source] => Some(*source),
            sources => Some(sources[turn() as usize % sources.len()]),
        };
        ConnectOptions { source, ..self.common }
    }

    fn sources(&self, backend: &SockAddr) -> &[IpAddr] {
        match backend.as_socket() {
            Some(SocketAddr::V4(_)) => &self.v4,
            // What is on the wire is IPv4, which no address of IPv6 can be connected to.
            Some(SocketAddr::V6(address)) if address.ip().to_ipv4_mapped().is_some() => &[],
            Some(SocketAddr::V6(_)) => &self.v6,
            None => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_connection_comes_from_the_addresses_of_its_family_in_turn() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (sources, backend, from, turns) in [
            ("", "10.0.0.1:1", ["", "", ""], 0),
            ("10.0.0.2", "10.0.0.1:1", ["10.0.0.2", "10.0.0.2", "10.0.0.2"], 0),
            ("10.0.0.2 10.0.0.3", "10.0.0.1:1", ["10.0.0.2", "10.0.0.3", "10.0.0.2"], 3),
            ("10.0.0.2 fd00::2 10.0.0.3", "10.0.0.1:1", ["10.0.0.2", "10.0.0.3", "10.0.0.2"], 3),
            ("10.0.0.2 fd00::2", "[fd00::1]:1", ["fd00::2", "fd00::2", "fd00::2"], 0),
            ("fd00::2", "10.0.0.1:1", ["", "", ""], 0),
            ("10.0.0.2 fd00::2", "[::ffff:10.0.0.1]:1", ["", "", ""], 0),
            ("10.0.0.2 10.0.0.3", "unix", ["", "", ""], 0),
        ] {
            let list = sources.split_whitespace().map(address).collect();
            let outgoing = Outgoing::new(&Connect { sources: list, ..Connect::default() });
            let to = match backend {
                "unix" => SockAddr::unix("/run/x.sock").expect("short"),
                inet => SockAddr::from(inet.parse::<SocketAddr>().expect("an address")),
            };
            let turn = Cell::new(0);
            let options = || outgoing.options(&to, || turn.replace(turn.get() + 1));
            let came = from.map(|_| options().source);
            let expected = from.map(|one| (!one.is_empty()).then(|| address(one)));
            assert_eq!((came, turn.get()), (expected, turns), "{sources} to {backend}");
        }
    }
}

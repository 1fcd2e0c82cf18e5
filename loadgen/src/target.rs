//! Where load goes: `host:port` as people write it, and the address behind it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use uring::SetupError;

use crate::connection::{Connection, OpenError};

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port, not 0.
    pub port: u16,
}

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not `host:port`.
    #[error("`{0}` is not a target: write host:port, for example 127.0.0.1:8080 or [::1]:8080")]
    NotATarget(String),
    /// The name leads nowhere.
    #[error("cannot find {target}: {source}; check the name with `getent ahosts {host}`", host = .target.host)]
    Unresolved {
        /// What was looked up.
        target: Target,
        /// What the resolver said.
        source: io::Error,
    },
    /// The name has several addresses and none of them answers.
    #[error(
        "cannot connect to {target}: none of its {count} addresses answers, the last one: {source}"
    )]
    NoneAnswers {
        /// What was looked up.
        target: Target,
        /// How many addresses it has.
        count: usize,
        /// What the last of them answered.
        source: io::Error,
    },
    /// The name has several addresses, and there is no ring to try them with.
    #[error(transparent)]
    Ring(SetupError),
}

impl Target {
    /// The address to use. A name with several addresses is settled by connecting to each in turn;
    /// a single address is not tried here, so the target sees only the connections of the load.
    ///
    /// # Errors
    /// A [`TargetError`] when the name leads nowhere or nothing answers.
    pub fn resolve(&self, timeout: Duration) -> Result<SocketAddr, TargetError> {
        let unresolved = |source| TargetError::Unresolved { target: self.clone(), source };
        let addresses = self.addresses().map_err(unresolved)?;
        match addresses[..] {
            [] => Err(unresolved(io::Error::other("the name has no address"))),
            [address] => Ok(address),
            _ => self.first_that_answers(&addresses, timeout),
        }
    }

    /// Every address behind the name, in the resolver's order.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }

    fn first_that_answers(
        &self,
        addresses: &[SocketAddr],
        timeout: Duration,
    ) -> Result<SocketAddr, TargetError> {
        let count = addresses.len();
        let connection = Connection::open(addresses, timeout).map_err(|error| match error {
            OpenError::Ring(error) => TargetError::Ring(error),
            OpenError::Connect(source) => {
                TargetError::NoneAnswers { target: self.clone(), count, source }
            }
        })?;
        Ok(connection.address())
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || TargetError::NotATarget(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(refuse)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => inner.parse::<IpAddr>().ok().map(|_| inner),
            None => Some(host).filter(|host| !host.is_empty() && !host.contains([':', '/', ' '])),
        };
        Ok(Self { host: host.ok_or_else(refuse)?.to_owned(), port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_host_and_port() {
        for (text, host, port) in [
            ("127.0.0.1:8080", "127.0.0.1", 8080),
            ("[::1]:80", "::1", 80),
            ("localhost:1", "localhost", 1),
        ] {
            let target: Target = text.parse().expect(text);
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_an_example() {
        for text in [
            "",
            "8080",
            "host",
            "host:",
            ":80",
            "::1:80",
            "[::1:80",
            "http://x:80",
            "h:0",
            "h:70000",
        ] {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(error.contains("127.0.0.1:8080"), "{error}");
        }
    }

    #[test]
    fn literal_addresses_need_no_one_to_answer() {
        for text in ["127.0.0.1:9", "[::1]:9"] {
            let target: Target = text.parse().expect(text);
            assert_eq!(target.resolve(Duration::ZERO).expect(text).to_string(), text);
        }
    }
}

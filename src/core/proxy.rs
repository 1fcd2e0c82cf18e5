//! Who the client was, when a proxy in front of us says so: the PROXY protocol, versions 1 and 2.
//!
//! Section numbers are those of HAProxy's doc/proxy-protocol.txt. Reading decides as early as a
//! field is complete, looks at nothing behind the header, and says exactly how long the header is.
//! Who may send one is decided elsewhere ([`super::access`]): whoever is believed can claim anything.

mod crc32c;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use arrayvec::ArrayVec;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header; it may still become a good one.
    NeedMore,
    /// A whole header.
    Header {
        /// What the caller takes away before the client's own bytes; never more than was there.
        len: usize,
        /// What it says.
        origin: Origin,
    },
    /// No header, whatever comes next: "abort the connection as soon as possible" (2.1).
    Invalid(Reason),
}

/// Whom a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client that the proxy has accepted.
    Proxied {
        /// The client's address, as it was sent: it may be an IPv4-mapped IPv6 address.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
    /// A client without an IP address that we know: a unix socket, or a family that the proxy does
    /// not name. The connection is good; its own addresses are all there is (2.1, 2.2).
    Unknown,
    /// The proxy itself, as for its health checks; the connection's own addresses count (2.2).
    Local,
}

/// Why this is no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It begins with neither "PROXY " nor the signature of version 2.
    NotProxy,
    /// Version 1: neither TCP4 nor TCP6 nor UNKNOWN.
    Protocol,
    /// Version 1: no address of the family, or more than one space.
    Address,
    /// Version 1: no port without leading zeros, or no CRLF after it.
    Port,
    /// Version 1: no CRLF in the first 107 bytes.
    LineTooLong,
    /// Version 2's signature, but another version.
    Version,
    /// Version 2: neither LOCAL nor PROXY.
    Command,
    /// Version 2: an unassigned family or transport.
    Family,
    /// Version 2: a datagram, which no TCP connection can stand for.
    Datagram,
    /// Version 2: longer than [`MAX_HEADER`].
    TooLong,
    /// Version 2: too short for the addresses of its family.
    TooShort,
    /// Version 2: an additional field (TLV) reaches beyond the header.
    Tlv,
    /// Version 2: the checksum is wrong, or there are two.
    Checksum,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotProxy => "no PROXY header",
            Self::Protocol => "neither TCP4 nor TCP6 nor UNKNOWN",
            Self::Address => "an address that is none",
            Self::Port => "a port that is none",
            Self::LineTooLong => "a line without an end",
            Self::Version => "an unknown version",
            Self::Command => "an unknown command",
            Self::Family => "an unknown address family or transport",
            Self::Datagram => "a datagram",
            Self::TooLong => "a header that is too long",
            Self::TooShort => "a header that is too short for its addresses",
            Self::Tlv => "a field that reaches beyond the header",
            Self::Checksum => "a wrong checksum",
        })
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Text (2.1).
    V1,
    /// Binary (2.2).
    V2,
}

/// Bytes of the longest header that is read. Version 2 could announce 65551. This is ours: room for
/// the certificate names and cookies that proxies add, and a bound on what a stranger makes us hold.
pub const MAX_HEADER: usize = 4096;

/// Bytes of the longest header that is written: the worst case of version 1 (2.1). Always less than
/// a segment, so that it leaves at once (2).
pub const MAX_WRITTEN: usize = 107;

/// A header to send.
pub type Written = ArrayVec<u8, MAX_WRITTEN>;

/// Looks at the first bytes of a connection.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    let read = match bytes.first() {
        None => Err(Stop::NeedMore),
        Some(b'P') => v1::parse(bytes),
        Some(b'\r') => v2::parse(bytes),
        Some(_) => Err(Stop::Invalid(Reason::NotProxy)),
    };
    match read {
        Ok((len, origin)) => Parsed::Header { len, origin },
        Err(Stop::NeedMore) => Parsed::NeedMore,
        Err(Stop::Invalid(reason)) => Parsed::Invalid(reason),
    }
}

/// The header for a client at `source` that connected to `destination`.
///
/// If one of them is not known, as with a client on a unix socket, version 1 says UNKNOWN and
/// version 2 LOCAL, which every receiver "must accept" (2.2); HAProxy and nginx then keep the
/// connection's own address. PROXY with AF_UNSPEC would say it better, but HAProxy 2.6 resets such
/// a connection; AF_UNIX with paths is reset by HAProxy 2.6 and is too long for nginx 1.22.
///
/// IPv4-mapped addresses are written as IPv4 if both are such; if only one is IPv4, it is mapped.
#[must_use]
pub fn encode(
    version: Version,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
) -> Written {
    let pair = source.zip(destination).map(|(source, destination)| Pair::of(source, destination));
    match version {
        Version::V1 => v1::encode(pair),
        Version::V2 => v2::encode(pair),
    }
}

/// The header of a connection that is nobody's but ours, as a health check: LOCAL in version 2,
/// and in version 1, which has no such word, our own addresses, because UNKNOWN is rejected by some
/// servers (2.1).
#[must_use]
pub fn encode_own(version: Version, source: SocketAddr, destination: SocketAddr) -> Written {
    match version {
        Version::V1 => encode(version, Some(source), Some(destination)),
        Version::V2 => v2::encode(None),
    }
}

/// Two addresses of one family.
#[derive(Clone, Copy)]
enum Pair {
    V4 { source: SocketAddrV4, destination: SocketAddrV4 },
    V6 { source: SocketAddrV6, destination: SocketAddrV6 },
}

impl Pair {
    fn of(source: SocketAddr, destination: SocketAddr) -> Self {
        match (canonical(source), canonical(destination)) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
                Self::V4 { source, destination }
            }
            (source, destination) => {
                Self::V6 { source: mapped(source), destination: mapped(destination) }
            }
        }
    }
}

/// As IPv4, if that is what it stands for.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// As IPv6.
fn mapped(address: SocketAddr) -> SocketAddrV6 {
    let ip: Ipv6Addr = match address {
        SocketAddr::V4(address) => address.ip().to_ipv6_mapped(),
        SocketAddr::V6(address) => *address.ip(),
    };
    SocketAddrV6::new(ip, address.port(), 0, 0)
}

/// Why there is no header (yet).
#[derive(Debug)]
enum Stop {
    NeedMore,
    Invalid(Reason),
}

/// How long the header is, and what it says.
type Read = Result<(usize, Origin), Stop>;

//! Hashes that are the same on every machine and in every version: two balancers with the same
//! backends send a client to the same one.

use std::net::IpAddr;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What a client is known by: its address, and its port if each connection counts as another client.
///
/// An IPv4 address written in IPv6 (`::ffff:a.b.c.d`) is that IPv4 address: which of them is seen
/// depends on the listener.
#[must_use]
pub fn client_key(ip: IpAddr, port: Option<u16>) -> u64 {
    let (mut bytes, mut len) = ([0; 18], 0);
    let mut append = |part: &[u8]| {
        bytes[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => append(&ip.octets()),
        IpAddr::V6(ip) => append(&ip.octets()),
    }
    if let Some(port) = port {
        append(&port.to_be_bytes());
    }
    xxh3_64(&bytes[..len])
}

/// What a backend is known by; `namesakes` come before it and have the same name.
pub(super) fn identity(name: &str, namesakes: u64) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), namesakes)
}

/// A number that depends on all of a key and on something else, and looks like chance in both.
pub(super) fn mixed(key: u64, with: u64) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), with)
}

//! Pieces of a line, appended as they are displayed, without the formatting machinery: most of the time of a
//! line was spent there.

use std::io::Write as _;
use std::net::SocketAddr;

use super::json::Id;
use super::name::Name;

/// A number.
pub(super) fn digits(into: &mut Vec<u8>, number: impl itoa::Integer) {
    into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A number with zeros before it, `width` digits in all.
pub(super) fn padded(into: &mut Vec<u8>, number: u64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    into.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    into.extend_from_slice(digits);
}

/// An address with its port.
pub(super) fn address(into: &mut Vec<u8>, address: &SocketAddr) {
    let SocketAddr::V4(address) = address else {
        return write!(into, "{address}").expect("memory takes it all");
    };
    for (at, octet) in address.ip().octets().into_iter().enumerate() {
        if at > 0 {
            into.push(b'.');
        }
        digits(into, octet);
    }
    into.push(b':');
    digits(into, address.port());
}

/// A name as text.
pub(super) fn name(into: &mut Vec<u8>, name: &str) {
    let name = Name(name);
    match name.plain() {
        Some(plain) => into.extend_from_slice(plain.as_bytes()),
        None => write!(into, "{name}").expect("memory takes it all"),
    }
}

/// What a session was called.
pub(super) fn id(into: &mut Vec<u8>, Id { shard, owner }: Id) {
    digits(into, shard);
    into.push(b'-');
    digits(into, owner.slot);
    into.push(b'-');
    digits(into, owner.generation);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = Vec::new();
        append(&mut bytes);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn addresses_are_as_they_are_displayed() {
        for text in ["0.0.0.0:0", "255.9.10.99:65535", "[::]:1", "[fe80::1%7]:8080"] {
            let parsed: SocketAddr = text.parse().expect("an address");
            assert_eq!(appended(|into| address(into, &parsed)), parsed.to_string());
        }
    }

    #[test]
    fn ids_and_names_are_as_they_are_displayed() {
        let one = Id { shard: 3, owner: uring::Owner { slot: 70_000, generation: 9, tag: 0 } };
        assert_eq!(appended(|into| id(into, one)), one.to_string());
        for text in ["web", "a b", "", "b\\c", "\"", "\u{202e}"] {
            assert_eq!(appended(|into| name(into, text)), Name(text).to_string());
        }
    }

    #[test]
    fn numbers_are_padded_with_zeros_and_never_cut() {
        for (number, width, shown) in [(7, 3, "007"), (70, 2, "70"), (700, 2, "700"), (0, 1, "0")] {
            assert_eq!(appended(|into| padded(into, number, width)), shown);
        }
    }
}

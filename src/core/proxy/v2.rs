//! Version 2: sixteen bytes, addresses, and more fields that nobody has to read (2.2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAX_HEADER, Origin, Pair, Read, Reason, Stop, Written, crc32c};

/// A header that begins with the first byte of the signature.
pub(super) fn parse(bytes: &[u8]) -> Read {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        return Err(Stop::Invalid(Reason::NotProxy));
    }
    let proxied = match at(bytes, 12)? {
        LOCAL => false,
        PROXY => true,
        other if other >> 4 == 2 => return Err(Stop::Invalid(Reason::Command)),
        _ => return Err(Stop::Invalid(Reason::Version)),
    };
    let family = at(bytes, 13)?;
    // "The protocol block including the family … is ignored" with LOCAL.
    let block = if proxied { Block::of(family).map_err(Stop::Invalid)? } else { Block::Ignored };
    let length = usize::from(u16::from_be_bytes([at(bytes, 14)?, at(bytes, 15)?]));
    let total = HEAD + length;
    if total > MAX_HEADER {
        return Err(Stop::Invalid(Reason::TooLong));
    }
    if length < block.len() {
        return Err(Stop::Invalid(Reason::TooShort));
    }
    // Where the addresses end is known only of the families that we know.
    let sum =
        if block == Block::Ignored { None } else { fields(bytes, HEAD + block.len(), total)? };
    let header = bytes.get(..total).ok_or(Stop::NeedMore)?;
    if sum.is_some_and(|sum| !sum_is_right(header, sum)) {
        return Err(Stop::Invalid(Reason::Checksum));
    }
    let origin = if proxied { block.origin(&header[HEAD..]) } else { Origin::Local };
    Ok((total, origin))
}

/// What the fourteenth byte says about the bytes behind the sixteenth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Inet,
    Inet6,
    Unix,
    /// "The receiver should ignore address information."
    Ignored,
}

impl Block {
    fn of(family_and_transport: u8) -> Result<Self, Reason> {
        match (family_and_transport >> 4, family_and_transport & 0xf) {
            (4.., _) | (_, 3..) => Err(Reason::Family),
            (_, DGRAM) => Err(Reason::Datagram),
            (AF_INET, STREAM) => Ok(Self::Inet),
            (AF_INET6, STREAM) => Ok(Self::Inet6),
            (AF_UNIX, STREAM) => Ok(Self::Unix),
            // An unspecified family, or an unspecified transport of one.
            (..=3, ..=2) => Ok(Self::Ignored),
        }
    }

    /// Bytes of both addresses with their ports.
    const fn len(self) -> usize {
        match self {
            Self::Inet => 12,
            Self::Inet6 => 36,
            Self::Unix => 216,
            Self::Ignored => 0,
        }
    }

    fn origin(self, block: &[u8]) -> Origin {
        let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
        match self {
            Self::Inet => {
                let ip = |at: usize| Ipv4Addr::from(octets::<4>(block, at));
                Origin::Proxied {
                    source: SocketAddr::new(ip(0).into(), port(8)),
                    destination: SocketAddr::new(ip(4).into(), port(10)),
                }
            }
            Self::Inet6 => {
                let ip = |at: usize| Ipv6Addr::from(octets::<16>(block, at));
                Origin::Proxied {
                    source: SocketAddr::new(ip(0).into(), port(32)),
                    destination: SocketAddr::new(ip(16).into(), port(34)),
                }
            }
            Self::Unix | Self::Ignored => Origin::Unknown,
        }
    }
}

/// Walks over the additional fields (TLVs) from `start` to `end`, as far as they are there; says
/// where the value of the checksum is.
fn fields(bytes: &[u8], start: usize, end: usize) -> Result<Option<usize>, Stop> {
    let (mut next, mut sum) = (start, None);
    while next < end {
        let value = next + FIELD_HEAD;
        if value > end {
            return Err(Stop::Invalid(Reason::Tlv));
        }
        let len = u16::from_be_bytes([at(bytes, next + 1)?, at(bytes, next + 2)?]);
        let after = value + usize::from(len);
        if after > end {
            return Err(Stop::Invalid(Reason::Tlv));
        }
        if bytes[next] == CRC32C {
            if sum.is_some() || usize::from(len) != SUM_LEN {
                return Err(Stop::Invalid(Reason::Checksum));
            }
            sum = Some(value);
        }
        next = after;
    }
    Ok(sum)
}

/// The sum is taken over the whole header with zeros in its own place (2.2.3).
fn sum_is_right(header: &[u8], at: usize) -> bool {
    let said = u32::from_be_bytes(octets(header, at));
    crc32c::sum(&[&header[..at], &[0; SUM_LEN], &header[at + SUM_LEN..]]) == said
}

fn at(bytes: &[u8], index: usize) -> Result<u8, Stop> {
    bytes.get(index).copied().ok_or(Stop::NeedMore)
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of this length")
}

/// PROXY for two addresses; LOCAL without, and then "it sets this field to zero".
pub(super) fn encode(pair: Option<Pair>) -> Written {
    match pair {
        None => head(LOCAL, UNSPEC, 0),
        Some(Pair::V4 { source, destination }) => {
            let mut header = head(PROXY, AF_INET << 4 | STREAM, Block::Inet.len());
            extend(&mut header, &source.ip().octets());
            extend(&mut header, &destination.ip().octets());
            extend(&mut header, &source.port().to_be_bytes());
            extend(&mut header, &destination.port().to_be_bytes());
            header
        }
        Some(Pair::V6 { source, destination }) => {
            let mut header = head(PROXY, AF_INET6 << 4 | STREAM, Block::Inet6.len());
            extend(&mut header, &source.ip().octets());
            extend(&mut header, &destination.ip().octets());
            extend(&mut header, &source.port().to_be_bytes());
            extend(&mut header, &destination.port().to_be_bytes());
            header
        }
    }
}

fn head(command: u8, family_and_transport: u8, length: usize) -> Written {
    let mut header = Written::new();
    extend(&mut header, &SIGNATURE);
    extend(&mut header, &[command, family_and_transport]);
    let length = u16::try_from(length).expect("two addresses");
    extend(&mut header, &length.to_be_bytes());
    header
}

fn extend(header: &mut Written, bytes: &[u8]) {
    header.try_extend_from_slice(bytes).expect("52 bytes at most");
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, the length of the rest.
const HEAD: usize = 16;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPEC: u8 = 0;
const AF_INET: u8 = 1;
const AF_INET6: u8 = 2;
const AF_UNIX: u8 = 3;
const STREAM: u8 = 1;
const DGRAM: u8 = 2;
/// A type and a length of two bytes.
const FIELD_HEAD: usize = 3;
/// `PP2_TYPE_CRC32C` (2.2).
const CRC32C: u8 = 3;
const SUM_LEN: usize = 4;

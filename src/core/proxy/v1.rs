//! Version 1: one line of text (2.1).

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{MAX_WRITTEN, Origin, Pair, Read, Reason, Stop, Written};

/// A line that begins with 'P'.
pub(super) fn parse(bytes: &[u8]) -> Read {
    let line = &bytes[..bytes.len().min(MAX_LINE)];
    match parse_line(line) {
        Err(Stop::NeedMore) if line.len() == MAX_LINE => Err(Stop::Invalid(Reason::LineTooLong)),
        read => read,
    }
}

fn parse_line(line: &[u8]) -> Read {
    if let Some(rest) = line.strip_prefix(TCP4) {
        return addresses::<Ipv4Addr>(line.len(), rest);
    }
    if let Some(rest) = line.strip_prefix(TCP6) {
        return addresses::<Ipv6Addr>(line.len(), rest);
    }
    if let Some(rest) = line.strip_prefix(UNKNOWN) {
        return ignored(line.len(), rest);
    }
    if [TCP4, TCP6, UNKNOWN].iter().any(|begin| begin.starts_with(line)) {
        return Err(Stop::NeedMore);
    }
    let proxy = line.starts_with(b"PROXY ");
    Err(Stop::Invalid(if proxy { Reason::Protocol } else { Reason::NotProxy }))
}

/// What comes after the name of the family, of a line of which `line_len` bytes are there.
fn addresses<A: Family>(line_len: usize, mut rest: &[u8]) -> Read {
    let source: IpAddr = address::<A>(&mut rest)?;
    let destination: IpAddr = address::<A>(&mut rest)?;
    let source = SocketAddr::new(source, port(&mut rest, b' ')?);
    let destination = SocketAddr::new(destination, port(&mut rest, b'\r')?);
    match rest.first() {
        None => Err(Stop::NeedMore),
        Some(b'\n') => Ok((line_len - (rest.len() - 1), Origin::Proxied { source, destination })),
        Some(_) => Err(Stop::Invalid(Reason::Port)),
    }
}

/// "The receiver must ignore anything presented before the CRLF is found."
fn ignored(line_len: usize, rest: &[u8]) -> Read {
    match rest {
        [] | [b'\r'] => return Err(Stop::NeedMore),
        [b' ', ..] | [b'\r', b'\n', ..] => {}
        _ => return Err(Stop::Invalid(Reason::Protocol)),
    }
    let end = rest.windows(2).position(|two| two == b"\r\n").ok_or(Stop::NeedMore)?;
    Ok((line_len - rest.len() + end + 2, Origin::Unknown))
}

/// An address family as version 1 writes it.
trait Family: FromStr + Into<IpAddr> {
    /// Bytes of the longest address.
    const LONGEST: usize;
    fn is_part(byte: u8) -> bool;
}

impl Family for Ipv4Addr {
    const LONGEST: usize = "255.255.255.255".len();

    fn is_part(byte: u8) -> bool {
        byte.is_ascii_digit() || byte == b'.'
    }
}

impl Family for Ipv6Addr {
    const LONGEST: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();

    /// The dot is for IPv4-mapped addresses: the specification knows only hexadecimal digits, but
    /// inet_ntop(3), with which HAProxy writes, gives `::ffff:192.0.2.1`.
    fn is_part(byte: u8) -> bool {
        byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'
    }
}

/// An address and the space after it. The parsers of the standard library are as strict as the
/// specification: no leading zeros, no spaces, 128 bits.
fn address<A: Family>(rest: &mut &[u8]) -> Result<IpAddr, Stop> {
    let text = field(rest, b' ', A::LONGEST, A::is_part, Reason::Address)?;
    A::from_str(text).map(Into::into).map_err(|_| Stop::Invalid(Reason::Address))
}

/// A port and the byte after it.
fn port(rest: &mut &[u8], end: u8) -> Result<u16, Stop> {
    let text = field(rest, end, "65535".len(), |byte| byte.is_ascii_digit(), Reason::Port)?;
    let heading_zero = text.len() > 1 && text.starts_with('0');
    let port = text.parse().ok().filter(|_| !heading_zero);
    port.ok_or(Stop::Invalid(Reason::Port))
}

/// Takes what is allowed and the `end` behind it.
fn field<'a>(
    rest: &mut &'a [u8],
    end: u8,
    longest: usize,
    allowed: impl Fn(u8) -> bool,
    reason: Reason,
) -> Result<&'a str, Stop> {
    let len = rest.iter().position(|&byte| !allowed(byte)).unwrap_or(rest.len());
    let (text, after) = rest.split_at(len);
    if len > longest {
        return Err(Stop::Invalid(reason));
    }
    match after.split_first() {
        None => Err(Stop::NeedMore),
        Some((&byte, after)) if byte == end => {
            *rest = after;
            Ok(std::str::from_utf8(text).expect("digits, dots and colons are ASCII"))
        }
        Some(_) => Err(Stop::Invalid(reason)),
    }
}

/// The line for two addresses, or for none that are known.
pub(super) fn encode(pair: Option<Pair>) -> Written {
    let mut line = Written::new();
    let written = match pair {
        None => write!(line, "PROXY UNKNOWN\r\n"),
        Some(Pair::V4 { source, destination }) => {
            let (from, to) = (source.ip(), destination.ip());
            write!(line, "PROXY TCP4 {from} {to} {} {}\r\n", source.port(), destination.port())
        }
        Some(Pair::V6 { source, destination }) => {
            let (from, to) = (Hexadecimal(*source.ip()), Hexadecimal(*destination.ip()));
            write!(line, "PROXY TCP6 {from} {to} {} {}\r\n", source.port(), destination.port())
        }
    };
    written.expect("104 bytes at most (2.1)");
    line
}

/// An address in "sets of 4 hexadecimal digits" also where others would write dots.
struct Hexadecimal(Ipv6Addr);

impl fmt::Display for Hexadecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.segments() {
            [0, 0, 0, 0, 0, 0xffff, high, low] => write!(f, "::ffff:{high:x}:{low:x}"),
            _ => self.0.fmt(f),
        }
    }
}

/// With the CRLF.
const MAX_LINE: usize = 107;
const _: () = assert!(MAX_LINE <= MAX_WRITTEN);
const TCP4: &[u8] = b"PROXY TCP4 ";
const TCP6: &[u8] = b"PROXY TCP6 ";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN";

//! Headers that others would send, good and bad, each cut at every byte.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

fn proxied(source: &str, destination: &str) -> Origin {
    let address = |text: &str| text.parse().expect("an address and a port");
    Origin::Proxied { source: address(source), destination: address(destination) }
}

/// Whole headers and what they say. Those of version 1 are from 2.1, its longest included.
fn good() -> Vec<(Vec<u8>, Origin)> {
    let ffff = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest_unknown = format!("PROXY UNKNOWN {ffff} {ffff} 65535 65535\r\n");
    assert_eq!(longest_unknown.len(), 107);
    let longest_v6 = format!("PROXY TCP6 {ffff} {ffff} 65535 65535\r\n");
    assert_eq!(longest_v6.len(), 104);
    let end = format!("[{ffff}]:65535");
    let lines: [(&str, Origin); 12] = [
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            proxied("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            proxied("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", proxied("0.0.0.0:0", "0.0.0.0:0")),
        (&longest_v6, proxied(&end, &end)),
        ("PROXY TCP6 ::1 2001:DB8::a 1 2\r\n", proxied("[::1]:1", "[2001:db8::a]:2")),
        ("PROXY TCP6 :: 1:2:3:4:5:6:7:8 1 2\r\n", proxied("[::]:1", "[1:2:3:4:5:6:7:8]:2")),
        // What inet_ntop(3) makes of mapped addresses.
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", proxied("[::ffff:192.0.2.1]:1", "[::1]:2")),
        ("PROXY UNKNOWN\r\n", Origin::Unknown),
        ("PROXY UNKNOWN \r\n", Origin::Unknown),
        (&longest_unknown, Origin::Unknown),
        ("PROXY UNKNOWN \0 \r no end \n neither\r\r\n", Origin::Unknown),
        ("PROXY UNKNOWN TCP4 1.2.3.4 x\r\n", Origin::Unknown),
    ];
    let lines = lines.map(|(line, origin)| (line.as_bytes().to_vec(), origin));
    lines.into_iter().chain(good_binary()).collect()
}

fn good_binary() -> Vec<(Vec<u8>, Origin)> {
    let inet = proxied("192.0.2.1:4660", "198.51.100.2:443");
    let mut inet6_block = [0; 36];
    inet6_block[..2].copy_from_slice(&[0x20, 0x01]);
    inet6_block[15] = 7;
    inet6_block[31] = 1;
    inet6_block[32..].copy_from_slice(&[0x12, 0x34, 0x01, 0xbb]);
    let fields = b"\x04\0\0\x01\0\x02h2\x20\0\x01x";
    vec![
        (binary(0x21, 0x11, &INET), inet),
        (binary(0x21, 0x11, &[&INET[..], fields].concat()), inet),
        (with_sum(0x11, &INET), inet),
        (with_sum(0x21, &inet6_block), proxied("[2001::7]:4660", "[::1]:443")),
        (binary(0x21, 0x21, &inet6_block), proxied("[2001::7]:4660", "[::1]:443")),
        (binary(0x21, 0x31, &[0; 216]), Origin::Unknown),
        (binary(0x21, 0x31, &[&[b'x'; 216][..], fields].concat()), Origin::Unknown),
        (binary(0x21, 0x00, b""), Origin::Unknown),
        (binary(0x21, 0x00, b"anything"), Origin::Unknown),
        (binary(0x21, 0x10, &INET), Origin::Unknown),
        (binary(0x21, 0x01, b""), Origin::Unknown),
        (binary(0x20, 0x00, b""), Origin::Local),
        // "The protocol block including the family … is ignored."
        (binary(0x20, 0xff, b"\x04\xff\xff"), Origin::Local),
        (binary(0x21, 0x11, &longest()), inet),
    ]
}

/// 192.0.2.1 and 198.51.100.2, ports 4660 and 443.
const INET: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb];

/// A header of version 2 with its length.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).expect("it fits").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, rest].concat()
}

/// An IPv4 block and a field up to the last byte that may be.
fn longest() -> Vec<u8> {
    let padding = MAX_HEADER - 16 - INET.len() - 3;
    let len = u16::try_from(padding).expect("it fits").to_be_bytes();
    [&INET[..], &[4], &len, &vec![0xee; padding]].concat()
}

/// A header with a checksum between two other fields.
fn with_sum(family: u8, block: &[u8]) -> Vec<u8> {
    let fields = [b"\x04\0\x01x", &SUM_FIELD[..], b"\0\0\0\0\x04\0\0"].concat();
    let mut header = binary(0x21, family, &[block, &fields].concat());
    let at = 16 + block.len() + 4 + 3;
    let sum = crc32c::sum(&[&header]);
    header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    header
}

const SUM_FIELD: [u8; 3] = [3, 0, 4];

#[test]
fn a_whole_header_is_read_and_nothing_behind_it() {
    for (header, origin) in good() {
        for behind in [&b""[..], b"GET / HTTP/1.1\r\n", b"\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff"]
        {
            let whole = Parsed::Header { len: header.len(), origin };
            assert_eq!(parse(&[&header, behind].concat()), whole, "{}", shown(&header));
        }
    }
}

#[test]
fn a_header_that_is_cut_anywhere_needs_more() {
    for (header, _) in good() {
        for len in 0..header.len() {
            assert_eq!(parse(&header[..len]), Parsed::NeedMore, "{}", shown(&header[..len]));
        }
    }
}

#[test]
fn what_the_specification_does_not_allow_is_refused() {
    for (bytes, reason) in hostile() {
        assert_eq!(parse(&bytes), Parsed::Invalid(reason), "{}", shown(&bytes));
        // Once is for ever.
        let more = [&bytes[..], b"\r\n and more \r\n"].concat();
        assert_eq!(parse(&more), Parsed::Invalid(reason), "{} and more", shown(&bytes));
    }
}

/// Each ends with the byte at which it is known to be bad.
#[test]
fn what_is_refused_is_refused_at_the_first_byte_that_shows_it() {
    for (bytes, _) in hostile() {
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), Parsed::NeedMore, "{}", shown(&bytes[..len]));
        }
    }
}

fn hostile() -> Vec<(Vec<u8>, Reason)> {
    let lines = hostile_lines().into_iter().map(|(line, reason)| (line.into_bytes(), reason));
    lines.chain(hostile_binary()).collect()
}

fn hostile_lines() -> Vec<(String, Reason)> {
    let zeros = "0".repeat(46);
    let table: &[(&str, Reason)] = &[
        ("G", Reason::NotProxy),
        ("\0", Reason::NotProxy),
        ("\n", Reason::NotProxy),
        ("p", Reason::NotProxy),
        (" ", Reason::NotProxy),
        ("PROXy", Reason::NotProxy),
        ("PROXY\t", Reason::NotProxy),
        ("PROXY\r", Reason::NotProxy),
        ("PO", Reason::NotProxy),
        ("PROXY  ", Reason::Protocol),
        ("PROXY t", Reason::Protocol),
        ("PROXY TCP5", Reason::Protocol),
        ("PROXY TCP4\r", Reason::Protocol),
        ("PROXY UD", Reason::Protocol),
        ("PROXY UNKNOWNS", Reason::Protocol),
        ("PROXY UNKNOWN\n", Reason::Protocol),
        ("PROXY UNKNOWN\rx", Reason::Protocol),
        ("PROXY TCP4  ", Reason::Address),
        ("PROXY TCP4 1.2.3.4  ", Reason::Address),
        ("PROXY TCP4 1.2.3.256 ", Reason::Address),
        ("PROXY TCP4 1.2.3.04 ", Reason::Address),
        ("PROXY TCP4 1.2.3 ", Reason::Address),
        ("PROXY TCP4 1.2.3.4.5 ", Reason::Address),
        ("PROXY TCP4 1.2.3.4\0", Reason::Address),
        ("PROXY TCP4 1.2.3.4\r", Reason::Address),
        ("PROXY TCP4 1.2.3.4\t", Reason::Address),
        ("PROXY TCP4 :", Reason::Address),
        ("PROXY TCP4 0000000000000000", Reason::Address),
        ("PROXY TCP6 1.2.3.4 ", Reason::Address),
        ("PROXY TCP6 1:2:3:4:5:6:7 ", Reason::Address),
        ("PROXY TCP6 1:2:3:4:5:6:7:8:9 ", Reason::Address),
        ("PROXY TCP6 1::2::3 ", Reason::Address),
        ("PROXY TCP6 12345:: ", Reason::Address),
        ("PROXY TCP6 fe80::1%", Reason::Address),
        ("PROXY TCP6 [", Reason::Address),
        ("PROXY TCP6 g", Reason::Address),
        ("PROXY TCP4 1.2.3.4 5.6.7.8  ", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 65536 ", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 100000", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 01 ", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 00 ", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 +", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 -", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\0", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r", Reason::Port),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rx", Reason::Port),
    ];
    let mut lines: Vec<(String, Reason)> =
        table.iter().map(|&(line, reason)| (line.to_owned(), reason)).collect();
    lines.push((format!("PROXY TCP6 {zeros}"), Reason::Address));
    // Without an end, and with its CR as the 107th byte.
    lines.push((format!("PROXY UNKNOWN {}", "x".repeat(93)), Reason::LineTooLong));
    lines.push((format!("PROXY UNKNOWN {}\r", "x".repeat(92)), Reason::LineTooLong));
    lines
}

fn hostile_binary() -> Vec<(Vec<u8>, Reason)> {
    let head = |command: u8, family: u8, len: u16| {
        let mut header = binary(command, family, b"");
        header[14..].copy_from_slice(&len.to_be_bytes());
        header
    };
    let fields =
        |fields: &[u8], len: u16| [&head(0x21, 0x11, 12 + len)[..], &INET, fields].concat();
    let wrong_sum = {
        let mut header = with_sum(0x11, &INET);
        header[20] ^= 1;
        header
    };
    vec![
        (b"\r\r".to_vec(), Reason::NotProxy),
        (b"\r\n\r\n\r".to_vec(), Reason::NotProxy),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Reason::NotProxy),
        (binary(0x11, 0x11, b"")[..13].to_vec(), Reason::Version),
        (binary(0x31, 0x11, b"")[..13].to_vec(), Reason::Version),
        (binary(0x01, 0x11, b"")[..13].to_vec(), Reason::Version),
        (binary(0x22, 0x11, b"")[..13].to_vec(), Reason::Command),
        (binary(0x2f, 0x11, b"")[..13].to_vec(), Reason::Command),
        (binary(0x21, 0x41, b"")[..14].to_vec(), Reason::Family),
        (binary(0x21, 0x13, b"")[..14].to_vec(), Reason::Family),
        (binary(0x21, 0xff, b"")[..14].to_vec(), Reason::Family),
        (binary(0x21, 0x12, b"")[..14].to_vec(), Reason::Datagram),
        (binary(0x21, 0x22, b"")[..14].to_vec(), Reason::Datagram),
        (binary(0x21, 0x32, b"")[..14].to_vec(), Reason::Datagram),
        (head(0x21, 0x11, 11), Reason::TooShort),
        (head(0x21, 0x21, 35), Reason::TooShort),
        (head(0x21, 0x31, 215), Reason::TooShort),
        (head(0x21, 0x11, 4081), Reason::TooLong),
        (head(0x20, 0x00, 0xffff), Reason::TooLong),
        // Fields that begin or end beyond the header.
        (head(0x21, 0x11, 12 + 1), Reason::Tlv),
        (head(0x21, 0x11, 12 + 2), Reason::Tlv),
        (fields(b"\x04\0\x01", 3), Reason::Tlv),
        (fields(b"\x04\xff\xff", 8), Reason::Tlv),
        (fields(b"\x04\0\x02", 6), Reason::Tlv),
        // A sum that is none, two of them, and a wrong one.
        (fields(b"\x03\0\x03", 6), Reason::Checksum),
        (fields(b"\x03\0\x04\0\0\0\0\x03\0\x04", 14), Reason::Checksum),
        (wrong_sum, Reason::Checksum),
    ]
}

#[test]
fn what_is_written_is_what_the_specification_shows() {
    let at = |text: &str| Some(text.parse().expect("an address and a port"));
    let check = |source: &str, destination: &str, line: &str| {
        let written = encode(Version::V1, at(source), at(destination));
        assert_eq!(shown(&written), shown(line.as_bytes()));
    };
    let line = "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
    check("192.168.0.1:56324", "192.168.0.11:443", line);
    check("[::ffff:192.168.0.1]:56324", "192.168.0.11:443", line);
    check("[::ffff:192.168.0.1]:56324", "[::ffff:192.168.0.11]:443", line);
    check("[2001:db8::1]:1", "[::1]:2", "PROXY TCP6 2001:db8::1 ::1 1 2\r\n");
    check("192.0.2.1:1", "[2001:db8::1]:2", "PROXY TCP6 ::ffff:c000:201 2001:db8::1 1 2\r\n");
    check("[::1]:1", "192.0.2.1:2", "PROXY TCP6 ::1 ::ffff:c000:201 1 2\r\n");
    let source = at("192.0.2.1:4660");
    let inet = encode(Version::V2, source, at("[::ffff:198.51.100.2]:443"));
    assert_eq!(inet.as_slice(), binary(0x21, 0x11, &INET));
}

#[test]
fn a_client_without_an_address_is_unknown() {
    let some = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    for (source, destination) in [(None, None), (some, None), (None, some)] {
        let line = encode(Version::V1, source, destination);
        assert_eq!(line.as_slice(), b"PROXY UNKNOWN\r\n");
        let header = encode(Version::V2, source, destination);
        assert_eq!(header.as_slice(), binary(0x20, 0x00, b""));
    }
}

#[test]
fn a_connection_of_our_own_is_local() {
    let [from, to] = [1, 2].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let local = encode_own(Version::V2, from, to);
    assert_eq!(parse(&local), Parsed::Header { len: 16, origin: Origin::Local });
    let line = encode_own(Version::V1, from, to);
    let origin = Origin::Proxied { source: from, destination: to };
    assert_eq!(parse(&line), Parsed::Header { len: line.len(), origin });
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<Ipv4Addr>();
    let mapped = any::<Ipv4Addr>().prop_map(|ip| IpAddr::V6(ip.to_ipv6_mapped()));
    let long = any::<[u16; 8]>().prop_map(|segments| IpAddr::V6(segments.into()));
    let short =
        proptest::array::uniform8(0..2_u16).prop_map(|segments| IpAddr::V6(segments.into()));
    let ip = prop_oneof![2 => v4.prop_map(IpAddr::V4), 1 => mapped, 1 => long, 1 => short];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1), Just(Version::V2)]
}

/// Anything, headers with a byte changed, and headers with something behind them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let noise = proptest::collection::vec(any::<u8>(), 0..300);
    let header = proptest::sample::select(good()).prop_map(|(header, _)| header);
    let changed = (header.clone(), any::<proptest::sample::Index>(), any::<u8>());
    let changed = changed.prop_map(|(mut header, at, byte)| {
        let at = at.index(header.len());
        header[at] = byte;
        header
    });
    let followed = (header, noise.clone()).prop_map(|(header, more)| [header, more].concat());
    prop_oneof![noise, changed, followed]
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        version in version(),
        source in address(),
        destination in address(),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let header = encode(version, Some(source), Some(destination));
        let Parsed::Header { len, origin } = parse(&[&header[..], &behind].concat()) else {
            return Err(TestCaseError::fail(format!("not read: {}", shown(&header))));
        };
        prop_assert_eq!(len, header.len());
        let Origin::Proxied { source: from, destination: to } = origin else {
            return Err(TestCaseError::fail(format!("no addresses: {origin:?}")));
        };
        prop_assert_eq!(from.is_ipv4(), to.is_ipv4());
        prop_assert_eq!(canonical(from), canonical(source));
        prop_assert_eq!(canonical(to), canonical(destination));
        for cut in 0..header.len() {
            prop_assert_eq!(parse(&header[..cut]), Parsed::NeedMore);
        }
    }

    /// However the bytes come, the first decision is the last one.
    #[test]
    fn any_split_gives_the_same(bytes in bytes()) {
        let whole = parse(&bytes);
        if let Parsed::Header { len, .. } = whole {
            prop_assert!(len <= bytes.len());
        }
        for cut in 0..bytes.len() {
            let early = parse(&bytes[..cut]);
            prop_assert!(early == Parsed::NeedMore || early == whole, "{:?}, {:?}", early, whole);
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

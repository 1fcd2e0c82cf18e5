//! What holds of the PROXY protocol whatever the first bytes of a connection are. The fuzzer and
//! `tests/corpus.rs` call the same function.

use std::net::SocketAddr;

use evenkeel::core::proxy::{MAX_HEADER, Origin, Parsed, Version, encode, parse};

/// Fails if `bytes` show a mistake in the parser or the writer.
pub(crate) fn check(bytes: &[u8]) {
    let whole = parse(bytes);
    match whole {
        Parsed::NeedMore => assert!(bytes.len() < MAX_HEADER, "it would wait for ever"),
        Parsed::Invalid(_) => {}
        Parsed::Header { len, origin } => {
            assert!(len <= bytes.len().min(MAX_HEADER), "{len} bytes of {}", bytes.len());
            // Nothing behind the header matters, and nothing less is enough.
            assert_eq!(parse(&bytes[..len]), whole);
            assert_eq!(parse(&bytes[..len - 1]), Parsed::NeedMore);
            if let Origin::Proxied { source, destination } = origin {
                check_round_trip(source, destination);
            }
        }
    }
    check_prefixes(bytes, whole);
}

/// However the bytes come, the first decision is the last one.
fn check_prefixes(bytes: &[u8], whole: Parsed) {
    let coarse = if bytes.len() > 512 { 61 } else { 1 };
    for cut in (0..bytes.len()).step_by(coarse) {
        let early = parse(&bytes[..cut]);
        assert!(early == Parsed::NeedMore || early == whole, "{early:?} at {cut}, then {whole:?}");
    }
    if whole != Parsed::NeedMore {
        assert_eq!(parse(&[bytes, b"\r\n\0"].concat()), whole, "more bytes change it");
    }
}

/// What was read can be passed on, in either version, and is read again.
fn check_round_trip(source: SocketAddr, destination: SocketAddr) {
    for version in [Version::V1, Version::V2] {
        let header = encode(version, Some(source), Some(destination));
        let Parsed::Header { len, origin: Origin::Proxied { source: from, destination: to } } =
            parse(&header)
        else {
            panic!("not read: {}", header.escape_ascii());
        };
        let same = |a: SocketAddr, b: SocketAddr| {
            a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
        };
        assert_eq!(len, header.len());
        assert!(same(from, source) && same(to, destination), "{}", header.escape_ascii());
    }
}

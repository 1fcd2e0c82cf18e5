//! The PROXY protocol with peers that others wrote: HAProxy and nginx, as senders and as receivers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use evenkeel::core::proxy::{Origin, Parsed, Version, encode, parse};
use support::peers::{At, Header, Program};
use support::{WATCHDOG, patient};

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// What each program sends.
const SENDERS: [(Program, Header); 4] = [
    (Program::Nginx, Header::V1),
    (Program::Haproxy, Header::V1),
    (Program::Haproxy, Header::V2),
    (Program::Haproxy, Header::V2WithSum),
];

#[test]
fn what_haproxy_and_nginx_send_is_read() {
    for (program, header) in SENDERS {
        for ip in LOOPBACKS {
            let (from, to) = (At::port_of(ip), TcpListener::bind((ip, 0)).unwrap());
            let to_address = to.local_addr().unwrap();
            let Some(_peer) = program.sending(header, &from, to_address) else { return };
            let mut client = patient(TcpStream::connect(from.inet()).unwrap());
            client.write_all(b"hello").unwrap();
            let (origin, rest) = received(&to);
            let source = client.local_addr().unwrap();
            let expected = Origin::Proxied { source, destination: from.inet() };
            assert_eq!((origin, &*rest), (expected, &b"hello"[..]), "{program:?}, {header:?}");
        }
    }
}

#[test]
fn what_they_send_for_a_client_on_a_unix_socket_is_read() {
    for (program, header) in SENDERS {
        let from = At::new_path();
        let to = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let Some(_peer) = program.sending(header, &from, to.local_addr().unwrap()) else { return };
        let mut client = unix_client(&from);
        client.write_all(b"hello").unwrap();
        let (origin, rest) = received(&to);
        // A client without an address, or one that the proxy answers for.
        assert!(matches!(origin, Origin::Unknown | Origin::Local), "{program:?}: {origin:?}");
        assert_eq!(rest, b"hello", "{program:?}, {header:?}");
    }
}

#[test]
fn what_is_written_is_read_by_haproxy_and_nginx() {
    let (v4, v6) = ("203.0.113.7:4660".parse().unwrap(), "[2001:db8::7]:4660".parse().unwrap());
    let mapped = "[::ffff:198.51.100.9]:443".parse().unwrap();
    for program in [Program::Nginx, Program::Haproxy] {
        let at = At::port_of(Ipv4Addr::LOCALHOST.into());
        let Some(_peer) = program.receiving(&at) else { return };
        for version in [Version::V1, Version::V2] {
            for (source, destination) in [(v4, v4), (v6, v6), (v4, v6), (v6, v4), (v4, mapped)] {
                let mut peer = patient(TcpStream::connect(at.inet()).unwrap());
                peer.write_all(&encode(version, Some(source), Some(destination))).unwrap();
                let known = addresses_known_by(program, &mut peer);
                assert_eq!(known, [source, destination].map(canonical), "{program:?}, {version:?}");
            }
        }
    }
}

#[test]
fn a_client_without_an_address_is_served_by_haproxy_and_nginx() {
    for program in [Program::Nginx, Program::Haproxy] {
        let at = At::port_of(Ipv4Addr::LOCALHOST.into());
        let Some(_peer) = program.receiving(&at) else { return };
        for version in [Version::V1, Version::V2] {
            let mut peer = patient(TcpStream::connect(at.inet()).unwrap());
            peer.write_all(&encode(version, None, None)).unwrap();
            let own = peer.local_addr().unwrap();
            let answer = program.answer(&mut peer);
            match program {
                // It has no address of the header to show.
                Program::Nginx => assert_eq!(answer.trim(), "", "{version:?}"),
                Program::Haproxy => {
                    let expected = format!("{} {} ", own.ip(), own.port());
                    assert!(answer.starts_with(&expected), "{version:?}: {answer} of {expected}");
                }
            }
        }
    }
}

fn unix_client(at: &At) -> UnixStream {
    let At::Unix(path) = at else { panic!("{at} is no path") };
    let client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    client
}

/// What a header says that comes to `listener`, and the five bytes behind it.
fn received(listener: &TcpListener) -> (Origin, Vec<u8>) {
    let mut peer = patient(listener.accept().unwrap().0);
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes) {
            Parsed::Header { len, origin } if bytes.len() >= len + 5 => {
                return (origin, bytes.split_off(len));
            }
            Parsed::Invalid(reason) => panic!("{reason}: {}", bytes.escape_ascii()),
            Parsed::Header { .. } | Parsed::NeedMore => {
                let mut byte = [0];
                peer.read_exact(&mut byte).unwrap();
                bytes.push(byte[0]);
            }
        }
    }
}

/// Client and destination, as a receiver says when it is asked.
fn addresses_known_by(program: Program, peer: &mut (impl Read + Write)) -> [SocketAddr; 2] {
    let answer = program.answer(peer);
    let fields: Vec<&str> = answer.split_whitespace().collect();
    let [ip, port, to_ip, to_port] = fields[..] else { panic!("four fields: {answer:?}") };
    let address = |ip: &str, port: &str| {
        canonical(SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap()))
    };
    [address(ip, port), address(to_ip, to_port)]
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

//! The PROXY protocol with peers that others wrote: HAProxy and nginx, as senders and as receivers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::peers::{At, Header, Program};
use crate::support::{Balancer, WATCHDOG, patient};
use evenkeel::core::proxy::{Origin, Parsed, Version, encode, parse};
use socket2::SockRef;

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

#[test]
fn a_client_behind_haproxy_or_nginx_is_known_to_the_backend() {
    for (program, header) in SENDERS {
        for (ip, version) in LOOPBACKS.into_iter().zip(["v1", "v2"]) {
            let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let balancer = before(ip, &At::Inet(backend.local_addr().unwrap()), version, TRUSTED);
            let from = At::port_of(ip);
            let Some(_peer) = program.sending(header, &from, balancer.address) else { return };
            let mut client = patient(TcpStream::connect(from.inet()).unwrap());
            client.write_all(b"hello").unwrap();
            let (origin, rest) = received(&backend);
            let source = client.local_addr().unwrap();
            let expected = Origin::Proxied { source, destination: from.inet() };
            assert_eq!((origin, &*rest), (expected, &b"hello"[..]), "{program:?}, {header:?}");
        }
    }
}

#[test]
fn for_a_client_without_an_address_the_proxy_is_the_client() {
    for (program, header) in SENDERS {
        let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = At::Inet(backend.local_addr().unwrap());
        let balancer = before(Ipv4Addr::LOCALHOST.into(), &at, "v1", TRUSTED);
        let from = At::new_path();
        let Some(_peer) = program.sending(header, &from, balancer.address) else { return };
        let mut client = unix_client(&from);
        client.write_all(b"hello").unwrap();
        let (origin, rest) = received(&backend);
        // "As if there were no PROXY protocol header on the wire" (2.1).
        let Origin::Proxied { source, destination } = origin else { panic!("{origin:?}") };
        assert_eq!((source.ip(), destination), (Ipv4Addr::LOCALHOST.into(), balancer.address));
        assert_eq!(rest, b"hello", "{program:?}, {header:?}");
    }
}

#[test]
fn haproxy_and_nginx_behind_it_know_the_client() {
    for program in [Program::Nginx, Program::Haproxy] {
        let backends = LOOPBACKS.map(At::port_of).into_iter().chain([At::new_path()]);
        for backend in backends {
            let Some(_peer) = program.receiving(&backend) else { return };
            for (ip, version) in LOOPBACKS.into_iter().flat_map(|ip| [(ip, "v1"), (ip, "v2")]) {
                let balancer = before(ip, &backend, version, "");
                let mut client = balancer.connect();
                let expected = [client.local_addr().unwrap(), balancer.address];
                let known = addresses_known_by(program, &mut client);
                assert_eq!(known, expected, "{program:?} at {backend}, {version}");
            }
        }
    }
}

#[test]
fn a_header_may_come_in_pieces_and_with_the_clients_first_bytes() {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = At::Inet(backend.local_addr().unwrap());
    let balancer = before(Ipv4Addr::LOCALHOST.into(), &at, "v2", TRUSTED);
    let (source, destination) =
        ("[2001:db8::7]:4660".parse().unwrap(), "[::2]:443".parse().unwrap());
    for version in [Version::V1, Version::V2] {
        let header = encode(version, Some(source), Some(destination));
        let bytes = [&header, &b"hello"[..]].concat();
        for piece in [1, 7, header.len() - 1, header.len(), bytes.len()] {
            let mut proxy = balancer.connect();
            for piece in bytes.chunks(piece) {
                proxy.write_all(piece).unwrap();
                // Only so that they come apart; nothing depends on it.
                std::thread::sleep(Duration::from_millis(2));
            }
            let expected = (Origin::Proxied { source, destination }, b"hello".to_vec());
            assert_eq!(received(&backend), expected, "{version:?} in pieces of {piece}");
        }
    }
}

#[test]
fn who_must_begin_with_a_header_and_does_not_is_not_served() {
    let backend = Backend::named("served");
    let balancer = before(Ipv4Addr::LOCALHOST.into(), &At::Inet(backend.address), "v1", TRUSTED);
    for bytes in ["GET / HTTP/1.0\r\n\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", "\r\n\r\n\r"]
    {
        let mut client = balancer.connect();
        client.write_all(bytes.as_bytes()).unwrap();
        let mut said = Vec::new();
        // An end or a reset, but soon and without a word.
        let ended = client.read_to_end(&mut said);
        let timed_out = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(!timed_out && said.is_empty(), "{bytes:?}: {}", said.escape_ascii());
    }
}

#[test]
fn who_is_not_trusted_is_nobody_but_itself() {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = At::Inet(backend.local_addr().unwrap());
    let balancer = before(Ipv4Addr::LOCALHOST.into(), &at, "v1", "--accept-proxy 192.0.2.0/24");
    let mut client = balancer.connect();
    client.write_all(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n").unwrap();
    let (origin, rest) = received(&backend);
    let source = client.local_addr().unwrap();
    assert_eq!(origin, Origin::Proxied { source, destination: balancer.address });
    // Its bytes are bytes.
    assert_eq!(rest, b"PROXY");
}

/// A balancer that sends headers, on a port of the kernel's choice.
fn before(ip: IpAddr, backend: &At, version: &str, options: &str) -> Balancer {
    Balancer::with(&format!(
        "--host {ip} --port 0 --backends {backend} --send-proxy {version} {options}"
    ))
}

const TRUSTED: &str = "--accept-proxy 127.0.0.0/8,::1/128";

fn unix_client(at: &At) -> UnixStream {
    let At::Unix(path) = at else { panic!("{at} is no path") };
    let client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    client
}

/// What a header says that comes to `listener`, and the five bytes behind it. Who leaves before
/// that, as health checks do, is passed over.
fn received(listener: &TcpListener) -> (Origin, Vec<u8>) {
    // Of accept too (socket(7), SO_RCVTIMEO).
    SockRef::from(listener).set_read_timeout(Some(WATCHDOG)).unwrap();
    loop {
        let (peer, _) = listener.accept().expect("somebody comes in time");
        if let Some(received) = received_from(patient(peer)) {
            return received;
        }
    }
}

fn received_from(mut peer: TcpStream) -> Option<(Origin, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes) {
            Parsed::Header { len, origin } if bytes.len() >= len + 5 => {
                return Some((origin, bytes.split_off(len)));
            }
            Parsed::Invalid(reason) => panic!("{reason}: {}", bytes.escape_ascii()),
            Parsed::Header { .. } | Parsed::NeedMore => {
                let mut byte = [0];
                if peer.read(&mut byte).unwrap() == 0 {
                    return None;
                }
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

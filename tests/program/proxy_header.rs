//! The PROXY header between a client and a backend: who is made to send it and who gets it, and what
//! it changes. That it is understood by others is in `proxy_protocol.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener, pool};
use crate::support::{Balancer, End, Nobody, WATCHDOG, eventually, patient, read_to_the_end};
use evenkeel::core::proxy::{Origin, Parsed, Version, encode, parse};

const TRUSTED: &str = "--accept-proxy 127.0.0.0/8";

#[test]
fn a_header_that_does_not_come_in_time_ends_the_client_and_nobody_else() {
    let backend = Backend::named("B1");
    let keys = "accept_proxy = \"127.0.0.0/8\"\nproxy_timeout = \"300ms\"\n";
    let text = [QUIET_FILE, &listener("127.0.0.1:0", "web"), keys].concat();
    let file = ConfigFile::new(&(text + &pool("web", &[backend.address], "")));
    let balancer = file.balancer("");
    let header = header_of("203.0.113.7:1");
    for part in [0, 1, 6, header.len() - 1] {
        let mut client = balancer.connect();
        client.write_all(&header[..part]).unwrap();
        assert_eq!(ask_as(&balancer, "203.0.113.8:1"), "B1");
        assert!(matches!(read_to_the_end(&client), End::Reset(0)), "{part} bytes");
    }
    // Each byte in time does not make the whole one in time.
    let mut client = balancer.connect();
    let slow = header.iter().all(|byte| {
        std::thread::sleep(Duration::from_millis(60));
        client.write_all(&[*byte]).is_ok()
    });
    assert!(!slow || !matches!(read_to_the_end(&client), End::Finished(1..)), "it was served");
    assert_eq!(backend.accepted(), 4);
}

#[test]
fn what_is_no_header_is_reset_and_counted_and_harms_nobody() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], TRUSTED);
    let mut other = balancer.connect();
    other.write_all(&header_of("203.0.113.8:1")).unwrap();
    echo(&mut other);
    let v2 = encode(Version::V2, Some(any("1.2.3.4:5")), Some(any("5.6.7.8:9")));
    let changed = |at: usize, to: u8| {
        let mut bytes = v2.to_vec();
        bytes[at] = to;
        bytes
    };
    let hostile: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n".to_vec(),
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n".to_vec(),
        b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(),
        [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
        changed(0, b'x'),
        changed(12, 0x31),
        changed(12, 0x2f),
        changed(13, 0x12),
        changed(13, 0xff),
        // An address shorter than the family's, and one that is longer than any header.
        changed(15, 4),
        changed(14, 0xff),
        vec![0; 4096],
    ];
    for bytes in &hostile {
        let mut client = balancer.connect();
        let _ = client.write_all(bytes);
        // What has been decided needs no more bytes; what has not is over with the end.
        let _ = client.shutdown(Shutdown::Write);
        assert!(matches!(read_to_the_end(&client), End::Reset(0)), "{}", bytes.escape_ascii());
        echo(&mut other);
    }
    // One that leaves before it has said anything is no client either.
    drop(balancer.connect());
    assert_eq!(backend.accepted(), 1);
    let report = balancer.end();
    assert!(report.count("bad_greeting") >= hostile.len() as u64, "{report:?}");
}

#[test]
fn a_client_that_has_ended_with_its_request_gets_its_answer() {
    let backend = Backend::sink();
    let balancer = Balancer::before(&[backend.address], TRUSTED);
    for version in [Version::V1, Version::V2] {
        let header = encode(version, Some(any("203.0.113.7:1")), Some(any("192.0.2.1:2")));
        for request in [&b""[..], b"x", &[b'x'; 100_000]] {
            let mut client = balancer.connect();
            client.write_all(&[&header, request].concat()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut said = String::new();
            client.read_to_string(&mut said).unwrap();
            assert_eq!(said, crate::support::receipt(request));
        }
    }
}

#[test]
fn clients_on_a_unix_socket_say_who_they_are_if_that_is_wanted() {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let file = ConfigFile::new("");
    let path = file.folder().join("in.sock");
    let listener = listener(&format!("unix:{}", path.display()), "web");
    let keys = "accept_proxy = \"127.0.0.0/8\"\n";
    let pool = pool("web", &[backend.local_addr().unwrap()], "send_proxy = \"v2\"");
    file.write(&[QUIET_FILE, &listener, keys, &pool].concat());
    let _balancer = file.balancer("");
    let client = || {
        let client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(WATCHDOG)).unwrap();
        client
    };
    let mut announced = client();
    let bytes = [&header_of("203.0.113.7:4660")[..], b"hello"].concat();
    announced.write_all(&bytes).unwrap();
    assert_eq!(received(&backend), ("203.0.113.7:4660".parse().ok(), b"hello".to_vec()));
    let mut silent = client();
    silent.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(!matches!(silent.read(&mut [0]), Ok(1)));
}

#[test]
fn a_backend_gets_one_header_also_after_others_have_refused() {
    let dead = [Nobody::new(), Nobody::new()];
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addresses = [dead[0].address, dead[1].address, backend.local_addr().unwrap()];
    for version in ["v1", "v2"] {
        let options = format!("-s round-robin --shards 1 --send-proxy {version}");
        let balancer = Balancer::before(&addresses, &options);
        for _ in 0..6 {
            let mut client = balancer.connect();
            client.write_all(b"hello").unwrap();
            let expected = (client.local_addr().ok(), b"hello".to_vec());
            assert_eq!(received(&backend), expected, "{version}");
        }
    }
}

#[test]
fn the_real_client_arrives_through_a_chain_of_balancers() {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let last = format!("{TRUSTED} --send-proxy v1");
    let last = Balancer::before(&[backend.local_addr().unwrap()], &last);
    let middle = Balancer::before(&[last.address], &format!("{TRUSTED} --send-proxy v2"));
    let first = Balancer::before(&[middle.address], "--send-proxy v1");
    for _ in 0..4 {
        let mut client = first.connect();
        client.write_all(b"hello").unwrap();
        assert_eq!(received(&backend), (client.local_addr().ok(), b"hello".to_vec()));
    }
}

#[test]
fn access_lists_and_limits_go_by_the_client_that_is_announced() {
    let backend = Backend::named_and_held("B1");
    let options = format!("{TRUSTED} --deny 203.0.113.0/24 --max-sessions-per-ip 1");
    let balancer = Balancer::before(&[backend.address], &options);
    assert_eq!(first_bytes(&connect_as(&balancer, "203.0.113.7:1")), "");
    let held = connect_as(&balancer, "198.51.100.1:1");
    assert_eq!(first_bytes(&held), "B1");
    assert_eq!(first_bytes(&connect_as(&balancer, "198.51.100.1:2")), "");
    assert_eq!(first_bytes(&connect_as(&balancer, "198.51.100.2:1")), "B1");
    drop(held);
    let again = || first_bytes(&connect_as(&balancer, "198.51.100.1:3")) == "B1";
    eventually(again, || balancer.log());
}

#[test]
fn a_client_comes_to_the_same_backend_by_the_address_that_is_announced() {
    let backends = ["B1", "B2"].map(Backend::named);
    let addresses = backends.each_ref().map(|one| one.address);
    let options = format!("{TRUSTED} --sticky-key ip -s round-robin");
    let balancer = Balancer::before(&addresses, &options);
    let clients: Vec<String> = (1..=6).map(|last| format!("198.51.100.{last}:1000")).collect();
    let first: Vec<String> = clients.iter().map(|one| ask_as(&balancer, one)).collect();
    assert!(["B1", "B2"].iter().all(|name| first.iter().any(|said| said == name)), "{first:?}");
    for _ in 0..3 {
        let again: Vec<String> = clients.iter().map(|one| ask_as(&balancer, one)).collect();
        assert_eq!(again, first);
    }
}

/// What a client behind a proxy is told.
fn ask_as(balancer: &Balancer, client: &str) -> String {
    let mut said = String::new();
    connect_as(balancer, client).read_to_string(&mut said).unwrap();
    said
}

fn connect_as(balancer: &Balancer, client: &str) -> TcpStream {
    let mut proxy = balancer.connect();
    proxy.write_all(&header_of(client)).unwrap();
    proxy
}

/// The name of a backend, or nothing if the client is not let in.
fn first_bytes(mut client: &TcpStream) -> String {
    let mut said = [0; 2];
    client
        .read_exact(&mut said)
        .map_or_else(|_| String::new(), |()| String::from_utf8(said.to_vec()).unwrap())
}

fn header_of(client: &str) -> Vec<u8> {
    encode(Version::V1, Some(any(client)), Some(any("192.0.2.1:443"))).to_vec()
}

fn any(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Whom the next connection to `listener` is for, and the five bytes behind its header.
fn received(listener: &TcpListener) -> (Option<SocketAddr>, Vec<u8>) {
    socket2::SockRef::from(listener).set_read_timeout(Some(WATCHDOG)).unwrap();
    let (peer, _) = listener.accept().expect("somebody comes in time");
    let (mut peer, mut bytes) = (patient(peer), Vec::new());
    loop {
        match parse(&bytes) {
            Parsed::Header { len, origin } if bytes.len() >= len + 5 => {
                let source = match origin {
                    Origin::Proxied { source, .. } => Some(source),
                    Origin::Unknown | Origin::Local => None,
                };
                return (source, bytes.split_off(len));
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

fn echo(client: &mut TcpStream) {
    let mut answer = [0; 4];
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

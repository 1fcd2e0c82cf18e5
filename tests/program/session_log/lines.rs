//! What lines say of clients, bytes, backends and moves.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use crate::session_log::reading::{Bytes, Entry, Folder, Format, Way};
use crate::support::backend::Backend;
use crate::support::puppet::Puppets;
use crate::support::{Balancer, Nobody, patient, pattern, read_to_the_end, reset};

#[test]
fn bytes_are_exact_by_direction_and_path() {
    let backend = Backend::sink();
    let (sent, answer) = (pattern(1, 300_000), "300000 bytes, hash 0123456789abcdef".len() as u64);
    for (splice, way) in [("off", Way::Copied), ("always", Way::Spliced)] {
        for format in Format::ALL {
            let folder = Folder::new();
            let options = format!("--splice {splice} {}", folder.logging(format));
            let balancer = Balancer::before(&[backend.address], &options);
            let mut client = balancer.connect();
            client.write_all(&sent).expect("it is taken");
            client.shutdown(Shutdown::Write).expect("it is open");
            read_to_the_end(&client);
            let entry = folder.entries(format, 1).remove(0);
            assert_eq!(entry.to_backend, Bytes { total: 300_000, path: way }, "{splice}");
            assert_eq!(entry.to_client, Bytes { total: answer, path: way }, "{splice}");
            assert_eq!(entry.timed, [true; 3]);
        }
    }
}

#[test]
fn the_client_is_who_it_says_or_where_it_comes_from() {
    let backend = Backend::named("B1");
    let logged = |host: &str, options: &str, client: &dyn Fn(&Balancer) -> String| {
        for format in Format::ALL {
            let folder = Folder::new();
            let balancer = Balancer::with(&format!(
                "--host {host} --port 0 --backends {} {options} {}",
                backend.address,
                folder.logging(format)
            ));
            let expected = client(&balancer);
            assert_eq!(folder.entries(format, 1)[0].client, expected, "{host} {format:?}");
        }
    };
    let to = |port: u16, host: &str| -> TcpStream {
        let address: SocketAddr = format!("{host}:{port}").parse().expect("an address");
        patient(TcpStream::connect(address).expect("it listens"))
    };
    let heard = |mut client: TcpStream| -> String {
        let from = client.local_addr().expect("connected");
        client.read_to_string(&mut String::new()).expect("a backend's answer");
        from.to_string()
    };
    logged("127.0.0.1", "", &|balancer| heard(balancer.connect()));
    logged("::1", "", &|balancer| heard(balancer.connect()));
    // By both versions of the protocol: the old one as it is usually written.
    logged("::", "", &|balancer| heard(to(balancer.address.port(), "127.0.0.1")));
    logged("127.0.0.1", "--accept-proxy 127.0.0.0/8", &|balancer| {
        let mut client = balancer.connect();
        client.write_all(b"PROXY TCP6 fd00::7 fd00::1 4711 80\r\n").expect("it is open");
        client.read_to_string(&mut String::new()).expect("a backend's answer");
        "[fd00::7]:4711".to_owned()
    });
}

#[test]
fn a_client_of_a_unix_socket_has_no_address_and_the_listener_says_where_it_came_in() {
    let backend = Backend::named("B1");
    for (format, client) in [(Format::Text, "unix"), (Format::Json, "-")] {
        let folder = Folder::new();
        let socket = folder.path("lb.sock");
        let logging = folder.logging(format);
        let options = format!("--host unix:{socket} --backends {} {logging}", backend.address);
        let _balancer = Balancer::with(&options);
        let mut said = String::new();
        UnixStream::connect(&socket).expect("it listens").read_to_string(&mut said).expect("B1");
        let entry = folder.entries(format, 1).remove(0);
        assert_eq!((entry.client.as_str(), entry.listener), (client, format!("unix:{socket}")));
    }
}

#[test]
fn a_dead_backend_costs_a_retry_and_who_served_is_named() {
    let (nobody, backend) = (Nobody::new(), Backend::named("B1"));
    for format in Format::ALL {
        let folder = Folder::new();
        let options = format!("--algorithm first --shards 1 {}", folder.logging(format));
        let balancer = Balancer::before(&[nobody.address, backend.address], &options);
        assert_eq!(balancer.ask(), "B1");
        let Entry { backend: served, by, retries, moves, end, .. } =
            folder.entries(format, 1).remove(0);
        assert_eq!((served, by.as_deref()), (Some(backend.address.to_string()), Some("first")));
        assert_eq!((retries, moves, end.as_str()), (1, 0, "-- finished"));
    }
}

#[test]
fn a_session_that_moved_says_so_and_has_the_bytes_of_both_backends() {
    for format in Format::ALL {
        let (folder, first, second) = (Folder::new(), Puppets::new(), Backend::named("B2"));
        let options = format!(
            "--session-failover --algorithm first --shards 1 --backends {},{} {}",
            first.address(),
            second.address,
            folder.logging(format)
        );
        let balancer = Balancer::with(&format!("--host 127.0.0.1 --port 0 {options}"));
        let mut session = first.session(&balancer);
        session.backend.write_all(b"B1").expect("it is open");
        session.client.read_exact(&mut [0; 2]).expect("what the first says");
        reset(session.backend);
        let mut said = String::new();
        session.client.read_to_string(&mut said).expect("what the second says");
        assert_eq!(said, "B2");
        drop(session.client);
        let entry = folder.entries(format, 1).remove(0);
        assert_eq!(entry.backend, Some(second.address.to_string()));
        assert_eq!((entry.retries, entry.moves, entry.to_client.total), (0, 1, 4), "{entry:?}");
        assert_eq!(entry.end, "-- finished");
    }
}

#[test]
fn a_name_cannot_make_a_line_of_its_own() {
    let backend = Backend::named("B1");
    let evil = "B1 -- finished \u{2028}\u{202e}";
    for format in Format::ALL {
        let folder = Folder::new();
        let balancer = crate::support::scene::before_pool(
            crate::support::scene::UNCHECKED,
            &[(backend.address, &format!("name = \"{evil}\""))],
            &folder.logging(format),
        );
        assert_eq!(balancer.ask(), "B1");
        let entry = folder.entries(format, 1).remove(0);
        let shown = match format {
            Format::Text => "B1\\u{20}--\\u{20}finished\\u{20}\\u{2028}\\u{202e}",
            Format::Json => evil,
        };
        assert_eq!((entry.backend.as_deref(), entry.end.as_str()), (Some(shown), "-- finished"));
    }
}

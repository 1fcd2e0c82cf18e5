//! Names that docs/operating.md says are HAProxy's, held against HAProxy's own exporter.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::metrics::scrape::{Scrape, Socket};
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;
use crate::support::patient;
use crate::support::peers::{At, Program};

/// HAProxy's level, ours, and the names that both have.
const SHARED: [(&str, &str, &[&str]); 4] = [
    ("process", "process", &["build_info", "stopping", "dropped_logs_total"]),
    ("frontend", "listener", &["current_sessions", "limit_sessions", "connections_total"]),
    (
        "backend",
        "pool",
        &[
            "current_sessions",
            "current_queue",
            "bytes_in_total",
            "bytes_out_total",
            "connection_attempts_total",
            "connection_errors_total",
        ],
    ),
    (
        "server",
        "backend",
        &[
            "current_sessions",
            "limit_sessions",
            "weight",
            "status",
            "bytes_in_total",
            "bytes_out_total",
            "connection_attempts_total",
            "connection_errors_total",
        ],
    ),
];

#[test]
fn names_that_are_said_to_be_haproxys_are() {
    let at = At::port_of([127, 0, 0, 1].into());
    let Some(_haproxy) = Program::exporting(&at) else { return };
    let theirs = {
        let mut stream = patient(TcpStream::connect(at.inet()).unwrap());
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let (backend, socket) = (Backend::named("B1"), Socket::new());
    let file = ConfigFile::new(&format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\nmax_sessions = 50\n[pool.web]\n\
         [[pool.web.backend]]\naddress = \"{}\"\nmax_connections = 9\n",
        backend.address
    ));
    let _balancer = file.balancer(&socket.option());
    let ours = Scrape::of(&socket.path()).text;
    let document = include_str!("../../../docs/operating.md");
    for (their_level, our_level, names) in SHARED {
        for name in names {
            let has = |text: &str, whose: &str| text.contains(&format!("# TYPE {whose}_{name} "));
            assert!(has(&theirs, &format!("haproxy_{their_level}")), "{their_level}: {name}");
            assert!(has(&ours, &format!("evenkeel_{our_level}")), "{our_level}: {name}");
            assert!(document.contains(name.trim_end_matches("_total")), "{name} is in no table");
        }
    }
}

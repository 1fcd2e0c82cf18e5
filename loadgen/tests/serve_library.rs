//! Backends inside a program: faults, sockets in the file system, and what was counted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;

use common::{ask_and_finish, connect, text};
use loadgen::serve::{Backend, Counts, Mode, ServeError, Settings, UnixBackend, start_with};

fn backend(name: &str, mode: Mode) -> Backend {
    Backend { name: Some(name.to_owned()), address: (Ipv4Addr::LOCALHOST, 0).into(), mode }
}

fn settings(faults: &[&str]) -> Settings {
    let inject = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    Settings { threads: NonZeroUsize::new(2).unwrap(), inject, ..Settings::default() }
}

#[test]
fn what_was_served_and_what_went_wrong_is_counted_to_the_last_byte() {
    let backends = vec![backend("B1", Mode::Hello), backend("B2", Mode::Echo)];
    let faults = ["drop every 4", "B2:error every 3", "accept-delay 1ms"];
    let serving = start_with(backends, &settings(&faults)).unwrap();
    let mut bytes_out = [0, 0];
    for _ in 0..6 {
        for (index, address) in serving.addresses().iter().enumerate() {
            let reply = ask_and_finish(&mut connect(*address), b"a\nb\n");
            bytes_out[index] += reply.len() as u64;
        }
    }
    let counts = |bytes_out, injected: &[(&'static str, u64)]| Counts {
        connections: 6,
        active_connections: 0,
        requests: 12,
        bytes_in: 24,
        bytes_out,
        injected: BTreeMap::from_iter(injected.iter().copied()),
    };
    let expected = [
        counts(bytes_out[0], &[("accept-delay", 6), ("drop", 3)]),
        // The twelfth is a third and a fourth one, and `drop` was named first.
        counts(bytes_out[1], &[("accept-delay", 6), ("drop", 3), ("error", 3)]),
    ];
    assert_eq!(serving.counts(), expected);
    assert_eq!(bytes_out[0], 9 * "Hello from B1\n".len() as u64);
}

#[test]
fn a_backend_in_the_file_system_has_faults_too_but_cannot_refuse() {
    let directory = std::env::temp_dir().join(format!("loadgen-library-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("backend.sock");
    let unix = vec![UnixBackend { name: None, path: path.clone(), mode: Mode::Hello }];
    let with = |faults: &[&str]| Settings { unix: unix.clone(), ..settings(faults) };
    let serving = start_with(Vec::new(), &with(&["Server backend:error every 2"])).unwrap();
    assert!(serving.paths().eq([path.as_path()]));
    assert_eq!(serving.names(), ["Server backend"]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"a\nb\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(text(&reply), "Hello from Server backend!\nERROR injected\n");
    serving.stop();
    let refused = start_with(Vec::new(), &with(&["refuse at 1s for 1s"]));
    assert!(matches!(refused, Err(ServeError::NoSuchFault { fault: "refuse", .. })), "{refused:?}");
    std::fs::remove_dir_all(directory).unwrap();
}

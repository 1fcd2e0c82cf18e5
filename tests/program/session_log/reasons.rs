//! Why sessions ended: each reason that can be brought about from outside, in both formats.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::session_log::reading::{Entry, Folder, Format};
use crate::support::backend::Backend;
use crate::support::puppet::Puppets;
use crate::support::scene::{Checked, UNCHECKED, before_pool};
use crate::support::{Balancer, EVENKEEL, Nobody, eventually, read_to_the_end, reset};

/// What is known of a session with all that there can be: queue, connect, first byte.
const ALL: [bool; 3] = [true; 3];
const CONNECTED: [bool; 3] = [true, true, false];
const TRIED: [bool; 3] = [true, false, false];
const NOTHING: [bool; 3] = [false; 3];

/// A balancer with a log of its own and these options, and what happens to it.
fn last(options: &str, backends: &[SocketAddr], happens: impl Fn(&Balancer)) -> [Entry; 2] {
    Format::ALL.map(|format| {
        let folder = Folder::new();
        let balancer =
            Balancer::before(backends, &format!("{options} --shards 1 {}", folder.logging(format)));
        happens(&balancer);
        folder.entries(format, 1).remove(0)
    })
}

fn assert_ended(entries: &[Entry], end: &str, timed: [bool; 3], backend: Option<SocketAddr>) {
    for entry in entries {
        let backend = backend.map(|address| address.to_string());
        assert_eq!((entry.end.as_str(), entry.timed), (end, timed), "{entry:?}");
        assert_eq!(entry.backend, backend, "{entry:?}");
        assert_eq!(entry.by.is_some(), backend.is_some(), "{entry:?}");
    }
}

#[test]
fn a_normal_end_is_finished() {
    let backend = Backend::named("B1");
    let entries = last("--algorithm least-connections", &[backend.address], |balancer| {
        assert_eq!(balancer.ask(), "B1");
    });
    assert_ended(&entries, "-- finished", ALL, Some(backend.address));
    for entry in entries {
        assert_eq!((entry.to_backend.total, entry.to_client.total), (0, 2));
        assert_eq!(entry.by.as_deref(), Some("least-connections"));
        assert_eq!((entry.pool.as_str(), entry.retries, entry.moves), ("default", 0, 0));
    }
}

#[test]
fn a_reset_is_told_by_whose_it_was() {
    let puppets = Puppets::new();
    let entries =
        last("", &[puppets.address()], |balancer| reset(puppets.session(balancer).client));
    assert_ended(&entries, "CD client-gone", CONNECTED, Some(puppets.address()));
    let resetting = Backend::resetting_after(0, 1);
    let entries = last("", &[resetting.address], |balancer| {
        let mut client = balancer.connect();
        let _ = client.write_all(b"x");
        let _ = client.read(&mut [0]);
    });
    assert_ended(&entries, "SD backend-gone", CONNECTED, Some(resetting.address));
    assert!(entries.iter().all(|entry| entry.to_backend.total == 1));
}

#[test]
fn a_backend_that_refuses_is_named() {
    let nobody = Nobody::new();
    let entries = last("", &[nobody.address], |balancer| assert_eq!(balancer.ask(), ""));
    assert_ended(&entries, "SC backend-unreachable", TRIED, Some(nobody.address));
}

#[test]
fn a_queue_that_is_full_and_one_that_takes_too_long() {
    let backend = Backend::silent();
    let waits = "--backend-max-connections 1 --queue-timeout 50ms";
    let entries = last(waits, &[backend.address], |balancer| {
        let _first = balancer.connect();
        assert_eq!(balancer.ask(), "");
    });
    assert_ended(&entries, "sQ queue-timeout", NOTHING, None);
    for format in Format::ALL {
        let folder = Folder::new();
        let lines = format!("queue_size = 0\n{UNCHECKED}");
        let options = format!("--shards 1 {}", folder.logging(format));
        let balancer = before_pool(&lines, &[(backend.address, "max_connections = 1")], &options);
        let _first = balancer.connect();
        assert_eq!(balancer.ask(), "");
        assert_ended(&folder.entries(format, 1), "SQ queue-full", NOTHING, None);
    }
}

#[test]
fn who_is_not_let_in_is_told_why() {
    let backend = Backend::named("B1");
    let entries = last("--deny 127.0.0.0/8", &[backend.address], |balancer| {
        let _ = balancer.connect().read(&mut [0]);
    });
    assert_ended(&entries, "PD denied", NOTHING, None);
    let entries = last("--accept-proxy 127.0.0.0/8", &[backend.address], |balancer| {
        let mut client = balancer.connect();
        let _ = client.write_all(b"GET / HTTP/1.1\r\n\r\n");
        let _ = client.read(&mut [0]);
    });
    assert_ended(&entries, "PR bad-greeting", NOTHING, None);
}

#[test]
fn time_that_is_over_is_told_by_what_it_was_for() {
    let silent = Backend::silent();
    for (options, end) in [
        ("--idle-timeout 100ms", "tD idle-timeout"),
        ("--max-connection-age 100ms --max-connection-age-jitter 0s", "aD max-age"),
    ] {
        let entries = last(options, &[silent.address], |balancer| {
            read_to_the_end(&balancer.connect());
        });
        assert_ended(&entries, end, CONNECTED, Some(silent.address));
    }
    let entries = last("--half-closed-timeout 100ms", &[silent.address], |balancer| {
        let client = balancer.connect();
        client.shutdown(Shutdown::Write).expect("it is open");
        read_to_the_end(&client);
    });
    assert_ended(&entries, "hD half-closed-timeout", CONNECTED, Some(silent.address));
}

#[test]
fn a_backend_that_checks_take_down_takes_its_session_with_it() {
    for format in Format::ALL {
        let (folder, backend) = (Folder::new(), Checked::new("B1"));
        let lines = "on_marked_down = \"close\"\n[pool.web.health]\ntype = \"http\"\n\
                     interval = \"50ms\"\nfall = 1";
        let balancer =
            before_pool(lines, &[(backend.address(), "name = \"one\"")], &folder.logging(format));
        let mut client = balancer.connect();
        client.write_all(b"x").expect("it is open");
        client.read_exact(&mut [0; 2]).expect("its name");
        backend.answer(503);
        read_to_the_end(&client);
        let entry = folder.entries(format, 1).remove(0);
        assert_eq!((entry.end.as_str(), entry.timed), ("DD backend-down", ALL));
        assert_eq!((entry.pool.as_str(), entry.backend.as_deref()), ("web", Some("one")));
    }
}

#[test]
fn what_is_open_when_the_program_ends_is_cut_and_has_its_line() {
    let puppets = Puppets::new();
    for format in Format::ALL {
        let folder = Folder::new();
        let mut balancer = puppets.behind(&folder.logging(format));
        let _sessions: Vec<_> = (0..20).map(|_| puppets.session(&balancer)).collect();
        balancer.signal(Signal::SIGTERM);
        eventually(|| balancer.log().contains("stopping"), || balancer.log());
        balancer.signal(Signal::SIGTERM);
        assert_eq!(balancer.wait().code(), Some(0));
        let entries = folder.entries(format, 20);
        assert!(entries.iter().all(|entry| entry.end == "KD cut"), "{entries:?}");
    }
}

#[test]
fn what_an_operator_ends_is_killed() {
    let puppets = Puppets::new();
    for format in Format::ALL {
        let folder = Folder::new();
        let admin = format!("unix:{}", folder.path("admin.sock"));
        let balancer = puppets.behind(&format!("--admin {admin} {}", folder.logging(format)));
        let _session = puppets.session(&balancer);
        let mut kill = Command::new(EVENKEEL);
        let killed = kill.args(["ctl", "kill", "--all"]).env("EVENKEEL_ADMIN", &admin).output();
        assert!(killed.as_ref().is_ok_and(|output| output.status.success()), "{killed:?}");
        let entries = folder.entries(format, 1);
        assert_ended(&entries, "KD killed", CONNECTED, Some(puppets.address()));
    }
}

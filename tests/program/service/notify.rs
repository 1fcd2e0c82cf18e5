//! A stub of a service manager listens.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use crate::service::succession::{ENGINES, Succession};
use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener, pool};
use crate::support::{Balancer, EVENKEEL, WATCHDOG, eventually, free_port, run_command};

#[test]
fn ready_reloading_ready_and_stopping_are_told_in_order() {
    let backend = Backend::echo();
    let manager = Manager::new();
    let web = listener("127.0.0.1:0", "web") + &pool("web", &[backend.address], "");
    let file = ConfigFile::new(&format!("{QUIET_FILE}{web}"));
    let mut command = manager.command();
    let mut balancer = Balancer::started(command.args(["--config", file.name(), "--shards", "1"]));
    let status = format!("listening on {}; 1 shards, 1 backends", balancer.address);
    assert_eq!(manager.next(), ["READY=1", &format!("STATUS={status}")]);

    let before = monotonic_us();
    balancer.reload();
    let said = manager.next();
    assert_eq!((said[0].as_str(), said.len()), ("RELOADING=1", 3));
    let since: u64 = said[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!((before..=monotonic_us()).contains(&since), "{said:?}");
    assert_eq!(said[2], "STATUS=reading the configuration again");
    assert_eq!(manager.next(), ["READY=1", &format!("STATUS={status}")]);

    file.write("nonsense");
    balancer.reload();
    assert_eq!(manager.next()[0], "RELOADING=1");
    let said = manager.next();
    assert_eq!(said[0], "READY=1");
    assert!(said[1].ends_with("; the file could not be read again, see the log"), "{said:?}");

    balancer.signal(Signal::SIGTERM);
    let said = manager.next();
    assert_eq!(said, ["STOPPING=1", "STATUS=stopping; 0 open sessions have 1s to end"]);
    assert_eq!(balancer.wait().code(), Some(0));
    assert!(manager.rest().is_empty());
}

#[test]
fn the_journal_gets_priorities_and_keeps_the_time_itself() {
    // As systemd.exec(5) has it: which file standard error is.
    let journal = "export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)";
    let started = |before: &str, options: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before}; exec \"$0\" \"$@\""), EVENKEEL]);
        command.args(options.split(' '));
        command
    };
    let options = format!("--host 127.0.0.1 --port 0 --backends 127.0.0.1:{}", free_port());
    let lines = |before: &str| {
        let mut balancer = Balancer::started(&mut started(before, &options));
        eventually(|| balancer.log().contains("is down"), || balancer.log());
        balancer.signal(Signal::SIGTERM);
        assert_eq!(balancer.wait().code(), Some(0));
        assert!(balancer.log().contains("sessions ended"), "{}", balancer.log());
        balancer.log().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let as_journal = lines(journal);
    for line in &as_journal {
        let priority = if line.contains("is down") { "<4>" } else { "<6>" };
        assert!(line.starts_with(priority) && !line.contains(" INFO "), "{as_journal:?}");
    }
    // The journal of whoever has started it is not its own.
    let inherited = lines("export JOURNAL_STREAM=1:1");
    assert!(!inherited.iter().any(|line| line.starts_with('<')), "{inherited:?}");
    let ended = run_command(&mut started(journal, "--host 198.51.100.1"));
    assert!(ended.stderr.starts_with("<3>evenkeel: cannot listen on 198.51"), "{}", ended.stderr);
}

#[test]
fn a_manager_in_the_file_system_hears_the_same() {
    let file = ConfigFile::new("");
    let path = file.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let manager = Manager { socket, address: path.to_str().unwrap().to_owned() };
    let options = "--host 127.0.0.1 --port 0";
    let balancer = Balancer::started(manager.command().args(options.split_whitespace()));
    assert_eq!(manager.next()[0], "READY=1");
    balancer.end();
    assert_eq!(manager.next()[0], "STOPPING=1");
}

#[test]
fn a_balancer_that_does_not_start_is_never_ready() {
    let manager = Manager::new();
    let ended = run_command(manager.command().args(["--host", "198.51.100.1"]));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(manager.rest().is_empty());
}

#[test]
fn the_watchdog_hears_that_all_is_well_again_and_again() {
    for engine in ENGINES {
        let manager = Manager::new();
        let options = format!("--host 127.0.0.1 --port 0 --shards 2 {engine}");
        let mut command = manager.command();
        command.env("WATCHDOG_USEC", "400000").args(options.split_whitespace());
        let _balancer = Balancer::started(&mut command);
        // On a crowded machine a shard may be late now and then, and that is said.
        let mut heard = 0;
        while heard < 4 {
            heard += usize::from(manager.next() == ["WATCHDOG=1"]);
        }
    }
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_hears_nothing() {
    let manager = Manager::new();
    let mut command = manager.command();
    command.env("WATCHDOG_USEC", "2000").env("WATCHDOG_PID", "1");
    let balancer = Balancer::started(command.args(["--host", "127.0.0.1", "--port", "0"]));
    std::thread::sleep(std::time::Duration::from_millis(200));
    balancer.end();
    let first: Vec<_> = manager.rest().into_iter().map(|said| said[0].clone()).collect();
    assert_eq!(first, ["READY=1", "STOPPING=1"]);
}

#[test]
fn a_hand_over_makes_the_new_process_the_service_and_the_old_one_silent() {
    let backend = Backend::echo();
    for engine in ENGINES {
        let manager = Manager::new();
        let options = format!("--host 127.0.0.1 --port 0 --backends {} {engine}", backend.address);
        // As systemd sets it: a process that believes it of another is silent.
        let script = "export WATCHDOG_PID=$$ WATCHDOG_USEC=4000000; exec \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", EVENKEEL]).args(options.split_whitespace());
        shell.env("NOTIFY_SOCKET", &manager.address);
        let mut line = Succession::of(Balancer::started(&mut shell));
        let (old, ready) = (line.pid(), manager.next_but_watchdog());
        assert_eq!(ready[0], "READY=1");
        line.hand_over();
        assert!(manager.next_but_watchdog()[0].starts_with("STATUS=handing over to "));
        let new = line.pid();
        let status = format!("STATUS=process {new} has taken over from process {old}");
        assert_eq!(manager.next_but_watchdog(), [format!("MAINPID={new}"), status]);
        assert_eq!(manager.next_but_watchdog(), ready);
        assert_eq!(line.first.wait_alone().code(), Some(0), "{}", line.log());
        // Of the old one there is nothing more to hear, so this is the new one.
        manager.rest();
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
        line.end();
        let mut rest = manager.rest();
        rest.retain(|said| said[0] != "WATCHDOG=1");
        assert_eq!(rest.len(), 1, "{rest:?}");
        assert_eq!(rest[0][0], "STOPPING=1");
    }
}

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    address: String,
}

impl Manager {
    /// At a name that is no path.
    fn new() -> Self {
        static MANAGERS: AtomicU32 = AtomicU32::new(0);
        let number = MANAGERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-test-{}-{number}", std::process::id());
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self { socket, address: format!("@{name}") }
    }

    /// The balancer with this manager.
    fn command(&self) -> Command {
        let mut command = Command::new(EVENKEEL);
        command.env("NOTIFY_SOCKET", &self.address);
        command
    }

    /// The next message, line by line.
    fn next(&self) -> Vec<String> {
        self.socket.set_nonblocking(false).unwrap();
        self.socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        self.receive().expect("a message")
    }

    fn next_but_watchdog(&self) -> Vec<String> {
        loop {
            let said = self.next();
            if said != ["WATCHDOG=1"] {
                return said;
            }
        }
    }

    /// All that has come by now.
    fn rest(&self) -> Vec<Vec<String>> {
        self.socket.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| self.receive()).collect()
    }

    fn receive(&self) -> Option<Vec<String>> {
        let mut message = [0; 4096];
        let bytes = self.socket.recv(&mut message).ok()?;
        let text = std::str::from_utf8(&message[..bytes]).unwrap();
        Some(text.lines().map(str::to_owned).collect())
    }
}

fn monotonic_us() -> u64 {
    uring::monotonic_ns() / 1000
}

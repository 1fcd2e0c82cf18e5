//! A balancer, and the processes that take over from it one after the other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::{Balancer, eventually};

/// The engines that every hand-over is tried on.
pub(crate) const ENGINES: [&str; 2] = ["--engine uring", "--engine epoll"];

/// All of them are killed when it is dropped.
pub(crate) struct Succession {
    /// The one that the test has started; all write to its output.
    pub(crate) first: Balancer,
    later: Vec<Pid>,
}

impl Succession {
    pub(crate) fn of(first: Balancer) -> Self {
        // When a process has ended, the one that took over from it is a child of ours.
        nix::sys::prctl::set_child_subreaper(true).expect("prctl(2)");
        Self { first, later: Vec::new() }
    }

    /// Who serves now.
    pub(crate) fn pid(&self) -> Pid {
        self.later.last().copied().unwrap_or_else(|| self.first.pid())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// Has the one that serves hand over, and waits until that is done; what the new one printed.
    pub(crate) fn hand_over(&mut self) -> Vec<String> {
        self.signal(Signal::SIGUSR2);
        // Before it there may be more that the old one listens on.
        let first = std::iter::repeat_with(|| self.first.next_line());
        let mut printed: Vec<String> =
            first.skip_while(|line| !line.contains("(pid ")).take(1).collect();
        while !printed.last().is_some_and(|line| line.starts_with("listening on ")) {
            printed.push(self.first.next_line());
        }
        let new = pid_in(&printed[0]);
        self.later.push(new);
        let done = format!("process {new} has taken over");
        eventually(|| self.log().contains(&done), || self.log());
        printed
    }

    pub(crate) fn log(&self) -> String {
        self.first.log()
    }

    /// What runs as the one that serves.
    pub(crate) fn program(&self) -> PathBuf {
        std::fs::read_link(format!("/proc/{}/exe", self.pid())).expect("it runs")
    }

    /// Asks the one that serves to end; all have ended well then.
    pub(crate) fn end(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let status = self.first.wait_alone();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        for pid in std::mem::take(&mut self.later) {
            let mut ended = None;
            let ends = || {
                ended = code_of(pid);
                ended.is_some()
            };
            eventually(ends, || format!("{pid} does not end: {}", self.log()));
            assert_eq!(ended, Some(0), "{pid}: {}", self.log());
        }
        self.first.wait();
        self.log()
    }
}

/// Copies a program. By another process: while this one has it open for writing, one that it has just
/// started for another test may have it too, and what is being written cannot be executed.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status();
    assert!(copied.expect("coreutils").success());
}

/// The exit code of a process that has ended and is our child by now.
fn code_of(pid: Pid) -> Option<i32> {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => Some(code),
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => None,
        other => panic!("{pid}: {other:?}"),
    }
}

impl Drop for Succession {
    fn drop(&mut self) {
        // By their process ids; no harm if they have ended already.
        for &pid in &self.later {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// From the first line that a balancer prints.
pub(crate) fn pid_in(line: &str) -> Pid {
    let pid = line.split_once("(pid ").and_then(|(_, rest)| rest.strip_suffix(')'));
    Pid::from_raw(
        pid.and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("no pid in {line}")),
    )
}

/// How many sockets listen at `address`, an IPv4 address (proc_net_tcp(5)).
pub(crate) fn listening_sockets(address: SocketAddr) -> usize {
    let port = format!(":{:04X} ", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("proc(5)");
    let listens = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        local.is_some_and(|local| format!("{local} ").ends_with(&port)) && state == Some("0A")
    };
    table.lines().filter(listens).count()
}

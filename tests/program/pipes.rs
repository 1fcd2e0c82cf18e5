//! The pipes themselves: nobody gets what another left in one, their number does not grow, and where
//! the kernel grants only tiny ones there are none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::support::backend::{Backend, request};
use crate::support::puppet::{Puppets, Session, Way};
use crate::support::user::User;
use crate::support::{Balancer, End, assert_same_bytes, pattern, read_to_the_end, reset, skip};

#[test]
fn what_a_reset_left_in_a_pipe_comes_to_nobody_else() {
    for way in Puppets::WAYS {
        let mut cut = Cut::new("");
        for round in 0..ROUNDS {
            let stalled = cut.stalled(way);
            for session in stalled {
                let (source, destination) = session.into_ends(way);
                reset(destination);
                assert_eq!(read_to_the_end(&source), End::Reset(0), "{way:?}");
            }
            cut.assert_others_are_served(round);
        }
        cut.assert_pipes_were_closed(ROUNDS * AT_ONCE);
    }
}

#[test]
fn what_the_idle_timeout_left_in_a_pipe_comes_to_nobody_else() {
    let way = Way::Down;
    let mut cut = Cut::new("--idle-timeout 3s");
    for round in 0..2 {
        for session in cut.stalled(way) {
            let (source, destination) = session.into_ends(way);
            assert_eq!(read_to_the_end(&source), End::Reset(0));
            let end = read_to_the_end(&destination);
            assert!(matches!(end, End::Reset(_)), "it is told that it got everything: {end:?}");
        }
        cut.assert_others_are_served(round);
    }
    cut.assert_pipes_were_closed(2 * AT_ONCE);
}

/// Sessions that are cut while bytes of theirs are in pipes, and what comes after them.
struct Cut {
    puppets: Puppets,
    balancer: Balancer,
    descriptors: usize,
    /// As many as were open when most were in use.
    most_pipes: usize,
}

/// A hundred sessions, of which these are cut together.
const ROUNDS: usize = 5;
const AT_ONCE: usize = 20;

impl Cut {
    fn new(options: &str) -> Self {
        let puppets = Puppets::new();
        let balancer = puppets.behind(&format!("--splice always --shards 1 {options}"));
        let descriptors = balancer.descriptors();
        Self { puppets, balancer, descriptors, most_pipes: 0 }
    }

    /// New sessions, each with bytes in a pipe of its own.
    fn stalled(&mut self, way: Way) -> Vec<Session> {
        let new = |_| self.puppets.session_with_little_room(&self.balancer);
        let sessions: Vec<Session> = (0..AT_ONCE).map(new).collect();
        let held = || self.balancer.pipes().iter().filter(|&&held| held > 0).count();
        let all = || {
            for session in &sessions {
                session.write_what_fits(way, &mut Vec::new());
            }
            held() == AT_ONCE
        };
        crate::support::eventually(all, || format!("bytes are in {} pipes", held()));
        self.most_pipes = self.most_pipes.max(self.balancer.pipes().len());
        sessions
    }

    /// All that was cut is gone, and new sessions get their own bytes and no others.
    fn assert_others_are_served(&mut self, round: usize) {
        self.balancer.wait_for_descriptors(self.descriptors);
        let sessions: Vec<Session> =
            (0..AT_ONCE).map(|_| self.puppets.session(&self.balancer)).collect();
        for (seed, session) in (0..).zip(&sessions) {
            for way in Puppets::WAYS {
                session.pass(way, &pattern((round * AT_ONCE) as u64 + seed, 100_000));
            }
        }
        for session in sessions {
            session.client.shutdown(Shutdown::Write).unwrap();
            session.backend.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_the_end(&session.client), End::Finished(0));
            assert_eq!(read_to_the_end(&session.backend), End::Finished(0));
        }
        self.balancer.wait_for_descriptors(self.descriptors);
        let pipes = self.balancer.pipes();
        assert!(pipes.len() <= AT_ONCE, "pipes are left behind: {pipes:?}");
        assert!(pipes.iter().all(|&held| held == 0), "bytes are left in pipes: {pipes:?}");
    }

    fn assert_pipes_were_closed(self, many: usize) {
        assert_eq!(self.most_pipes, AT_ONCE);
        assert_eq!(self.balancer.end().count("pipe_closed_full"), many as u64);
    }
}

#[test]
fn a_user_whose_pipes_are_used_up_gets_bulk_by_copying_and_is_told_the_cure() {
    let Some(user) = User::new() else { return };
    let Some(_hog) = Hog::of(&user) else { return };
    for mode in ["--splice auto", "--splice always"] {
        let backend = Backend::source();
        let balancer = user.balancer(&[backend.address], &format!("{mode} --shards 1"));
        let started = std::time::Instant::now();
        for seed in 0..3 {
            assert_same_bytes(&download(&balancer, seed), &pattern(seed, BYTES), mode);
        }
        assert!(balancer.pipes().is_empty(), "a tiny pipe is kept");
        let report = balancer.end();
        assert!(report.count("pipe_failed") >= 3, "{report:?}");
        assert!(report.count("path_to_client_no_pipe") >= 3, "{report:?}");
        let spliced = ["bytes_to_clients_spliced", "bytes_to_backends_spliced"];
        assert_eq!(report.counts(spliced), [0, 0], "{mode}");
        assert_eq!(report.count("bytes_to_clients_copied"), 3 * BYTES as u64);
        let warned = report.lines_with("raise fs.pipe-user-pages-soft");
        let once_a_second = 1..=2 + started.elapsed().as_secs();
        assert!(once_a_second.contains(&(warned as u64)), "{warned} warnings: {report:?}");
    }
}

#[test]
fn a_user_with_room_for_pipes_gets_bulk_through_them() {
    let Some(user) = User::new() else { return };
    let backend = Backend::source();
    let balancer = user.balancer(&[backend.address], "--splice auto --shards 1");
    assert_same_bytes(&download(&balancer, 1), &pattern(1, BYTES), "a user like any other");
    let report = balancer.end();
    assert!(report.count("bytes_to_clients_spliced") > report.count("bytes_to_clients_copied"));
    assert_eq!(report.count("pipe_failed"), 0);
}

const BYTES: usize = 8 << 20;

fn download(balancer: &Balancer, seed: u64) -> Vec<u8> {
    let mut client: TcpStream = balancer.connect();
    client.write_all(&request(seed, BYTES)).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    got
}

/// A process that holds all pipes which the kernel grants a user, until it is dropped.
struct Hog(Child);

impl Hog {
    /// Says so where there is no Python.
    fn of(user: &User) -> Option<Self> {
        let mut command = Command::new("python3");
        command.args(["-c", HOG]).uid(user.id()).gid(user.id()).current_dir("/");
        let Ok(mut hog) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
            skip("python3");
            return None;
        };
        let lines = BufReader::new(hog.stdout.take().unwrap()).lines();
        let used_up = lines.map_while(Result::ok).any(|line| line.contains(USED_UP));
        assert!(used_up, "the hog has found no end");
        Some(Self(hog))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The kernel makes pipes smaller when a user has many, until one is not worth having. It waits until the other
/// end is gone.
const HOG: &str = "
import fcntl, os, sys
size, number = 1 << 20, 0
while size >= 64 * 1024:
    end, _ = os.pipe()
    number += 1
    try:
        fcntl.fcntl(end, 1031, 1 << 20)  # F_SETPIPE_SZ
    except PermissionError:
        pass
    size = fcntl.fcntl(end, 1032)  # F_GETPIPE_SZ
print('used up by', number, 'pipes', flush=True)
sys.stdin.read()
";
const USED_UP: &str = "used up";

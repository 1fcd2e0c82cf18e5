//! A look at the balancer's own descriptors: what its pipes hold, and how its sockets are set.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::SockRef;

use super::{Balancer, eventually};

impl Balancer {
    /// Bytes in each pipe that it splices through; an idle one has none.
    pub(crate) fn pipes(&self) -> Vec<u64> {
        // Its output is a pipe too, of which it has the other end.
        let pipes = self.borrow("pipe:").into_iter().filter(can_be_read);
        pipes.map(|pipe| rustix::io::ioctl_fionread(&pipe).expect("a pipe")).collect()
    }

    /// Waits until it has nothing more to do and a pipe holds bytes; how many.
    pub(crate) fn settle_with_bytes_in_a_pipe(&self) -> u64 {
        self.settle();
        let held = self.pipes().iter().sum();
        assert!(held > 0, "no byte is in a pipe: {:?}\n{}", self.pipes(), self.log());
        held
    }

    /// Waits until no pipe of it holds a byte.
    pub(crate) fn wait_for_empty_pipes(&self) {
        let what = || format!("bytes stay in its pipes: {:?}", self.pipes());
        eventually(|| self.pipes().iter().all(|&held| held == 0), what);
    }

    /// Whether each connection of it has Nagle's algorithm switched off.
    pub(crate) fn nodelay_of_connections(&self) -> Vec<bool> {
        let sockets = self.borrow("socket:").into_iter();
        let connected = sockets.filter(|socket| rustix::net::getpeername(socket).is_ok());
        connected.map(|one| rustix::net::sockopt::tcp_nodelay(&one).expect("TCP")).collect()
    }

    /// How each connection of it finds out that its peer is lost, with that peer.
    pub(crate) fn watches_of_connections(&self) -> Vec<(SocketAddr, Watch)> {
        let sockets = self.borrow("socket:");
        let watch = |socket: &OwnedFd| {
            let socket = SockRef::from(socket);
            let peer = socket.peer_addr().ok()?.as_socket()?;
            let keepalive = socket.keepalive().expect("a socket");
            let keepalive = keepalive.then(|| socket.tcp_keepalive_time().expect("TCP"));
            Some((peer, Watch { keepalive, user_timeout: socket.tcp_user_timeout().expect("TCP") }))
        };
        sockets.iter().filter_map(watch).collect()
    }

    /// Memory of its own that it uses now, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("proc(5)");
        let kib: u64 = line.trim_end_matches("kB").trim().parse().expect("proc(5)");
        kib * 1024
    }

    /// The network addresses that it listens on.
    pub(crate) fn listening(&self) -> Vec<SocketAddr> {
        let sockets = self.borrow("socket:").into_iter();
        let listening = sockets
            .filter(|socket| rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(false));
        let names = listening.filter_map(|socket| rustix::net::getsockname(&socket).ok());
        names.filter_map(|name| SocketAddr::try_from(name).ok()).collect()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.running.pid()));
        threads.expect("it runs").count()
    }

    /// Its descriptors of one kind, shared for a moment.
    fn borrow(&self, kind: &str) -> Vec<OwnedFd> {
        let pid = self.running.pid();
        let its = Pid::from_raw(pid.as_raw()).expect("not 0");
        let process = pidfd_open(its, PidfdFlags::empty()).expect("our child");
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
        open.filter_map(|one| {
            // It may be closed, and even be another one, while this looks at it.
            let what = std::fs::read_link(one.path()).ok()?;
            what.to_str()?.starts_with(kind).then_some(())?;
            let number = one.file_name().to_str()?.parse().ok()?;
            pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()
        })
        .collect()
    }
}

/// How a connection finds out that its peer is lost; by default it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// It is probed after so long a silence.
    pub(crate) keepalive: Option<Duration>,
    /// What it has sent must be acknowledged in so long a time.
    pub(crate) user_timeout: Option<Duration>,
}

fn can_be_read(pipe: &OwnedFd) -> bool {
    let flags = rustix::fs::fcntl_getfl(pipe).expect("it is open");
    flags & rustix::fs::OFlags::ACCMODE == rustix::fs::OFlags::RDONLY
}

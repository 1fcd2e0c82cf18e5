//! The sockets of another process, looked at through pidfd_getfd(2): most options of a socket are
//! shown by nothing else. And what ss(8) shows of them.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::{Socket, Type};

use super::descriptors::{descriptors, forbidden};
use super::{Buffer, Connection};
use crate::place::Namespace;

/// Sockets of the contender, shared with it for a moment.
#[derive(Debug)]
pub(super) struct Sockets(Vec<Socket>);

impl Sockets {
    /// Those in the descriptor tables of `processes`.
    ///
    /// # Errors
    /// When the kernel does not let us; the message says what helps.
    pub(super) fn of(processes: &[u32]) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for &pid in processes {
            let its = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let process = pidfd_open(its.ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?;
            let open = descriptors(pid)?.into_iter();
            for one in open.filter(|one| one.link.starts_with("socket:")) {
                match pidfd_getfd(&process, one.number, PidfdGetfdFlags::empty()) {
                    Ok(socket) => sockets.push(socket.into()),
                    // It was closed in between.
                    Err(rustix::io::Errno::BADF) => {}
                    Err(error) => return Err(forbidden(error.into())),
                }
            }
        }
        Ok(Self(sockets))
    }

    /// The connection whose ends are these, as far as they are given.
    ///
    /// # Errors
    /// When it is not among them, or its options cannot be read.
    pub(super) fn connection(
        &self,
        local: Option<SocketAddr>,
        peer: SocketAddr,
        ss: Option<String>,
    ) -> io::Result<Connection> {
        let is = |socket: &&Socket| {
            let has = |address: io::Result<socket2::SockAddr>| address.ok()?.as_socket();
            has(socket.peer_addr()) == Some(peer)
                && (local.is_none() || has(socket.local_addr()) == local)
        };
        let socket = self.0.iter().find(is).ok_or_else(|| {
            io::Error::other("no descriptor of it (a ring may hold it without one)")
        })?;
        look_at(socket, ss)
    }

    /// How many datagram sockets there are: syslog is one.
    pub(super) fn datagrams(&self) -> usize {
        self.0.iter().filter(|socket| socket.r#type().is_ok_and(|kind| kind == Type::DGRAM)).count()
    }
}

fn look_at(socket: &Socket, ss: Option<String>) -> io::Result<Connection> {
    // On kernels that do not know it, it stays unknown.
    let fixed = uring::fixed_buffers(socket).ok();
    let buffer = |bytes: usize, fixed| Buffer { bytes: bytes as u64, fixed };
    let name = socket.tcp_congestion()?;
    Ok(Connection {
        no_delay: socket.tcp_nodelay()?,
        keepalive: socket.keepalive()?,
        congestion_control: String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned(),
        send_buffer: buffer(socket.send_buffer_size()?, fixed.map(|fixed| fixed.send)),
        receive_buffer: buffer(socket.recv_buffer_size()?, fixed.map(|fixed| fixed.receive)),
        ss,
    })
}

/// The backlog of whoever listens at `address` (ss(8), Send-Q); the shortest of several listeners.
///
/// # Errors
/// When ss(8) is not here, or nobody listens.
pub(super) fn backlog(namespace: &Namespace, address: SocketAddr) -> io::Result<u32> {
    let text = ss(namespace, &["-ltnHO", "src", &address.to_string()])?;
    shortest_backlog(&text).ok_or_else(|| io::Error::other("ss shows no listener"))
}

/// What ss(8) shows of the first connection to `peer`, from `local` if it is given.
///
/// # Errors
/// When ss(8) is not here, or there is none.
pub(super) fn shown(
    namespace: &Namespace,
    local: Option<SocketAddr>,
    peer: SocketAddr,
) -> io::Result<String> {
    let (local, peer) = (local.map(|local| local.to_string()), peer.to_string());
    let from = local.as_deref().map(|local| ["src", local]);
    let to = ["-tinHO", "dst", &peer];
    let text = ss(namespace, &[&to[..], from.as_ref().map_or(&[], |from| &from[..])].concat())?;
    let line = text.lines().find_map(without_addresses);
    line.ok_or_else(|| io::Error::other("ss shows no connection"))
}

fn ss(namespace: &Namespace, arguments: &[&str]) -> io::Result<String> {
    let output = namespace.run(|| Command::new("ss").args(arguments).output());
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other("ss is not here: apt-get install iproute2"),
        _ => error,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(format!("ss: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// `LISTEN 0 4096 127.0.0.1:18000 0.0.0.0:*`: the third field is the limit.
fn shortest_backlog(text: &str) -> Option<u32> {
    text.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok()).min()
}

/// `ESTAB 0 0 127.0.0.1:18000 127.0.0.1:40000 cubic wscale:7,7 rto:201 …` from the sixth field.
fn without_addresses(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().skip(5).collect();
    (!fields.is_empty()).then(|| fields.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_backlog_is_the_third_field() {
        let text = "LISTEN 0      4096   127.0.0.1:18000 0.0.0.0:*\n\
                    LISTEN 0      128    127.0.0.1:18000 0.0.0.0:*\n";
        assert_eq!(shortest_backlog(text), Some(128));
        assert_eq!(shortest_backlog(""), None);
    }

    #[test]
    fn addresses_are_not_shown() {
        let line =
            "ESTAB 0 17 127.0.0.1:18000 127.0.0.1:40112  cubic wscale:7,7 rto:201 mss:65483 ";
        assert_eq!(without_addresses(line).as_deref(), Some("cubic wscale:7,7 rto:201 mss:65483"));
        assert_eq!(without_addresses("ESTAB 0 0 127.0.0.1:1 127.0.0.1:2"), None);
    }

    /// A connection of this process, its own ends at both sides.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let one =
            TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let (other, _) = listener.accept().expect("it came");
        (one, other)
    }

    #[test]
    fn options_are_seen_as_they_were_set() {
        let (one, other) = pair();
        one.set_nodelay(true).expect("it is TCP");
        let plain = Socket::from(other);
        plain.set_recv_buffer_size(64 * 1024).expect("it is a socket");
        plain.set_keepalive(true).expect("it is a socket");
        let (local, peer) = (one.local_addr().ok(), one.peer_addr().expect("it is connected"));
        let sockets = Sockets(vec![plain, one.into()]);
        let swift = sockets.connection(local, peer, None).expect("it is there");
        assert!(swift.no_delay && !swift.keepalive, "{swift:?}");
        assert_ne!(swift.send_buffer.fixed, Some(true));
        let slow = sockets.connection(None, local.expect("bound"), None).expect("it is there");
        assert!(!slow.no_delay && slow.keepalive, "{slow:?}");
        assert_eq!(
            (slow.receive_buffer.bytes, slow.receive_buffer.fixed),
            (128 * 1024, Some(true))
        );
        assert_eq!(slow.send_buffer.fixed, Some(false), "{slow:?}");
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        sockets.connection(None, nobody, None).expect_err("nobody is there");
    }
}

//! Sockets to connect with, and what is done with connections. TCP options are set where it costs
//! least: what can be inherited from the listener is set there and nowhere else.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::option::{option_of, set_option};

/// The address that `socket` is bound to: the real port where port 0 was asked for.
///
/// # Errors
/// As getsockname(2).
pub fn local_address(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(socket).local_addr()?;
    address.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Whether other sockets of the same user may listen where `listener` does (`SO_REUSEPORT`).
#[must_use]
pub fn shares_its_port(listener: &impl AsFd) -> bool {
    SockRef::from(listener).reuse_port().unwrap_or(false)
}

/// How a connection is made; the default costs no system call. Only TCP knows these: to a unix
/// socket they say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The address to come from, of the same family; the kernel chooses it otherwise.
    pub source: Option<IpAddr>,
    /// A connection that is silent for this long is probed, and then again each time as much time has
    /// passed, until the probes are too many (`SO_KEEPALIVE`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`). In
    /// seconds, rounded up.
    pub keepalive: Option<Duration>,
    /// How long what was sent may stay without an acknowledgement (`TCP_USER_TIMEOUT`), in
    /// milliseconds.
    pub user_timeout: Option<Duration>,
}

/// A socket to connect to `address` with, non-blocking.
///
/// Urgent data stays in the stream (`SO_OOBINLINE`): otherwise each urgent byte would wake a waiting
/// receive that then finds nothing, and after 128 of these the kernel hands the receive, with a
/// buffer, to a thread that blocks (`APOLL_MAX_RETRY`, io_uring/poll.c); a few hundred clients could
/// take all buffers of a ring that way.
///
/// # Errors
/// `EMFILE` or `ENFILE` when no descriptor is left, `EAFNOSUPPORT` without IPv6 or for a source of
/// the other family, `EADDRNOTAVAIL` for a source that this machine does not have.
pub fn stream_socket(address: &SockAddr, options: &ConnectOptions) -> io::Result<OwnedFd> {
    let kind = Type::STREAM.nonblocking().cloexec();
    if address.is_unix() {
        return Ok(Socket::new(Domain::UNIX, kind, None)?.into());
    }
    let socket = Socket::new(address.domain(), kind, Some(Protocol::TCP))?;
    socket.set_out_of_band_inline(true)?;
    if let Some(silence) = options.keepalive {
        set_keepalive(&socket, silence)?;
    }
    if let Some(timeout) = options.user_timeout {
        set_user_timeout(&socket, timeout)?;
    }
    if let Some(source) = options.source {
        bind_source(&socket, source, address)?;
    }
    Ok(socket.into())
}

pub(crate) fn set_keepalive(socket: &Socket, silence: Duration) -> io::Result<()> {
    let seconds = silence.as_secs().saturating_add(u64::from(silence.subsec_nanos() > 0));
    let silence = Duration::from_secs(seconds.clamp(1, KEEPALIVE_SECONDS_MAX));
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(silence).with_interval(silence))
}

pub(crate) fn set_user_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    // Nothing would mean the kernel's own limit, and more is an error (tcp_setsockopt).
    let longest = Duration::from_millis(i32::MAX.unsigned_abs().into());
    socket.set_tcp_user_timeout(Some(timeout.clamp(Duration::from_millis(1), longest)))
}

/// `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL` (include/net/tcp.h): nine hours.
const KEEPALIVE_SECONDS_MAX: u64 = 32767;

/// The port is chosen only when the socket is connected (`IP_BIND_ADDRESS_NO_PORT`, Linux 4.2), so
/// that it has to be free for that destination only, and not for all of them.
fn bind_source(socket: &Socket, source: IpAddr, destination: &SockAddr) -> io::Result<()> {
    let source = SockAddr::from(SocketAddr::new(source, 0));
    if source.family() != destination.family() {
        return Err(Errno::EAFNOSUPPORT.into());
    }
    // Of IPv6 sockets too (ip(7)).
    set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    socket.bind(&source)
}

/// Whether `address` is one of this host's: only such an address can be bound.
#[must_use]
pub fn is_on_this_host(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Whether a connect to `address` can meet its own socket instead of a listener: on this host, at a
/// port that the kernel can pick for it. The range of these ports is looked up now; should it be
/// widened later, this answer is out of date.
#[must_use]
pub fn can_meet_itself(address: SocketAddr) -> bool {
    let range = crate::sysctl("net/ipv4/ip_local_port_range");
    let picked = range.as_deref().and_then(port_range).unwrap_or(0..=u16::MAX);
    picked.contains(&address.port()) && is_on_this_host(address.ip())
}

/// Two numbers; they are those of IPv6 too.
fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once(char::is_whitespace)?;
    Some(first.parse().ok()?..=last.trim_start().parse().ok()?)
}

/// Whether `socket` is connected to itself. A connect to a local port that nobody listens on can
/// pick just that port as its own, and TCP then connects the two (simultaneous open, RFC 9293).
#[must_use]
pub fn is_connected_to_itself(socket: &impl AsFd) -> bool {
    // With the peer's address, because a connect to 0.0.0.0 or [::] goes to the loopback address.
    local_address(socket).is_ok_and(|own| peer_address(socket) == Some(own))
}

/// Switches Nagle's algorithm off. A socket that never sends twice does not need it: the first
/// send of a connection is never held back.
pub fn set_nodelay(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_nodelay(true)
}

/// Tells the peer that nothing more will come (`SHUT_WR`): it reads the end of the stream after
/// what was sent. By system call, because `IORING_OP_SHUTDOWN` always goes to a kernel thread.
///
/// # Errors
/// `ENOTCONN` when the peer has reset the connection.
pub fn finish_writing(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).shutdown(std::net::Shutdown::Write)
}

/// Closes `socket` so that the peer sees a reset; what it was sent and has not got yet is dropped.
pub fn close_with_reset(socket: OwnedFd) {
    // A socket that is closed already by the peer's reset needs no second one: the result is moot.
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    drop(socket);
}

/// Who is on the other side, if the connection still stands; nothing of a unix socket.
#[must_use]
pub fn peer_address(socket: &impl AsFd) -> Option<SocketAddr> {
    SockRef::from(socket).peer_addr().ok()?.as_socket()
}

/// Where the client of a redirected connection wanted to go (`SO_ORIGINAL_DST`); nothing if the
/// kernel does not track this connection.
#[must_use]
pub fn original_destination(socket: &impl AsFd) -> Option<SocketAddr> {
    let own = local_address(socket).ok()?;
    let socket = SockRef::from(socket);
    // An IPv4 client of an IPv6 listener is tracked as one of IPv4 (getorigdst,
    // net/netfilter/nf_conntrack_proto.c), which the kernel looks for by the level that is asked.
    let original = match own.ip().to_canonical() {
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    original.ok()?.as_socket()
}

/// Buffers of a socket that a program gave a size, which the kernel therefore does not tune.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedBuffers {
    /// By `SO_SNDBUF`.
    pub send: bool,
    /// By `SO_RCVBUF`.
    pub receive: bool,
}

/// Which buffers of `socket` have a size of their own (`SO_BUF_LOCK`, Linux 5.14).
///
/// # Errors
/// `ENOPROTOOPT` on older kernels.
pub fn fixed_buffers(socket: &impl AsFd) -> io::Result<FixedBuffers> {
    let locked = option_of(socket, libc::SOL_SOCKET, libc::SO_BUF_LOCK)?;
    Ok(FixedBuffers {
        send: locked & SOCK_SNDBUF_LOCK != 0,
        receive: locked & SOCK_RCVBUF_LOCK != 0,
    })
}

/// In linux/socket.h.
const SOCK_SNDBUF_LOCK: i32 = 1;
const SOCK_RCVBUF_LOCK: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_fixed_once_it_was_given_a_size() {
        let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let Ok(fixed) = fixed_buffers(&socket) else {
            assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs Linux 5.14");
            return eprintln!("SKIPPED: needs Linux 5.14");
        };
        assert_eq!(fixed, FixedBuffers { send: false, receive: false });
        let change = SockRef::from(&socket);
        change.set_recv_buffer_size(65_536).expect("it is a socket");
        let fixed = fixed_buffers(&socket).expect("it was read before");
        assert_eq!(fixed, FixedBuffers { send: false, receive: true });
        change.set_send_buffer_size(65_536).expect("it is a socket");
        let fixed = fixed_buffers(&socket).expect("it was read before");
        assert_eq!(fixed, FixedBuffers { send: true, receive: true });
    }

    #[test]
    fn the_range_of_ports_that_the_kernel_picks_is_two_numbers() {
        for (text, range) in [
            ("32768\t60999", Some(32768..=60999)),
            ("1024 65535", Some(1024..=65535)),
            ("40000\t  40009", Some(40000..=40009)),
            ("", None),
            ("32768", None),
            ("32768\tmany", None),
        ] {
            assert_eq!(port_range(text), range, "{text}");
        }
    }

    #[test]
    fn only_at_a_port_that_the_kernel_picks_on_this_host_can_a_connect_meet_itself() {
        // The kernel picks from the range for a bind too.
        let picked = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let picked = picked.local_addr().expect("bound");
        let range = crate::sysctl("net/ipv4/ip_local_port_range").expect("IPv4");
        let first = *port_range(&range).expect("two numbers").start();
        let at = |ip: &str, port| SocketAddr::new(ip.parse().expect("an address"), port);
        for (address, can) in [
            (picked, true),
            (at("127.0.0.1", first), true),
            (at("0.0.0.0", first), true),
            (at("127.0.0.1", first - 1), false),
            // TEST-NET-2 (RFC 5737): no machine has it.
            (at("198.51.100.1", first), false),
        ] {
            assert_eq!(can_meet_itself(address), can, "{address}");
        }
    }
}

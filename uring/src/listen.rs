//! Listeners on TCP: how they are made, and how they are closed without a reset for anybody.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use crate::option::{set_option, tcp_option};
use crate::setup::errno;
use crate::socket::{set_keepalive, set_user_timeout};

/// How a listener is made.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// Where; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: u16,
    /// Whether other sockets of this user may listen on the same address (`SO_REUSEPORT`): one a
    /// shard, the kernel spreads connections over them.
    pub shared: bool,
    /// What else it can do.
    pub options: ListenOptions,
}

/// What a listener does only if it is asked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenOptions {
    /// A client is accepted when it has sent something, or has been silent for this long
    /// (`TCP_DEFER_ACCEPT`). The kernel counts in repetitions of its SYN-ACK, that is 1, 3, 7, 15 s
    /// and so on, and takes the next of these.
    pub defer_accept: Option<Duration>,
    /// Clients at a time that may send with their SYN (`TCP_FASTOPEN`, RFC 7413); 0 is off.
    pub fast_open: u16,
    /// As [`crate::ConnectOptions::keepalive`], for what is accepted.
    pub keepalive: Option<Duration>,
    /// As [`crate::ConnectOptions::user_timeout`], for what is accepted.
    pub user_timeout: Option<Duration>,
}

/// Why there is no listener, with the cure.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Someone listens there.
    #[error(
        "cannot listen on {0}: the address is in use; see who has it with `ss -ltnp 'sport = :{port}'`, \
         or choose another port",
        port = .0.port()
    )]
    InUse(SocketAddr),
    /// A low port and no privilege.
    #[error(
        "cannot listen on {0}: no permission for a port below {first}; choose a higher one, \
         run as root, or `sysctl -w net.ipv4.ip_unprivileged_port_start={port}`",
        first = first_unprivileged_port(),
        port = .0.port()
    )]
    NoPermission(SocketAddr),
    /// Not an address of this machine.
    #[error(
        "cannot listen on {0}: this machine has no such address; see `ip address`, or use \
         0.0.0.0 or [::] for all of them"
    )]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// A listening socket, non-blocking. TCP_NODELAY and SO_OOBINLINE are set here because accepted
/// connections inherit them (tcp(7)); for the second see [`crate::stream_socket`].
///
/// # Errors
/// A [`ListenError`] that names the cause and the cure.
pub fn listen(how: &Listen) -> Result<OwnedFd, ListenError> {
    let listening = bind(how).and_then(|socket| {
        socket.listen(how.backlog.into())?;
        Ok(socket.into())
    });
    listening.map_err(|error| explain(how.address, error))
}

/// Connections that may wait to be accepted at `listener` from now on.
///
/// # Errors
/// When it is no listener.
pub fn set_backlog(listener: &impl AsFd, backlog: u16) -> io::Result<()> {
    SockRef::from(listener).listen(backlog.into())
}

fn explain(address: SocketAddr, error: io::Error) -> ListenError {
    match errno(&error) {
        Errno::EADDRINUSE => ListenError::InUse(address),
        Errno::EACCES => ListenError::NoPermission(address),
        Errno::EADDRNOTAVAIL => ListenError::NoSuchAddress(address),
        _ => ListenError::Other(address, error),
    }
}

/// Whether this program could listen on `address`, whoever listens there now: it may have the port, and
/// the machine the address. Nothing listens, so no connection can end up here.
///
/// # Errors
/// As [`listen`], but never that the address is in use.
pub fn check_listen(address: SocketAddr) -> Result<(), ListenError> {
    let how = Listen { address, backlog: 0, shared: true, options: ListenOptions::default() };
    match bind(&how).map_err(|error| explain(address, error)) {
        Ok(_) | Err(ListenError::InUse(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn bind(how: &Listen) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(how.address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    // A restart binds at once although old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(how.shared)?;
    set_what_is_inherited(&socket)?;
    set_options(&socket, &ListenOptions::default(), &how.options)?;
    socket.bind(&how.address.into())?;
    Ok(socket)
}

/// Makes of a socket that somebody else has opened, and that listens, what [`listen`] would have made;
/// its queue stays. Of a unix socket only the backlog can differ.
///
/// # Errors
/// When it is no listener, or an option is not for it.
pub fn listen_as(listener: &impl AsFd, backlog: u16, options: &ListenOptions) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_nonblocking(true)?;
    if socket.domain()? != Domain::UNIX {
        set_what_is_inherited(&socket)?;
        set_options(&socket, &listen_options(listener)?, options)?;
    }
    socket.listen(backlog.into())
}

/// What connections have from their listener.
fn set_what_is_inherited(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)
}

/// Sets those that are different from what a socket has.
fn set_options(socket: &Socket, has: &ListenOptions, wanted: &ListenOptions) -> io::Result<()> {
    if has.defer_accept != wanted.defer_accept {
        let seconds = wanted.defer_accept.map_or(0, seconds_rounded_up);
        set_option(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)?;
    }
    if has.fast_open != wanted.fast_open {
        set_option(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, wanted.fast_open.into())?;
    }
    if has.keepalive != wanted.keepalive {
        match wanted.keepalive {
            Some(silence) => set_keepalive(socket, silence)?,
            None => socket.set_keepalive(false)?,
        }
    }
    if has.user_timeout != wanted.user_timeout {
        match wanted.user_timeout {
            Some(timeout) => set_user_timeout(socket, timeout)?,
            None => socket.set_tcp_user_timeout(None)?,
        }
    }
    Ok(())
}

fn seconds_rounded_up(duration: Duration) -> i32 {
    let more = u64::from(duration.subsec_nanos() > 0);
    i32::try_from(duration.as_secs().saturating_add(more)).unwrap_or(i32::MAX)
}

/// What a listener really does: the kernel rounds, and limits the queue to the backlog.
///
/// # Errors
/// As getsockopt(2).
pub fn listen_options(listener: &impl AsFd) -> io::Result<ListenOptions> {
    let seconds = u64::try_from(tcp_option(listener, libc::TCP_DEFER_ACCEPT)?).unwrap_or(0);
    let queue = tcp_option(listener, libc::TCP_FASTOPEN)?;
    let listener = SockRef::from(listener);
    Ok(ListenOptions {
        defer_accept: (seconds > 0).then(|| Duration::from_secs(seconds)),
        fast_open: u16::try_from(queue).unwrap_or(u16::MAX),
        keepalive: listener.keepalive()?.then(|| listener.tcp_keepalive_time()).transpose()?,
        user_timeout: listener.tcp_user_timeout()?,
    })
}

/// Whether nobody listens on `address`. A listener that is shared (`SO_REUSEPORT`) would quietly
/// join another program of the same user that listens there.
///
/// # Errors
/// As [`listen`].
pub fn check_unused(address: SocketAddr) -> Result<(), ListenError> {
    if address.port() == 0 {
        return Ok(());
    }
    // Bound, not listening, and closed at once: no connection can end up here.
    bind(&Listen { address, backlog: 0, shared: false, options: ListenOptions::default() })
        .map(drop)
        .map_err(|e| explain(address, e))
}

/// Lets no new connection come to `listener`, and refuses none: a SYN is not answered, so that its
/// sender repeats it, after a second at first, and then meets whoever listens there by then.
/// Handshakes under way go on, and what is established can be accepted: when nobody is left, the
/// listener can be closed without a reset for anybody.
///
/// By a filter that drops what has SYN and not ACK. It sees each segment from its TCP header on,
/// because the IP header has been pulled off by then (`ip_local_deliver_finish`,
/// net/ipv4/ip_input.c; `ip6_protocol_deliver_rcu`, net/ipv6/ip6_input.c), and it is asked before
/// the state of the socket is looked at (`tcp_filter` in `tcp_v4_rcv`, net/ipv4/tcp_ipv4.c, and in
/// `tcp_v6_rcv`, net/ipv6/tcp_ipv6.c). Connections that complete their handshake later inherit it
/// (`sk_clone_lock`, net/core/sock.c); they have no use for such segments.
///
/// # Errors
/// `ENOMEM` beyond `net.core.optmem_max`.
pub fn refuse_new_connections(listener: &impl AsFd) -> io::Result<()> {
    SockRef::from(listener).attach_filter(&[
        // The byte with the flags (RFC 9293, 3.1), of which two count.
        SockFilter::new(BPF_LOAD_BYTE, 0, 0, 13),
        SockFilter::new(BPF_AND, 0, 0, TCP_SYN | TCP_ACK),
        SockFilter::new(BPF_JUMP_IF_EQUAL, 0, 1, TCP_SYN),
        SockFilter::new(BPF_RETURN, 0, 0, 0),
        SockFilter::new(BPF_RETURN, 0, 0, u32::MAX),
    ])
}

/// Operations of classic BPF (linux/filter.h), as the structure wants them.
const BPF_LOAD_BYTE: u16 = bpf(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS);
const BPF_AND: u16 = bpf(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K);
const BPF_JUMP_IF_EQUAL: u16 = bpf(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const BPF_RETURN: u16 = bpf(libc::BPF_RET | libc::BPF_K);

#[expect(clippy::cast_possible_truncation, reason = "operations have eight bits")]
const fn bpf(operation: u32) -> u16 {
    operation as u16
}

const TCP_SYN: u32 = 0x02;
const TCP_ACK: u32 = 0x10;

fn first_unprivileged_port() -> u16 {
    let start = crate::sysctl("net/ipv4/ip_unprivileged_port_start");
    start.and_then(|start| start.parse().ok()).unwrap_or(1024)
}

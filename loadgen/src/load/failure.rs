//! The kinds of failure that a request can meet, and what they mean to the person who sees them.

use uring::Errno;

/// Why a request, or a connect, failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Refused,
    Unreachable,
    Reset,
    ClosedEarly,
    TimedOut,
    UnexpectedReply,
    /// A response that says so itself (4xx, 5xx).
    Status(u16),
    PortsExhausted,
    NoDescriptors,
    Other(Errno),
}

impl Failure {
    /// The failure that an errno of connect(2), send(2) or recv(2) stands for.
    pub(crate) fn from_errno(errno: Errno) -> Self {
        match errno {
            // Nobody listens, or a backlog is full and the peer answers that with a reset.
            Errno::ECONNREFUSED => Self::Refused,
            Errno::EHOSTUNREACH | Errno::ENETUNREACH => Self::Unreachable,
            // EPIPE: the reset came before this send and an earlier call has taken the error.
            Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED => Self::Reset,
            // The kernel's own limit of retransmissions.
            Errno::ETIMEDOUT => Self::TimedOut,
            // No local port is left for this destination.
            Errno::EADDRNOTAVAIL => Self::PortsExhausted,
            Errno::EMFILE | Errno::ENFILE => Self::NoDescriptors,
            other => Self::Other(other),
        }
    }

    /// What it is called in reports; stable, programs read it.
    pub(crate) fn name(self) -> String {
        let name = match self {
            Self::Refused => "connect_refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::TimedOut => "timeout",
            Self::UnexpectedReply => "unexpected_reply",
            Self::PortsExhausted => "ports_exhausted",
            Self::NoDescriptors => "no_descriptors",
            Self::Status(status) => return format!("http_{status}"),
            Self::Other(errno) => return format!("{errno:?}"),
        };
        name.to_owned()
    }

    /// Why there was no connection at all, with the cure.
    pub(crate) fn why_no_connection(self) -> &'static str {
        match self {
            Self::Refused => {
                "connection refused; nothing listens there: start it, or check the port with `ss -ltn`"
            }
            Self::Unreachable => "no route to that host; check it with `ip route get`",
            Self::TimedOut => {
                "no answer within the timeout; check the address and the firewall, or raise --timeout"
            }
            Self::Reset | Self::ClosedEarly => {
                "the connection was reset at once; is this the right port?"
            }
            Self::PortsExhausted => PORTS_ADVICE,
            Self::NoDescriptors => "no descriptor is left; raise `ulimit -n` or use fewer -c",
            Self::UnexpectedReply | Self::Status(_) | Self::Other(_) => {
                "the kernel refused the connect; try it with `loadgen client` or `nc`"
            }
        }
    }
}

/// What to do about a kind of error, for those that are the generator's own trouble.
#[must_use]
pub fn advice(name: &str) -> Option<&'static str> {
    match name {
        "ports_exhausted" => Some(PORTS_ADVICE),
        "no_descriptors" => Some("raise `ulimit -n` or use fewer -c"),
        "unexpected_reply" => Some(
            "a reply is one line, `Hello from NAME` or the request itself (an echo), and over \
                 HTTP a response of HTTP/1.1; accept more with --verify len or off, with hold --any-reply",
        ),
        _ => None,
    }
}

const PORTS_ADVICE: &str = "the local ports for this target are used up (TIME_WAIT); use --close rst, \
     give more addresses (--source), widen net.ipv4.ip_local_port_range, or set net.ipv4.tcp_tw_reuse=1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_are_told_apart_by_what_they_mean() {
        for (errno, name) in [
            (Errno::ECONNREFUSED, "connect_refused"),
            (Errno::ECONNRESET, "reset"),
            (Errno::EPIPE, "reset"),
            (Errno::ETIMEDOUT, "timeout"),
            (Errno::EADDRNOTAVAIL, "ports_exhausted"),
            (Errno::EMFILE, "no_descriptors"),
            (Errno::EACCES, "EACCES"),
        ] {
            assert_eq!(Failure::from_errno(errno).name(), name);
        }
    }
}

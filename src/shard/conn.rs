//! What the drivers of real sockets do alike: Nagle's algorithm, and descriptors for hard times.

use std::os::fd::{AsFd, OwnedFd};

use socket2::SockAddr;
use uring::{ConnectOptions, Errno, TcpInfo};

use crate::core::bottleneck::Sample;

/// A connection and whether Nagle's algorithm is off on it.
#[derive(Debug)]
pub struct Conn {
    fd: OwnedFd,
    nodelay: Nodelay,
}

/// Accepted sockets inherit TCP_NODELAY from the listener. A socket that we connect does not, but
/// its first send is never held back, so the option is set before the second: a connection that
/// carries one request saves the system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nodelay {
    On,
    OffNothingSent,
    OffSentOnce,
}

impl Conn {
    /// What this or another shard accepted.
    pub(super) fn accepted(fd: OwnedFd) -> Self {
        Self { fd, nodelay: Nodelay::On }
    }

    /// What this shard connects to `address`. Unix sockets never delay.
    pub(super) fn connecting(fd: OwnedFd, address: &SockAddr) -> Self {
        let nodelay = if address.is_unix() { Nodelay::On } else { Nodelay::OffNothingSent };
        Self { fd, nodelay }
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// What the kernel knows of it.
    pub(super) fn tcp_info(&self) -> Option<Sample> {
        let info = TcpInfo::of(&self.fd)?;
        Some(Sample {
            rtt_us: info.rtt_us,
            rtt_us_min: info.rtt_us_min,
            segments_sent: info.segments_sent,
            segments_received: info.segments_received,
            retransmits: info.retransmits,
            recovers: info.recovers,
            segments_unacked: info.segments_unacked,
            bytes_unsent: info.bytes_unsent,
            bytes_acked: info.bytes_acked,
            busy_us: info.busy_us,
            rwnd_limited_us: info.rwnd_limited_us,
            sndbuf_limited_us: info.sndbuf_limited_us,
        })
    }

    /// Before each send: Nagle's algorithm is switched off before the second.
    pub(super) fn note_send(&mut self) {
        self.nodelay = match self.nodelay {
            Nodelay::On => Nodelay::On,
            Nodelay::OffNothingSent => Nodelay::OffSentOnce,
            Nodelay::OffSentOnce => {
                // It fails only on a connection that is gone, which the send will find out.
                let _ = uring::set_nodelay(&self.fd);
                Nodelay::On
            }
        };
    }
}

/// Descriptors kept for connects: when accepted clients have taken all others, some of them can
/// still be served, and what they free serves the rest.
#[derive(Debug, Default)]
pub(super) struct Spares {
    fds: Vec<OwnedFd>,
}

impl Spares {
    /// Makes up for those that were used, with copies of any descriptor.
    pub(super) fn refill(&mut self, from: &impl AsFd) {
        while self.fds.len() < SPARES
            && let Ok(spare) = from.as_fd().try_clone_to_owned()
        {
            self.fds.push(spare);
        }
    }

    /// Lets go of half of those that there are; so many clients may be accepted, each of whom finds
    /// one of the other half to be connected with.
    pub(super) fn make_room(&mut self, from: &impl AsFd) -> usize {
        self.refill(from);
        let room = self.fds.len() / 2;
        self.fds.truncate(self.fds.len() - room);
        room
    }

    /// A socket to connect to `address` with; in need it takes the place of a spare descriptor.
    pub(super) fn stream_socket(
        &mut self,
        address: &SockAddr,
        options: &ConnectOptions,
    ) -> Result<OwnedFd, Errno> {
        let errno = match uring::stream_socket(address, options) {
            Ok(socket) => return Ok(socket),
            Err(error) => uring::errno(&error),
        };
        // Only a descriptor of this process cures EMFILE, and it cures nothing else.
        match self.fds.pop() {
            Some(spare) if errno == Errno::EMFILE => {
                drop(spare);
                uring::stream_socket(address, options).map_err(|error| uring::errno(&error))
            }
            spare => {
                self.fds.extend(spare);
                Err(errno)
            }
        }
    }
}

/// A handful: each lets one accepted client be connected when no descriptor is left.
const SPARES: usize = 4;

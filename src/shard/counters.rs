//! What a shard counts: what it did, and every surprise.
//!
//! Each counter has one writer, its shard, and any number of readers; so it is a plain load and
//! store, without a locked instruction.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::core::Direction;
use crate::core::relay::PathChange;
use crate::core::session::EndReason;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// The counters of one shard.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: Counter,)*
            /// Sessions now.
            pub sessions: Gauge,
            /// Sessions ended, by reason, in the order of [`EndReason::ALL`].
            pub ended: [Counter; EndReason::ALL.len()],
        }

        impl Counters {
            /// Name and meaning of each of them, as it is written here, in the order of
            /// [`Counters::list`].
            pub const HELP: &[(&'static str, &'static str)] =
                &[$((stringify!($name), concat!($($doc),*)),)*];

            /// Name and value of every counter but the ended sessions.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.value()),)*]
            }
        }
    };
}

counters! {
    /// Turns of the loop: whoever sees this stand still after ringing has a shard that is stuck.
    turns,
    /// Connections accepted.
    accepted,
    /// Accepts that failed for a reason of the peer's (`ECONNABORTED` and the like).
    accept_failed,
    /// Times that accepting stopped because descriptors or memory ran out.
    accept_paused,
    /// Accepted connections that were given to a shard with fewer sessions.
    handed_over,
    /// Connections that other shards accepted.
    taken_over,
    /// Connections that came when the last room had just been taken.
    waited_for_room,
    /// Listening sockets that another process of ours goes on with.
    sockets_handed_on,
    /// Connections handed over for a listener that was closed meanwhile.
    came_too_late,
    /// Clients that were refused by an access list.
    denied_access,
    /// Clients that were refused because their address has too much already.
    denied_per_ip,
    /// Clients that had to begin with a PROXY header and sent something else, or ended; who says nothing
    /// in time is only in the sessions ended so.
    bad_greeting,
    /// Clients that had to wait for a backend, or for room in one.
    waited_for_backend,
    /// Clients that were told that there is nobody.
    turned_away,
    /// Clients of an original-dst pool that had not been redirected, or from us.
    not_redirected,
    /// Our own connections to an original destination that the kernel led back to us.
    met_itself,
    /// Backends ejected because connects to them failed.
    ejected,
    /// Backends that were not, because half of their pool was out already.
    fail_open,
    /// Connects started.
    connects,
    /// Connects that failed and could be tried elsewhere, or not.
    connect_failed,
    /// Running sessions that went on with another backend when theirs had ended abnormally.
    failed_over,
    /// Connects given up at their deadline.
    connect_timeout,
    /// Bytes delivered to backends from buffers.
    bytes_to_backends_copied,
    /// Bytes delivered to backends from pipes.
    bytes_to_backends_spliced,
    /// Bytes delivered to clients from buffers.
    bytes_to_clients_copied,
    /// Bytes delivered to clients from pipes.
    bytes_to_clients_spliced,
    /// Times that the way to a backend became spliced.
    path_to_backend_spliced,
    /// Times that it became copied again, because little came.
    path_to_backend_little,
    /// The same, because splice found nothing where there should be something.
    path_to_backend_nothing,
    /// The same, because the end came.
    path_to_backend_end,
    /// The same, because there was no pipe.
    path_to_backend_no_pipe,
    /// Times that the way to a client became spliced.
    path_to_client_spliced,
    /// Times that it became copied again, because little came.
    path_to_client_little,
    /// The same, because splice found nothing where there should be something.
    path_to_client_nothing,
    /// The same, because the end came.
    path_to_client_end,
    /// The same, because there was no pipe.
    path_to_client_no_pipe,
    /// Pipes that were wanted while all were lent.
    pipe_all_lent,
    /// Pipes that were wanted and could not be made.
    pipe_failed,
    /// Pipes closed with bytes in them.
    pipe_closed_full,
    /// Receives that found no buffer.
    recv_no_buffer,
    /// Sends that took only a part.
    send_short,
    /// Completions for a session that is gone.
    stale_completion,
    /// Completions that nothing can have caused.
    unexpected_event,
    /// Lines of the session log that its queue had no room for.
    session_log_dropped,
    /// Looks at sessions and their connections (`TCP_INFO`).
    watched,
    /// Log lines about single connections that were left out to keep the rate down.
    log_suppressed,
}

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning shard may.
    pub fn add(&self, by: u64) {
        self.0.store(self.value() + by, Ordering::Relaxed);
    }

    /// Sets it, where it is no count; only the owning shard may.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// Sets it; only the owning shard may.
    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Bytes delivered from buffers.
    #[must_use]
    pub fn copied(&self, direction: Direction) -> &Counter {
        match direction {
            Direction::ClientToBackend => &self.bytes_to_backends_copied,
            Direction::BackendToClient => &self.bytes_to_clients_copied,
        }
    }

    /// Bytes delivered from pipes.
    #[must_use]
    pub fn spliced(&self, direction: Direction) -> &Counter {
        match direction {
            Direction::ClientToBackend => &self.bytes_to_backends_spliced,
            Direction::BackendToClient => &self.bytes_to_clients_spliced,
        }
    }

    /// Changes of path.
    #[must_use]
    pub fn path_change(&self, direction: Direction, change: PathChange) -> &Counter {
        match (direction, change) {
            (Direction::ClientToBackend, PathChange::Bulk) => &self.path_to_backend_spliced,
            (Direction::ClientToBackend, PathChange::Little) => &self.path_to_backend_little,
            (Direction::ClientToBackend, PathChange::Nothing) => &self.path_to_backend_nothing,
            (Direction::ClientToBackend, PathChange::End) => &self.path_to_backend_end,
            (Direction::ClientToBackend, PathChange::NoPipe) => &self.path_to_backend_no_pipe,
            (Direction::BackendToClient, PathChange::Bulk) => &self.path_to_client_spliced,
            (Direction::BackendToClient, PathChange::Little) => &self.path_to_client_little,
            (Direction::BackendToClient, PathChange::Nothing) => &self.path_to_client_nothing,
            (Direction::BackendToClient, PathChange::End) => &self.path_to_client_end,
            (Direction::BackendToClient, PathChange::NoPipe) => &self.path_to_client_no_pipe,
        }
    }

    /// Counts an ended session.
    pub fn count_end(&self, reason: EndReason) {
        self.ended[reason as usize].add(1);
    }
}

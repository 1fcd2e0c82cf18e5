//! What a shard counts: what it did, and every surprise.
//!
//! Each counter has one writer, its shard, and any number of readers; so it is a plain load and
//! store, without a locked instruction.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::session::EndReason;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one shard.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            /// Sessions ended, by reason, in the order of [`EndReason::ALL`].
            pub ended: [Counter; EndReason::ALL.len()],
        }

        impl Counters {
            /// Name and value of every counter but the ended sessions.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.value()),)*]
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Accepts that failed for a reason of the peer's (`ECONNABORTED` and the like).
    accept_failed,
    /// Times that accepting stopped because descriptors or memory ran out.
    accept_paused,
    /// Connects started.
    connects,
    /// Connects that failed and could be tried elsewhere, or not.
    connect_failed,
    /// Connects given up at their deadline.
    connect_timeout,
    /// Bytes delivered to backends by sessions that have ended.
    bytes_to_backends,
    /// Bytes delivered to clients by sessions that have ended.
    bytes_to_clients,
    /// Receives that found no buffer.
    recv_no_buffer,
    /// Sends that took only a part.
    send_short,
    /// Completions for a session that is gone.
    stale_completion,
    /// Completions that nothing can have caused.
    unexpected_event,
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

    /// The value now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts an ended session.
    pub fn count_end(&self, reason: EndReason) {
        self.ended[reason as usize].add(1);
    }
}

//! How many descriptors what takes, and so how many sessions a limit is for.

use super::admin::CONNECTIONS_AN_ENDPOINT;
use super::plan::PoolConfig;
use crate::core::relay::Splice;

/// What there are descriptors for, sessions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Takers {
    /// Threads with a ring or an epoll instance each.
    pub(crate) shards: usize,
    /// Each has a socket in every shard.
    pub(crate) listeners: usize,
    /// Of the admin API.
    pub(crate) endpoints: usize,
    /// Whether bytes may go through pipes.
    pub(crate) splices: bool,
}

impl Takers {
    pub(crate) fn new(
        shards: usize,
        listeners: usize,
        endpoints: usize,
        pools: &[PoolConfig],
    ) -> Self {
        let splices = pools.iter().any(|pool| pool.splice != Splice::Off);
        Self { shards, listeners, endpoints, splices }
    }

    /// For each shard: a small part of the descriptors. A pipe is lent only while it is filled and drained, so
    /// many wait only where many readers are slow.
    pub(crate) fn max_pipes(self, limit: u64) -> u16 {
        let part = limit / PART_FOR_PIPES / self.shards as u64 / FDS_A_PIPE;
        if self.splices { u16::try_from(part).unwrap_or(MOST_PIPES).min(MOST_PIPES) } else { 0 }
    }

    /// Sessions that fit under a limit.
    pub(crate) fn sessions(self, limit: u64) -> usize {
        let fitting = limit.saturating_sub(self.others(limit)) / FDS_A_SESSION;
        usize::try_from(fitting).unwrap_or(usize::MAX).min(MOST_SESSIONS)
    }

    /// The least limit under which so many sessions fit.
    pub(crate) fn limit_for(self, sessions: u64) -> u64 {
        let mut limit = 0;
        // A higher limit allows more pipes, which take a part of it; their number is bounded, so this ends.
        loop {
            let needed = sessions * FDS_A_SESSION + self.others(limit);
            if needed <= limit {
                return limit;
            }
            limit = needed;
        }
    }

    /// What is open besides sessions.
    fn others(self, limit: u64) -> u64 {
        let pipes = u64::from(self.max_pipes(limit)) * FDS_A_PIPE;
        let a_shard = FDS_A_SHARD + self.listeners as u64 + pipes;
        RESERVED_FDS + self.endpoints as u64 * FDS_AN_ENDPOINT + self.shards as u64 * a_shard
    }
}

/// Standard streams, the log, signal handling, libraries.
const RESERVED_FDS: u64 = 64;
/// An endpoint of the admin API: its listener, its connections, and one that is turned away.
const FDS_AN_ENDPOINT: u64 = CONNECTIONS_AN_ENDPOINT as u64 + 2;
/// Ring or epoll instance, eventfd, and as many to spare as there are of these and a listener.
const FDS_A_SHARD: u64 = 7;
/// Its two ends.
const FDS_A_PIPE: u64 = 2;
/// Of sixteen descriptors at most one is a pipe's.
const PART_FOR_PIPES: u64 = 16;
/// For each shard. With 256 KiB each that is a quarter of what a user without privileges may have in
/// pipes (`fs.pipe-user-pages-soft`, 64 MiB).
const MOST_PIPES: u16 = 64;
/// One to the client and one to the backend.
const FDS_A_SESSION: u64 = 2;
/// Keeps the table of a shard in 32 bits wherever the file limit is unlimited.
const MOST_SESSIONS: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Takers = Takers { shards: 2, listeners: 1, endpoints: 0, splices: false };

    #[test]
    fn sessions_fit_the_descriptors() {
        assert_eq!(TWO.sessions(20_000), (20_000 - 64 - 16) / 2);
        assert_eq!(TWO.sessions(64), 0);
        assert_eq!(TWO.sessions(u64::MAX), MOST_SESSIONS);
    }

    #[test]
    fn pipes_take_a_small_part_of_the_descriptors() {
        let spliced = Takers { splices: true, ..TWO };
        assert_eq!(spliced.max_pipes(20_000), MOST_PIPES);
        assert_eq!(spliced.max_pipes(1024), 16);
        assert_eq!(TWO.max_pipes(20_000), 0);
        assert_eq!(spliced.sessions(20_000), (20_000 - 64 - 16 - 2 * 128) / 2);
    }

    #[test]
    fn the_limit_for_so_many_sessions_is_enough_and_not_more() {
        for splices in [false, true] {
            for shards in [1, 2, 64] {
                let takers = Takers { shards, splices, ..TWO };
                for sessions in [1, 100, 1000, 9999, 1_000_000] {
                    let limit = takers.limit_for(sessions);
                    assert!(takers.sessions(limit) as u64 >= sessions, "{takers:?} {sessions}");
                    assert!(
                        (takers.sessions(limit - 1) as u64) < sessions,
                        "{takers:?} {sessions}"
                    );
                }
            }
        }
    }
}

//! What a bulk run shall do: every option, with the values that a run without options takes.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use socket2::SockAddr;

use super::pattern::PERIOD;
use crate::crew::{Close, How};

/// Bulk on connections of three kinds, all at the same time.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// Where to.
    pub address: SockAddr,
    /// Streams on which this side sends.
    pub up: u32,
    /// Streams on which the peer sends.
    pub down: u32,
    /// Streams on which both send.
    pub bidir: u32,
    /// Worker threads; no more are used than there are streams.
    pub threads: NonZeroUsize,
    /// Processors for the workers, in turn, and for the probe after them; empty leaves it to the
    /// kernel.
    pub cpus: Vec<usize>,
    /// How long is measured.
    pub duration: Duration,
    /// Load before that. The buffers of both kernels fill meanwhile, so that what this side's
    /// kernel takes while it is measured is what the peer gets.
    pub warm_up: Duration,
    /// The most that is sent or received at once, from [`BLOCK_BYTES_MIN`] to [`BLOCK_BYTES_MAX`].
    pub block_bytes: u32,
    /// Every byte that comes is compared with the pattern.
    pub verify: bool,
    /// What comes is dropped in the kernel, without a copy (`MSG_TRUNC`); not with
    /// [`StreamPlan::verify`].
    pub skip_copy: bool,
    /// No first line is sent.
    pub raw: bool,
    /// Round trips beside the bulk.
    pub probe: Option<Probe>,
    /// How long the probe has the path for itself before the bulk begins.
    pub probe_idle: Duration,
    /// How long a connect may take.
    pub timeout: Duration,
    /// How connections end.
    pub close: Close,
    /// Local addresses that connections come from, in turn.
    pub sources: Vec<IpAddr>,
    /// TCP's congestion control, the kernel's own choice otherwise (`TCP_CONGESTION`).
    pub congestion: Option<String>,
    /// How often the caller is told how it goes.
    pub progress_every: Duration,
}

/// Small requests on a connection of their own.
#[derive(Clone, Debug)]
pub struct Probe {
    /// From one request to the next, whether or not the one before was answered.
    pub interval: Duration,
    /// Where to, if not where the streams go.
    pub address: Option<SockAddr>,
}

/// Which way the bytes of a stream go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the peer.
    Up,
    /// From the peer.
    Down,
    /// Both at the same time.
    Bidir,
}

impl Direction {
    /// The first line.
    pub(super) const fn line(self) -> &'static str {
        match self {
            Self::Up => "up\n",
            Self::Down => "down\n",
            Self::Bidir => "bidir\n",
        }
    }

    pub(super) const fn sends(self) -> bool {
        matches!(self, Self::Up | Self::Bidir)
    }

    pub(super) const fn receives(self) -> bool {
        matches!(self, Self::Down | Self::Bidir)
    }
}

impl StreamPlan {
    /// The canonical run: one stream up, ten seconds after one that does not count.
    #[must_use]
    pub fn new(address: SockAddr) -> Self {
        Self {
            address,
            up: 1,
            down: 0,
            bidir: 0,
            threads: NonZeroUsize::MIN,
            cpus: Vec::new(),
            duration: Duration::from_secs(10),
            warm_up: Duration::from_secs(1),
            block_bytes: 128 * 1024,
            verify: false,
            skip_copy: false,
            raw: false,
            probe: None,
            probe_idle: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            close: Close::Fin,
            sources: Vec::new(),
            congestion: None,
            progress_every: Duration::from_millis(250),
        }
    }

    /// All streams.
    #[must_use]
    pub fn streams(&self) -> u32 {
        self.up.saturating_add(self.down).saturating_add(self.bidir)
    }

    /// Worker threads that the plan really uses.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.threads.get().min(self.streams().max(1) as usize)
    }

    /// What the stream of this index is, of all.
    pub(super) fn direction(&self, index: u32) -> Direction {
        if index < self.up {
            Direction::Up
        } else if index < self.up.saturating_add(self.down) {
            Direction::Down
        } else {
            Direction::Bidir
        }
    }

    /// The streams of one worker; neighbours go to different ones.
    pub(super) fn part(&self, worker: usize) -> Vec<Direction> {
        let all = (0..self.streams()).skip(worker).step_by(self.workers());
        all.map(|index| self.direction(index)).collect()
    }

    pub(super) fn how(&self) -> How {
        How {
            address: self.address.clone(),
            sources: self.sources.clone(),
            congestion: self.congestion.clone(),
            timeout: self.timeout,
            rate: None,
        }
    }

    /// Bytes of a buffer: [`StreamPlan::block_bytes`] within its bounds, in whole pages.
    pub(super) fn buffer_bytes(&self) -> u32 {
        self.block_bytes.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX).next_multiple_of(PAGE_BYTES)
    }

    /// Bytes of a send: as many as lie behind every offset of the pattern's first period.
    pub(super) fn send_bytes(&self) -> u32 {
        self.buffer_bytes() - u32::from(PERIOD)
    }
}

/// A page.
pub const BLOCK_BYTES_MIN: u32 = 4096;
/// More than that gains nothing and leaves every cache.
pub const BLOCK_BYTES_MAX: u32 = 4 << 20;
const PAGE_BYTES: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn plan(up: u32, down: u32, bidir: u32, threads: usize) -> StreamPlan {
        let address: SocketAddr = "127.0.0.1:1".parse().expect("a literal address");
        let threads = NonZeroUsize::new(threads).expect("not 0");
        StreamPlan { up, down, bidir, threads, ..StreamPlan::new(address.into()) }
    }

    #[test]
    fn every_stream_is_some_workers() {
        for (up, down, bidir, threads) in [(1, 0, 0, 4), (2, 1, 3, 1), (5, 5, 5, 4), (0, 0, 3, 2)] {
            let plan = plan(up, down, bidir, threads);
            let all: Vec<_> = (0..plan.workers()).flat_map(|worker| plan.part(worker)).collect();
            let count = |direction| all.iter().filter(|&&one| one == direction).count();
            let counts = [Direction::Up, Direction::Down, Direction::Bidir].map(count);
            assert_eq!(counts, [up, down, bidir].map(|count| count as usize));
        }
    }

    #[test]
    fn a_block_is_whole_pages_and_a_send_a_period_less() {
        for (block_bytes, buffer, send) in
            [(1, 4096, 3845), (128 * 1024, 131_072, 130_821), (u32::MAX, 4 << 20, 4_194_053)]
        {
            let plan = StreamPlan { block_bytes, ..plan(1, 0, 0, 1) };
            assert_eq!((plan.buffer_bytes(), plan.send_bytes()), (buffer, send));
        }
    }
}

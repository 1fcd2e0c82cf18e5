//! Streams as fast as they go, by iperf3: whole seconds, at least one.

use std::io;

use super::{Bench, Run, UnderTest};
use crate::contender::Contender;
use crate::figure::Figure;
use crate::iperf::{self, Streams};

impl Bench {
    pub(super) fn run_iperf(
        &self,
        contender: &Contender,
        count: u32,
        down: bool,
    ) -> io::Result<Run> {
        let network = &self.network;
        let backend = network.backend_address()?;
        let _server = network.backend.run(|| iperf::serve(backend))?;
        let under_test = UnderTest::start(contender, network, backend)?;
        let streams = Streams { target: under_test.target, count, down, duration: self.duration };
        // All bytes and all CPU time of the streams, so no part of a run is chosen.
        let before = under_test.cpu()?;
        let moved = network.client.run(|| iperf::stream(streams, self.stop))?;
        let after = under_test.cpu()?;
        let cpu = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        let per_gb = cpu.map(|cpu| (Figure::CpuSPerGb, cpu.as_secs_f64() / (moved.bytes / 1e9)));
        let gbit_per_s = (Figure::GbitPerS, moved.bits_per_s / 1e9);
        Ok(Run { figures: per_gb.into_iter().chain([gbit_per_s]).collect(), errors: 0 })
    }
}

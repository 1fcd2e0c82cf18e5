//! Streams as fast as they go, by loadgen. What arrived counts, not what was sent: up, the bytes
//! that the backend has read, and down, those that the clients have.

use std::io;
use std::time::{Duration, Instant};

use loadgen::report::{Phase, Progress};
use loadgen::serve::{Mode, Serving};
use loadgen::stream::StreamPlan;

use super::{Bench, Run, UnderTest, WARM_UP};
use crate::contender::Contender;
use crate::figure::{Figure, Figures};

/// What there was at a moment of the measured time.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    cpu: Option<Duration>,
    bytes: u64,
}

impl Bench {
    pub(super) fn run_bulk(
        &self,
        contender: &Contender,
        streams: u32,
        down: bool,
    ) -> io::Result<Run> {
        let backend = self.serve(Mode::Stream)?;
        let under_test = UnderTest::start(contender, &self.network, backend.addresses()[0])?;
        let (up, down_streams) = if down { (0, streams) } else { (streams, 0) };
        let plan = StreamPlan {
            up,
            down: down_streams,
            warm_up: WARM_UP,
            duration: self.duration,
            progress_every: self.duration / 8,
            ..StreamPlan::new(under_test.target.into())
        };
        let mut looks: Vec<Look> = Vec::new();
        let mut look = |progress: &Progress<'_>| {
            if progress.phase == Phase::Measuring {
                let so_far = progress.so_far.bytes_in;
                let bytes = if down { so_far } else { received_by(&backend) };
                // A balancer that has ended is missed by the streams too.
                let cpu = under_test.cpu().ok().flatten();
                looks.push(Look { at: Instant::now(), cpu, bytes });
            }
        };
        let stop = self.stop.flag();
        let stream = || loadgen::stream::run(&plan, &mut look, stop).map_err(io::Error::other);
        let report = self.network.client.run(stream)?;
        self.stop.check()?;
        let figures = figures(&looks).ok_or_else(|| io::Error::other("nothing arrived"))?;
        Ok(Run { figures, errors: report.totals.errors })
    }
}

fn received_by(backend: &Serving) -> u64 {
    backend.counts().iter().map(|counts| counts.bytes_in).sum()
}

/// Between the first and the last look.
fn figures(looks: &[Look]) -> Option<Figures> {
    let (first, last) = (looks.first()?, looks.last()?);
    let bytes = last.bytes.checked_sub(first.bytes).filter(|&bytes| bytes > 0)? as f64;
    let seconds = (last.at - first.at).as_secs_f64();
    let cpu = first.cpu.zip(last.cpu).and_then(|(before, after)| after.checked_sub(before));
    let per_gb = cpu.map(|cpu| (Figure::CpuSPerGb, cpu.as_secs_f64() / (bytes / 1e9)));
    let gbit_per_s = (Figure::GbitPerS, bytes * 8.0 / 1e9 / seconds);
    Some(per_gb.into_iter().chain([gbit_per_s]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_costs_what_was_used_between_the_first_and_the_last_look() {
        let at = Instant::now();
        let look = |ms, cpu_ms, bytes| Look {
            at: at + Duration::from_millis(ms),
            cpu: Some(Duration::from_millis(cpu_ms)),
            bytes,
        };
        let looks = [look(0, 10, 5), look(300, 40, 1_000_000_000), look(500, 260, 2_000_000_005)];
        let gbit_per_s = (Figure::GbitPerS, 32.0);
        assert_eq!(figures(&looks), Some(vec![(Figure::CpuSPerGb, 0.125), gbit_per_s]));
        assert_eq!(figures(&looks[..1]), None);
    }
}

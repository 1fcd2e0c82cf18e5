//! Requests and their echoes, by loadgen.

use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use hdrhistogram::Histogram;
use loadgen::load::{Plan, Progress, Report, Workload};

use super::{Bench, Run, UnderTest, WARM_UP};
use crate::contender::Contender;
use crate::figure::{Figure, Figures};

/// CPU time and requests at some moments of a run.
#[derive(Debug, Default)]
struct Samples(Vec<(Duration, u64)>);

impl Bench {
    pub(super) fn run_load(
        &self,
        contender: &Contender,
        workload: Workload,
        connections: NonZeroU32,
    ) -> io::Result<Run> {
        let backend = self.start_echo(&self.loopback)?;
        let under_test = UnderTest::start(contender, &self.loopback, backend.addresses()[0])?;
        let plan = Plan {
            connections,
            warm_up: WARM_UP,
            duration: self.duration,
            progress_every: self.duration / 8,
            ..Plan::new(under_test.target, workload)
        };
        let (report, samples) = self.drive(&plan, &under_test)?;
        let mut figures = Figures::new();
        figures.extend(samples.us_per_request().map(|us| (Figure::CpuUs, us)));
        figures.push((Figure::PerSecond, report.requests_per_s()));
        figures.extend(latencies(&report.latency));
        Ok(Run { figures, errors: report.errors.values().sum() })
    }

    /// Runs the load where the clients are, and looks at the balancer's account meanwhile.
    fn drive(&self, plan: &Plan, under_test: &UnderTest) -> io::Result<(Report, Samples)> {
        let mut samples = Samples::default();
        let sample = |progress: &Progress| {
            // A balancer that has ended is missed by the requests too.
            if let Ok(Some(cpu)) = under_test.cpu() {
                samples.add(cpu, progress.requests);
            }
        };
        let report = self
            .loopback
            .client
            .run(|| loadgen::load::run(plan, sample, self.stop.flag()).map_err(io::Error::other))?;
        self.stop.check()?;
        if report.requests == 0 {
            return Err(io::Error::other(format!("no request was answered: {:?}", report.errors)));
        }
        Ok((report, samples))
    }
}

impl Samples {
    /// Only while requests are answered that count: making the connections and the warm-up are
    /// not what is measured.
    fn add(&mut self, cpu: Duration, requests: u64) {
        if requests > 0 {
            self.0.push((cpu, requests));
        }
    }

    /// Between the first and the last one.
    fn us_per_request(&self) -> Option<f64> {
        let (&(cpu_before, before), &(cpu_after, after)) = (self.0.first()?, self.0.last()?);
        let requests = after.checked_sub(before).filter(|&requests| requests > 0)?;
        let cpu = cpu_after.checked_sub(cpu_before)?;
        Some(cpu.as_secs_f64() * 1e6 / requests as f64)
    }
}

fn latencies(latency: &Histogram<u64>) -> [(Figure, f64); 3] {
    let quantiles = [(Figure::P50Us, 0.5), (Figure::P99Us, 0.99), (Figure::P999Us, 0.999)];
    quantiles.map(|(figure, quantile)| (figure, latency.value_at_quantile(quantile) as f64 / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_between_the_first_and_the_last_look() {
        let mut samples = Samples::default();
        let looks = [(10, 0), (20, 100), (25, 150), (40, 300)];
        looks
            .into_iter()
            .for_each(|(ms, requests)| samples.add(Duration::from_millis(ms), requests));
        assert_eq!(samples.us_per_request(), Some(100.0));
    }

    #[test]
    fn one_look_says_nothing() {
        let mut samples = Samples::default();
        samples.add(Duration::from_millis(1), 100);
        assert_eq!(samples.us_per_request(), None);
    }
}

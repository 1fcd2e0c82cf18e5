//! Requests and their echoes, by loadgen.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use hdrhistogram::Histogram;
use loadgen::load::{Plan, Rate, Workload};
use loadgen::report::{Progress, Report};
use loadgen::serve::Mode;

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
        let plan = Plan { connections, ..self.plan(workload) };
        self.request(contender, plan)
    }

    pub(super) fn run_paced(
        &self,
        contender: &Contender,
        connections: NonZeroU32,
        rate: NonZeroU32,
    ) -> io::Result<Run> {
        let plan = Plan {
            connections,
            rate: Some(Rate::constant(rate.get().into())),
            ..self.plan(Workload::Ping)
        };
        self.request(contender, plan)
    }

    /// What `percent` of the ceiling is that the weakest of `contenders` has in a closed loop; those
    /// that cannot say are left out.
    ///
    /// # Errors
    /// When nobody can say, or the run shall end.
    pub(crate) fn rate_of_weakest(
        &self,
        contenders: &[&Contender],
        connections: NonZeroU32,
        percent: u32,
    ) -> io::Result<NonZeroU32> {
        let mut weakest = f64::INFINITY;
        for contender in contenders.iter().filter(|one| !one.is_direct()) {
            self.stop.check()?;
            let Ok(run) = self.run_load(contender, Workload::Ping, connections) else { continue };
            let per_second = run.figures.iter().find(|(figure, _)| *figure == Figure::PerSecond);
            let per_second = per_second.map_or(f64::INFINITY, |&(_, value)| value);
            eprintln!("  ceiling of {}: {per_second:.0} requests/s", contender.name);
            weakest = weakest.min(per_second);
        }
        rate_of(weakest, percent).ok_or_else(|| io::Error::other("nobody answers in a closed loop"))
    }

    /// What all plans share; the address is that of whoever is under test.
    fn plan(&self, workload: Workload) -> Plan {
        Plan {
            warm_up: WARM_UP,
            duration: self.duration,
            progress_every: self.duration / 8,
            ..Plan::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), workload)
        }
    }

    fn request(&self, contender: &Contender, plan: Plan) -> io::Result<Run> {
        let backend = self.serve(Mode::Echo)?;
        let under_test = UnderTest::start(contender, &self.network, backend.addresses()[0])?;
        // A connection that has just been made waits longer than one that is served already.
        let warm_up = plan.warm_up + A_CONNECTION * plan.connections.get();
        let plan = Plan { address: under_test.target.into(), warm_up, ..plan };
        let (report, samples) = self.drive(&plan, &under_test)?;
        let per_second = if plan.rate.is_some() { Figure::AchievedPerS } else { Figure::PerSecond };
        let mut figures = Figures::new();
        figures.extend(samples.us_per_request().map(|us| (Figure::CpuUs, us)));
        figures.push((per_second, report.totals.goodput_per_s));
        figures.extend(latencies(&waits(&report)));
        Ok(Run { figures, errors: report.totals.errors })
    }

    /// Runs the load where the clients are, and looks at the balancer's account meanwhile.
    fn drive(&self, plan: &Plan, under_test: &UnderTest) -> io::Result<(Report, Samples)> {
        let mut samples = Samples::default();
        let mut sample = |progress: &Progress<'_>| {
            // A balancer that has ended is missed by the requests too.
            if let Ok(Some(cpu)) = under_test.cpu() {
                samples.add(cpu, progress.so_far.ok);
            }
        };
        let stop = self.stop.flag();
        let load = || loadgen::load::run(plan, &mut sample, stop).map_err(io::Error::other);
        let report = self.network.client.run(load)?;
        self.stop.check()?;
        if report.totals.ok == 0 {
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

/// A part of a ceiling, if there is one.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and no rate is that high")]
#[expect(clippy::cast_sign_loss, reason = "rates are not below zero")]
fn rate_of(ceiling: f64, percent: u32) -> Option<NonZeroU32> {
    let rate = ceiling * f64::from(percent) / 100.0;
    rate.is_finite().then_some(rate as u32).and_then(NonZeroU32::new)
}

/// The response times, and in them whoever was not answered at all while it was measured: with the
/// measured time, which is the least that they waited.
fn waits(report: &Report) -> Histogram<u64> {
    let mut waits = report.latency.response.0.clone();
    let measured = Duration::from_secs_f64(report.totals.elapsed_s).as_nanos();
    let measured_ns = u64::try_from(measured).unwrap_or(u64::MAX);
    waits.saturating_record_n(measured_ns, report.generator.connections_silent.into());
    waits
}

fn latencies(latency: &Histogram<u64>) -> [(Figure, f64); 3] {
    let quantiles = [(Figure::P50Us, 0.5), (Figure::P99Us, 0.99), (Figure::P999Us, 0.999)];
    quantiles.map(|(figure, quantile)| (figure, latency.value_at_quantile(quantile) as f64 / 1e3))
}

/// Of the warm-up, for each connection: four thousand are served evenly after a second or two.
const A_CONNECTION: Duration = Duration::from_micros(500);

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
    fn a_rate_is_a_part_of_a_ceiling() {
        assert_eq!(rate_of(30_000.0, 80).map(NonZeroU32::get), Some(24_000));
        assert_eq!((rate_of(f64::INFINITY, 80), rate_of(0.5, 80)), (None, None));
    }

    #[test]
    fn whoever_is_not_answered_has_waited_for_as_long_as_it_is_measured() {
        let mut report = loadgen::report::sample();
        report.totals.elapsed_s = 2.0;
        let p99_us = |report: &Report| latencies(&waits(report))[1].1;
        let without = p99_us(&report);
        assert!(without < 1e6, "{without}");
        let answered = report.latency.response.count();
        report.generator.connections_silent = u32::try_from(answered / 50).expect("few");
        let with = p99_us(&report);
        assert!((2e6..2.01e6).contains(&with), "{with}");
    }

    #[test]
    fn one_look_says_nothing() {
        let mut samples = Samples::default();
        samples.add(Duration::from_millis(1), 100);
        assert_eq!(samples.us_per_request(), None);
    }
}

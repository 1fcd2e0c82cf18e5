//! The clock that times are taken from, and how late waits end.

use std::time::Duration;

use nix::time::{ClockId, clock_getres};
use uring::{Config, Ring, monotonic_ns};

use super::{Finding, Verdict};
use crate::report::Distribution;

/// The source of the clock, what a look at it costs, how fine it is, and the timer.
pub(super) fn findings() -> Vec<Finding> {
    let read = |name: &str| {
        let path = format!("/sys/devices/system/clocksource/clocksource0/{name}_clocksource");
        std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    };
    let source = read("current").unwrap_or_else(|| "not told".to_owned());
    let granularity = clock_getres(ClockId::CLOCK_MONOTONIC).map(Duration::from).ok();
    let (cost, step) = cost_and_step();
    vec![
        clock_source(&source, &read("available").unwrap_or_default()),
        read_cost(cost),
        resolution(granularity, step),
        timer(&lateness()),
    ]
}

fn clock_source(current: &str, available: &str) -> Finding {
    let why = "each request looks at the clock; a slow source is a system call each time";
    let finding = Finding::ok("clock source", current, why);
    if !SLOW_SOURCES.contains(&current) {
        return finding;
    }
    let fast = available.split_whitespace().find(|name| !SLOW_SOURCES.contains(name));
    let cure = match fast {
        Some(fast) => format!(
            "echo {fast} > /sys/devices/system/clocksource/clocksource0/current_clocksource"
        ),
        None => {
            "this machine has no fast one; start the kernel with clocksource=tsc tsc=reliable, \
             or measure from another machine"
                .to_owned()
        }
    };
    finding.but(Verdict::Bad, cure)
}

fn read_cost(cost_ns: f64) -> Finding {
    let why = "it is part of every time that is measured";
    let finding = Finding::ok("clock read", format!("{cost_ns:.0} ns"), why);
    if cost_ns < 200.0 {
        finding
    } else {
        let verdict = if cost_ns < 2000.0 { Verdict::Note } else { Verdict::Bad };
        finding
            .but(verdict, "see the clock source; in a sandbox that has no vDSO: run outside of it")
    }
}

fn resolution(told: Option<Duration>, step_ns: u64) -> Finding {
    let why = "times that differ by less are the same";
    let told = told.map_or(String::new(), |told| format!(", {} ns told", told.as_nanos()));
    let value = format!("{step_ns} ns seen{told}");
    let finding = Finding::ok("clock resolution", value, why);
    if step_ns <= 1000 {
        return finding;
    }
    finding.but(Verdict::Bad, "see the clock source; boot without nohrtimers or highres=off")
}

fn timer(late: &Distribution) -> Finding {
    let why = "an open loop sends when a timer ends; what is late is told as wait_late";
    let us = |quantile| {
        late.quantile_ns(quantile)
            .map_or(f64::NAN, |ns| Duration::from_nanos(ns).as_secs_f64() * 1e6)
    };
    let value = format!("1 ms ends {:.0} µs late at p50, {:.0} µs at p99", us(0.5), us(0.99));
    let finding = Finding::ok("timer", value, why);
    let cure = "keep workers on processors of their own (--cpus), stop what else runs, and as root: \
         cpupower frequency-set -g performance; cpupower idle-set -D 2";
    match late.quantile_ns(0.99) {
        Some(ns) if ns < 250_000 => finding,
        Some(ns) if ns < 2_000_000 => finding.but(Verdict::Note, cure),
        Some(_) | None => finding.but(Verdict::Bad, cure),
    }
}

/// What one look costs in ns, and the smallest step that was seen. Of several batches the cheapest
/// counts, because whoever else runs only makes them dearer.
#[expect(clippy::cast_precision_loss, reason = "a moment's nanoseconds")]
fn cost_and_step() -> (f64, u64) {
    let (mut cheapest, mut step) = (u64::MAX, u64::MAX);
    for _ in 0..BATCHES {
        let began = monotonic_ns();
        let mut before = began;
        for _ in 0..LOOKS {
            let now = monotonic_ns();
            if now > before {
                step = step.min(now - before);
            }
            before = now;
        }
        cheapest = cheapest.min(before - began);
    }
    (cheapest as f64 / f64::from(LOOKS), step)
}

/// How late waits end, on the ring where there is one.
fn lateness() -> Distribution {
    let config =
        Config { entries: 8, buffers: 1, published: 1, buffer_bytes: 4096, ..Config::default() };
    let mut ring = Ring::new(&config).ok();
    let mut late = Distribution::default();
    for _ in 0..WAITS {
        let began = monotonic_ns();
        let waited = ring.as_mut().map(|ring| ring.submit_and_wait(1, Some(WAIT)).is_ok());
        if waited != Some(true) {
            std::thread::sleep(WAIT);
        }
        let due = began + u64::try_from(WAIT.as_nanos()).unwrap_or(u64::MAX);
        late.record_ns(monotonic_ns().saturating_sub(due));
    }
    late
}

/// Sources that are read by a system call or from a device.
const SLOW_SOURCES: [&str; 5] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies", "xen"];
/// A batch is shorter than a time slice.
const LOOKS: u32 = 1000;
const BATCHES: u32 = 50;
const WAIT: Duration = Duration::from_millis(1);
/// Enough for a p99: ten samples lie beyond it.
const WAITS: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(finding: &Finding) -> Verdict {
        finding.verdict
    }

    #[test]
    fn a_slow_source_is_changed_where_there_is_a_fast_one() {
        assert_eq!(clock_source("tsc", "tsc hpet").verdict, Verdict::Ok);
        assert_eq!(clock_source("arch_sys_counter", "").verdict, Verdict::Ok);
        let finding = clock_source("hpet", "hpet acpi_pm tsc");
        assert_eq!(finding.verdict, Verdict::Bad);
        assert!(finding.cure.is_some_and(|cure| cure.starts_with("echo tsc > /sys/")));
        let finding = clock_source("acpi_pm", "acpi_pm hpet");
        assert!(finding.cure.is_some_and(|cure| cure.contains("clocksource=tsc")));
    }

    #[test]
    fn what_the_clock_costs_and_tells_is_judged() {
        for (cost, expected) in
            [(25.0, Verdict::Ok), (300.0, Verdict::Note), (2000.0, Verdict::Bad)]
        {
            assert_eq!(verdict(&read_cost(cost)), expected, "{cost}");
        }
        for (step, expected) in [(1, Verdict::Ok), (1000, Verdict::Ok), (4_000_000, Verdict::Bad)] {
            assert_eq!(verdict(&resolution(None, step)), expected, "{step}");
        }
    }

    #[test]
    fn late_timers_are_judged_by_their_p99() {
        let late = |ns: u64| {
            let mut late = Distribution::default();
            (0..985).for_each(|_| late.record_ns(1000));
            (0..15).for_each(|_| late.record_ns(ns));
            late
        };
        for (ns, expected) in
            [(50_000, Verdict::Ok), (300_000, Verdict::Note), (5_000_000, Verdict::Bad)]
        {
            assert_eq!(verdict(&timer(&late(ns))), expected, "{ns}");
        }
        assert_eq!(timer(&late(50_000)).value, "1 ms ends 1 µs late at p50, 50 µs at p99");
    }

    #[test]
    fn the_clock_of_this_machine_goes_on() {
        let (cost, step) = cost_and_step();
        assert!(cost > 0.0 && step < u64::MAX, "{cost} {step}");
    }
}

//! A report as wrk prints one, for scripts that read that.

use std::fmt::Write as _;

use super::{Report, statistics};

/// What wrk would have printed. Latencies are the response times; requests a second are those of
/// the intervals, for each thread, as wrk has them.
///
/// # Panics
/// Never: a string takes every character.
#[must_use]
pub fn wrk(report: &Report) -> String {
    let (config, totals) = (&report.config, &report.totals);
    let mut text = format!(
        "Running {} test @ {}\n  {} threads and {} connections\n",
        whole_time(config.duration_s),
        config.target,
        config.threads,
        config.connections
    );
    text += "  Thread Stats   Avg      Stdev     Max   +/- Stdev\n";
    let times = &report.latency.response.0;
    text += &row(
        "Latency",
        [times.mean(), times.stdev(), times.max() as f64].map(time),
        within(report),
    );
    text += &rates(report);
    text += "  Latency Distribution\n";
    for percent in [50.0, 75.0, 90.0, 99.0] {
        let value = report.latency.response.quantile_ns(percent / 100.0);
        let value = value.map_or_else(|| "-".to_owned(), |ns| time(ns as f64));
        writeln!(text, "{percent:>7.0}%{}", aligned(&value, 10))
            .expect("a string takes every character");
    }
    text += &format!(
        "  {} requests in {}, {}B read\n",
        totals.ok,
        time(totals.elapsed_s * 1e9),
        binary(totals.bytes_in as f64)
    );
    text += &socket_errors(report);
    let per_s = |count: f64| if totals.elapsed_s > 0.0 { count / totals.elapsed_s } else { 0.0 };
    text += &format!(
        "Requests/sec: {:>9.2}\nTransfer/sec: {:>10}B\n",
        totals.goodput_per_s,
        binary(per_s(totals.bytes_in as f64))
    );
    text
}

fn row(name: &str, [mean, deviation, max]: [String; 3], within: f64) -> String {
    let (mean, deviation, max) = (aligned(&mean, 8), aligned(&deviation, 10), aligned(&max, 9));
    format!("    {name:<10}{mean}{deviation}{max}{within:>8.2}%\n")
}

/// wrk aligns the numbers, and leaves two columns for a unit behind them.
fn aligned(value: &str, width: usize) -> String {
    let unit = value.chars().rev().take(2).take_while(char::is_ascii_alphabetic).count();
    let width = width - (2 - unit);
    format!("{value:>width$}{}", " ".repeat(2 - unit))
}

/// Of the samples, how many per cent lie within one standard deviation of the mean.
fn within(report: &Report) -> f64 {
    let times = &report.latency.response.0;
    let (mean, deviation) = (times.mean(), times.stdev());
    let near = |value: u64| (value as f64 - mean).abs() <= deviation;
    let count: u64 = times
        .iter_recorded()
        .filter(|one| near(times.median_equivalent(one.value_iterated_to())))
        .map(|one| one.count_at_value())
        .sum();
    100.0 * count as f64 / times.len().max(1) as f64
}

fn rates(report: &Report) -> String {
    let Some(steady) = statistics::steadiness(report) else { return String::new() };
    let threads = f64::from(report.config.threads.max(1));
    let deviation = steady.variation * steady.mean_per_s;
    let full = report.intervals.first().map_or(0.0, |one| one.length_s / 2.0);
    let rates = report.intervals.iter().filter(|one| one.length_s >= full && one.length_s > 0.0);
    let rates: Vec<f64> = rates.map(|one| one.ok as f64 / one.length_s).collect();
    let near = rates.iter().filter(|&rate| (rate - steady.mean_per_s).abs() <= deviation).count();
    let values =
        [steady.mean_per_s, deviation, steady.max_per_s].map(|rate| metric(rate / threads));
    row("Req/Sec", values, 100.0 * near as f64 / rates.len().max(1) as f64)
}

/// wrk tells four kinds apart; what is none of them it does not know.
fn socket_errors(report: &Report) -> String {
    let of = |kinds: &[&str]| kinds.iter().filter_map(|&kind| report.errors.get(kind)).sum::<u64>();
    let connect = of(&["connect_refused", "unreachable", "ports_exhausted", "no_descriptors"]);
    let timeout = of(&["timeout"]) + report.totals.unanswered;
    let read = of(&["reset", "closed_early", "unexpected_reply"]);
    let write = report.totals.errors.saturating_sub(connect + of(&["timeout"]) + read);
    if connect + timeout + read + write == 0 {
        return String::new();
    }
    format!("  Socket errors: connect {connect}, read {read}, write {write}, timeout {timeout}\n")
}

fn time(ns: f64) -> String {
    let us = ns / 1e3;
    match us {
        ..1e3 => format!("{us:.2}us"),
        1e3..1e6 => format!("{:.2}ms", us / 1e3),
        1e6..60e6 => format!("{:.2}s", us / 1e6),
        _ => format!("{:.2}m", us / 60e6),
    }
}

fn whole_time(seconds: f64) -> String {
    if seconds >= 60.0 { format!("{:.0}m", seconds / 60.0) } else { format!("{seconds:.0}s") }
}

fn metric(value: f64) -> String {
    scaled(value, 1e3, &["", "k", "M", "G"])
}

fn binary(value: f64) -> String {
    scaled(value, 1024.0, &["", "K", "M", "G", "T"])
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    format!("{value:.2}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_text_is_laid_out_as_wrk_lays_it_out() {
        assert_eq!(
            wrk(&sample()),
            "Running 10s test @ 127.0.0.1:8880
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.27ms   35.69ms   4.60s    99.54%
    Req/Sec     2.00k     3.16     2.00k    90.00%
  Latency Distribution
     50%  124.61us
     75%  159.49us
     90%  218.11us
     99%  424.70us
  19990 requests in 10.00s, 273.30KB read
  Socket errors: connect 0, read 2, write 0, timeout 6
Requests/sec:   1999.00
Transfer/sec:     27.33KB
"
        );
    }
}

//! Percentile curves on HdrHistogram's axis: the rare is as wide as the common.

use std::f64::consts::LOG10_2;

use super::chart::{Chart, across, down, path, time_ticks};
use super::{float, table, time_or_dash};
use crate::report::plot::{self, Axis};
use crate::report::{Distribution, Report};

/// One curve.
pub(super) struct Series<'a> {
    /// `c1` to `c4`.
    pub(super) class: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// What it shows.
    pub(super) times: &'a Distribution,
}

/// The latencies of the requests, and whose part of the response each is.
pub(super) fn section(report: &Report) -> String {
    let latency = &report.latency;
    if latency.response.count() == 0 {
        return String::new();
    }
    let series = [
        Series { class: "c1 wide", name: "response", times: &latency.response },
        Series { class: "c2", name: "service", times: &latency.service },
        Series { class: "c3", name: "wait: late generator", times: &latency.wait_late },
        Series { class: "c4", name: "wait: no free connection", times: &latency.wait_busy },
    ];
    let note = "Response counts from when a request should have been sent, service from when it was. \
                The two waits are what lies between. Each curve ends where fewer than ten samples \
                lie beyond it.";
    let mut rows: Vec<Vec<String>> = series.iter().map(|one| row(one.name, one.times)).collect();
    if latency.connect.count() > 0 {
        rows.push(row("connect", &latency.connect));
    }
    let table = table("Latencies", HEADS, &rows);
    let chart = chart("latency", "Percentiles of latency", &series);
    super::section("latency", "Latency", note, &(chart + &table))
}

/// One line of the table of latencies.
pub(super) fn row(name: &str, times: &Distribution) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    row.extend(QUANTILES.iter().map(|&quantile| time_or_dash(times.quantile_ns(quantile))));
    row.push(time_or_dash(times.max_ns()));
    row.push(time_or_dash((times.count() > 0).then(|| whole(times.0.mean()))));
    row.push(plot::count(times.count()));
    row
}

/// The figure with all curves that have anything to show.
pub(super) fn chart(id: &'static str, title: &str, series: &[Series<'_>]) -> String {
    let carried = |one: &&Series<'_>| one.times.count() >= SAMPLES_MIN && one.times.0.max() > 0;
    let shown: Vec<&Series<'_>> = series.iter().filter(carried).collect();
    let Some(nines) = shown.iter().map(|one| nines(one.times)).max_by(f64::total_cmp) else {
        return "<p class=\"note\">Too few samples for a curve.</p>\n".to_owned();
    };
    let y = y_axis(&shown);
    let marks =
        shown.iter().map(|one| path(&format!("line {}", one.class), &line(one.times, nines, &y)));
    Chart {
        id,
        title: title.to_owned(),
        description: description(&shown),
        unit: "logarithmic",
        y: time_ticks(&y),
        x: x_ticks(nines),
        marks: marks.collect(),
        legend: shown.iter().map(|one| (one.class, one.name.to_owned())).collect(),
        tips: tips(&shown, nines),
        class: "tall",
    }
    .html()
}

/// How many nines the samples carry: 2.0 is 99 %.
fn nines(times: &Distribution) -> f64 {
    (float(times.count()) / 10.0).log10()
}

fn y_axis(shown: &[&Series<'_>]) -> Axis {
    let last = |one: &&Series<'_>| float(at(one.times, nines(one.times)));
    let high = shown.iter().map(last).fold(1.0, f64::max);
    // A wait is often nothing at all: from the first curve's least there are three decades more.
    let low = shown.iter().map(|one| float(at(one.times, 0.3))).fold(high, f64::min);
    let first = shown.first().map_or(1, |one| one.times.0.min().max(1));
    Axis::logarithmic(low.max(float(first) / 1e3).min(float(first)), high)
}

fn line(times: &Distribution, nines_max: f64, y: &Axis) -> String {
    let carried = nines(times);
    let points = (0..=POINTS).map(|index| carried * f64::from(index) / f64::from(POINTS));
    let mut path = String::new();
    let mut before = String::new();
    for nines in points {
        let value = float(at(times, nines));
        if value < y.low() {
            continue;
        }
        let height = down(y.at(value));
        let command = if path.is_empty() { "M" } else { "L" };
        // A level piece needs its two ends only; its middle says nothing.
        if height != before || nines >= carried {
            path.push_str(&format!("{command}{} {height}", across(nines / nines_max)));
        }
        before = height;
    }
    path
}

/// The value where `nines` of 0.9 are reached.
fn at(times: &Distribution, nines: f64) -> u64 {
    times.0.value_at_quantile(1.0 - 10_f64.powf(-nines))
}

fn x_ticks(nines_max: f64) -> Vec<(f64, String)> {
    let mut ticks: Vec<(f64, String)> = Vec::new();
    for (nines, text) in AXIS {
        if nines <= nines_max + 1e-9 {
            ticks.push((nines / nines_max, text.to_owned()));
        }
    }
    ticks
}

fn tips(shown: &[&Series<'_>], nines_max: f64) -> Vec<(f64, String)> {
    let tip = |index: u32| {
        let nines = nines_max * f64::from(index) / f64::from(TIPS);
        let mut text = percentile(nines);
        for one in shown.iter().filter(|one| nines <= self::nines(one.times) + 1e-9) {
            text.push_str(&format!("\n{}: {}", one.name, plot::time(at(one.times, nines))));
        }
        (thousandths(nines / nines_max), text)
    };
    (0..=TIPS).map(tip).collect()
}

/// `p99.37`, with the digits that its place needs.
fn percentile(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
    let digits = (0_u8..7).find(|&digits| f64::from(digits) >= nines - 1.0).unwrap_or(7);
    format!("p{percent:.*}", usize::from(digits))
}

fn description(shown: &[&Series<'_>]) -> String {
    let sentence = |one: &&Series<'_>| {
        let quantiles = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
        let carried = quantiles.iter().filter_map(|(name, quantile)| {
            Some(format!("{name} {}", plot::time(one.times.quantile_ns(*quantile)?)))
        });
        format!("{}: {}.", one.name, carried.collect::<Vec<_>>().join(", "))
    };
    shown.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// Enough digits for a place on the page.
pub(super) fn thousandths(at: f64) -> f64 {
    (at * 1000.0).round() / 1000.0
}

/// The columns of every table of latencies.
pub(super) const HEADS: &[&str] =
    &["", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "samples"];
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 0.9999];
const POINTS: u32 = 240;
const TIPS: u32 = 80;
/// With fewer not even the median has ten samples beyond it.
const SAMPLES_MIN: u64 = 20;
/// Nines and their names.
const AXIS: [(f64, &str); 8] = [
    (0.0, "0 %"),
    (LOG10_2, "50 %"),
    (1.0, "90 %"),
    (2.0, "99 %"),
    (3.0, "99.9 %"),
    (4.0, "99.99 %"),
    (5.0, "99.999 %"),
    (6.0, "99.9999 %"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_the_samples_no_longer_carry_it() {
        let mut times = Distribution::default();
        (1..=10_000).for_each(|ns| times.record_ns(ns * 1000));
        assert!((nines(&times) - 3.0).abs() < 1e-9);
        let names: Vec<String> = x_ticks(nines(&times)).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
        let series = [Series { class: "c1", name: "response", times: &times }];
        let tips = tips(&[&series[0]], 3.0);
        assert!(tips.last().expect("tips").1.starts_with("p99.90\nresponse: 9.9"), "{tips:?}");
    }

    #[test]
    fn too_few_samples_give_no_curve() {
        let mut times = Distribution::default();
        (1..=19).for_each(|ns| times.record_ns(ns));
        let series = [Series { class: "c1", name: "response", times: &times }];
        assert!(!chart("latency", "", &series).contains("<svg"));
        times.record_ns(20);
        let series = [Series { class: "c1", name: "response", times: &times }];
        assert!(chart("latency", "", &series).contains("<svg"));
    }

    #[test]
    fn percentiles_have_the_digits_that_their_place_needs() {
        for (nines, name) in [(0.0, "p0"), (1.0, "p90"), (2.0, "p99.0"), (3.0, "p99.90")] {
            assert_eq!(percentile(nines), name);
        }
    }
}

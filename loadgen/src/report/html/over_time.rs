//! Rate and percentiles over time.

use super::chart::{Chart, across, area, down, elapsed_ticks, path, steps, ticks, time_ticks};
use super::heat_map::middle;
use super::{end_s, float, folded, table, time_or_dash};
use crate::report::plot::{self, Axis};
use crate::report::{Interval, Report};

/// Both plots, and their figures as a table.
pub(super) fn section(report: &Report, columns: &[Interval]) -> String {
    if columns.iter().all(|one| one.ok + one.errors == 0) {
        return String::new();
    }
    let x = Axis::exact(end_s(columns));
    let plots = rate(report, columns, &x) + &percentiles(columns, &x);
    let body = format!("{plots}{}", folded("The same as a table", &figures(columns)));
    let note = "A step is a piece of time; nothing is smoothed. A percentile is missing where its \
                piece has too few samples.";
    super::section("over-time", "Over time", note, &body)
}

fn rate(report: &Report, columns: &[Interval], x: &Axis) -> String {
    let rates = |of: fn(&Interval) -> u64| columns.iter().map(move |one| a_second(of(one), one));
    let offered = offered(report);
    let most = rates(|one| one.ok + one.errors).chain(offered.map(|(from, to)| from.max(to)));
    // With some air: a line on the edge of the picture is hard to see.
    let y = Axis::from_zero(most.fold(0.0, f64::max) * 1.1);
    let placed = |of: fn(&Interval) -> u64| -> Vec<(f64, f64, Option<f64>)> {
        columns.iter().zip(rates(of)).map(|(one, rate)| column(one, x, Some(y.at(rate)))).collect()
    };
    let (ok, mut errors) = (placed(|one| one.ok), placed(|one| one.errors));
    for (_, _, height) in &mut errors {
        *height = height.filter(|&height| height > 0.0).map(|height| height.max(SEEN_MIN));
    }
    let mut marks = path("area c1", &area(&ok)) + &path("line c1", &steps(&ok));
    marks += &path("area bad", &area(&errors));
    let mut legend = vec![("c1", "answered rightly".to_owned())];
    if report.totals.errors > 0 {
        legend.push(("bad", "errors (never less than a line)".to_owned()));
    }
    if let Some((from, to)) = offered {
        let line = format!("M0 {}L{} {}", down(y.at(from)), across(1.0), down(y.at(to)));
        marks += &path("line dashed ink", &line);
        legend.push(("ink dashed", "offered".to_owned()));
    }
    Chart {
        id: "rate",
        title: "Requests a second over time".to_owned(),
        description: description(report, columns),
        unit: "requests/s",
        y: ticks(&y, plot::short),
        x: elapsed_ticks(x),
        marks,
        legend,
        tips: columns.iter().map(|one| (middle(one, x), tip(one))).collect(),
        class: "",
    }
    .html()
}

/// The offered rate at the beginning and at the end, of an open loop.
fn offered(report: &Report) -> Option<(f64, f64)> {
    let from = report.config.rate_per_s?;
    Some((from, report.config.rate_end_per_s.unwrap_or(from)))
}

fn percentiles(columns: &[Interval], x: &Axis) -> String {
    let quantiles = [("c1", "p50", 0.5), ("c3", "p99", 0.99)];
    let values = quantiles.iter().flat_map(|&(_, _, quantile)| {
        columns.iter().filter_map(move |one| one.response.quantile_ns(quantile))
    });
    let Some((low, high)) = values.fold(None, |ends: Option<(u64, u64)>, ns| {
        let (low, high) = ends.unwrap_or((ns, ns));
        Some((low.min(ns), high.max(ns)))
    }) else {
        return String::new();
    };
    let y = Axis::logarithmic(float(low), float(high));
    let line = |&(class, _, quantile): &(&'static str, &str, f64)| {
        let placed = columns.iter().map(|one| {
            let ns = one.response.quantile_ns(quantile);
            column(one, x, ns.map(|ns| y.at(float(ns))))
        });
        path(&format!("line {class}"), &steps(&placed.collect::<Vec<_>>()))
    };
    Chart {
        id: "steady",
        title: "Percentiles of response time over time".to_owned(),
        description: format!(
            "p50 and p99 of each piece of time, between {} and {}.",
            plot::time(low),
            plot::time(high)
        ),
        unit: "response, logarithmic",
        y: time_ticks(&y),
        x: elapsed_ticks(x),
        marks: quantiles.iter().map(line).collect(),
        legend: quantiles.iter().map(|&(class, name, _)| (class, name.to_owned())).collect(),
        tips: columns.iter().map(|one| (middle(one, x), tip(one))).collect(),
        class: "",
    }
    .html()
}

/// A column's ends on the x axis, and its height.
pub(super) fn column(column: &Interval, x: &Axis, height: Option<f64>) -> (f64, f64, Option<f64>) {
    (x.at(column.start_s), x.at(column.start_s + column.length_s), height)
}

/// So many in a column, a second.
pub(super) fn a_second(count: u64, column: &Interval) -> f64 {
    if column.length_s > 0.0 { float(count) / column.length_s } else { 0.0 }
}

fn tip(column: &Interval) -> String {
    let mut tip = format!(
        "{:.1} to {:.1} s\n{} requests/s",
        column.start_s,
        column.start_s + column.length_s,
        plot::rate(a_second(column.ok, column))
    );
    if column.errors > 0 {
        tip.push_str(&format!("\n{} errors", plot::count(column.errors)));
    }
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        tip.push_str(&format!("\n{name} {}", time_or_dash(column.response.quantile_ns(quantile))));
    }
    tip
}

fn description(report: &Report, columns: &[Interval]) -> String {
    let rates = || columns.iter().map(|one| a_second(one.ok, one));
    format!(
        "{} answers a second on average, between {} and {} a second. {} errors.",
        plot::rate(report.totals.goodput_per_s),
        plot::rate(rates().fold(f64::INFINITY, f64::min)),
        plot::rate(rates().fold(0.0, f64::max)),
        plot::count(report.totals.errors)
    )
}

fn figures(columns: &[Interval]) -> String {
    let row = |one: &Interval| {
        let mut row = vec![
            format!("{:.1} s", one.start_s),
            plot::rate(a_second(one.ok, one)),
            plot::count(one.errors),
        ];
        let quantiles = [0.5, 0.9, 0.99, 0.999].map(|quantile| one.response.quantile_ns(quantile));
        row.extend(quantiles.into_iter().map(time_or_dash));
        row.push(time_or_dash(one.response.max_ns()));
        row
    };
    let heads = &["from", "answers/s", "errors", "p50", "p90", "p99", "p99.9", "max"];
    table("Over time", heads, &columns.iter().map(row).collect::<Vec<_>>())
}

/// Lines of one figure for several kinds of column, with its legend; from zero, linear.
pub(super) fn lines(
    id: &'static str,
    unit: &'static str,
    columns: &[Interval],
    series: &[(&'static str, String, Vec<f64>)],
) -> String {
    let x = Axis::exact(end_s(columns));
    let most = series.iter().flat_map(|(_, _, values)| values).copied().fold(0.0, f64::max);
    let y = Axis::from_zero(most);
    let line = |(class, _, values): &(&'static str, String, Vec<f64>)| {
        let placed: Vec<_> = columns
            .iter()
            .zip(values)
            .map(|(one, &value)| column(one, &x, Some(y.at(value))))
            .collect();
        path(&format!("line {class}"), &steps(&placed))
    };
    let tip = |(index, one): (usize, &Interval)| {
        let mut text = format!("{:.1} to {:.1} s", one.start_s, one.start_s + one.length_s);
        for (_, name, values) in series {
            text.push_str(&format!("\n{name}: {} {unit}", plot::short(values[index])));
        }
        (middle(one, &x), text)
    };
    let names: Vec<&str> = series.iter().map(|(_, name, _)| name.as_str()).collect();
    Chart {
        id,
        title: format!("{unit} over time"),
        description: format!(
            "Over time: {}. At the most {} {unit}.",
            names.join(", "),
            plot::short(most)
        ),
        unit,
        y: ticks(&y, plot::short),
        x: elapsed_ticks(&x),
        marks: series.iter().map(line).collect(),
        legend: series.iter().map(|(class, name, _)| (*class, name.clone())).collect(),
        tips: columns.iter().enumerate().map(tip).collect(),
        class: "",
    }
    .html()
}

/// One error among thousands of answers can be seen, too.
const SEEN_MIN: f64 = 0.015;

//! Latency over time, as a heat map: what percentiles of intervals hide.

use super::chart::{Chart, across, down, elapsed_ticks, path, time_ticks};
use super::curve::thousandths;
use super::{end_s, time_or_dash};
use crate::report::Interval;
use crate::report::plot::{self, Axis, Heat};

/// The heat map, if there is a sample.
pub(super) fn section(columns: &[Interval]) -> String {
    let Some(heat) = Heat::new(columns.iter().map(|one| &one.response), ROWS) else {
        return String::new();
    };
    let thresholds = plot::thresholds(heat.most, LEVELS);
    let x = Axis::exact(end_s(columns));
    let chart = Chart {
        id: "heat",
        title: "Heat map of response time over time".to_owned(),
        description: description(columns),
        unit: "response, logarithmic",
        y: time_labels(&heat),
        x: elapsed_ticks(&x),
        marks: cells(&heat, columns, &x, &thresholds),
        legend: Vec::new(),
        tips: columns.iter().map(|one| (middle(one, &x), tip(one))).collect(),
        class: "tall heat",
    };
    let note = "Each cell counts the answers of a piece of time and of latency; two clouds are two \
                kinds of answer. The colour grows with the logarithm of the count, so that one slow \
                answer can be seen beside thousands of fast ones.";
    super::section(
        "heat",
        "Latency over time",
        note,
        &(chart.html() + &legend(&thresholds, heat.most)),
    )
}

/// Ticks within the map's own range, whose ends are not round.
fn time_labels(heat: &Heat) -> Vec<(f64, String)> {
    let place = |ns: f64| (ns / heat.low_ns).ln() / (heat.high_ns / heat.low_ns).ln();
    let axis = Axis::logarithmic(heat.low_ns, heat.high_ns);
    let labels = time_ticks(&axis).into_iter().zip(axis.ticks());
    let placed = labels.map(|((_, text), tick)| (place(tick), text));
    placed.filter(|(at, _)| (-0.001..=1.001).contains(at)).collect()
}

/// One path for each colour; neighbours in a row are one rectangle.
fn cells(heat: &Heat, columns: &[Interval], x: &Axis, thresholds: &[u64]) -> String {
    let mut paths = vec![String::new(); thresholds.len()];
    for row in 0..heat.columns.first().map_or(0, Vec::len) {
        let levels: Vec<Option<usize>> =
            heat.columns.iter().map(|column| plot::level(column[row], thresholds)).collect();
        let mut from = 0;
        for run in levels.chunk_by(|one, next| one == next) {
            let to = from + run.len();
            if let Some(level) = run[0] {
                let left = x.at(columns[from].start_s);
                let right = x.at(columns[to - 1].start_s + columns[to - 1].length_s);
                paths[level].push_str(&rectangle(left, right, row));
            }
            from = to;
        }
    }
    // A few thresholds use colours from both ends of the scale.
    paths.iter().enumerate().map(|(level, d)| path(&colour(level, thresholds.len()), d)).collect()
}

fn rectangle(left: f64, right: f64, row: usize) -> String {
    let row = f64::from(u32::try_from(row).expect("there are a few dozen rows"));
    let (bottom, top) = (row / f64::from(ROWS), (row + 1.0) / f64::from(ROWS));
    format!("M{} {}V{}H{}V{}z", across(left), down(bottom), down(top), across(right), down(bottom))
}

fn colour(level: usize, levels: usize) -> String {
    let last = usize::try_from(LEVELS).expect("ten") - 1;
    format!("h{}", if levels > 1 { level * last / (levels - 1) } else { last })
}

fn legend(thresholds: &[u64], most: u64) -> String {
    let step = |(level, from): (usize, &u64)| {
        let class = colour(level, thresholds.len());
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let text = plot::short(*from as f64);
        format!("<span class=\"{class}\"><i></i>{text}</span>")
    };
    let steps: String = thresholds.iter().enumerate().map(step).collect();
    format!(
        "<p class=\"scale\"><span>answers a cell, from</span>\
         <span class=\"steps\">{steps}</span><span>to {}</span></p>\n",
        plot::count(most)
    )
}

fn tip(column: &Interval) -> String {
    let response = &column.response;
    format!(
        "{:.1} to {:.1} s\n{} answers\np50 {}\np99 {}\nmax {}",
        column.start_s,
        column.start_s + column.length_s,
        plot::count(response.count()),
        time_or_dash(response.quantile_ns(0.5)),
        time_or_dash(response.quantile_ns(0.99)),
        time_or_dash(response.max_ns()),
    )
}

/// The middle of a column.
pub(super) fn middle(column: &Interval, x: &Axis) -> f64 {
    thousandths(x.at(column.start_s + column.length_s / 2.0))
}

fn description(columns: &[Interval]) -> String {
    let slowest = columns.iter().filter(|one| one.response.count() > 0);
    let Some(slowest) = slowest.max_by_key(|one| one.response.max_ns()) else {
        return String::new();
    };
    format!(
        "The slowest answer took {} and came between {:.1} s and {:.1} s. The table of the section \
         \"Over time\" has the percentiles of each piece of time.",
        time_or_dash(slowest.response.max_ns()),
        slowest.start_s,
        slowest.start_s + slowest.length_s
    )
}

const ROWS: u32 = 40;
const LEVELS: u32 = 10;

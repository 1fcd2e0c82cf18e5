//! Every contender in the chief figure of a workload: each round a dot, the spread a line, the
//! median a bar across it.

use loadgen::report::plot::{Axis, short};

use super::super::input::Inputs;
use super::super::markdown::{ratio, spread};
use super::super::paired::{PYTHON, US};
use super::svg::{Svg, WIDTH};
use crate::case::{BOTH, Group};
use crate::document::{CaseResult, Document};
use crate::figure::Figure;
use crate::verdict::Measured;

/// The picture of a workload, a panel for each network and figure.
pub(super) fn picture(inputs: &Inputs, key: &str, title: &str) -> String {
    let mut svg = Svg::default();
    svg.text("h", LEFT, 26.0, title);
    let mut y = 36.0;
    for (network, document) in inputs.shown() {
        let Some(case) = document.case(key) else { continue };
        for figure in chief_figures(case) {
            y = Panel { network, document, case, figure }.draw(&mut svg, y);
        }
        if chief_figures(case).is_empty() {
            svg.text("s", LEFT, y + 18.0, &format!("{network}: nobody came to the end of it"));
            y += 30.0;
        }
    }
    svg.finish(title, y + 8.0)
}

/// What a workload is about.
fn chief_figures(case: &CaseResult) -> Vec<Figure> {
    let group = case.definition().map(|one| one.group());
    let one = case.definition().is_some_and(|one| one.is_one_connection());
    let wanted: &[Figure] = match group {
        Some(Group::Disruption) => &[Figure::FailedRequests, Figure::LongestGapMs],
        Some(Group::Idle) => &[Figure::BytesPerConn],
        Some(Group::Bulk) => &[Figure::CpuSPerGb],
        Some(Group::Requests) if one => &[Figure::P50Us],
        Some(Group::Requests) | None => &[Figure::CpuUs],
    };
    let there = case.figures();
    let found: Vec<_> = wanted.iter().copied().filter(|one| there.contains(one)).collect();
    if found.is_empty() { there.into_iter().take(1).collect() } else { found }
}

struct Panel<'a> {
    network: &'a str,
    document: &'a Document,
    case: &'a CaseResult,
    figure: Figure,
}

impl Panel<'_> {
    /// From `top` on; returns where it ends.
    fn draw(&self, svg: &mut Svg, top: f64) -> f64 {
        let rows = self.rows();
        let (axis, logarithmic) = self.axis();
        let best = self.case.best(BOTH, self.figure);
        let better = if self.figure.lower_is_better() { "less" } else { "more" };
        let scale = if logarithmic { ", logarithmic" } else { "" };
        let (network, name) = (self.network, self.figure.name());
        svg.text("n", LEFT, top + 18.0, &format!("{network}: {name} ({better} is better{scale})"));
        svg.text("s", VALUE, top + 18.0, "median (min–max)");
        let added = if self.figure.may_be_none() { " (+1)" } else { "" };
        if let Some(best) = best {
            svg.text("s", RATIO, top + 18.0, &format!("each / {best}{added}"));
        }
        let (first, last) = (top + 28.0, top + 28.0 + ROW * rows.len() as f64);
        for tick in axis.ticks() {
            let x = at(&axis, tick);
            svg.line("g", [x, first], [x, last]);
            svg.text("t", x, last + 13.0, &short(tick / SCALE));
        }
        for (index, (name, measured)) in rows.iter().enumerate() {
            self.row(svg, &axis, first + ROW * index as f64, name, *measured);
        }
        last + 26.0
    }

    /// In the order of the table, those who failed included.
    fn rows(&self) -> Vec<(&str, Option<&Measured>)> {
        let took_part = |name: &str| {
            self.case.row(name).is_some()
                || self.case.failed.iter().any(|one| one.contender == name)
        };
        let names = self.document.contenders.iter().map(|known| known.name.as_str());
        let names = names.filter(|name| took_part(name));
        names.map(|name| (name, self.case.measured(name, self.figure))).collect()
    }

    /// From zero; logarithmic where one is so far from another that the smaller would vanish.
    fn axis(&self) -> (Axis, bool) {
        let spreads = self.rows().into_iter().filter_map(|(_, measured)| measured);
        let spreads: Vec<_> = spreads.map(|measured| measured.spread).collect();
        let high = spreads.iter().map(|one| one.max).fold(0.0, f64::max);
        let low = spreads.iter().map(|one| one.min).fold(f64::INFINITY, f64::min);
        let medians = || spreads.iter().map(|one| one.median);
        let (least, most) =
            (medians().fold(f64::INFINITY, f64::min), medians().fold(0.0, f64::max));
        let wide = low > 0.0 && most > 4.0 * least;
        let axis = if wide {
            Axis::logarithmic(low * SCALE, high * SCALE)
        } else {
            // Nobody may have any.
            Axis::from_zero(if high > 0.0 { high * SCALE } else { SCALE })
        };
        (axis, wide)
    }

    fn row(&self, svg: &mut Svg, axis: &Axis, top: f64, name: &str, measured: Option<&Measured>) {
        let (middle, base) = (top + ROW / 2.0, top + ROW / 2.0 + 4.0);
        if name == US {
            svg.rect("band", [8.0, top], [WIDTH - 16.0, ROW]);
        }
        let kind = kind(name);
        svg.text(if name == US { "us" } else { "" }, LEFT, base, name);
        let Some(measured) = measured else {
            let why: String = self.case.why_not(name).chars().take(90).collect();
            svg.text("s", PLOT + 4.0, base, &why);
            return;
        };
        let x = |value: f64| at(axis, value * SCALE);
        let spread_of = measured.spread;
        svg.line(&format!("w{kind}"), [x(spread_of.min), middle], [x(spread_of.max), middle]);
        svg.dots(&format!("d{kind}"), measured.rounds.iter().map(|&one| x(one)), middle);
        let median = x(spread_of.median);
        svg.line(&format!("m{kind}"), [median, top + 3.0], [median, top + ROW - 3.0]);
        svg.text("", VALUE, base, &spread(measured));
        let best = self.case.best(BOTH, self.figure);
        let pair = best.and_then(|best| self.case.paired(name, best, self.figure));
        match pair {
            Some(_) if best == Some(name) => svg.text("s", RATIO, base, "1"),
            Some(pair) => svg.text("", RATIO, base, &ratio(pair.over)),
            None => svg.text("s", RATIO, base, "-"),
        }
    }
}

/// Us, our variants, the others, and what is no balancer.
fn kind(name: &str) -> &'static str {
    match name {
        US => "u",
        name if name.starts_with(US) => "k",
        "haproxy" | "haproxy-splice" | "nginx" | PYTHON | "tokio-uring" => "t",
        _ => "b",
    }
}

fn at(axis: &Axis, value: f64) -> f64 {
    PLOT + axis.at(value) * (VALUE - 24.0 - PLOT)
}

const LEFT: f64 = 16.0;
const PLOT: f64 = 128.0;
const VALUE: f64 = 560.0;
const RATIO: f64 = 730.0;
const ROW: f64 = 20.0;
/// A logarithmic axis begins at 1.
const SCALE: f64 = 1e6;

//! What came of it: requests, times, errors, backends, bulk, held connections.

use super::page::{Colour, Page, shown_width};
use crate::load::failure::advice;
use crate::report::statistics::{self, quantile_interval_ns};
use crate::report::{Backend, Distribution, Report, Stream, figures};

pub(super) fn write(page: &mut Page, report: &Report) {
    if report.totals.intended > 0 {
        requests(page, report);
    }
    if report.latency.response.count() > 0 || report.latency.connect.count() > 0 {
        latency(page, report);
    }
    if let Some(stream) = &report.stream {
        bulk(page, stream);
    }
    hold(page, report);
    errors(page, report);
    backends(page, report);
}

fn requests(page: &mut Page, report: &Report) {
    let totals = &report.totals;
    page.section("requests");
    let rate = page.paint(Colour::Label, &format!("{}/s", per_s(totals.goodput_per_s)));
    let seconds = figures::number(totals.elapsed_s);
    page.line(&format!(
        "{} answered rightly in {seconds} s: {rate} goodput",
        figures::count(totals.ok)
    ));
    let parts =
        [(totals.errors, "errors"), (totals.unanswered, "unanswered"), (totals.unsent, "unsent")];
    let parts: String =
        parts.iter().map(|&(count, what)| format!(" + {} {what}", figures::count(count))).collect();
    page.line(&format!(
        "{} intended = {} ok{parts}",
        figures::count(totals.intended),
        figures::count(totals.ok)
    ));
    if report.config.rate_per_s.is_some() {
        let (offered, achieved) = (totals.offered_per_s, totals.achieved_per_s);
        let share = if offered > 0.0 { achieved / offered } else { 0.0 };
        page.line(&format!(
            "offered {}/s, achieved {}/s ({})",
            per_s(offered),
            per_s(achieved),
            figures::percent(share)
        ));
    }
    page.line(&format!(
        "in {}, out {}, {} connects",
        figures::bytes(totals.bytes_in as f64),
        figures::bytes(totals.bytes_out as f64),
        figures::count(totals.connects)
    ));
}

fn per_s(rate: f64) -> String {
    figures::number(if rate >= 10.0 { rate.round() } else { rate })
}

fn latency(page: &mut Page, report: &Report) {
    let latency = &report.latency;
    let names = QUANTILES.iter().map(|&(name, _)| name).chain(["max", "mean"]);
    let head: String = names.map(|name| format!("{name:>CELL$}")).collect();
    page.section("latency");
    page.row(&page.paint(Colour::Faint, &head));
    for (name, times) in [
        ("response", &latency.response),
        ("service", &latency.service),
        ("wait late", &latency.wait_late),
        ("wait busy", &latency.wait_busy),
        ("connect", &latency.connect),
    ] {
        // Nobody waits in a closed loop, and often not in an open one.
        if times.max_ns().is_some_and(|ns| ns > 0) {
            times_row(page, name, times);
        }
        if name == "response" {
            confidence(page, times);
        }
    }
}

fn times_row(page: &mut Page, name: &str, times: &Distribution) {
    let quantiles = QUANTILES.iter().map(|&(_, quantile)| times.quantile_ns(quantile));
    let cells: String = quantiles
        .chain([times.max_ns()])
        .map(|ns| format!("{:>CELL$}", figures::time_or_dash(ns)))
        .collect();
    page.section(name);
    page.row(&format!("{cells}{:>CELL$}", figures::time(times.0.mean())));
}

/// Between which times the percentiles of all such requests lie.
fn confidence(page: &mut Page, times: &Distribution) {
    let intervals = QUANTILES.map(|(_, quantile)| quantile_interval_ns(times, quantile));
    if intervals.iter().all(Option::is_none) {
        return;
    }
    for (label, bound) in [("  95 % from", 0), ("         to", 1)] {
        let of = |interval: Option<(u64, u64)>| {
            interval.map(|(low, high)| figures::time([low, high][bound] as f64)).unwrap_or_default()
        };
        let cells: String = intervals.iter().map(|&one| format!("{:>CELL$}", of(one))).collect();
        let text = page.paint(Colour::Faint, format!("{label}{cells}").trim_end());
        page.row_of(&text);
    }
}

fn errors(page: &mut Page, report: &Report) {
    if report.errors.is_empty() {
        return;
    }
    page.section("errors");
    let count = |(kind, &count): (&String, &u64)| format!("{kind} {}", figures::count(count));
    let counts: Vec<_> = report.errors.iter().map(count).collect();
    page.line(&counts.join(", "));
    for kind in report.errors.keys() {
        if let Some(advice) = advice(kind) {
            page.item(&format!("{kind}: {advice}"));
        }
    }
}

fn backends(page: &mut Page, report: &Report) {
    let backends = &report.backends;
    let width = |of: fn(&Backend) -> String| {
        backends.iter().map(|one| shown_width(&of(one))).max().unwrap_or_default()
    };
    let name_width = width(|one| one.name.clone()).min(NAME_MAX);
    let count_width = width(|one| figures::count(one.responses));
    let most = backends.iter().map(|one| one.share).fold(0.0, f64::max);
    page.section("backends");
    for backend in backends {
        let name: String = backend.name.chars().take(NAME_MAX).collect();
        let p99 = backend.p99_ns.map(|ns| format!("  p99 {}", figures::time(ns as f64)));
        page.row(&format!(
            "{name:<name_width$}  {:>count_width$}  {:>7}  {:<BAR$}{}",
            figures::count(backend.responses),
            figures::percent(backend.share),
            bar(backend.share / most.max(f64::MIN_POSITIVE)),
            p99.unwrap_or_default()
        ));
    }
    fairness(page, report);
    page.section("");
}

fn fairness(page: &mut Page, report: &Report) {
    let Some(spread) = statistics::spread(report) else { return };
    let against = if report.config.weights.is_empty() { "equal shares" } else { "the weights" };
    let mut text = format!("Jain's index {:.4} against {against}", spread.jain);
    if let Some(chi) = spread.chi_square {
        let reading = match chi.p {
            ..0.001 => "differs by more than chance (p < 0.001)",
            0.001..0.999 => "may be chance (p ≥ 0.001)",
            _ => "more even than chance, as in turn",
        };
        text += &format!(
            "; chi-square {} ({} df), p {:.3}: {reading}",
            figures::number(chi.statistic),
            chi.freedom,
            chi.p
        );
    }
    page.line(&text);
}

fn bar(share: f64) -> String {
    let full = (0..BAR).take_while(|&cell| cell as f64 + 0.5 <= share * BAR as f64).count();
    "█".repeat(full)
}

fn bulk(page: &mut Page, stream: &Stream) {
    page.section("bulk");
    for direction in &stream.directions {
        let streams = &direction.streams_bytes;
        let counts: Vec<_> = streams.iter().map(|&bytes| (bytes, 1.0)).collect();
        let fair = statistics::jain(&counts).map(|jain| format!(", Jain's index {jain:.4}"));
        let rate = page.paint(Colour::Label, &format!("{:.2} Gbit/s", direction.gbit_per_s));
        page.line(&format!(
            "{:<4} {rate}, {} in {} stream{}{}",
            direction.name,
            figures::bytes(direction.bytes as f64),
            streams.len(),
            if streams.len() == 1 { "" } else { "s" },
            fair.unwrap_or_default()
        ));
    }
    let probes = [("idle", &stream.probe_idle), ("under load", &stream.probe)];
    for (when, probe) in probes.iter().filter_map(|(when, probe)| Some((when, probe.as_ref()?))) {
        let of = |quantile| figures::time_or_dash(probe.quantile_ns(quantile));
        page.line(&format!(
            "probe {when:<10} p50 {:>8}  p99 {:>8}  max {:>8}  ({} probes)",
            of(0.5),
            of(0.99),
            figures::time_or_dash(probe.max_ns()),
            figures::count(probe.count())
        ));
    }
}

fn hold(page: &mut Page, report: &Report) {
    let Some(hold) = &report.hold else { return };
    page.section("hold");
    page.line(&format!(
        "{} of {} connections stood after {} s, {} at the end",
        figures::count(hold.established),
        figures::count(hold.wanted),
        figures::number(hold.connect_s),
        figures::count(hold.alive)
    ));
    page.line(&format!(
        "probes: {} answered, {} not; {} of this program for each connection",
        figures::count(hold.probes_ok),
        figures::count(hold.probes_failed),
        figures::bytes(hold.generator_bytes_per_connection.round())
    ));
}

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// Six cells of eleven columns beside a label of eleven.
const CELL: usize = 11;
const BAR: usize = 20;
const NAME_MAX: usize = 16;

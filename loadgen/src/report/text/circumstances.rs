//! Under which circumstances: cost of the other side, network, generator, steadiness, machine.

use super::page::Page;
use crate::report::{Report, figures, statistics};

pub(super) fn write(page: &mut Page, report: &Report) {
    cost(page, report);
    network(page, report);
    generator(page, report);
    steadiness(page, report);
    machine(page, report);
}

fn cost(page: &mut Page, report: &Report) {
    let Some(sut) = &report.sut else { return };
    page.section("cost");
    let each = match (sut.cpu_us_per_request, sut.cpu_s_per_gb) {
        (Some(us), _) => format!("{} CPU-µs a request", figures::number(us)),
        (_, Some(s)) => format!("{} CPU-s a gigabyte", figures::number(s)),
        _ => "CPU".to_owned(),
    };
    let cores =
        if report.totals.elapsed_s > 0.0 { sut.cpu_s / report.totals.elapsed_s } else { 0.0 };
    page.line(&format!(
        "{}: {each} ({} s, {} of a processor)",
        sut.what,
        figures::number(sut.cpu_s),
        figures::percent(cores)
    ));
    let growth = sut.bytes_per_connection.map(|bytes| {
        let sign = if bytes < 0.0 { "-" } else { "" };
        format!(", {sign}{} a connection", figures::bytes(bytes.abs().round()))
    });
    page.line(&format!(
        "memory {} before, {} at the end{}",
        figures::bytes(sut.resident_before_bytes as f64),
        figures::bytes(sut.resident_bytes as f64),
        growth.unwrap_or_default()
    ));
    if let (Some(voluntary), Some(involuntary)) = (sut.voluntary_switches, sut.involuntary_switches)
    {
        page.line(&format!(
            "context switches: {} voluntary, {} involuntary",
            figures::count(voluntary),
            figures::count(involuntary)
        ));
    }
}

fn network(page: &mut Page, report: &Report) {
    let Some(network) = &report.network else { return };
    let all = network.segments_out.max(1);
    page.section("network");
    page.line(&format!(
        "{} segments sent, {} again ({}), {} connects dropped by a full backlog \
         (other programs included)",
        figures::count(network.segments_out),
        figures::count(network.retransmitted),
        figures::percent(network.retransmitted as f64 / all as f64),
        figures::count(network.listen_drops)
    ));
}

fn generator(page: &mut Page, report: &Report) {
    let generator = &report.generator;
    page.section("generator");
    let mut parts = vec![
        generator.engine.clone(),
        format!("busiest worker {} of a processor", figures::percent(generator.busiest)),
        format!(
            "{} of {} connections",
            figures::count(generator.connections_established.into()),
            figures::count(generator.connections_wanted.into())
        ),
    ];
    if generator.connections_silent > 0 {
        let silent = figures::count(generator.connections_silent.into());
        parts.push(format!("{silent} of them silent"));
    }
    if let Some([used, all]) = generator.ports {
        parts.push(format!("{} of {} ports", figures::count(used), figures::count(all)));
    }
    if let Some(turn) = generator.turn.quantile_ns(0.99) {
        parts.push(format!("error bar (turn p99) {}", figures::time(turn as f64)));
    }
    parts.retain(|part| !part.is_empty());
    page.line(&parts.join(", "));
    for part in &report.env.generators {
        page.item(&format!(
            "{}: {} ok, busiest worker {}, {}",
            part.file,
            figures::count(part.totals.ok),
            figures::percent(part.generator.busiest),
            part.env.cpu_model
        ));
    }
}

fn steadiness(page: &mut Page, report: &Report) {
    let Some(steady) = statistics::steadiness(report) else { return };
    let bytes = report.stream.is_some();
    let rate = |value: f64| {
        if bytes { figures::bytes(value) } else { figures::number(value.round()) }
    };
    page.section("steadiness");
    page.line(&format!(
        "{}/s ± {} from interval to interval, {} to {}",
        rate(steady.mean_per_s),
        figures::percent(steady.variation),
        rate(steady.min_per_s),
        rate(steady.max_per_s)
    ));
    let trend = steady.trend.filter(|trend| trend.p < 0.01 && trend.change.abs() > 0.01);
    if let Some(trend) = trend {
        let way = if trend.change > 0.0 { "rises" } else { "falls" };
        // The ends of a straight line, which no rate can follow below nothing.
        let [begin, end] =
            [-0.5, 0.5].map(|at| rate((steady.mean_per_s * (1.0 + at * trend.change)).max(0.0)));
        page.line(&format!("it {way} from about {begin}/s to {end}/s: a longer -w, or a leak?"));
    }
    page.row(&sparkline(report));
}

/// The rate of each interval as a bar, at most 60 of them.
fn sparkline(report: &Report) -> String {
    let work = |one: &crate::report::Interval| {
        let work = if report.stream.is_some() { one.bytes_in + one.bytes_out } else { one.ok };
        if one.length_s > 0.0 { work as f64 / one.length_s } else { 0.0 }
    };
    let rates: Vec<f64> = report.intervals.iter().map(work).collect();
    let group = rates.len().div_ceil(SPARKS).max(1);
    let means: Vec<f64> =
        rates.chunks(group).map(|some| some.iter().sum::<f64>() / some.len() as f64).collect();
    let most = means.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let level = |mean: &f64| LEVELS.iter().rfind(|(from, _)| mean / most >= *from);
    means.iter().filter_map(level).map(|(_, sign)| sign).collect()
}

fn machine(page: &mut Page, report: &Report) {
    let env = &report.env;
    page.section("machine");
    let mut parts = vec![
        if env.cpus > 0 { format!("{} × {}", env.cpus, env.cpu_model) } else { String::new() },
        if env.kernel.is_empty() { String::new() } else { format!("Linux {}", env.kernel) },
        env.congestion_control.clone(),
        format!("loadgen {}", env.version),
        env.started_at.clone(),
    ];
    parts.retain(|part| !part.is_empty());
    page.line(&parts.join(", "));
}

const SPARKS: usize = 60;
const LEVELS: [(f64, char); 8] = [
    (0.0, '▁'),
    (0.125, '▂'),
    (0.25, '▃'),
    (0.375, '▄'),
    (0.5, '▅'),
    (0.625, '▆'),
    (0.75, '▇'),
    (0.875, '█'),
];

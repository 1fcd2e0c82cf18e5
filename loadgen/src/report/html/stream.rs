//! Bulk: how much each way over time, and what it did to the latency of a probe beside it.

use super::curve::{self, HEADS, Series};
use super::{escape, float, over_time, section as part, table};
use crate::report::{Interval, Report, Stream, plot};

/// What a bulk run brought; nothing for any other.
pub(super) fn section(report: &Report, columns: &[Interval]) -> String {
    let Some(stream) = &report.stream else { return String::new() };
    throughput(stream, columns) + &probe(stream)
}

fn throughput(stream: &Stream, columns: &[Interval]) -> String {
    let series: Vec<_> = stream
        .directions
        .iter()
        .map(|direction| {
            let up = direction.name == "up";
            let of = |one: &Interval| if up { one.bytes_out } else { one.bytes_in };
            let values = columns.iter().map(|one| over_time::a_second(of(one), one) * 8.0 / 1e9);
            (if up { "c1" } else { "c2" }, direction.name.clone(), values.collect())
        })
        .collect();
    let mut body = String::new();
    if !columns.is_empty() && !series.is_empty() {
        body += &over_time::lines("bulk", "Gbit/s", columns, &series);
    }
    let rows: Vec<Vec<String>> = stream
        .directions
        .iter()
        .map(|one| {
            let least = one.streams_bytes.iter().copied().min().unwrap_or(0);
            let most = one.streams_bytes.iter().copied().max().unwrap_or(0);
            vec![
                escape(&one.name),
                plot::gbit(one.gbit_per_s),
                plot::bytes(float(one.bytes)),
                one.streams_bytes.len().to_string(),
                plot::bytes(float(least)),
                plot::bytes(float(most)),
                plot::count(one.wrong_bytes),
            ]
        })
        .collect();
    let heads =
        &["", "Gbit/s", "all", "streams", "least of a stream", "most of a stream", "wrong bytes"];
    body += &table("Throughput", heads, &rows);
    part("stream", "Throughput", "Up is what this side sends, down what it receives.", &body)
}

fn probe(stream: &Stream) -> String {
    let (Some(loaded), idle) = (&stream.probe, &stream.probe_idle) else { return String::new() };
    let mut series = vec![Series { class: "c3", name: "under load", times: loaded }];
    series.extend(idle.as_ref().map(|idle| Series { class: "c2", name: "idle", times: idle }));
    let rows: Vec<Vec<String>> = series.iter().map(|one| curve::row(one.name, one.times)).collect();
    let chart = curve::chart("probe", "Percentiles of the probe's round trip", &series);
    let note = "Round trips of small requests on a connection of their own: what queues in between \
                cost while the bulk filled them.";
    part("probe", "Latency under load", note, &(chart + &table("Probe", HEADS, &rows)))
}

//! `.csv`: a row for each interval, for spreadsheets and plots.

use std::collections::BTreeSet;

use ::csv::Writer;

use crate::report::{Interval, Report};

/// A row for each interval: when, counts, bytes, percentiles of the response times, and the answers
/// of each backend in a column of its own. Cells are empty where too few samples carry a
/// percentile. The totals of the run are in the JSON form.
///
/// # Panics
/// Never: memory takes every row.
#[must_use]
pub fn csv(report: &Report) -> String {
    let names: BTreeSet<&String> =
        report.intervals.iter().flat_map(|interval| interval.backends.keys()).collect();
    let mut writer = Writer::from_writer(Vec::new());
    let head = COLUMNS.iter().map(|&(name, _)| name.to_owned());
    let backends = names.iter().map(|name| format!("backend {name}"));
    writer.write_record(head.chain(backends)).expect("memory takes every row");
    for interval in &report.intervals {
        let figures = COLUMNS.iter().map(|(_, figure)| figure(interval));
        let answers = names
            .iter()
            .map(|&name| interval.backends.get(name).copied().unwrap_or_default().to_string());
        writer.write_record(figures.chain(answers)).expect("memory takes every row");
    }
    let bytes = writer.into_inner().expect("memory takes every row");
    String::from_utf8(bytes).expect("strings in, a string out")
}

type Column = (&'static str, fn(&Interval) -> String);

const COLUMNS: [Column; 12] = [
    ("start_s", |one| format!("{:.3}", one.start_s)),
    ("length_s", |one| format!("{:.3}", one.length_s)),
    ("ok", |one| one.ok.to_string()),
    ("errors", |one| one.errors.to_string()),
    ("ok_per_s", |one| {
        let rate = if one.length_s > 0.0 { one.ok as f64 / one.length_s } else { 0.0 };
        format!("{rate:.1}")
    }),
    ("bytes_in", |one| one.bytes_in.to_string()),
    ("bytes_out", |one| one.bytes_out.to_string()),
    ("p50_ns", |one| quantile(one, 0.5)),
    ("p90_ns", |one| quantile(one, 0.9)),
    ("p99_ns", |one| quantile(one, 0.99)),
    ("p99_9_ns", |one| quantile(one, 0.999)),
    ("max_ns", |one| shown(one.response.max_ns())),
];

fn quantile(interval: &Interval, quantile: f64) -> String {
    shown(interval.response.quantile_ns(quantile))
}

fn shown(ns: Option<u64>) -> String {
    ns.map_or_else(String::new, |ns| ns.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::{Distribution, sample};

    #[test]
    fn each_interval_is_a_row() {
        let mut response = Distribution::default();
        (1..=200).for_each(|ns| response.record_ns(ns));
        let backends = |of: &[(&str, u64)]| -> BTreeMap<String, u64> {
            of.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
        };
        let first = Interval {
            length_s: 0.5,
            ok: 200,
            errors: 3,
            bytes_in: 2800,
            bytes_out: 12_800,
            response,
            backends: backends(&[("B1", 150), ("a,b", 50)]),
            ..Interval::default()
        };
        let second =
            Interval { start_s: 0.5, backends: backends(&[("B2", 0)]), ..Interval::default() };
        let report = Report { intervals: vec![first, second], ..sample() };
        assert_eq!(
            csv(&report),
            "start_s,length_s,ok,errors,ok_per_s,bytes_in,bytes_out,p50_ns,p90_ns,p99_ns,p99_9_ns,\
             max_ns,backend B1,backend B2,\"backend a,b\"\n\
             0.000,0.500,200,3,400.0,2800,12800,100,180,,,200,150,0,50\n\
             0.500,0.000,0,0,0.0,0,0,,,,,,0,0,0\n"
        );
    }
}

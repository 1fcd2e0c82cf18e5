//! Two results side by side, and which differences are more than the scatter within each.

use super::text::Look;
use super::text::page::{Colour, Page};
use super::{Distribution, Report, figures, statistics};

/// One figure of two results.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// In the first result.
    pub a: Option<f64>,
    /// In the second.
    pub b: Option<f64>,
    /// What the confidence intervals say.
    pub reading: Reading,
    unit: Unit,
}

/// What two intervals say about two figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The intervals lie apart, and the second result is the better one.
    Better,
    /// The intervals lie apart, and the second result is the worse one.
    Worse,
    /// The intervals overlap.
    NoDifferenceSeen,
    /// There is no interval for one of them.
    NotKnown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    PerSecond,
    Time,
    Share,
    Micros,
    Gbit,
}

/// A figure with its confidence interval, where it has one.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    value: Option<f64>,
    interval: Option<(f64, f64)>,
}

/// The figures that both results, or one of them, have.
#[must_use]
pub fn rows(a: &Report, b: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |name: &str, unit, of: &dyn Fn(&Report) -> Measured| {
        let (left, right) = (of(a), of(b));
        if left.value.is_some() || right.value.is_some() {
            rows.push(Row {
                name: name.to_owned(),
                a: left.value,
                b: right.value,
                reading: read(unit, left.interval, right.interval),
                unit,
            });
        }
    };
    row("goodput", Unit::PerSecond, &goodput);
    row("errors", Unit::Share, &errors);
    for (prefix, times) in TIMES {
        for (name, quantile) in QUANTILES {
            row(&format!("{prefix} {name}"), Unit::Time, &|report| {
                quantile_of(times(report), quantile)
            });
        }
    }
    row("CPU a request", Unit::Micros, &|report| Measured {
        value: report.sut.as_ref().and_then(|sut| sut.cpu_us_per_request),
        interval: None,
    });
    row("bulk", Unit::Gbit, &bulk);
    rows
}

/// Two results side by side; `names` are those of their files.
#[must_use]
pub fn diff(names: [&str; 2], reports: [&Report; 2], look: Look) -> String {
    let mut page = Page::new(look);
    for ((label, name), report) in ["A", "B"].iter().zip(names).zip(reports) {
        page.section(label);
        let word = if report.verdict.valid { "valid" } else { "SUSPECT" };
        page.line(&format!("{name}: {} {}, {word}", report.config.workload, report.config.target));
        report.verdict.reasons.iter().for_each(|reason| page.item(reason));
    }
    differences(&mut page, reports);
    page.row("");
    page.row(
        &page.paint(Colour::Faint, &format!("{:>5}{:>14}{:>14}{:>10}", "", "A", "B", "B to A")),
    );
    for row in rows(reports[0], reports[1]) {
        page.row_of(&line(&page, &row));
    }
    page.row("");
    page.line(
        "The intervals (95 %) show the scatter within each run, and not from run to run: what is \
         marked may still be the machine's mood. `loadgen ab` alternates runs and decides.",
    );
    page.finish()
}

fn line(page: &Page, row: &Row) -> String {
    let change = match (row.a, row.b) {
        (Some(a), Some(b)) if a != 0.0 => format!("{:+.1} %", (b / a - 1.0) * 100.0),
        _ => String::new(),
    };
    let reading = match row.reading {
        Reading::Better => page.paint(Colour::Good, "better"),
        Reading::Worse => page.paint(Colour::Bad, "worse"),
        Reading::NoDifferenceSeen => page.paint(Colour::Faint, "no difference seen"),
        Reading::NotKnown => String::new(),
    };
    let shown =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| row.unit.show(value));
    let line =
        format!("{:<16}{:>14}{:>14}{change:>10}  {reading}", row.name, shown(row.a), shown(row.b));
    line.trim_end().to_owned()
}

/// Options and machine, where they are not the same.
fn differences(page: &mut Page, [a, b]: [&Report; 2]) {
    let config = |report: &Report| serde_json::to_value(&report.config).unwrap_or_default();
    let env = |report: &Report| {
        let env = &report.env;
        serde_json::json!({
            "version": env.version, "kernel": env.kernel, "cpu_model": env.cpu_model,
            "cpus": env.cpus, "congestion_control": env.congestion_control,
            "engine": report.generator.engine,
        })
    };
    let mut lines = Vec::new();
    for (left, right) in [(config(a), config(b)), (env(a), env(b))] {
        let keys = left.as_object().into_iter().flat_map(|fields| fields.keys());
        for key in keys.filter(|key| !["command", "slo"].contains(&key.as_str())) {
            if left[key] != right[key] {
                lines.push(format!("{key} is {} in A and {} in B", left[key], right[key]));
            }
        }
    }
    if !lines.is_empty() {
        page.section("differs");
        page.line("The runs are not of the same kind; what differs in them may be due to this:");
        lines.iter().for_each(|line| page.item(line));
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", figures::number(value.round())),
            Self::Time => figures::time(value),
            Self::Share => figures::percent(value),
            Self::Micros => format!("{} µs", figures::number(value)),
            Self::Gbit => format!("{value:.2} Gbit/s"),
        }
    }

    fn more_is_better(self) -> bool {
        match self {
            Self::PerSecond | Self::Gbit => true,
            Self::Time | Self::Share | Self::Micros => false,
        }
    }
}

fn read(unit: Unit, a: Option<(f64, f64)>, b: Option<(f64, f64)>) -> Reading {
    let Some((a, b)) = a.zip(b) else { return Reading::NotKnown };
    let (more, less) = (b.0 > a.1, b.1 < a.0);
    match (more, less) {
        (false, false) => Reading::NoDifferenceSeen,
        _ if more == unit.more_is_better() => Reading::Better,
        _ => Reading::Worse,
    }
}

fn goodput(report: &Report) -> Measured {
    let value = (report.totals.intended > 0).then_some(report.totals.goodput_per_s);
    let bulk = report.stream.is_some();
    Measured { value, interval: statistics::rate_interval(report).filter(|_| !bulk) }
}

fn bulk(report: &Report) -> Measured {
    let stream = report.stream.as_ref();
    let value = stream.map(|stream| stream.directions.iter().map(|one| one.gbit_per_s).sum());
    let gbit = |(low, high): (f64, f64)| (low * 8e-9, high * 8e-9);
    Measured {
        value,
        interval: statistics::rate_interval(report).map(gbit).filter(|_| value.is_some()),
    }
}

fn errors(report: &Report) -> Measured {
    let totals = &report.totals;
    if totals.intended == 0 {
        return Measured::default();
    }
    let failed = totals.intended.saturating_sub(totals.ok);
    Measured {
        value: Some(failed as f64 / totals.intended as f64),
        interval: Some(statistics::share_interval(failed, totals.intended)),
    }
}

fn quantile_of(times: &Distribution, quantile: f64) -> Measured {
    let interval = statistics::quantile_interval_ns(times, quantile);
    Measured {
        value: times.quantile_ns(quantile).map(|ns| ns as f64),
        interval: interval.map(|(low, high)| (low as f64, high as f64)),
    }
}

type TimesOf = fn(&Report) -> &Distribution;
const TIMES: [(&str, TimesOf); 3] = [
    ("response", |report| &report.latency.response),
    ("service", |report| &report.latency.service),
    ("connect", |report| &report.latency.connect),
];
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn row(a: &Report, b: &Report, name: &str) -> Row {
        rows(a, b).into_iter().find(|row| row.name == name).expect(name)
    }

    fn slower(by: u64) -> Report {
        let mut report = sample();
        report.latency.response = Distribution::default();
        for recorded in sample().latency.response.0.iter_recorded() {
            for _ in 0..recorded.count_at_value() {
                report.latency.response.record_ns(recorded.value_iterated_to() * (100 + by) / 100);
            }
        }
        report
    }

    #[test]
    fn the_same_result_twice_shows_no_difference() {
        for row in rows(&sample(), &sample()) {
            assert!(
                matches!(row.reading, Reading::NoDifferenceSeen | Reading::NotKnown),
                "{row:?}"
            );
        }
    }

    #[test]
    fn what_lies_beyond_the_intervals_is_better_or_worse() {
        let (fast, slow) = (sample(), slower(10));
        assert_eq!(row(&fast, &slow, "response p50").reading, Reading::Worse);
        assert_eq!(row(&slow, &fast, "response p50").reading, Reading::Better);
        // The tail of twenty samples is known to within a quarter or so.
        assert_eq!(row(&fast, &slow, "response p99.9").reading, Reading::NoDifferenceSeen);
    }

    #[test]
    fn rates_and_errors_have_intervals_too() {
        let mut worse = sample();
        worse.intervals.iter_mut().for_each(|one| one.ok = one.ok * 9 / 10);
        worse.totals.ok = worse.totals.ok * 9 / 10;
        worse.totals.goodput_per_s *= 0.9;
        assert_eq!(row(&sample(), &worse, "goodput").reading, Reading::Worse);
        assert_eq!(row(&sample(), &worse, "errors").reading, Reading::Worse);
        assert_eq!(row(&worse, &sample(), "goodput").reading, Reading::Better);
    }

    #[test]
    fn the_text_names_what_is_not_the_same_and_fits() {
        let mut other = slower(10);
        other.config.connections = 100;
        other.env.kernel = "6.13.0".to_owned();
        let text = diff(["a.json", "b.json"], [&sample(), &other], Look::default());
        for words in [
            "A          a.json: ping 127.0.0.1:8880, SUSPECT\n",
            "connections is 50 in A and 100 in B",
            "kernel is \"6.12.0\" in A and \"6.13.0\" in B",
            "  worse\n",
            "no difference seen\n",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let same = diff(["a", "b"], [&sample(), &sample()], Look::default());
        assert!(!same.contains("not of the same kind"), "{same}");
    }
}

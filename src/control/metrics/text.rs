//! Families as text: Prometheus' own format 0.0.4 and OpenMetrics 1.0.0, a piece at a time.
//!
//! The two differ in little: what a counter's TYPE is called, that info is a type, the end mark, and
//! that OpenMetrics asks for the unit. A library that has both is not to be had: prometheus-client
//! writes OpenMetrics only, prometheus the other only; and both want to own the counters, which shards
//! write without a locked instruction. What is left of either is these lines.

use std::fmt::Write as _;
use std::vec::IntoIter;

use super::family::{Bounds, Buckets, Family, Kind, Labels, Sample, Value};

/// A syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What it is called in an HTTP header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes families, a piece with each step.
#[derive(Debug)]
pub struct Writer<I> {
    format: Format,
    families: I,
    /// What is left of the family that has been begun.
    current: Option<(String, IntoIter<Sample>)>,
    ended: bool,
}

impl<I: Iterator<Item = Family>> Writer<I> {
    /// Of these, in this order.
    pub fn new(families: impl IntoIterator<IntoIter = I>, format: Format) -> Self {
        Self { format, families: families.into_iter(), current: None, ended: false }
    }

    /// One line or a few; false when there is nothing more.
    fn step(&mut self, text: &mut String) -> bool {
        if let Some((name, samples)) = &mut self.current {
            match samples.next() {
                Some(sample) => write_sample(text, name, &sample),
                None => self.current = None,
            }
            return true;
        }
        if let Some(family) = self.families.next() {
            self.begin(text, family);
            return true;
        }
        if self.format == Format::OpenMetrics && !self.ended {
            text.push_str("# EOF\n");
        }
        self.ended = true;
        false
    }

    /// What stands above the samples of a family, unless it has none.
    fn begin(&mut self, text: &mut String, family: Family) {
        let Family { name, help, kind, samples } = family;
        if samples.is_empty() {
            return;
        }
        let suffix = match kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let (of_type, word) = match (self.format, kind) {
            (_, Kind::Counter) => ("_total", "counter"),
            (_, Kind::Gauge) => ("", "gauge"),
            (_, Kind::Histogram) => ("", "histogram"),
            (Format::Text, Kind::Info) => ("_info", "gauge"),
            (Format::OpenMetrics, Kind::Info) => ("_info", "info"),
        };
        // The one format speaks of the name that the samples have, the other of the family's.
        let of_type = if self.format == Format::Text { of_type } else { "" };
        let _ = writeln!(text, "# HELP {name}{of_type} {help}");
        let _ = writeln!(text, "# TYPE {name}{of_type} {word}");
        let unit = ["seconds", "bytes"].into_iter().find(|unit| has_unit(&name, unit));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        self.current = Some((name + suffix, samples.into_iter()));
    }
}

impl<I: Iterator<Item = Family>> Iterator for Writer<I> {
    type Item = String;

    /// About [`PIECE_BYTES`] of it.
    fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let mut text = String::with_capacity(PIECE_BYTES + LINE_BYTES);
        while text.len() < PIECE_BYTES && self.step(&mut text) {}
        (!text.is_empty()).then_some(text)
    }
}

fn has_unit(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))
}

fn write_sample(text: &mut String, name: &str, Sample { labels, value }: &Sample) {
    if let Value::Histogram(buckets) = value {
        return write_histogram(text, name, labels, buckets);
    }
    write_name(text, name, "", labels, None);
    match value {
        Value::Count(count) => {
            let _ = writeln!(text, "{count}");
        }
        Value::Nanoseconds(ns) => {
            let _ = writeln!(text, "{}", Seconds(*ns));
        }
        // `{:?}` writes 1e300 as that, and 2.0 with its point.
        Value::Number(number) => {
            let _ = writeln!(text, "{number:?}");
        }
        Value::Histogram(_) => {}
    }
}

fn write_histogram(text: &mut String, name: &str, labels: &Labels, buckets: &Buckets) {
    let Buckets { bounds, counts, sum_ns } = buckets;
    let mut below = 0;
    let bounds = Bounds::us(*bounds).map(|us| Seconds(us * 1000).to_string());
    for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
        below += count;
        write_name(text, name, "_bucket", labels, Some(&bound));
        let _ = writeln!(text, "{below}");
    }
    write_name(text, name, "_sum", labels, None);
    let _ = writeln!(text, "{}", Seconds(*sum_ns));
    write_name(text, name, "_count", labels, None);
    let _ = writeln!(text, "{below}");
}

fn write_name(text: &mut String, name: &str, suffix: &str, labels: &Labels, le: Option<&str>) {
    text.push_str(name);
    text.push_str(suffix);
    let parts = labels.parts().into_iter().filter(|part| !part.is_empty());
    let mut opened = '{';
    for part in parts {
        text.push(opened);
        text.push_str(part);
        opened = ',';
    }
    if let Some(bound) = le {
        let _ = write!(text, "{opened}le=\"{bound}\"");
        opened = ',';
    }
    text.push_str(if opened == ',' { "} " } else { " " });
}

/// Nanoseconds as seconds, without a rounding.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:09}", self.0 % 1_000_000_000);
        let digits = digits.trim_end_matches('0');
        let digits = if digits.is_empty() { "0" } else { digits };
        write!(f, "{}.{digits}", self.0 / 1_000_000_000)
    }
}

/// It takes some hundred microseconds to write so much.
const PIECE_BYTES: usize = 32 << 10;

/// A histogram with long labels.
const LINE_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests;

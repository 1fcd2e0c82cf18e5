//! Metrics as values: families of samples, in no particular syntax.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::shard::histogram::Distribution;

/// All samples of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without what its kind appends: `_total`, `_info`.
    pub name: String,
    /// One sentence.
    pub help: String,
    /// What its values mean.
    pub kind: Kind,
    /// Each with other labels.
    pub samples: Vec<Sample>,
}

/// What the values of a family mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// What its labels say.
    Info,
    /// How values were distributed.
    Histogram,
}

/// A value and what it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it is of.
    pub labels: Labels,
    /// What it says of that.
    pub value: Value,
}

/// What a sample says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Things.
    Count(u64),
    /// Seconds, counted in nanoseconds and written exactly.
    Nanoseconds(u64),
    /// Anything else.
    Number(f64),
    /// A distribution.
    Histogram(Box<Buckets>),
}

/// How many values came to lie where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// What they are counted up to.
    pub bounds: Bounds,
    /// One for each bound and one above, not cumulated.
    pub counts: Vec<u64>,
    /// Of all values.
    pub sum_ns: u64,
}

/// Upper bounds of a histogram: microseconds of powers of two, at which a [`Distribution`] can be cut
/// without counting a value on the wrong side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    first_power: u32,
    step: u32,
    count: u32,
}

impl Bounds {
    /// 64 µs to 4.19 s, each twice the one before.
    pub const LATENCY: Self = Self { first_power: 6, step: 1, count: 17 };
    /// 1.024 ms to 4295 s, each four times the one before.
    pub const LENGTH: Self = Self { first_power: 10, step: 2, count: 12 };

    /// In microseconds, ascending.
    pub fn us(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |place| 1 << (self.first_power + place * self.step))
    }
}

impl Buckets {
    /// A distribution, cut at `bounds`.
    #[must_use]
    pub fn new(distribution: &Distribution, bounds: Bounds) -> Self {
        let counts = distribution.between(&bounds.us().collect::<Vec<_>>());
        Self { bounds, counts, sum_ns: distribution.sum_ns() }
    }
}

/// The labels of a sample, as they are written: all that samples of one thing share, and one more part.
///
/// A backend's labels are escaped once and shared by its hundred samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    of: Arc<str>,
    and: &'static str,
}

impl Labels {
    /// These, in this order; values are escaped.
    #[must_use]
    pub fn new(pairs: &[(&str, &str)]) -> Self {
        let mut of = String::new();
        for (name, value) in pairs {
            let separator = if of.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(of, "{separator}{name}=\"{}\"", escaped(value));
        }
        Self { of: of.into(), and: "" }
    }

    /// The same with another part, as it is written: `path="copied"`.
    #[must_use]
    pub fn and(&self, part: &'static str) -> Self {
        Self { of: Arc::clone(&self.of), and: part }
    }

    /// As they are written, without the braces.
    #[must_use]
    pub fn parts(&self) -> [&str; 2] {
        [&self.of, self.and]
    }
}

/// A value of a label: both formats want these three escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Family {
    /// Without a sample.
    #[must_use]
    pub fn new(name: &str, kind: Kind, help: &str) -> Self {
        Self { name: name.to_owned(), help: help.to_owned(), kind, samples: Vec::new() }
    }

    /// One more sample.
    pub fn push(&mut self, labels: Labels, value: Value) {
        self.samples.push(Sample { labels, value });
    }

    /// With one more sample.
    #[must_use]
    pub fn with(mut self, labels: Labels, value: impl Into<Value>) -> Self {
        self.push(labels, value.into());
        self
    }

    /// With a sample of each of `all`.
    #[must_use]
    pub fn of<T, V: Into<Value>>(
        mut self,
        all: impl IntoIterator<Item = T>,
        sample: impl Fn(T) -> (Labels, V),
    ) -> Self {
        self.samples.extend(all.into_iter().map(|one| {
            let (labels, value) = sample(one);
            Sample { labels, value: value.into() }
        }));
        self
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<u16> for Value {
    fn from(count: u16) -> Self {
        Self::Count(count.into())
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Count(is.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Buckets> for Value {
    fn from(buckets: Buckets) -> Self {
        Self::Histogram(Box::new(buckets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::histogram::Histogram;

    #[test]
    fn bounds_are_as_they_are_said_to_be() {
        let ends = |bounds: Bounds| (bounds.us().next(), bounds.us().last());
        assert_eq!(ends(Bounds::LATENCY), (Some(64), Some(4_194_304)));
        assert_eq!(ends(Bounds::LENGTH), (Some(1024), Some(4_294_967_296)));
    }

    #[test]
    fn a_distribution_is_cut_where_its_bounds_are() {
        let (histogram, mut sum) = (Histogram::default(), Distribution::default());
        [63_999, 64_000, 127_999, 5_000_000_000].iter().for_each(|ns| histogram.record_ns(*ns));
        histogram.add_to(&mut sum);
        let buckets = Buckets::new(&sum, Bounds::LATENCY);
        assert_eq!((buckets.counts[0], buckets.counts[1]), (1, 2));
        assert_eq!((buckets.counts.len(), buckets.counts[17]), (18, 1));
        assert_eq!(buckets.sum_ns, 5_000_255_998);
        let nothing = Buckets::new(&Distribution::default(), Bounds::LENGTH);
        assert_eq!((nothing.counts, nothing.sum_ns), (vec![0; 13], 0));
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let labels = Labels::new(&[("pool", r#"a"b\c"#), ("backend", "x\ny")]);
        let labels = labels.and(r#"path="copied""#);
        let expected = [r#"pool="a\"b\\c",backend="x\ny""#, r#"path="copied""#];
        assert_eq!(labels.parts(), expected);
    }
}

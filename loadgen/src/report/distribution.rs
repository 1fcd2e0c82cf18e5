//! A latency histogram as a report holds it: mergeable, and in JSON readable without a library.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{
    Deserializer as HdrDeserializer, Serializer as _, V2DeflateSerializer,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::histogram::latencies;

/// Times from 1 ns to 60 s with three digits; longer ones count as 60 s.
///
/// In JSON: `count`, `mean_ns`, `p50_ns`, `p90_ns`, `p99_ns`, `p99_9_ns`, `max_ns` (null where too
/// few samples carry them) and `hdr_v2`, the whole histogram as HdrHistogram's tools read it (V2
/// with DEFLATE, base64), from which alone it is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution(pub Histogram<u64>);

impl Default for Distribution {
    fn default() -> Self {
        Self(latencies())
    }
}

impl Distribution {
    /// Counts one time.
    pub fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Adds all of another.
    ///
    /// # Panics
    /// Never for histograms that were made here, whose bounds are those of [`Distribution::default`]
    /// or less.
    pub fn add(&mut self, other: &Self) {
        if self.0.high() < other.0.high() {
            *self = Self(self.whole());
        }
        self.0.add(&other.0).expect("its bounds reach as far");
    }

    /// Takes no more memory than its longest time needs: of these, a run keeps one for each interval.
    ///
    /// # Panics
    /// Never: what was counted fits bounds that reach as far.
    #[must_use]
    pub fn compact(&self) -> Self {
        let most = self.0.max().max(2);
        let mut small = Histogram::new_with_bounds(1, most, self.0.sigfig()).expect("1 < 2");
        small.add(&self.0).expect("its bounds reach as far");
        Self(small)
    }

    /// The same with the bounds that all have who are not compact.
    fn whole(&self) -> Histogram<u64> {
        let mut whole = latencies();
        whole.add(&self.0).expect("nobody's bounds reach farther");
        whole
    }

    /// The value of a quantile (0 to 1), if at least ten samples lie beyond it; fewer make it luck.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^52 samples are years of load")]
    pub fn quantile_ns(&self, quantile: f64) -> Option<u64> {
        let beyond = self.count() as f64 * (1.0 - quantile);
        // A quantile such as 0.9 is not exact in binary.
        (beyond + 1e-6 >= SAMPLES_BEYOND).then(|| self.0.value_at_quantile(quantile))
    }

    /// The longest, if there is one.
    #[must_use]
    pub fn max_ns(&self) -> Option<u64> {
        (self.count() > 0).then(|| self.0.max())
    }

    /// HdrHistogram's V2 form, deflated, in base64; the same whether or not it is compact.
    ///
    /// # Panics
    /// Never: memory takes every byte, and the form every histogram.
    #[must_use]
    pub fn to_hdr_v2(&self) -> String {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        serializer.serialize(&self.whole(), &mut bytes).expect("memory takes every byte");
        STANDARD.encode(bytes)
    }

    /// Reads [`Distribution::to_hdr_v2`] back.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_hdr_v2(text: &str) -> Result<Self, String> {
        let bytes = STANDARD.decode(text).map_err(|error| format!("not base64: {error}"))?;
        let read: Histogram<u64> = HdrDeserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("not a histogram: {error}"))?;
        let mut own = latencies();
        own.add(&read).map_err(|error| format!("not a latency histogram: {error}"))?;
        Ok(Self(own))
    }
}

/// What a reader sees; only `hdr_v2` is read back.
#[derive(Serialize)]
struct Shown {
    count: u64,
    mean_ns: Option<f64>,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    p99_9_ns: Option<u64>,
    max_ns: Option<u64>,
    hdr_v2: String,
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = Shown {
            count: self.count(),
            mean_ns: (self.count() > 0).then(|| self.0.mean()),
            p50_ns: self.quantile_ns(0.5),
            p90_ns: self.quantile_ns(0.9),
            p99_ns: self.quantile_ns(0.99),
            p99_9_ns: self.quantile_ns(0.999),
            max_ns: self.max_ns(),
            hdr_v2: self.to_hdr_v2(),
        };
        shown.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Read {
            hdr_v2: String,
        }
        let Read { hdr_v2 } = Read::deserialize(deserializer)?;
        Self::from_hdr_v2(&hdr_v2).map_err(de::Error::custom)
    }
}

const SAMPLES_BEYOND: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_every_count() {
        let mut one = Distribution::default();
        (1..=10_000).for_each(|ns| one.record_ns(ns * 977));
        let text = serde_json::to_string(&one).expect("it has a JSON form");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["count"], 10_000);
        let back: Distribution = serde_json::from_str(&text).expect("what was written");
        assert_eq!(back, one);
        assert_eq!(back.quantile_ns(0.99), one.quantile_ns(0.99));
    }

    #[test]
    fn the_compact_form_counts_the_same_in_less_memory() {
        let mut one = Distribution::default();
        (1..=10_000).for_each(|ns| one.record_ns(ns * 977));
        let small = one.compact();
        assert!(small.0.distinct_values() * 4 < one.0.distinct_values() * 3);
        let mut sum = Distribution::default();
        sum.add(&small);
        assert_eq!((&sum, sum.to_hdr_v2()), (&one, one.to_hdr_v2()));
        assert_eq!(Distribution::default().compact().count(), 0);
        assert_eq!(small.to_hdr_v2(), one.to_hdr_v2(), "tools see the same bounds");
        let mut sum = Distribution::default().compact();
        sum.add(&one);
        assert_eq!((sum.count(), sum.max_ns()), (one.count(), one.max_ns()));
    }

    #[test]
    fn a_quantile_needs_ten_samples_beyond_it() {
        for (samples, shown) in [(19, 0), (20, 1), (100, 2), (999, 2), (1000, 3), (10_000, 4)] {
            let mut one = Distribution::default();
            (1..=samples).for_each(|ns| one.record_ns(ns));
            let with_value = [0.5, 0.9, 0.99, 0.999].map(|quantile| one.quantile_ns(quantile));
            assert_eq!(with_value.iter().flatten().count(), shown, "{samples} samples");
        }
    }
}

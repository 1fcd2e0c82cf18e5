//! The figures of a run that runs are compared by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::report::{Report, figures};

/// One figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Metric {
    /// Requests answered rightly a second.
    #[serde(rename = "goodput_per_s")]
    Goodput,
    /// Half of the responses come in this time.
    #[serde(rename = "p50_ns")]
    P50,
    /// Ninety-nine of a hundred do.
    #[serde(rename = "p99_ns")]
    P99,
    /// Processor time of the system under test for a request that was answered rightly.
    #[serde(rename = "cpu_us_per_request")]
    CpuPerRequest,
}

impl Metric {
    /// All, in the order of tables.
    pub const ALL: [Self; 4] = [Self::Goodput, Self::P50, Self::P99, Self::CpuPerRequest];

    /// Its value in a run; `None` where the run does not carry it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 ns are 104 days")]
    pub fn of(self, report: &Report) -> Option<f64> {
        let quantile = |quantile| report.latency.response.quantile_ns(quantile).map(|ns| ns as f64);
        match self {
            Self::Goodput => Some(report.totals.goodput_per_s),
            Self::P50 => quantile(0.5),
            Self::P99 => quantile(0.99),
            Self::CpuPerRequest => report.sut.as_ref()?.cpu_us_per_request,
        }
    }

    /// Whether more of it is better.
    #[must_use]
    pub fn more_is_better(self) -> bool {
        self == Self::Goodput
    }

    /// A value with its unit.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Goodput => format!("{}/s", figures::number(value)),
            Self::P50 | Self::P99 => figures::time(value),
            Self::CpuPerRequest => format!("{value:.2} µs"),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Goodput => "goodput",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::CpuPerRequest => "CPU/request",
        })
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "goodput" => Ok(Self::Goodput),
            "p50" => Ok(Self::P50),
            "p99" => Ok(Self::P99),
            "cpu" => Ok(Self::CpuPerRequest),
            _ => Err("is none of goodput, p50, p99 and cpu".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_unit_of_their_metric() {
        for (metric, value, shown) in [
            (Metric::Goodput, 41_234.0, "41 234/s"),
            (Metric::P99, 1_450_000.0, "1.45 ms"),
            (Metric::P50, 87_654.0, "87.7 µs"),
            (Metric::CpuPerRequest, 7.126, "7.13 µs"),
        ] {
            assert_eq!(metric.show(value), shown);
        }
    }

    #[test]
    fn each_metric_is_its_figure_of_the_report() {
        let report = crate::report::sample();
        let expected = [
            Some(report.totals.goodput_per_s),
            report.latency.response.quantile_ns(0.5).map(|ns| ns as f64),
            report.latency.response.quantile_ns(0.99).map(|ns| ns as f64),
            report.sut.as_ref().and_then(|sut| sut.cpu_us_per_request),
        ];
        assert_eq!(Metric::ALL.map(|metric| metric.of(&report)), expected);
        assert!(expected.iter().all(Option::is_some), "{expected:?}");
    }
}

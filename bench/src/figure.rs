//! What is measured: names, units, and which direction is the good one.

use serde::{Deserialize, Serialize};

use crate::stats::ratios;

/// A kind of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// CPU time of the balancer for each request, its connection included where each has its own.
    CpuUs,
    /// CPU time of the balancer for each 10^9 bytes that it carried.
    CpuSPerGb,
    /// Requests answered in a second.
    PerSecond,
    /// Requests answered in a second of those that were sent at a constant rate.
    AchievedPerS,
    /// Payload that arrived.
    GbitPerS,
    /// Payload that arrived, of many small writes.
    MbPerS,
    /// Median latency of a run.
    P50Us,
    /// 99th percentile of a run.
    P99Us,
    /// 99.9th percentile of a run.
    P999Us,
    /// Resident memory of the balancer for each idle connection.
    BytesPerConn,
    /// CPU time of the balancer in a second at rest.
    RestUsPerS,
    /// Requests that failed while something happened to the balancer or to a backend.
    FailedRequests,
    /// The longest time meanwhile in which no request was answered.
    LongestGapMs,
}

/// The figures of one run, in the order of their columns.
pub(crate) type Figures = Vec<(Figure, f64)>;

impl Figure {
    /// As it is printed, with its unit.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CpuUs => "CPU µs",
            Self::CpuSPerGb => "CPU-s/GB",
            Self::PerSecond => "per second",
            Self::AchievedPerS => "achieved/s",
            Self::GbitPerS => "Gbit/s",
            Self::MbPerS => "MB/s",
            Self::P50Us => "p50 µs",
            Self::P99Us => "p99 µs",
            Self::P999Us => "p99.9 µs",
            Self::BytesPerConn => "bytes/conn",
            Self::RestUsPerS => "µs/s at rest",
            Self::FailedRequests => "failed",
            Self::LongestGapMs => "longest gap ms",
        }
    }

    /// Whether less of it is better.
    #[must_use]
    pub(crate) const fn lower_is_better(self) -> bool {
        !matches!(self, Self::PerSecond | Self::AchievedPerS | Self::GbitPerS | Self::MbPerS)
    }

    /// Whether nobody shall be ahead of evenkeel in it, whatever the targets say.
    #[must_use]
    pub(crate) const fn is_headline(self) -> bool {
        matches!(
            self,
            Self::PerSecond
                | Self::GbitPerS
                | Self::MbPerS
                | Self::P99Us
                | Self::FailedRequests
                | Self::LongestGapMs
        )
    }

    /// Whether it is a number of things of which there may be none, and so nothing to divide by.
    #[must_use]
    pub(crate) const fn may_be_none(self) -> bool {
        matches!(self, Self::FailedRequests)
    }

    /// Ours over theirs, round by round. Where there may be none of them, one is added to both: none
    /// against none is 1, and none against some is as far below 1 as some against none is above.
    #[must_use]
    pub(crate) fn ratios(self, ours: &[f64], theirs: &[f64]) -> Vec<f64> {
        if !self.may_be_none() {
            return ratios(ours, theirs);
        }
        let one_more = |values: &[f64]| values.iter().map(|value| value + 1.0).collect::<Vec<_>>();
        ratios(&one_more(ours), &one_more(theirs))
    }

    /// Whether it is what the balancer itself costs.
    #[must_use]
    pub(crate) const fn is_cost(self) -> bool {
        matches!(self, Self::CpuUs | Self::CpuSPerGb | Self::BytesPerConn)
    }

    /// A value with as many digits as it deserves.
    #[must_use]
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::CpuUs | Self::GbitPerS => format!("{value:.2}"),
            Self::CpuSPerGb => format!("{value:.3}"),
            Self::MbPerS | Self::LongestGapMs => format!("{value:.1}"),
            Self::PerSecond
            | Self::AchievedPerS
            | Self::P50Us
            | Self::P99Us
            | Self::P999Us
            | Self::BytesPerConn
            | Self::RestUsPerS
            | Self::FailedRequests => format!("{value:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_is_better_when_it_is_more_and_everything_else_when_it_is_less() {
        assert!(!Figure::GbitPerS.lower_is_better());
        assert!(Figure::CpuUs.lower_is_better() && Figure::P99Us.lower_is_better());
    }

    #[test]
    fn a_ratio_of_what_may_be_none_is_a_number() {
        let failed = |ours, theirs| Figure::FailedRequests.ratios(&[ours], &[theirs]);
        assert_eq!([failed(0.0, 0.0), failed(0.0, 9.0), failed(9.0, 0.0)], [[1.0], [0.1], [10.0]]);
        assert_eq!(Figure::LongestGapMs.ratios(&[3.0], &[4.0]), [0.75]);
    }

    #[test]
    fn names_in_files_are_stable() {
        let name = |figure| serde_json::to_string(&figure).expect("a name");
        assert_eq!(name(Figure::CpuUs), "\"cpu_us\"");
        assert_eq!(name(Figure::P999Us), "\"p999_us\"");
    }
}

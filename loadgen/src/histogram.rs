//! The range of every latency histogram.

use hdrhistogram::Histogram;

/// A histogram for times from 1 ns to 60 s with three digits.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("1 < 60 s, and 3 digits are allowed")
}

const LATENCY_NS_MAX: u64 = 60_000_000_000;

//! Numbers as people read them, in tables and in the live view: those of the load generator, and times
//! of the day.

use std::time::{SystemTime, UNIX_EPOCH};

use loadgen::report::plot;

use crate::api::{Bytes, Latency};

/// `1 234`, with a space that everybody's terminal and `grep` know.
pub(crate) fn count(count: u64) -> String {
    plot::count(count).replace('\u{202f}', " ")
}

/// `1 session`, `1 234 sessions`
pub(crate) fn many(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        many => format!("{} {one}s", count(many)),
    }
}

/// `9.44 MB`
pub(crate) fn bytes(bytes: u64) -> String {
    plot::bytes(float(bytes))
}

/// Both paths together.
pub(crate) fn both(bytes: Bytes) -> u64 {
    bytes.copied.saturating_add(bytes.spliced)
}

/// The share that was spliced, if there is anything.
pub(crate) fn spliced(bytes: Bytes) -> Option<f64> {
    let all = both(bytes);
    (all > 0).then(|| float(bytes.spliced) / float(all))
}

/// `120 µs`
pub(crate) fn micros(us: u64) -> String {
    plot::time(us.saturating_mul(1000))
}

/// `120 µs/1.30 ms`: the median and what one in a hundred is above.
pub(crate) fn latency(latency: &Latency) -> String {
    match (latency.p50_us, latency.p99_us) {
        (Some(p50), Some(p99)) => format!("{} / {}", micros(p50), micros(p99)),
        _ => String::new(),
    }
}

/// `350 ms`, `12 s`, `3 min 4 s`, `2 h 5 min`, `3 d 4 h`
pub(crate) fn millis(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => seconds(ms / 1000),
    }
}

/// The same of whole seconds.
pub(crate) fn seconds(s: u64) -> String {
    let two = |a: u64, unit: &str, b: u64, small: &str| match b {
        0 => format!("{a} {unit}"),
        b => format!("{a} {unit} {b} {small}"),
    };
    match s {
        0..60 => format!("{s} s"),
        60..3600 => two(s / 60, "min", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// `45 %`
pub(crate) fn percent(share: f64) -> String {
    plot::percent(share)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits_and_the_next_smaller() {
        for (ms, shown) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1500, "1.5 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (184_000, "3 min 4 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(millis(ms), shown);
        }
    }

    #[test]
    fn nothing_has_no_share() {
        assert_eq!(spliced(Bytes::default()), None);
        assert_eq!(spliced(Bytes { copied: 1, spliced: 3 }), Some(0.75));
    }
}

//! `.hlog`: a histogram for each interval, as `HdrHistogram`'s log tools read them.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::report::Report;

/// The response times of each interval in `HdrHistogram`'s log format 1.3. Times in it are seconds
/// since the run's start, the histograms hold nanoseconds, and the maximum that stands beside each
/// is in milliseconds, as that of `HdrHistogram`'s own writer is.
///
/// # Panics
/// Never: a string takes every character.
#[must_use]
pub fn hlog(report: &Report) -> String {
    let started =
        humantime::parse_rfc3339(&report.env.started_at).unwrap_or(SystemTime::UNIX_EPOCH);
    let since_epoch = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let start = since_epoch.as_secs_f64();
    let mut text = format!(
        "#[Response times of loadgen {}, in nanoseconds]\n\
         #[Histogram log format version 1.3]\n\
         #[StartTime: {start:.3} (seconds since epoch), {}]\n\
         #[BaseTime: {start:.3} (seconds since epoch)]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        report.env.version,
        humantime::format_rfc3339_millis(started),
    );
    for interval in &report.intervals {
        let max_ms = interval.response.0.max() as f64 / 1e6;
        let (start, length) = (interval.start_s, interval.length_s);
        let histogram = interval.response.to_hdr_v2();
        writeln!(text, "{start:.3},{length:.3},{max_ms:.3},{histogram}")
            .expect("a string takes every character");
    }
    text
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::report::{Distribution, sample};

    #[test]
    fn the_log_holds_every_interval() {
        let report = sample();
        let text = hlog(&report);
        let mut entries = IntervalLogIterator::new(text.as_bytes());
        let begun = Duration::from_millis(1_795_289_400_250);
        assert_eq!(entries.next(), Some(Ok(LogEntry::StartTime(begun))));
        assert_eq!(entries.next(), Some(Ok(LogEntry::BaseTime(begun))));
        let mut intervals = report.intervals.iter();
        for entry in entries {
            let Ok(LogEntry::Interval(entry)) = entry else { panic!("{entry:?}") };
            let interval = intervals.next().expect("no more than there are");
            assert_eq!(entry.start_timestamp().as_secs_f64(), interval.start_s);
            assert_eq!(entry.duration().as_secs_f64(), interval.length_s);
            let histogram = Distribution::from_hdr_v2(entry.encoded_histogram()).expect("one");
            assert_eq!(histogram, interval.response);
        }
        assert_eq!(intervals.next(), None);
    }
}

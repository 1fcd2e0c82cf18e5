//! Values as people type them.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// `10s`, `500ms`, `1m 30s`, or plain seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let seconds =
        text.parse::<f64>().ok().and_then(|value| Duration::try_from_secs_f64(value).ok());
    let parsed = seconds.or_else(|| humantime::parse_duration(text).ok());
    parsed.ok_or_else(|| "write a duration such as 500ms, 10s or 2m".to_owned())
}

/// A duration that is not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// `1000`, `10k`, `2M`.
pub(super) fn count(text: &str) -> Result<NonZeroU64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let value = digits.parse::<u64>().ok().and_then(|value| value.checked_mul(factor));
    value
        .and_then(NonZeroU64::new)
        .ok_or_else(|| "write a number from 1, such as 1000, 10k or 2M".to_owned())
}

/// As [`count`], for what is held at the same time.
pub(super) fn small_count(text: &str) -> Result<NonZeroU32, String> {
    NonZeroU32::try_from(count(text)?).map_err(|_| "is more than 4294967295".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        for (text, expected) in [
            ("10s", Some(Duration::from_secs(10))),
            ("500ms", Some(Duration::from_millis(500))),
            ("10", Some(Duration::from_secs(10))),
            ("0.5", Some(Duration::from_millis(500))),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(duration(text).ok(), expected, "{text}");
        }
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn counts_may_have_suffixes() {
        for (text, expected) in [
            ("1", Some(1)),
            ("10k", Some(10_000)),
            ("2M", Some(2_000_000)),
            ("0", None),
            ("k", None),
        ] {
            assert_eq!(count(text).ok().map(NonZeroU64::get), expected, "{text}");
        }
        assert!(small_count("5000M").is_err());
    }
}

//! Values as people type them.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use clap::ValueEnum;
use loadgen::Close;

/// How connections are closed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CloseName {
    /// In order
    Fin,
    /// With a reset, which leaves no TIME_WAIT
    Rst,
}

impl From<CloseName> for Close {
    fn from(name: CloseName) -> Self {
        match name {
            CloseName::Fin => Self::Fin,
            CloseName::Rst => Self::Rst,
        }
    }
}

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

/// As [`small_count`], from 0.
pub(super) fn whole(text: &str) -> Result<u32, String> {
    if text == "0" { Ok(0) } else { small_count(text).map(NonZeroU32::get) }
}

/// `4096`, `128k`, `1M`: powers of 1024, as sizes are.
pub(super) fn bytes(text: &str) -> Result<u32, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let value = digits.parse::<u32>().ok().and_then(|value| value.checked_mul(factor));
    value.ok_or_else(|| "write a size such as 4096, 128k or 1M".to_owned())
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
        assert_eq!((whole("0"), whole("3")), (Ok(0), Ok(3)));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, expected) in [
            ("4096", Some(4096)),
            ("128k", Some(131_072)),
            ("1M", Some(1 << 20)),
            ("4096M", None),
            ("big", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }
}

//! Numbers with SI suffixes, as people type them: `500`, `10k`, `2.5M`, `16Ki`.

/// A decimal number from 0; `k` and `M` stand for 10³ and 10⁶.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, "e3"),
        None => text.strip_suffix('M').map_or((text, ""), |digits| (digits, "e6")),
    };
    // `parse` alone would take signs, exponents and `inf`.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // One conversion of all of it, so that 2.3M is what it says to the last bit.
    format!("{digits}{exponent}").parse::<f64>().ok().filter(|number| plain && number.is_finite())
}

/// A whole number from 0; besides the suffixes of [`decimal`] there are `Ki` and `Mi` for 2¹⁰ and
/// 2²⁰.
pub(super) fn whole(text: &str) -> Option<u64> {
    let suffixes = [("Ki", 1 << 10), ("Mi", 1 << 20), ("k", 1_000), ("K", 1_000), ("M", 1_000_000)];
    let scaled = |(suffix, factor)| text.strip_suffix(suffix).map(|digits| (digits, factor));
    let (digits, factor) = suffixes.into_iter().find_map(scaled).unwrap_or((text, 1));
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("1000", Some(1000.0)),
            ("10k", Some(10_000.0)),
            ("2.3M", Some(2_300_000.0)),
            (".5K", Some(500.0)),
            ("", None),
            ("k", None),
            (".", None),
            ("1.2.3", None),
            ("-1", None),
            ("+1", None),
            ("inf", None),
            ("1e3", None),
            ("1 k", None),
        ] {
            assert_eq!(decimal(text), expected, "{text}");
        }
    }

    #[test]
    fn whole_numbers_have_decimal_and_binary_suffixes() {
        for (text, expected) in [
            ("64", Some(64)),
            ("4k", Some(4000)),
            ("4Ki", Some(4096)),
            ("1Mi", Some(1 << 20)),
            ("2M", Some(2_000_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("18446744073709551615k", None),
            ("1.5k", None),
            ("+1", None),
            ("", None),
            ("Ki", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
    }
}

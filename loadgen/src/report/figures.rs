//! Figures as people read them: three digits, and the unit that fits.

/// A time in nanoseconds: `61.2 µs`, `1.25 ms`, `3.00 s`.
#[must_use]
pub fn time(ns: f64) -> String {
    scaled(ns, 1e3, &["ns", "µs", "ms", "s"])
}

/// [`time`] of a whole number, or `-` where it is not known.
#[must_use]
pub fn time_or_dash(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| time(ns as f64))
}

/// Bytes: `812 B`, `1.46 MiB`.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A number with its thousands apart: `1 234 567`; below a hundred with what three digits allow.
#[must_use]
pub fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 100.0 {
        grouped(&format!("{value:.0}"))
    } else {
        three_digits(value)
    }
}

/// [`number`] of a count.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A share from 0 to 1 as `12.3 %`; what is small keeps two digits, so that it is not shown as 0.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        0.0 => "0 %".to_owned(),
        ..0.1 => {
            let text = format!("{percent:.4}");
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        }
        ..1.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut unit) = (value, 0);
    // 999.6 would be shown as 1000.
    while value.abs() >= step - 0.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let whole = unit == 0 && value.fract() == 0.0;
    let text = if whole { format!("{value:.0}") } else { three_digits(value) };
    format!("{text} {}", units[unit])
}

fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_fits() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (900.0, "900 ns"),
            (61_230.0, "61.2 µs"),
            (999_700.0, "1.00 ms"),
            (1_250_000.0, "1.25 ms"),
            (9_996_000.0, "10.0 ms"),
            (60e9, "60.0 s"),
        ] {
            assert_eq!(time(ns), text);
        }
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (value, text) in
            [(0.0, "0"), (999.0, "999"), (1000.0, "1 000"), (-1_234_567.0, "-1 234 567")]
        {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(12.345), "12.3");
        assert_eq!(bytes(1536.0), "1.50 KiB");
    }

    #[test]
    fn a_small_share_is_not_shown_as_none() {
        for (share, text) in
            [(0.0, "0 %"), (0.123, "12.3 %"), (0.005, "0.50 %"), (0.000_05, "0.005 %")]
        {
            assert_eq!(percent(share), text);
        }
    }
}

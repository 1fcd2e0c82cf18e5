//! Numbers as people read them: three digits and a unit.

/// Nanoseconds: `874 ns`, `12.3 µs`, `1.24 ms`, `2.50 s`.
#[must_use]
pub fn time(ns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let ns = ns as f64;
    match ns {
        ns if ns < 999.5 => format!("{ns} ns"),
        ns if ns < 999.5e3 => format!("{} µs", digits(ns / 1e3)),
        ns if ns < 999.5e6 => format!("{} ms", digits(ns / 1e6)),
        ns => format!("{} s", digits(ns / 1e9)),
    }
}

/// A count with its thousands apart: `1 234 567`. The spaces are narrow and do not break.
#[must_use]
pub fn count(count: u64) -> String {
    let plain = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// So many a second: whole above a hundred, else three digits.
#[must_use]
pub fn rate(rate: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let whole = rate.round() as u64;
    if rate >= 99.95 { count(whole) } else { digits(rate) }
}

/// For axes and narrow places: `950`, `1.2k`, `50k`, `3M`.
#[must_use]
pub fn short(value: f64) -> String {
    for (unit, suffix) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= unit * 0.9995 {
            return trimmed(&digits(value / unit)) + suffix;
        }
    }
    trimmed(&digits(value))
}

/// Bytes: `512 B`, `9.44 MB`, by thousands.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    for (unit, name) in [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")] {
        if bytes >= unit * 0.9995 {
            return format!("{} {name}", digits(bytes / unit));
        }
    }
    format!("{} B", trimmed(&digits(bytes)))
}

/// Gbit/s: `9.41`.
#[must_use]
pub fn gbit(gbit_per_s: f64) -> String {
    digits(gbit_per_s)
}

/// A share, 0 to 1: `33.3 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        percent if percent <= 0.0 => "0 %".to_owned(),
        percent if percent < 0.001 => "< 0.001 %".to_owned(),
        percent if percent < 1.0 => format!("{} %", trimmed(&format!("{percent:.3}"))),
        // Not all is not 100 %.
        percent if (99.95..100.0).contains(&percent) => {
            format!("{:.3} %", (percent * 1e3).floor() / 1e3)
        }
        percent => format!("{} %", trimmed(&format!("{percent:.1}"))),
    }
}

/// A time that was asked for: `500 ms`, `10 s`, `2 min`, `1 h 30 min`.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 1.0 => format!("{} ms", trimmed(&digits(seconds * 1e3))),
        _ if seconds < 60.0 => format!("{} s", trimmed(&digits(seconds))),
        whole if whole % 3600 == 0 => format!("{} h", whole / 3600),
        whole if whole > 3600 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        whole if whole % 60 == 0 => format!("{} min", whole / 60),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

/// Three digits, not fewer and not more before the point.
fn digits(value: f64) -> String {
    match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Without zeros that say nothing: `2.50` is `2.5`.
fn trimmed(number: &str) -> String {
    if !number.contains('.') {
        return number.to_owned();
    }
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_fits() {
        for (ns, shown) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (999_499, "999 µs"),
            (999_600, "1.00 ms"),
            (2_500_000_000, "2.50 s"),
        ] {
            assert_eq!(time(ns), shown);
        }
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (value, shown) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(count(value).replace('\u{202f}', " "), shown);
        }
    }

    #[test]
    fn short_numbers_lose_no_digit_that_says_something() {
        for (value, shown) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (950.0, "950"),
            (999.6, "1k"),
            (1234.0, "1.23k"),
            (50_000.0, "50k"),
            (3e6, "3M"),
        ] {
            assert_eq!(short(value), shown);
        }
    }

    #[test]
    fn shares_never_round_to_nothing() {
        for (share, shown) in [
            (0.0, "0 %"),
            (0.000_001, "< 0.001 %"),
            (0.000_25, "0.025 %"),
            (0.3333, "33.3 %"),
            (0.999_999_9, "99.999 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(share), shown);
        }
    }

    #[test]
    fn durations_read_as_they_are_typed() {
        for (value, shown) in [
            (0.5, "500 ms"),
            (10.0, "10 s"),
            (90.0, "1 min 30 s"),
            (120.0, "2 min"),
            (5400.0, "1 h 30 min"),
        ] {
            assert_eq!(seconds(value), shown);
        }
    }
}

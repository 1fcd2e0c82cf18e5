//! Tables and fences.

use crate::figure::Figure;
use crate::stats::Spread;
use crate::verdict::Measured;

/// A table; the first column is a name, the others are numbers or words.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rule = vec!["---"; head.len()];
    let mut text = format!("| {} |\n|{}|\n", head.join(" | "), rule.join("|"));
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| escaped(cell)).collect();
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text
}

/// Text that is shown as it is.
pub(super) fn fenced(text: &str) -> String {
    format!("```text\n{}\n```\n", text.trim_end())
}

/// Median, smallest and largest, with the digits of the figure.
pub(super) fn spread(measured: &Measured) -> String {
    let show = |value| measured.figure.show(value);
    let Spread { median, min, max } = measured.spread;
    format!("{} ({}–{})", show(median), show(min), show(max))
}

/// Median, smallest and largest of ratios.
pub(super) fn ratio(Spread { median, min, max }: Spread) -> String {
    format!("{} ({}–{})", times(median), times(min), times(max))
}

/// A figure whose ratios are shown.
pub(super) fn label(figure: Figure) -> String {
    let how = if figure.may_be_none() { " (one added to both)" } else { "" };
    figure.name().to_owned() + how
}

/// A ratio, with more digits where fewer would hide on which side of 1 it is.
pub(super) fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 99.5 => format!("{ratio:.0}"),
        ratio if ratio >= 9.95 => format!("{ratio:.1}"),
        ratio if ratio < 0.0995 => format!("{ratio:.3}"),
        ratio if ratio != 1.0 && (ratio - 1.0).abs() < 0.005 => format!("{ratio:.4}"),
        ratio => format!("{ratio:.2}"),
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Neither a new column nor a new line, nor a tag.
fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|").replace('\n', " ").replace('<', "&lt;")
}

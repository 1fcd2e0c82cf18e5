//! A report as one HTML page that needs nothing else: no network, no library, and for everything
//! but the tooltips no script.
//!
//! Plots are SVG that stretches with the page; their labels are HTML beside it, so that text has
//! the same size on a phone. Whatever a report holds may come from a stranger's network: each text
//! passes through [`escape`] on its way into the page.

mod backends;
mod chart;
mod curve;
mod facts;
mod headline;
mod heat_map;
mod over_time;
mod stream;
mod verdict;

use super::{Interval, Report};
use crate::report::plot::columns;

/// The whole page.
#[must_use]
pub fn page(report: &Report) -> String {
    let columns = columns(&report.intervals, COLUMNS_MAX);
    let title = escape(&title(report));
    let body = [
        verdict::header(report),
        headline::cards(report),
        headline::requests(report),
        stream::section(report, &columns),
        curve::section(report),
        heat_map::section(&columns),
        over_time::section(report, &columns),
        backends::section(report, &columns),
        backends::errors(report),
        facts::sections(report),
    ]
    .concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{CSS}</style>\n\
         </head>\n<body>\n<main>\n{body}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

fn title(report: &Report) -> String {
    let target = if report.config.target.is_empty() { "a target" } else { &report.config.target };
    let workload = if report.config.workload.is_empty() { "load" } else { &report.config.workload };
    format!("{workload} on {target}")
}

/// Text as HTML shows it, in an element or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not allowed in HTML; shown, so that nothing is hidden in a name.
            control if control.is_control() && control != '\n' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A part of the page; `note` is one sentence that says how to read it.
fn section(id: &str, heading: &str, note: &str, body: &str) -> String {
    let note =
        if note.is_empty() { String::new() } else { format!("<p class=\"note\">{note}</p>\n") };
    format!(
        "<section class=\"card\" id=\"{id}\" aria-labelledby=\"{id}-h\">\n\
         <h2 id=\"{id}-h\">{heading}</h2>\n{note}{body}</section>\n"
    )
}

/// A table; the first cell of each row is its head. Cells are HTML already.
fn table(caption: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let rows: String = rows.iter().map(|row| table_row(row)).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{caption}\"><table>\
         <caption>{caption}</caption>\
         <thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )
}

fn table_row(row: &[String]) -> String {
    let Some((first, rest)) = row.split_first() else { return String::new() };
    let rest: String = rest.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr><th scope=\"row\">{first}</th>{rest}</tr>\n")
}

/// What is there for those who want to read it, and folded for all others.
fn folded(summary: &str, body: &str) -> String {
    format!("<details><summary>{summary}</summary>\n{body}</details>\n")
}

/// A time, or a dash where too few samples carry it.
fn time_or_dash(ns: Option<u64>) -> String {
    ns.map_or_else(|| "–".to_owned(), super::plot::time)
}

/// Where the last of `columns` ends.
fn end_s(columns: &[Interval]) -> f64 {
    columns.last().map_or(0.0, |last| last.start_s + last.length_s)
}

#[expect(clippy::cast_precision_loss, reason = "2^52 requests are years of load")]
fn float(count: u64) -> f64 {
    count as f64
}

const CSS: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");
/// The page can reach nothing, whatever it holds.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
/// More would be narrower than a pixel on a phone, and the page larger than it need be.
const COLUMNS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        assert_eq!(escape("<script>\"&'\u{0}\n"), "&lt;script&gt;&quot;&amp;&#39;\u{fffd}\n");
    }
}

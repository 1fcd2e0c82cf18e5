//! The report for people: verdict first, then what was asked, what came of it, and what it cost.

mod circumstances;
pub(super) mod page;
mod traffic;

use super::{Report, figures};
use page::{Colour, Page};

/// How text may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Colours and bold letters, for terminals.
    pub colour: bool,
}

/// `report` in at most 80 columns.
#[must_use]
pub fn text(report: &Report, look: Look) -> String {
    let mut page = Page::new(look);
    verdict(&mut page, report);
    target(&mut page, report);
    traffic::write(&mut page, report);
    circumstances::write(&mut page, report);
    again(&mut page, report);
    page.finish()
}

fn verdict(page: &mut Page, report: &Report) {
    let verdict = &report.verdict;
    let (word, colour) =
        if verdict.valid { ("VALID", Colour::Good) } else { ("SUSPECT", Colour::Bad) };
    let word = page.paint(colour, word);
    let slo = match (verdict.slo_met, &report.config.slo) {
        (Some(true), Some(slo)) => format!(", {} {slo}", page.paint(Colour::Good, "SLO met:")),
        (Some(false), Some(slo)) => format!(", {} {slo}", page.paint(Colour::Bad, "SLO MISSED:")),
        _ => String::new(),
    };
    page.section("verdict");
    page.line(&format!("{word}{slo}"));
    let missed = verdict.slo_missed.iter().map(|missed| ("missed", missed));
    let reasons = verdict.reasons.iter().map(|reason| ("suspect", reason));
    let notes = verdict.notes.iter().map(|note| ("note", note));
    for (kind, sentence) in missed.chain(reasons).chain(notes) {
        page.item(&format!("{kind}: {sentence}"));
    }
}

fn target(page: &mut Page, report: &Report) {
    let config = &report.config;
    page.section("target");
    if config.address == config.target || config.address.is_empty() {
        page.line(&config.target);
    } else {
        page.line(&format!("{} = {}", config.target, config.address));
    }
    let plural = |count: u32, what: &str| {
        format!("{} {what}{}", figures::count(count.into()), if count == 1 { "" } else { "s" })
    };
    let mut parts = vec![
        config.workload.clone(),
        loop_text(report),
        plural(config.connections, "connection"),
        plural(config.threads, "thread"),
    ];
    if config.pipeline > 1 {
        parts.push(format!("pipeline {}", config.pipeline));
    }
    if let Some(requests) = &config.requests_per_connection {
        parts.push(format!("{requests} requests per connection"));
    }
    if config.request_bytes > 0 {
        parts.push(format!("requests of {}", figures::bytes(config.request_bytes as f64)));
    }
    if let Some(bytes) = config.reply_bytes {
        parts.push(format!("replies of {}", figures::bytes(bytes as f64)));
    }
    parts.push(format!("{} s", figures::number(config.duration_s)));
    if let Some(requests) = config.requests {
        parts.push(format!("or {} requests", figures::count(requests)));
    }
    if config.warm_up_s > 0.0 {
        parts.push(format!("after {} s of warm-up", figures::number(config.warm_up_s)));
    }
    parts.push(format!("timeout {} s", figures::number(config.timeout_s)));
    parts.retain(|part| !part.is_empty());
    page.line(&parts.join(", "));
}

fn loop_text(report: &Report) -> String {
    let config = &report.config;
    let requests = report.stream.is_none() && report.hold.is_none();
    match (config.rate_per_s, config.rate_end_per_s) {
        (Some(rate), end) => {
            let end = end.map(|end| format!(" to {}/s", figures::number(end))).unwrap_or_default();
            let arrivals = config.arrivals.as_deref().unwrap_or("constant");
            format!("open loop at {}/s{end}, {arrivals}", figures::number(rate))
        }
        (None, _) if requests => "closed loop".to_owned(),
        (None, _) => String::new(),
    }
}

fn again(page: &mut Page, report: &Report) {
    if !report.config.command.is_empty() {
        page.section("again");
        page.line(&command_line(&report.config.command));
    }
}

/// Arguments as a shell reads them.
#[must_use]
pub fn command_line(arguments: &[String]) -> String {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "-_./:=,@%+[]".contains(sign);
    let quoted = |argument: &String| {
        if !argument.is_empty() && argument.chars().all(plain) {
            argument.clone()
        } else {
            format!("'{}'", argument.replace('\'', r"'\''"))
        }
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;

//! The top of the page: what was measured, and whether it can be believed.

use super::{escape, title};
use crate::report::{Report, plot};

/// Name, verdict, and why.
pub(super) fn header(report: &Report) -> String {
    let title = escape(&title(report));
    let summary = escape(&summary(report));
    let banners: String = banners(report).iter().map(Banner::html).collect();
    format!(
        "<header>\n<p class=\"brand\">loadgen</p>\n<h1>{title}</h1>\n<p class=\"summary\">{summary}</p>\n\
         {banners}</header>\n"
    )
}

/// The run in one line.
fn summary(report: &Report) -> String {
    let config = &report.config;
    let mut parts = Vec::new();
    if config.address != config.target && !config.address.is_empty() {
        parts.push(config.address.clone());
    }
    parts.push(counted(config.connections, "connection"));
    parts.push(counted(config.threads, "thread"));
    parts.push(match (config.rate_per_s, config.rate_end_per_s) {
        (Some(from), Some(to)) => {
            format!("open loop, {} to {} requests/s", plot::rate(from), plot::rate(to))
        }
        (Some(rate), None) => {
            let arrivals = config.arrivals.as_deref().unwrap_or("constant");
            format!("open loop, {} requests/s, {arrivals}", plot::rate(rate))
        }
        _ if matches!(config.workload.as_str(), "stream" | "hold") => String::new(),
        _ => "closed loop".to_owned(),
    });
    parts.push(format!("{} measured", plot::seconds(report.totals.elapsed_s)));
    parts.push(report.env.started_at.clone());
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

fn counted(count: u32, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", plot::count(count.into()))
}

/// One statement about the run, and what supports it.
struct Banner {
    class: &'static str,
    sign: &'static str,
    word: &'static str,
    text: String,
    reasons: Vec<String>,
}

impl Banner {
    fn aside(sign: &'static str, word: &'static str, text: &str, reasons: Vec<String>) -> Self {
        Self { class: "note-banner", sign, word, text: text.to_owned(), reasons }
    }

    fn html(&self) -> String {
        let Self { class, sign, word, text, .. } = self;
        let reason = |reason: &String| format!("<li>{}</li>", escape(reason));
        let reasons: String = self.reasons.iter().map(reason).collect();
        let reasons =
            if reasons.is_empty() { String::new() } else { format!("<ul>{reasons}</ul>") };
        format!(
            "<div class=\"verdict {class}\"><span class=\"sign\" aria-hidden=\"true\">{sign}</span>\
             <div><p><strong>{word}</strong> {}</p>{reasons}</div></div>\n",
            escape(text)
        )
    }
}

fn banners(report: &Report) -> Vec<Banner> {
    let mut banners = vec![belief(report)];
    banners.extend(objective(report));
    let notes = &report.verdict.notes;
    if report.totals.stopped {
        let text = "before its end: this is what was measured until then.";
        banners.push(Banner::aside("■", "Stopped", text, Vec::new()));
    }
    if !notes.is_empty() {
        banners.push(Banner::aside("i", "To know", "", notes.clone()));
    }
    banners
}

fn belief(report: &Report) -> Banner {
    let verdict = &report.verdict;
    if !verdict.valid {
        let text = "These figures should not be believed before the cause is gone.".to_owned();
        return Banner {
            class: "warn",
            sign: "!",
            word: "SUSPECT",
            text,
            reasons: verdict.reasons.clone(),
        };
    }
    let totals = &report.totals;
    if totals.ok == 0 && totals.errors + totals.unanswered > 0 {
        let text = "No request was answered.".to_owned();
        return Banner { class: "bad", sign: "×", word: "Failed", text, reasons: Vec::new() };
    }
    let text = "Generator, schedule and counts passed every check.".to_owned();
    Banner { class: "good", sign: "✓", word: "Valid", text, reasons: Vec::new() }
}

fn objective(report: &Report) -> Option<Banner> {
    let verdict = &report.verdict;
    let slo = report.config.slo.clone().unwrap_or_default();
    let text = if slo.is_empty() { String::new() } else { format!("The objective was {slo}.") };
    Some(if verdict.slo_met? {
        Banner { class: "good", sign: "✓", word: "SLO met", text, reasons: Vec::new() }
    } else {
        let reasons = verdict.slo_missed.clone();
        Banner { class: "bad", sign: "×", word: "SLO missed", text, reasons }
    })
}

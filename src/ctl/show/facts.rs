//! Events, explanations, and what the program runs on.

use crate::api::{Event, Explanation, Info};
use crate::ctl::table::{Paper, Tone, wrapped};
use crate::ctl::units::{self, count};

/// Events, oldest first.
pub(crate) fn events(events: &[Event], paper: Paper) -> String {
    events.iter().map(|one| event(one, paper)).collect()
}

/// When, how grave, what; and below it what that was based on.
fn event(event: &Event, paper: Paper) -> String {
    let tone = match event.level.as_str() {
        "ERROR" => Tone::Bad,
        "WARNING" => Tone::Warn,
        _ => Tone::Plain,
    };
    let (time, level) = (paper.paint(&event.time, Tone::Dim), format!("{:<7}", event.level));
    let mut text = format!("{time} {} ", paper.paint(&level, tone));
    text += &wrapped(&event.message, paper.width, INDENT);
    text.push('\n');
    // A message may have it in it already.
    if !event.evidence.is_empty() && !event.message.contains(&event.evidence) {
        let evidence = wrapped(&event.evidence, paper.width, INDENT);
        for line in evidence.lines() {
            text += &format!("{:INDENT$}{}\n", "", paper.paint(line.trim_start(), Tone::Dim));
        }
    }
    text
}

/// The answer, and below it what it follows from.
pub(crate) fn explanation(explanation: &Explanation, paper: Paper) -> String {
    let answer = wrapped(&explanation.answer, paper.width, 0);
    let mut text: String =
        answer.lines().map(|line| paper.paint(line, Tone::Strong) + "\n").collect();
    for reason in &explanation.because {
        text += &format!("  - {}\n", wrapped(reason, paper.width, 4));
    }
    if !explanation.events.is_empty() {
        text += "\n";
        text += &events(&explanation.events, paper);
    }
    text
}

/// What the program is, and what it runs on.
pub(crate) fn info(info: &Info, paper: Paper) -> String {
    let mut engine = info.engine.clone();
    if let Some(why) = &info.engine_reason {
        engine += &format!(", because {why}");
    }
    let cpus: Vec<String> = info.cpus.iter().map(ToString::to_string).collect();
    let running = units::now_ms().saturating_sub(info.started_ms);
    let files = format!("{} open of at most {}", count(info.files_open), count(info.files_limit));
    let facts = [
        ("version", info.version.clone()),
        ("pid", info.pid.to_string()),
        ("running for", units::millis(running)),
        ("kernel", info.kernel.clone()),
        ("engine", engine),
        ("ring", info.ring_flags.join(" ")),
        ("control", info.control.clone()),
        ("files", files),
        ("sessions", format!("at most {}", count(info.sessions_max))),
        ("cpus", cpus.join(" ")),
        ("config", info.config.clone().unwrap_or_else(|| "the command line".to_owned())),
        ("state file", info.state_file.clone().unwrap_or_else(|| "none".to_owned())),
    ];
    let facts = facts.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| {
        let name = paper.paint(&format!("{name:<NAMES$}"), Tone::Dim);
        format!("{name}{}\n", wrapped(text, paper.width, NAMES))
    });
    let mut text: String = facts.collect();
    if !info.settings.is_empty() {
        text += "\n";
    }
    for setting in &info.settings {
        text += &format!("{}\n", wrapped(setting, paper.width, 4));
    }
    text
}

/// After `2026-11-30T12:00:00.000Z WARNING `.
const INDENT: usize = 33;
const NAMES: usize = 13;

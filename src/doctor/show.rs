//! The findings as a person reads them, and as a program does.

use std::io::{self, Write};

use ratatui::crossterm::terminal;
use serde::Serialize;

use super::needs::Needs;
use super::{Finding, Verdict};

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Columns that sentences are folded to; they are not folded without.
    width: Option<usize>,
    colours: bool,
}

impl Style {
    /// For where it goes: a terminal is as wide as it says, and has colours unless somebody objects
    /// (no-color.org).
    pub(super) fn of_stdout(is_terminal: bool) -> Self {
        let objection = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let size = terminal::size().ok().filter(|_| is_terminal);
        let width = size.map(|(columns, _)| usize::from(columns).clamp(NARROWEST, WIDEST));
        Self { width, colours: is_terminal && !objection && !dumb }
    }
}

/// One finding after the other: value, why it matters, and the line that mends it, which is never folded.
pub(super) fn text(
    out: &mut impl Write,
    needs: &Needs,
    findings: &[Finding],
    style: Style,
) -> io::Result<()> {
    let mut page = Page { out, style };
    let title = format!("evenkeel doctor: this host, for {}", describe(needs));
    page.sentence("", "", PLAIN, &title)?;
    writeln!(page.out)?;
    for finding in findings {
        let Finding { name, value, verdict, why, cure, note } = finding;
        let (word, colour) = label(*verdict);
        page.sentence(&format!("{word:<5} "), INDENT, colour, &format!("{name}: {value}"))?;
        page.sentence(INDENT, INDENT, DIM, why)?;
        if let Some(cure) = cure {
            page.line(&format!("{INDENT}-> "), BOLD, cure)?;
        }
        if let Some(note) = note {
            page.sentence(NOTE_INDENT, NOTE_INDENT, PLAIN, note)?;
        }
    }
    writeln!(page.out)?;
    page.sentence("", "", PLAIN, &summary(findings))
}

/// As one document.
pub(super) fn json(
    out: &mut impl Write,
    needs: &Needs,
    worst: Verdict,
    findings: &[Finding],
) -> io::Result<()> {
    let (shards, backlog) = (needs.cpus.len(), needs.backlog);
    let wanted = Wanted { max_sessions: needs.max_sessions, shards, backlog };
    serde_json::to_writer_pretty(&mut *out, &Document { schema: SCHEMA, worst, wanted, findings })?;
    writeln!(out)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    worst: Verdict,
    wanted: Wanted,
    findings: &'a [Finding],
}

/// What the findings were held against.
#[derive(Serialize)]
struct Wanted {
    /// Nothing where nobody said so: then as many as the host has room for.
    max_sessions: Option<u64>,
    shards: usize,
    backlog: u64,
}

struct Page<'a, W> {
    out: &'a mut W,
    style: Style,
}

impl<W: Write> Page<'_, W> {
    /// Folded; the first line begins with `first`, the others with `then`.
    fn sentence(&mut self, first: &str, then: &str, look: Look, text: &str) -> io::Result<()> {
        let width = self.style.width.map(|width| width - first.len());
        for (index, line) in fold(text, width).iter().enumerate() {
            self.line(if index == 0 { first } else { then }, look, line)?;
        }
        Ok(())
    }

    /// In one piece. A verdict is painted, and not what was found.
    fn line(&mut self, start: &str, look: Look, text: &str) -> io::Result<()> {
        let paint = |codes: &str, text| match self.style.colours && !codes.is_empty() {
            true => format!("\x1b[{codes}m{text}\x1b[0m"),
            false => String::from(text),
        };
        let (start, text) = (paint(look.start, start), paint(look.text, text));
        writeln!(self.out, "{start}{text}")
    }
}

/// How the start of a line and its text look, as parameters of SGR.
#[derive(Clone, Copy)]
struct Look {
    start: &'static str,
    text: &'static str,
}

fn label(verdict: Verdict) -> (&'static str, Look) {
    let (word, start) = match verdict {
        Verdict::Ok => ("ok", "32"),
        Verdict::Warn => ("warn", "33;1"),
        Verdict::Bad => ("BAD", "31;1"),
    };
    (word, Look { start, text: "" })
}

fn describe(needs: &Needs) -> String {
    let (shards, backlog) = (needs.cpus.len(), needs.backlog);
    let sessions = match needs.max_sessions {
        Some(sessions) => format!("{sessions} sessions"),
        None => "as many sessions as fit".to_owned(),
    };
    let plural = if shards == 1 { "" } else { "s" };
    format!("{sessions} on {shards} shard{plural}, backlog {backlog}")
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let all = findings.len();
    let counted = match (count(Verdict::Warn), count(Verdict::Bad)) {
        (0, 0) => return format!("all {all} are as they should be"),
        (warn, 0) => format!("{warn} of {all} could be better, nothing is bad"),
        (0, bad) => format!("{bad} of {all} bad"),
        (warn, bad) => format!("{bad} of {all} bad, {warn} could be better"),
    };
    let sysctl = |cure: &String| cure.starts_with("sysctl -w ");
    match findings.iter().filter_map(|finding| finding.cure.as_ref()).any(sysctl) {
        true => format!(
            "{counted}; what `sysctl -w` sets lasts until the host starts anew: to keep it, write the setting \
             into /etc/sysctl.d/90-evenkeel.conf"
        ),
        false => counted,
    }
}

/// Lines of at most so many columns, unless a word is longer.
fn fold(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("it begins with one");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            let gap = if line.is_empty() { "" } else { " " };
            *line += &format!("{gap}{word}");
        }
    }
    lines
}

/// Of the document; a change that a reader of the old form would misread changes it.
const SCHEMA: &str = "evenkeel.host/1";
const INDENT: &str = "      ";
/// Below the line that mends, after its arrow.
const NOTE_INDENT: &str = "         ";
/// Narrower than this, folding is worse than the terminal's own.
const NARROWEST: usize = 40;
/// Longer lines are hard to read.
const WIDEST: usize = 110;
const PLAIN: Look = Look { start: "", text: "" };
const DIM: Look = Look { start: "", text: "2" };
const BOLD: Look = Look { start: "", text: "1" };

#[cfg(test)]
mod tests {
    use super::super::needs::testing::needs;
    use super::*;

    const AS_IT_IS: Style = Style { width: None, colours: false };

    fn findings() -> [Finding; 2] {
        let first = Finding::ok("clock", "it goes", "times");
        let second =
            Finding::ok("weather", "wet and cold and windy all the day", "people get wet and cold")
                .but(
                    Verdict::Bad,
                    "sysctl -w net.weather.rain=0 net.weather.wind=0 net.weather.frost=0",
                )
                .noting("or buy an umbrella, as others do");
        [first, second]
    }

    fn shown(style: Style, findings: &[Finding]) -> String {
        let mut out = Vec::new();
        text(&mut out, &needs(), findings, style).expect("a vector takes it all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_finding_has_its_reason_and_its_cure_below() {
        let expected = "evenkeel doctor: this host, for as many sessions as fit on 2 shards, backlog 4096\n\n\
            ok    clock: it goes\n      times\n\
            BAD   weather: wet and cold and windy all the day\n      people get wet and cold\n      \
            -> sysctl -w net.weather.rain=0 net.weather.wind=0 net.weather.frost=0\n         \
            or buy an umbrella, as others do\n\n1 of 2 bad; what `sysctl -w` sets";
        assert!(
            shown(AS_IT_IS, &findings()).starts_with(expected),
            "{}",
            shown(AS_IT_IS, &findings())
        );
        let well = shown(AS_IT_IS, &findings()[..1]);
        assert!(well.ends_with("\n\nall 1 are as they should be\n"), "{well}");
    }

    #[test]
    fn sentences_are_folded_and_what_is_to_be_pasted_is_not() {
        let text = shown(Style { width: Some(40), ..AS_IT_IS }, &findings());
        let wide: Vec<&str> = text.lines().filter(|line| line.len() > 40).collect();
        assert_eq!(wide.len(), 1, "{text}");
        assert!(wide[0].starts_with("      -> sysctl -w "), "{text}");
        assert!(
            text.contains("BAD   weather: wet and cold and windy\n      all the day\n"),
            "{text}"
        );
    }

    #[test]
    fn colours_are_an_addition() {
        let coloured = shown(Style { colours: true, ..AS_IT_IS }, &findings());
        assert!(coloured.contains("\x1b[31;1mBAD   \x1b[0mweather"), "{coloured:?}");
        let mut plain = coloured;
        for code in ["32", "31;1", "2", "1", "0"] {
            plain = plain.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(plain, shown(AS_IT_IS, &findings()));
    }

    #[test]
    fn what_is_counted_at_the_end() {
        let with = |verdict| Finding::ok("a", "b", "c").but(verdict, "d");
        let (warn, bad) = (with(Verdict::Warn), with(Verdict::Bad));
        let good = Finding::ok("a", "b", "c");
        assert_eq!(summary(&[good, warn.clone()]), "1 of 2 could be better, nothing is bad");
        assert_eq!(summary(&[warn, bad.clone()]), "1 of 2 bad, 1 could be better");
        assert_eq!(summary(&[bad]), "1 of 1 bad");
    }

    #[test]
    fn programs_get_words_and_null() {
        let mut out = Vec::new();
        json(&mut out, &needs(), Verdict::Bad, &findings()).expect("a vector takes it all");
        let document: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((&document["worst"], &document["schema"]), (&"bad".into(), &SCHEMA.into()));
        assert_eq!(document["wanted"]["max_sessions"], serde_json::Value::Null);
        assert_eq!(document["findings"][0]["verdict"], "ok");
        assert!(document["findings"][0]["cure"].is_null());
        assert_eq!(document["findings"][1]["name"], "weather");
    }
}

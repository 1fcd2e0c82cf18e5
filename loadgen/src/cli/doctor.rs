//! `loadgen doctor`: each finding on a line as soon as it is known, or all of them as JSON.

use std::fmt::Write;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use loadgen::doctor::{Finding, Options, Verdict, examine};
use serde::Serialize;

use super::values::small_count;
use super::{Failure, print_now};

/// What `doctor` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Connections that a run shall have
    #[arg(short, long, default_value = "50", value_parser = small_count)]
    connections: NonZeroU32,
    /// Leave the floor out, which takes two seconds and a processor
    #[arg(long)]
    no_floor: bool,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
    /// Exit with 4 when something is bad
    #[arg(long)]
    strict: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    worst: Verdict,
    findings: &'a [Finding],
}

/// Looks at the limits, the clock and the floor of this generator on this machine.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let options = Options {
        connections: arguments.connections,
        floor: (!arguments.no_floor).then_some(FLOOR),
    };
    let findings = examine(&options, |finding| {
        if !arguments.json {
            print_now(&lines(finding));
        }
    });
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    if arguments.json {
        let document = Document { schema: SCHEMA, worst, findings: &findings };
        let text = serde_json::to_string_pretty(&document).map_err(Failure::run)?;
        print_now(&format!("{text}\n"));
    }
    let suspect = arguments.strict && worst == Verdict::Bad;
    Ok(if suspect { ExitCode::from(SUSPECT) } else { ExitCode::SUCCESS })
}

/// A line for what was found, and another one for what mends it.
fn lines(finding: &Finding) -> String {
    let Finding { name, value, verdict, why, cure } = finding;
    let verdict = match verdict {
        Verdict::Ok => "ok",
        Verdict::Note => "note",
        Verdict::Bad => "BAD",
    };
    let mut lines = format!("{verdict:<5} {name:<22} {value}  ({why})\n");
    if let Some(cure) = cure {
        // A string takes every byte.
        let _ = writeln!(lines, "{:<5} {:<22} -> {cure}", "", "");
    }
    lines
}

/// Of the document; a change that a reader of the old form would misread changes it.
const SCHEMA: &str = "evenkeel.doctor/1";
/// Long enough for a median, twice.
const FLOOR: Duration = Duration::from_secs(1);
/// The figures of this machine are not to be trusted.
const SUSPECT: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cure_has_a_line_of_its_own() {
        let mut finding = Finding {
            name: "clock",
            value: "slow".to_owned(),
            verdict: Verdict::Bad,
            why: "times",
            cure: Some("buy one".to_owned()),
        };
        let indent = " ".repeat(28);
        let first = "BAD   clock                  slow  (times)\n";
        assert_eq!(lines(&finding), format!("{first}{indent} -> buy one\n"));
        (finding.verdict, finding.cure) = (Verdict::Ok, None);
        assert_eq!(lines(&finding), "ok    clock                  slow  (times)\n");
    }
}

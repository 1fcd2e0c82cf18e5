//! Whether this machine can be measured from: its limits, its clock, its timers, and how fast this
//! generator is on it when nothing is in between.
//!
//! Each [`Finding`] says what was found, whether that is good enough, why it matters and what mends
//! it. What is looked up is judged by functions of plain values, so that every judgement is tested.

mod clock;
mod floor;
mod kernel;
mod machine;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// What was found, with its unit.
    pub value: String,
    /// Whether that will do.
    pub verdict: Verdict,
    /// What depends on it.
    pub why: &'static str,
    /// The command, or the option, that mends it; nothing where nothing needs to be mended.
    pub cure: Option<String>,
}

/// Whether something will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// Good to know; some measurements want it otherwise.
    Note,
    /// Figures will be wrong, or a run will not come to its end.
    Bad,
}

/// What shall be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Connections that a run shall have.
    pub connections: NonZeroU32,
    /// How long each measurement of the floor takes; none is made without.
    pub floor: Option<Duration>,
}

/// Looks at everything and tells of each thing as soon as it is known.
pub fn examine(options: &Options, mut tell: impl FnMut(&Finding)) -> Vec<Finding> {
    let mut findings = Vec::new();
    let before = machine::cpu_times();
    let mut found = |finding: Finding| {
        tell(&finding);
        findings.push(finding);
    };
    kernel::findings(options.connections.get()).into_iter().for_each(&mut found);
    clock::findings().into_iter().for_each(&mut found);
    machine::findings().into_iter().for_each(&mut found);
    if let Some(time) = options.floor {
        floor::findings(time).into_iter().for_each(&mut found);
    }
    machine::stolen(before, machine::cpu_times()).into_iter().for_each(&mut found);
    findings
}

impl Finding {
    fn ok(name: &'static str, value: impl Into<String>, why: &'static str) -> Self {
        Self { name, value: value.into(), verdict: Verdict::Ok, why, cure: None }
    }

    /// The same, not as it should be: `cure` mends it.
    fn but(self, verdict: Verdict, cure: impl Into<String>) -> Self {
        Self { verdict, cure: Some(cure.into()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_looked_at() {
        let options = Options { connections: NonZeroU32::MIN, floor: None };
        let mut told = Vec::new();
        let findings = examine(&options, |finding| told.push(finding.clone()));
        assert_eq!(told, findings);
        let names: Vec<&str> = findings.iter().map(|finding| finding.name).collect();
        for name in ["open files", "local ports", "clock source", "timer", "io_uring"] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
        for finding in &findings {
            assert!(!finding.value.is_empty() && !finding.why.is_empty(), "{finding:?}");
            let mended = finding.verdict == Verdict::Ok || finding.cure.is_some();
            assert!(mended, "{finding:?}");
        }
    }

    #[test]
    fn verdicts_are_in_order_and_small_words() {
        assert!(Verdict::Ok < Verdict::Note && Verdict::Note < Verdict::Bad);
        let words = [Verdict::Ok, Verdict::Note, Verdict::Bad].map(|one| serde_json::json!(one));
        assert_eq!(words, ["ok", "note", "bad"]);
    }
}

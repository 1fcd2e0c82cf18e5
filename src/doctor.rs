//! `evenkeel doctor`: what this host will limit, held against what the configuration wants of it.
//!
//! [`facts`] reads the host, [`needs`] reads the configuration; [`judge`] is a pure function of both, so that
//! every verdict is tested by a table; [`show`] tells people and programs. Nothing is started or changed.

mod facts;
mod judge;
mod needs;
mod show;

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use uring::NofileLimit;

use crate::cli::Doctor;
use crate::config::{Config, Draft, Problems};
use facts::Facts;
use needs::Needs;
use show::Style;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub name: String,
    /// What was found, with its unit.
    pub value: String,
    /// Whether that will do.
    pub verdict: Verdict,
    /// What depends on it.
    pub why: &'static str,
    /// The line that mends it, to be pasted; nothing where nothing needs to be mended.
    pub cure: Option<String>,
    /// What else mends it, or what to know of the cure.
    pub note: Option<String>,
}

/// Whether something will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// It works, and will not be as good, or not as much, as it could be.
    Warn,
    /// What the configuration asks for will not work.
    Bad,
}

/// Why nothing could be looked at, or told.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// The configuration is wrong, whatever the host is like.
    #[error(transparent)]
    Config(#[from] Problems),
    /// Standard output is closed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Looks at everything and prints it; the worst verdict.
///
/// # Errors
/// When the configuration is wrong, or nobody takes what is printed.
pub fn run(options: &Doctor) -> Result<Verdict, DoctorError> {
    let draft = Draft::load(&options.serve)?;
    let needs = Needs::of(&draft, &resolve(&draft)?);
    let findings = judge::findings(&Facts::read(), &needs);
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    let mut out = io::stdout().lock();
    let style = Style::of_stdout(out.is_terminal());
    if options.json {
        show::json(&mut out, &needs, worst, &findings)?;
    } else {
        show::text(&mut out, &needs, &findings, style)?;
    }
    out.flush()?;
    Ok(worst)
}

/// As if there were descriptors for everything: how many there are is one of the things to judge.
fn resolve(draft: &Draft) -> Result<Config, Problems> {
    let plenty = NofileLimit { before: u64::MAX, now: u64::MAX };
    Config::resolve_under(draft, plenty)
}

impl Finding {
    fn ok(name: impl Into<String>, value: impl Into<String>, why: &'static str) -> Self {
        let (name, value) = (name.into(), value.into());
        Self { name, value, verdict: Verdict::Ok, why, cure: None, note: None }
    }

    /// The host does not tell; whoever can look should.
    fn unknown(name: &str, why: &'static str, look: impl Into<String>) -> Self {
        let note = "hidden here, as in some containers: the line shows it on the host";
        Self::ok(name, "not told", why).but(Verdict::Warn, look).noting(note)
    }

    /// The same, not as it should be: `cure` mends it.
    fn but(self, verdict: Verdict, cure: impl Into<String>) -> Self {
        Self { verdict, cure: Some(cure.into()), ..self }
    }

    fn noting(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

//! What `search`, `sweep` and `ab` have in common: runs one after the other, a line about each, and
//! a result in two forms.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use loadgen::load::{self, Plan, Rate, Workload};
use loadgen::report::env::Start;
use loadgen::report::{Progress, Report, judge};
use loadgen::sut::{self, Observer};
use serde_json::Value;

use super::conduct::stop_on_signal;
use super::load::{LoadArguments, RequestArguments, StayArguments, Where};
use super::{Failure, STOPPED, print_now};

/// The load of each run: what `ping`, `http` and `conn` take, without where it goes.
#[derive(Clone, Debug, Args)]
pub(super) struct RunArguments {
    /// What is measured
    #[arg(long, value_enum, default_value_t = WorkloadName::Ping)]
    workload: WorkloadName,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    stay: StayArguments,
    #[command(flatten)]
    request: RequestArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WorkloadName {
    /// Requests on connections that stay
    Ping,
    /// HTTP/1.1 requests
    Http,
    /// A connection for each request
    Conn,
}

impl RunArguments {
    /// Whether it is an open loop at a rate that was typed.
    pub(super) fn has_rate(&self) -> bool {
        self.load.has_rate()
    }

    /// One run, watched and judged; setting `stop` ends it early.
    pub(super) fn measure(
        &self,
        target: &Where,
        sut: Option<sut::Target>,
        setting: &Setting,
        stop: &AtomicBool,
    ) -> Result<Report, Failure> {
        let plan = setting.apply(self.plan(target)?);
        plan.check().map_err(|error| Failure::Usage(error.to_string()))?;
        let start = Start::now();
        let mut observer = Observer::new(sut).map_err(Failure::run)?;
        let mut on_progress = |progress: &Progress<'_>| observer.on_phase(progress.phase);
        let mut report = load::run(&plan, &mut on_progress, stop).map_err(Failure::run)?;
        observer.finish(&mut report);
        start.describe(&mut report.env);
        report.config.target = target.to_string();
        report.verdict = judge(&report, None);
        Ok(report)
    }

    fn plan(&self, target: &Where) -> Result<Plan, Failure> {
        let plan = |workload| self.load.plan(target, workload);
        Ok(match self.workload {
            WorkloadName::Ping => self.stay.plan(plan(Workload::Ping)?),
            WorkloadName::Http => {
                let http = Some(self.request.request(target));
                Plan { http, ..self.stay.plan(plan(Workload::Http)?) }
            }
            WorkloadName::Conn => plan(Workload::Conn)?,
        })
    }
}

impl Setting {
    fn apply(&self, mut plan: Plan) -> Plan {
        if let Some(rate) = self.rate_per_s {
            plan.rate = Some(Rate { from_per_s: rate, to_per_s: rate });
        }
        plan.connections = self.connections.unwrap_or(plan.connections);
        plan.sizes.request = self.request_bytes.unwrap_or(plan.sizes.request);
        plan.duration = self.duration.unwrap_or(plan.duration);
        plan
    }
}

/// Where a verdict over several runs goes, and when it is no success.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Verdicts {
    /// Write the result as JSON to this file; `-` is standard output, instead of the text
    #[arg(long = "json", id = "verdict_json", value_name = "FILE")]
    json: Option<PathBuf>,
    /// Answer with exit code 4 when a run was suspect
    #[arg(long = "strict", id = "verdict_strict")]
    strict: bool,
}

/// What one of several runs has that the others may not have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Setting {
    /// Which of the targets, where there are several.
    pub(super) target: usize,
    /// An open loop at so many requests a second.
    pub(super) rate_per_s: Option<f64>,
    /// Connections.
    pub(super) connections: Option<NonZeroU32>,
    /// Bytes of a request.
    pub(super) request_bytes: Option<u32>,
    /// How long is measured.
    pub(super) duration: Option<Duration>,
}

/// What does the runs. Tests put a simulation here.
pub(super) struct Runs<'a> {
    /// One run.
    pub(super) measure: &'a mut dyn FnMut(&Setting) -> Result<Report, Failure>,
    /// Whether to stop; a run that is under way then ends early.
    pub(super) stop: &'a AtomicBool,
}

impl Runs<'_> {
    /// A run; `None` when it was stopped, since half a run is no result among whole ones.
    pub(super) fn measure(&mut self, setting: &Setting) -> Result<Option<Report>, Failure> {
        if self.is_stopped() {
            return Ok(None);
        }
        let report = (self.measure)(setting)?;
        Ok(Some(report).filter(|_| !self.is_stopped()))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A line on standard error about each run.
#[derive(Debug)]
pub(super) struct Ticker {
    total: Option<usize>,
    done: Cell<usize>,
    began: Instant,
}

impl Ticker {
    /// For so many runs, where that is known.
    pub(super) fn new(total: Option<usize>) -> Self {
        Self { total, done: Cell::new(0), began: Instant::now() }
    }

    /// A run is over.
    pub(super) fn show(&self, text: &str) {
        let done = self.done.get() + 1;
        self.done.set(done);
        let elapsed = self.began.elapsed();
        let Some(total) = self.total else {
            return eprintln!("{:>4} s  {done:>3}  {text}", elapsed.as_secs());
        };
        let left = elapsed / u32::try_from(done).unwrap_or(u32::MAX)
            * u32::try_from(total.saturating_sub(done)).unwrap_or(u32::MAX);
        eprintln!(
            "{:>4} s  {done:>3}/{total}  {text}  ({} s left)",
            elapsed.as_secs(),
            left.as_secs()
        );
    }
}

/// What came of all runs.
#[derive(Debug)]
pub(super) struct Outcome {
    /// For people.
    pub(super) text: String,
    /// For programs.
    pub(super) json: Value,
    /// Whether a run that counts was suspect.
    pub(super) suspect: bool,
    /// Whether it ended before its end.
    pub(super) stopped: bool,
    /// What it stands for if nothing else is the matter.
    pub(super) code: u8,
}

impl Verdicts {
    /// Does all runs and writes what came of them.
    pub(super) fn conduct(
        &self,
        runs: impl FnOnce(&AtomicBool) -> Result<Outcome, Failure>,
    ) -> Result<ExitCode, Failure> {
        self.check()?;
        let stop = stop_on_signal()?;
        self.write(&runs(&stop)?)
    }

    /// Before the runs: whether the file can be written.
    fn check(&self) -> Result<(), Failure> {
        let Some(path) = self.file() else { return Ok(()) };
        let open = std::fs::OpenOptions::new().append(true).create(true).open(path);
        open.map(drop).map_err(|error| cannot_write(path, &error))
    }

    /// After them.
    fn write(&self, result: &Outcome) -> Result<ExitCode, Failure> {
        let json = format!("{:#}\n", result.json);
        match (&self.json, self.file()) {
            (Some(_), None) => print_now(&json),
            (_, Some(path)) => {
                print_now(&result.text);
                std::fs::write(path, json).map_err(|error| cannot_write(path, &error))?;
            }
            (None, None) => print_now(&result.text),
        }
        Ok(ExitCode::from(self.code(result)))
    }

    fn code(&self, result: &Outcome) -> u8 {
        match result {
            Outcome { stopped: true, .. } => STOPPED,
            Outcome { code: 0, suspect: true, .. } if self.strict => SUSPECT,
            Outcome { code, .. } => *code,
        }
    }

    fn file(&self) -> Option<&Path> {
        self.json.as_deref().filter(|&path| path != Path::new("-"))
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display();
    Failure::Run(format!("cannot write the result to {path}: {error}; give another file to --json"))
}

/// Rows under their heads; the first column begins on the left, the others end on the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let len =
        |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| len(row, column)).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            line +=
                &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The exit code of what could not be done.
pub(super) const NOT_RUN: u8 = 1;
/// The exit code of a missed objective.
pub(super) const MISSED: u8 = 3;
const SUSPECT: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_end_below_one_another() {
        let rows =
            [vec!["a".to_owned(), "µs".to_owned()], vec!["bcd".to_owned(), "1234".to_owned()]];
        assert_eq!(table(&rows), "a      µs\nbcd  1234\n");
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        for (stopped, suspect, strict, code, expected) in [
            (false, false, false, 0, 0),
            (false, true, false, 0, 0),
            (false, true, true, 0, 4),
            (false, true, true, 3, 3),
            (true, true, true, 3, 130),
        ] {
            let result = Outcome { text: String::new(), json: Value::Null, suspect, stopped, code };
            let verdicts = Verdicts { json: None, strict };
            assert_eq!(verdicts.code(&result), expected, "{result:?}");
        }
    }
}

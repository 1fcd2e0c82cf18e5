//! `loadgen ab`.

mod restart;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use loadgen::judge::{Comparison, Metric, Sample, compare, orders, pairs_needed};
use loadgen::report::{Report, figures};
use loadgen::sut;
use serde_json::{Value, json};

use super::Failure;
use super::judged::{Outcome, RunArguments, Runs, Setting, Ticker, Verdicts, table};
use super::load::Where;

/// What `ab` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    verdicts: Verdicts,
}

/// What is compared, and how.
#[derive(Clone, Debug, Args)]
struct Options {
    /// What to compare, at least two; `direct=` past the balancer is a good control
    #[arg(value_name = "NAME=HOST:PORT", required = true, num_args = 2..)]
    targets: Vec<Named<Where>>,
    /// Run this with sh before each run of a target, and wait until it accepts connections
    #[arg(long, value_name = "NAME=COMMAND")]
    restart: Vec<Named<String>>,
    /// The process or cgroup behind a target: NAME=PID, NAME=@pidfile or NAME=cgroup:DIR
    #[arg(long, value_name = "NAME=WHAT")]
    sut: Vec<Named<sut::Target>>,
    /// Runs of each target; at least 5, and as many as the comparisons need if not given
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,
    /// What is compared: goodput, p50, p99, cpu; all of them if not given
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    metric: Vec<Metric>,
    /// How often equal targets may be told apart by chance
    #[arg(long, value_name = "P", default_value_t = 0.05, value_parser = alpha)]
    alpha: f64,
}

/// `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named<T> {
    name: String,
    value: T,
}

/// Compare targets, interleaved, with a statistical verdict.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { options, run, verdicts } = arguments;
    verdicts.conduct(|stop| {
        let mut measure = |setting: &Setting| {
            let target = &options.targets[setting.target];
            run.measure(&target.value, options.sut_of(&target.name), setting, stop)
        };
        ab(options, &mut Runs { measure: &mut measure, stop })
    })
}

/// One run, for the result.
struct Made {
    round: usize,
    position: usize,
    target: usize,
    report: Report,
}

fn ab(options: &Options, runs: &mut Runs<'_>) -> Result<Outcome, Failure> {
    options.check_names()?;
    let pairs = options.pairs()?;
    let ticker = Ticker::new(Some(pairs * options.targets.len()));
    let mut made: Vec<Made> = Vec::new();
    'all: for (round, order) in orders(options.targets.len(), pairs).into_iter().enumerate() {
        for (position, target) in order.into_iter().enumerate() {
            options.restart(target)?;
            let setting = Setting { target, ..Setting::default() };
            let Some(report) = runs.measure(&setting)? else { break 'all };
            ticker.show(&line(&options.targets[target].name, &report));
            made.push(Made { round, position, target, report });
        }
    }
    let samples: Vec<Sample> =
        (0..options.targets.len()).map(|target| options.sample(target, &made)).collect();
    let comparisons = compare(&samples, options.alpha);
    Ok(Outcome {
        text: text(options, &samples, &comparisons, &made),
        json: options.json(&comparisons, &made),
        suspect: made.iter().any(|one| !one.report.verdict.valid),
        stopped: runs.is_stopped(),
        code: 0,
    })
}

impl Options {
    fn metrics(&self) -> Vec<Metric> {
        let asked = |metric: &Metric| self.metric.is_empty() || self.metric.contains(metric);
        // Without anybody to look at there is no processor time.
        let known = |metric: &Metric| *metric != Metric::CpuPerRequest || self.sut.len() > 1;
        Metric::ALL.into_iter().filter(asked).filter(known).collect()
    }

    /// How many runs of each target, and whether so many can show anything.
    fn pairs(&self) -> Result<usize, Failure> {
        let targets = self.targets.len();
        let comparisons = targets * (targets - 1) / 2 * self.metrics().len();
        let needed = pairs_needed(comparisons, self.alpha).max(PAIRS_MIN);
        match self.pairs {
            None => Ok(needed),
            Some(pairs) if pairs >= needed => Ok(pairs),
            Some(pairs) if pairs < PAIRS_MIN => Err(Failure::Usage(format!(
                "--pairs {pairs} is too few for a verdict: give at least {PAIRS_MIN}"
            ))),
            Some(pairs) => Err(Failure::Usage(format!(
                "--pairs {pairs} cannot show any difference among {comparisons} comparisons: give \
                 --pairs {needed}, or compare less, such as --metric goodput"
            ))),
        }
    }

    fn check_names(&self) -> Result<(), Failure> {
        let names: Vec<&str> = self.targets.iter().map(|one| one.name.as_str()).collect();
        let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
        if let Some((_, name)) = twice {
            return Err(Failure::Usage(format!(
                "two targets are called {name}: give each its own name"
            )));
        }
        let others =
            self.restart.iter().map(|one| &one.name).chain(self.sut.iter().map(|one| &one.name));
        match others.into_iter().find(|name| !names.contains(&name.as_str())) {
            Some(name) => Err(Failure::Usage(format!(
                "no target is called {name}, only {}",
                names.join(", ")
            ))),
            None => Ok(()),
        }
    }

    fn restart(&self, target: usize) -> Result<(), Failure> {
        let Named { name, value } = &self.targets[target];
        match self.restart.iter().find(|one| one.name == *name) {
            Some(restart) => restart::restart(name, &restart.value, value),
            None => Ok(()),
        }
    }

    fn sut_of(&self, name: &str) -> Option<sut::Target> {
        self.sut.iter().find(|one| one.name == name).map(|one| one.value.clone())
    }

    /// The metrics that every run of a target carries.
    fn sample(&self, target: usize, made: &[Made]) -> Sample {
        let of = |metric: Metric| {
            let runs = made.iter().filter(|one| one.target == target);
            Some((metric, runs.map(|one| metric.of(&one.report)).collect::<Option<Vec<f64>>>()?))
        };
        let values = self.metrics().into_iter().filter_map(of).collect();
        Sample { name: self.targets[target].name.clone(), values }
    }

    fn json(&self, comparisons: &[Comparison], made: &[Made]) -> Value {
        let run = |one: &Made| {
            let values: BTreeMap<Metric, Option<f64>> =
                Metric::ALL.into_iter().map(|metric| (metric, metric.of(&one.report))).collect();
            json!({
                "round": one.round,
                "position": one.position,
                "valid": one.report.verdict.valid,
                "reasons": one.report.verdict.reasons,
                "values": values,
            })
        };
        let target = |(index, named): (usize, &Named<Where>)| {
            let runs = made.iter().filter(|one| one.target == index);
            json!({
                "name": named.name,
                "target": named.value.to_string(),
                "suspect": runs.clone().filter(|one| !one.report.verdict.valid).count(),
                "runs": runs.map(run).collect::<Vec<_>>(),
            })
        };
        json!({
            "schema": "evenkeel.loadgen.ab/1",
            "command": super::output::command(),
            "alpha": self.alpha,
            "targets": self.targets.iter().enumerate().map(target).collect::<Vec<_>>(),
            "comparisons": comparisons,
        })
    }
}

fn line(name: &str, report: &Report) -> String {
    let suspect = if report.verdict.valid { "" } else { ", SUSPECT" };
    let goodput = figures::number(report.totals.goodput_per_s);
    let p99 = figures::time_or_dash(report.latency.response.quantile_ns(0.99));
    format!("{name}: {goodput}/s, p99 {p99}{suspect}")
}

fn text(
    options: &Options,
    samples: &[Sample],
    comparisons: &[Comparison],
    made: &[Made],
) -> String {
    let metrics = options.metrics();
    let heads = ["target".to_owned(), "runs".to_owned()].into_iter();
    let mut rows = vec![heads.chain(metrics.iter().map(ToString::to_string)).collect::<Vec<_>>()];
    for (index, sample) in samples.iter().enumerate() {
        let runs = made.iter().filter(|one| one.target == index).count();
        let figures = metrics.iter().map(|&metric| median(metric, sample));
        rows.push([sample.name.clone(), runs.to_string()].into_iter().chain(figures).collect());
    }
    let mut text = table(&rows);
    text += "median of the runs, and the smallest and largest of them\n\n";
    for comparison in comparisons {
        text += &format!("{}\n", comparison.sentence);
    }
    if comparisons.is_empty() {
        text += "nothing could be compared: there are not runs enough\n";
    }
    text + &suspects(options, made)
}

fn median(metric: Metric, sample: &Sample) -> String {
    let figure = sample.values.get(&metric).and_then(|values| loadgen::judge::Figure::of(values));
    figure.map_or_else(|| "-".to_owned(), |figure| figure.show(metric))
}

fn suspects(options: &Options, made: &[Made]) -> String {
    let mut text = String::new();
    for (index, named) in options.targets.iter().enumerate() {
        let runs = made.iter().filter(|one| one.target == index);
        let suspect = runs.clone().filter(|one| !one.report.verdict.valid);
        let mut reasons: Vec<&String> =
            suspect.clone().flat_map(|one| &one.report.verdict.reasons).collect();
        reasons.sort_unstable();
        reasons.dedup();
        if let Some(first) = reasons.first() {
            let (count, all) = (suspect.count(), runs.count());
            text += &format!(
                "! {}: {count} of {all} runs SUSPECT, and they count: {first}\n",
                named.name
            );
        }
    }
    text
}

impl<T: FromStr> FromStr for Named<T>
where
    T::Err: std::fmt::Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
        if name.is_empty() {
            return Err("the name before = is missing".to_owned());
        }
        let value = value.parse().map_err(|error: T::Err| error.to_string())?;
        Ok(Self { name: name.to_owned(), value })
    }
}

fn alpha(text: &str) -> Result<f64, String> {
    let alpha = text.parse().ok().filter(|alpha| (0.001..=0.2).contains(alpha));
    alpha.ok_or_else(|| "write 0.001 to 0.2, such as 0.05".to_owned())
}

/// Fewer runs bound nothing.
const PAIRS_MIN: usize = 5;

#[cfg(test)]
#[path = "ab_tests.rs"]
mod tests;

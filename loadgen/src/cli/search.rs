//! `loadgen search`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use loadgen::judge::{Bound, Finding, Limit, Search, Trial, Vote};
use loadgen::report::slo::Slo;
use loadgen::report::{Report, figures, judge};
use serde_json::{Value, json};

use super::Failure;
use super::conduct::SutArguments;
use super::judged::{MISSED, NOT_RUN, Outcome, RunArguments, Runs, Setting, Ticker, Verdicts};
use super::load::TargetArguments;
use super::values::{count, positive_duration};

/// What `search` takes.
#[derive(Debug, Args)]
#[command(mut_arg("rate", |rate| rate.hide(true)), mut_arg("duration", |duration| duration.hide(true)))]
pub(super) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// What has to be kept, for example p99<2ms,err<0.1%
    #[arg(long, value_name = "OBJECTIVE")]
    slo: Slo,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    sut: SutArguments,
    #[command(flatten)]
    verdicts: Verdicts,
}

/// What is looked for, and where.
#[derive(Clone, Debug, Args)]
struct Options {
    /// The rate of the first trial, requests a second
    #[arg(long, value_name = "RATE", default_value = "1k", value_parser = rate)]
    from: f64,
    /// No trial goes above this
    #[arg(long, value_name = "RATE", default_value = "100M", value_parser = rate)]
    to: f64,
    /// How long each trial is measured
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    trial: Duration,
    /// How close the bounds have to be
    #[arg(long, value_name = "PER CENT", default_value = "5%", value_parser = precision)]
    precision: f64,
}

/// Find the highest rate that keeps an objective.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { target, slo, options, run, sut, verdicts } = arguments;
    if run.has_rate() {
        return Err(Failure::Usage("the rate is what is searched: give --from, not -R".to_owned()));
    }
    let (target, sut) = (target.target(), sut.target());
    verdicts.conduct(|stop| {
        let mut measure = |setting: &Setting| run.measure(&target, sut.clone(), setting, stop);
        search(options, slo, &mut Runs { measure: &mut measure, stop })
    })
}

/// One trial, for the result.
struct Made {
    rate_per_s: f64,
    trial: Trial,
    report: Report,
}

fn search(options: &Options, slo: &Slo, runs: &mut Runs<'_>) -> Result<Outcome, Failure> {
    let mut search = Search::new(options.from, options.to, options.precision);
    let ticker = Ticker::new(None);
    let mut made: Vec<Made> = Vec::new();
    let mut unknown = None;
    while let Some(rate_per_s) = search.next_rate() {
        let setting = Setting {
            rate_per_s: Some(rate_per_s),
            duration: Some(options.trial),
            ..Setting::default()
        };
        let Some(mut report) = runs.measure(&setting)? else { break };
        report.verdict = judge(&report, Some(slo));
        unknown = not_known(&report, rate_per_s);
        if unknown.is_some() {
            break;
        }
        let trial = Trial::of(&report);
        search.on_trial(rate_per_s, trial.vote);
        ticker.show(&line(rate_per_s, &trial, &report));
        made.push(Made { rate_per_s, trial, report });
    }
    let finding = search.finding();
    let why = match unknown {
        Some(why) if made.is_empty() => return Err(Failure::Run(why)),
        why => why.map(|why| format!("  {why}\n")).unwrap_or_default(),
    };
    Ok(Outcome {
        text: text(&finding, slo, &made) + &why,
        json: json(&finding, slo, &made),
        suspect: finding.limit == Limit::Generator,
        stopped: runs.is_stopped(),
        code: match finding.limit {
            Limit::NothingPassed => MISSED,
            Limit::Unfinished => NOT_RUN,
            Limit::Target | Limit::Generator | Limit::Ceiling => 0,
        },
    })
}

/// An objective that a trial cannot be held against would look like a target that fails.
fn not_known(report: &Report, rate_per_s: f64) -> Option<String> {
    let unknown = |missed: &&String| report.totals.ok > 0 && missed.contains(": not known, ");
    let missed = report.verdict.slo_missed.iter().find(unknown)?;
    let rate = figures::number(rate_per_s);
    Some(format!(
        "a trial at {rate}/s cannot be judged: {missed}; use a longer --trial, or a higher --from"
    ))
}

fn line(rate_per_s: f64, trial: &Trial, report: &Report) -> String {
    let (rate, p99) = (figures::number(rate_per_s), p99(report));
    match trial.vote {
        Vote::Pass => format!("{rate}/s passes: p99 {p99}"),
        Vote::Fail => format!("{rate}/s fails: {}", trial.why.join("; ")),
        Vote::Unjudged => format!("{rate}/s not judged, the generator: {}", trial.why.join("; ")),
    }
}

fn p99(report: &Report) -> String {
    figures::time_or_dash(report.latency.response.quantile_ns(0.99))
}

fn text(finding: &Finding, slo: &Slo, made: &[Made]) -> String {
    let passing = finding.highest_passing.map(|bound| {
        let goodput = |one: &Made| figures::number(one.report.totals.goodput_per_s);
        let how = |one: &Made| format!("p99 {}, goodput {}/s", p99(&one.report), goodput(one));
        row("passes", bound, bound.passed, last(made, bound, true).map(how))
    });
    let failing = finding.lowest_failing.map(|bound| {
        let name = if bound.failed > 0 { "fails" } else { "not known" };
        let why = |one: &Made| match one.trial.vote {
            Vote::Unjudged => format!("the generator: {}", one.trial.why.join("; ")),
            Vote::Pass | Vote::Fail => one.trial.why.join("; "),
        };
        row(name, bound, bound.failed + bound.unjudged, last(made, bound, false).map(why))
    });
    let rows: String = [passing, failing].into_iter().flatten().collect();
    format!("{}\n{rows}", headline(finding, slo))
}

/// The last trial at a bound that went this way.
fn last(made: &[Made], bound: Bound, passed: bool) -> Option<&Made> {
    let is_it = |one: &&Made| {
        let same = one.rate_per_s.total_cmp(&bound.rate_per_s).is_eq();
        same && (one.trial.vote == Vote::Pass) == passed
    };
    made.iter().rev().find(is_it)
}

fn row(name: &str, bound: Bound, votes: u32, how: Option<String>) -> String {
    let rate = figures::number(bound.rate_per_s);
    let all = bound.passed + bound.failed + bound.unjudged;
    format!("  {name:<9} {rate:>12}/s  {votes} of {all} trials  {}\n", how.unwrap_or_default())
}

fn headline(finding: &Finding, slo: &Slo) -> String {
    let rate = |bound: Option<Bound>| {
        bound.map_or_else(|| "-".to_owned(), |bound| figures::number(bound.rate_per_s))
    };
    let (passing, failing) = (rate(finding.highest_passing), rate(finding.lowest_failing));
    match (finding.limit, finding.highest_passing) {
        (Limit::Target, _) => {
            format!("{passing}/s is the highest rate that keeps {slo}; {failing}/s does not")
        }
        (Limit::Generator, Some(_)) => format!(
            "the generator is the limit: the target keeps {slo} at {passing}/s at least, and what \
             it can do beyond is not known; give the generator more threads (-t) or processors of \
             its own (--cpus)"
        ),
        (Limit::Generator, None) => format!(
            "the generator is the limit at {failing}/s already: nothing is known about the target; \
             see `loadgen doctor`, and give it threads (-t) and processors of its own (--cpus)"
        ),
        (Limit::Ceiling, _) => {
            format!("the target keeps {slo} at {passing}/s, the highest rate allowed (--to)")
        }
        (Limit::NothingPassed, _) => format!("no rate keeps {slo}: {failing}/s does not"),
        (Limit::Unfinished, _) => {
            let holds = finding.highest_passing.map(|_| format!("holds at {passing}/s"));
            let not = finding.lowest_failing.map(|bound| match bound.failed {
                0 => format!("could not be judged at {failing}/s"),
                _ => format!("does not hold at {failing}/s"),
            });
            let known: Vec<String> = [holds, not].into_iter().flatten().collect();
            let known = if known.is_empty() { "is not known".to_owned() } else { known.join(", ") };
            format!("the search was not finished: {slo} {known}")
        }
    }
}

fn json(finding: &Finding, slo: &Slo, made: &[Made]) -> Value {
    let bound = |bound: Option<Bound>| {
        bound.map(|bound| {
            json!({
                "rate_per_s": bound.rate_per_s,
                "passed": bound.passed,
                "failed": bound.failed,
                "unjudged": bound.unjudged,
            })
        })
    };
    let trials = made.iter().map(|one| {
        json!({
            "rate_per_s": one.rate_per_s,
            "result": match one.trial.vote {
                Vote::Pass => "pass",
                Vote::Fail => "fail",
                Vote::Unjudged => "generator_limit",
            },
            "why": one.trial.why,
            "achieved_per_s": one.report.totals.achieved_per_s,
            "goodput_per_s": one.report.totals.goodput_per_s,
            "p50_ns": one.report.latency.response.quantile_ns(0.5),
            "p99_ns": one.report.latency.response.quantile_ns(0.99),
            "errors": one.report.errors,
            "cpu_us_per_request": one.report.sut.as_ref().and_then(|sut| sut.cpu_us_per_request),
        })
    });
    json!({
        "schema": "evenkeel.loadgen.search/1",
        "command": super::output::command(),
        "slo": slo.to_string(),
        "limit": match finding.limit {
            Limit::Target => "target",
            Limit::Generator => "generator",
            Limit::Ceiling => "ceiling",
            Limit::NothingPassed => "nothing_passed",
            Limit::Unfinished => "unfinished",
        },
        "highest_passing": bound(finding.highest_passing),
        "lowest_failing": bound(finding.lowest_failing),
        "trials": trials.collect::<Vec<_>>(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "2^53 requests a second are none")]
fn rate(text: &str) -> Result<f64, String> {
    count(text).map(|rate| rate.get() as f64)
}

/// `5%` or `5`.
fn precision(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>().ok();
    let percent = percent.filter(|percent| (0.1..=100.0).contains(percent));
    percent
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "write 0.1% to 100%, such as 5%".to_owned())
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;

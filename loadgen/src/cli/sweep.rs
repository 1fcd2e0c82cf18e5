//! `loadgen sweep`.

use std::num::NonZeroU32;
use std::process::ExitCode;

use clap::Args;
use loadgen::judge::{Cell, Metric, Over, Sweep};
use loadgen::report::{Report, figures};

use super::Failure;
use super::conduct::SutArguments;
use super::judged::{Outcome, RunArguments, Runs, Setting, Ticker, Verdicts, table};
use super::load::TargetArguments;

/// What `sweep` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    sut: SutArguments,
    #[command(flatten)]
    verdicts: Verdicts,
}

/// What is varied, and how often.
#[derive(Clone, Debug, Args)]
struct Options {
    /// What is varied: rate=1k,2k,5k, conns=1..64*2 or size=100..500+100
    #[arg(long, value_name = "NAME=VALUES")]
    over: Sweep,
    /// How often each value is measured; every other round runs backwards
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// One result for each value of rate, connections or size.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { target, options, run, sut, verdicts } = arguments;
    if run.has_rate() && options.over.over == Over::Rate {
        return Err(Failure::Usage("the rate is what is varied: leave -R out".to_owned()));
    }
    let (target, sut) = (target.target(), sut.target());
    verdicts.conduct(|stop| {
        let mut measure = |setting: &Setting| run.measure(&target, sut.clone(), setting, stop);
        sweep(options, &mut Runs { measure: &mut measure, stop })
    })
}

fn sweep(options: &Options, runs: &mut Runs<'_>) -> Result<Outcome, Failure> {
    let Options { over: sweep, rounds } = options;
    let settings: Vec<Setting> =
        sweep.values.iter().map(|&value| setting(sweep.over, value)).collect::<Result<_, _>>()?;
    let mut reports: Vec<Vec<Report>> = vec![Vec::new(); settings.len()];
    let ticker = Ticker::new(Some(settings.len() * *rounds as usize));
    'all: for round in 0..*rounds as usize {
        for index in sweep.order(round) {
            let Some(report) = runs.measure(&settings[index])? else { break 'all };
            ticker.show(&line(sweep.over, sweep.values[index], &report));
            reports[index].push(report);
        }
    }
    let cells: Vec<Cell> = sweep
        .values
        .iter()
        .zip(&reports)
        .filter(|(_, reports)| !reports.is_empty())
        .map(|(&value, reports)| Cell::new(sweep.over, value, reports))
        .collect();
    Ok(Outcome {
        text: text(sweep.over, &cells),
        json: serde_json::to_value(&cells).map_err(Failure::run)?,
        suspect: cells.iter().any(|cell| cell.suspect > 0),
        stopped: runs.is_stopped(),
        code: 0,
    })
}

#[expect(clippy::cast_precision_loss, reason = "2^53 requests a second are none")]
fn setting(over: Over, value: u64) -> Result<Setting, Failure> {
    let small = |value: u64| {
        u32::try_from(value)
            .map_err(|_| Failure::Usage(format!("--over: {value} is more than 4294967295")))
    };
    Ok(match over {
        Over::Rate => Setting { rate_per_s: Some(value as f64), ..Setting::default() },
        Over::Conns => {
            let connections = NonZeroU32::new(small(value)?);
            Setting { connections, ..Setting::default() }
        }
        Over::Size => Setting { request_bytes: Some(small(value)?), ..Setting::default() },
    })
}

fn line(over: Over, value: u64, report: &Report) -> String {
    let suspect = if report.verdict.valid { "" } else { ", SUSPECT" };
    let goodput = figures::number(report.totals.goodput_per_s);
    let p99 = figures::time_or_dash(report.latency.response.quantile_ns(0.99));
    format!("{over} {}: {goodput}/s, p99 {p99}{suspect}", figures::count(value))
}

fn text(over: Over, cells: &[Cell]) -> String {
    let heads = [over.to_string()].into_iter().chain(Metric::ALL.map(|metric| metric.to_string()));
    let mut rows = vec![heads.collect::<Vec<_>>()];
    rows.extend(cells.iter().map(|cell| {
        let mark = if cell.suspect > 0 { " !" } else { "" };
        let name = format!("{}{mark}", figures::count(cell.value));
        let figures = Metric::ALL.map(|metric| figure(metric, cell));
        [name].into_iter().chain(figures).collect()
    }));
    let mut text = table(&rows);
    text += "median of the rounds, and the smallest and largest of them\n";
    for cell in cells.iter().filter(|cell| cell.suspect > 0) {
        let value = figures::count(cell.value);
        let reasons = cell.reasons.join("; ");
        text +=
            &format!("! {over} {value}: {} of {} SUSPECT: {reasons}\n", cell.suspect, cell.rounds);
    }
    text
}

fn figure(metric: Metric, cell: &Cell) -> String {
    cell.figures.get(&metric).map_or_else(|| "-".to_owned(), |figure| figure.show(metric))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use loadgen::report::sample;

    use super::*;

    fn run_sweep(
        over: &str,
        rounds: u32,
        mut measure: impl FnMut(&Setting) -> Result<Report, Failure>,
    ) -> Result<Outcome, Failure> {
        let options = Options { over: over.parse().expect("a range"), rounds };
        let stop = AtomicBool::new(false);
        sweep(&options, &mut Runs { measure: &mut measure, stop: &stop })
    }

    #[test]
    fn each_value_is_measured_in_each_round_and_back_again() {
        let mut asked = Vec::new();
        let outcome = run_sweep("conns=1,8", 3, |setting| {
            asked.push(setting.connections.expect("it is varied").get());
            let mut report = sample();
            report.verdict.valid = asked.len() != 2;
            report.verdict.reasons = vec!["late".to_owned()];
            report.totals.goodput_per_s = f64::from(asked[asked.len() - 1]) * 1000.0;
            Ok(report)
        });
        let outcome = outcome.expect("it runs");
        assert_eq!(asked, [1, 8, 8, 1, 1, 8]);
        let lines: Vec<&str> = outcome.text.lines().collect();
        assert!(lines[0].starts_with("conns"), "{}", outcome.text);
        assert!(lines[1].starts_with("1      1 000/s (1 000/s..1 000/s)  "), "{}", outcome.text);
        assert!(lines[2].starts_with("8 !    8 000/s (8 000/s..8 000/s)  "), "{}", outcome.text);
        assert_eq!(lines[4], "! conns 8: 1 of 3 SUSPECT: late");
        assert_eq!(outcome.json[1]["value"], 8);
        assert_eq!(outcome.json[1]["suspect"], 1);
        assert_eq!(outcome.json[1]["figures"]["goodput_per_s"]["median"], 8000.0);
        assert!(outcome.suspect);
    }

    #[test]
    fn each_range_sets_what_it_names() {
        let of = |over, value| setting(over, value).expect("it fits");
        assert_eq!(of(Over::Rate, 5).rate_per_s, Some(5.0));
        assert_eq!(of(Over::Conns, 5).connections, NonZeroU32::new(5));
        assert_eq!(of(Over::Size, 5).request_bytes, Some(5));
        assert!(setting(Over::Conns, 1 << 32).is_err());
    }
}

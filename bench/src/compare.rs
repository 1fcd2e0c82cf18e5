//! The comparison: every contender in every case, in alternating order, round after round; then
//! what the rounds say, on the terminal and in a file.

mod options;
mod report;

use std::io;
use std::num::NonZeroU32;

use crate::case::{Case, Kind};
use crate::contender::{Contender, Known};
use crate::document::{Absent, CaseResult};
use crate::figure::{Figure, Figures};
use crate::host::{self, Host};
use crate::network::{Cpus, Network};
use crate::run::{Bench, Run};
use crate::signals::Stop;
use crate::stats::Spread;
use crate::verdict::{Measured, Row, comparisons};

pub(crate) use options::Options;
use report::Report;

/// Runs what `options` ask for.
///
/// # Errors
/// When nothing can be measured, or the results cannot be written.
pub(crate) fn run(options: &Options, stop: Stop) -> io::Result<()> {
    let cases = options.cases()?;
    let chosen = options.contenders()?;
    host::build_evenkeel()?;
    uring::raise_nofile_limit()?;
    let (host, cpus) = (Host::read(), Cpus::deal()?);
    // Children and threads go where their place is; what stays here shall not disturb the balancer.
    host::keep_off(cpus.balancer)?;
    let network = if options.lab { Network::lab(&cpus)? } else { Network::loopback(&cpus)? };
    let bench = Bench {
        network,
        duration: options.duration(),
        idle_connections: options.idle_connections(),
        stop,
    };
    let mut report = Report::new(options, host, &cpus, &bench, look(&cases, &chosen));
    report.print_head();
    let present = report.present();
    report.look_at(&present, &bench)?;
    for case in cases {
        let result = measure(case, &present, options.rounds(), &bench)?;
        result.print();
        report.add(result)?;
    }
    report.finish()
}

/// Looks for those who have something to do in these cases.
fn look(cases: &[&Case], chosen: &[&'static Contender]) -> Vec<Known> {
    let needed = |one: &&&Contender| cases.iter().any(|case| one.stays_out_of(case).is_none());
    chosen.iter().filter(needed).map(|one| one.look()).collect()
}

/// Runs a case `rounds` times for each contender. Who fails is left out from then on, with the
/// reason.
fn measure(
    case: &'static Case,
    present: &[&Contender],
    rounds: NonZeroU32,
    bench: &Bench,
) -> io::Result<CaseResult> {
    let (contenders, left_out) = who_takes_part(case, present);
    let contenders = contenders.as_slice();
    let rate = match case.kind {
        Kind::Paced { connections, percent } => {
            let rate = bench.rate_of_weakest(contenders, connections, percent);
            bench.stop.check()?;
            rate.inspect_err(|error| eprintln!("  {}: {error}", case.key)).ok()
        }
        _ => None,
    };
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); contenders.len()];
    let mut failed: Vec<Absent> = Vec::new();
    for round in 0..rounds.get() {
        for index in order(contenders.len(), round) {
            let contender = contenders[index];
            if failed.iter().any(|one| one.contender == contender.name) {
                continue;
            }
            match bench.run(case, contender, rate) {
                Ok(run) => {
                    tell(case, contender, round, rounds, &run);
                    runs[index].push(run);
                }
                Err(error) => {
                    bench.stop.check()?;
                    eprintln!("  {}: {} FAILED: {error}", case.key, contender.name);
                    failed.push(Absent {
                        contender: contender.name.to_owned(),
                        why: error.to_string(),
                    });
                }
            }
        }
    }
    let whole = |runs: &&(&&Contender, Vec<Run>)| runs.1.len() == rounds.get() as usize;
    let both: Vec<_> = contenders.iter().zip(runs).collect();
    let rows: Vec<Row> = both.iter().filter(whole).map(|(one, runs)| row(one, runs)).collect();
    let comparisons = comparisons(case, &rows);
    Ok(CaseResult {
        key: case.key.to_owned(),
        title: case.title.to_owned(),
        rate_per_s: rate.map(NonZeroU32::get),
        rows,
        comparisons,
        failed,
        left_out,
    })
}

/// Those of `present` who have something to show in `case`, and the others with the reason.
fn who_takes_part<'a>(case: &Case, present: &[&'a Contender]) -> (Vec<&'a Contender>, Vec<Absent>) {
    let left_out = present.iter().filter_map(|one| {
        let why = one.stays_out_of(case)?.to_owned();
        Some(Absent { contender: one.name.to_owned(), why })
    });
    let taking_part = present.iter().filter(|one| one.stays_out_of(case).is_none());
    (taking_part.copied().collect(), left_out.collect())
}

/// There and back: what drifts with time hits each alike.
fn order(contenders: usize, round: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..contenders).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn tell(case: &Case, contender: &Contender, round: u32, rounds: NonZeroU32, run: &Run) {
    let figures: Figures = run.figures.clone();
    let show = |(figure, value): (Figure, f64)| format!("{} {}", figure.name(), figure.show(value));
    let figures: Vec<String> = figures.into_iter().map(show).collect();
    let (key, name) = (case.key, contender.name);
    eprintln!("  {key} {}/{rounds} {name:<16} {}", round + 1, figures.join(", "));
}

fn row(contender: &Contender, runs: &[Run]) -> Row {
    // Every run of a contender in a case has the same figures, or it has failed.
    let figures = runs[0].figures.iter().map(|&(figure, _)| figure);
    let measured = figures.filter_map(|figure| {
        let of =
            |run: &Run| run.figures.iter().find(|(one, _)| *one == figure).map(|(_, value)| *value);
        let rounds: Vec<f64> = runs.iter().filter_map(of).collect();
        (rounds.len() == runs.len()).then(|| Measured {
            figure,
            spread: Spread::of(&rounds),
            rounds,
        })
    });
    let figures = measured.collect();
    Row {
        contender: contender.name.to_owned(),
        figures,
        errors: runs.iter().map(|run| run.errors).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_alternates() {
        assert_eq!((order(3, 0), order(3, 1)), (vec![0, 1, 2], vec![2, 1, 0]));
    }

    #[test]
    fn a_row_has_the_rounds_in_their_order() {
        let run = |cpu, errors| Run { figures: vec![(Figure::CpuUs, cpu)], errors };
        let direct = Contender::named("direct").expect("it is one of them");
        let row = row(direct, &[run(3.0, 1), run(1.0, 0), run(2.0, 2)]);
        let measured = row.measured(Figure::CpuUs).expect("it was measured");
        assert_eq!(
            (measured.rounds.as_slice(), measured.spread.median),
            (&[3.0, 1.0, 2.0][..], 2.0)
        );
        assert_eq!(row.errors, 3);
    }
}

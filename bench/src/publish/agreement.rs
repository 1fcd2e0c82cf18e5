//! How far a second run agrees with the first: every median, every spread, every verdict.

use super::input::{Inputs, Measured};
use super::markdown::{label, percent, ratio, table};
use super::paired::US;
use crate::document::{CaseResult, Document};
use crate::figure::Figure;
use crate::stats::{Difference, Spread};
use crate::verdict::Row;

/// A figure of a contender in both runs.
#[derive(Clone, Debug)]
struct Cell {
    what: String,
    figure: Figure,
    first: Spread,
    again: Spread,
}

/// The section.
pub(super) fn section(inputs: &Inputs) -> String {
    let mut text = String::from(
        "## A second run\n\n\
         A run with `--again` measures everything a second time, and each of its cells is held against \
         the same cell of the first run. The distance is that of the medians, relative to the first run's. A median \
         is *within* when it lies in the first run's range of rounds; ranges *overlap* when there is a value \
         that both have; where they do not, the runs disagree, and the cell is named. A constant rate follows the \
         ceiling that the weakest contender had in that run, so `achieved/s` is held against it here, in percent, and \
         the other figures of these workloads were taken at different rates.\n",
    );
    for network in &inputs.networks {
        text += &format!("\n### Again: {}\n\n", network.name);
        text += &of_network(network);
    }
    text
}

fn of_network(network: &Measured) -> String {
    let (Some(first), Some(again)) = (&network.first, &network.again) else {
        return "Not measured.\n".to_owned();
    };
    let (from, to) = (first.file.as_str(), again.file.as_str());
    let mut text = format!("[{from}](results/{from}) and [{to}](results/{to}).\n\n");
    let (first, again) = (&first.document, &again.document);
    let cells = cells(first, again);
    if cells.is_empty() {
        return text + "They have no cell in common.\n";
    }
    let head = ["", "cells", "median distance", "largest", "within", "overlap", "disagree"];
    text += &table(&head, &summary(&cells));
    let alone = [missing(first, again, "second"), missing(again, first, "first")].concat();
    if !alone.is_empty() {
        text += &format!("\nIn one run only: {}.\n", alone.join(", "));
    }
    text += &format!("\n{}", apart(&cells));
    text + &format!("\n{}", verdicts(first, again))
}

/// Those that both runs have.
fn cells(first: &Document, again: &Document) -> Vec<Cell> {
    let mut cells = Vec::new();
    for case in &first.cases {
        for (row, one) in
            case.rows.iter().flat_map(|row| row.figures.iter().map(move |one| (row, one)))
        {
            let Some(other_case) = again.case(&case.key) else { continue };
            let other = other_case.measured(&row.contender, one.figure);
            cells.extend(other.map(|other| Cell {
                what: format!("{}, {}, {}", case.key, row.contender, one.figure.name()),
                figure: one.figure,
                first: of_its_rate(one.figure, one.spread, case),
                again: of_its_rate(one.figure, other.spread, other_case),
            }));
        }
    }
    cells
}

/// What was achieved, in percent of the rate that was asked for, to a tenth: a run ends between two
/// requests. Everything else as it is.
fn of_its_rate(figure: Figure, spread: Spread, case: &CaseResult) -> Spread {
    let Some(rate) = case.rate_per_s.filter(|_| figure == Figure::AchievedPerS) else {
        return spread;
    };
    let Spread { median, min, max } = spread;
    let percent = |value: f64| (value * 1000.0 / f64::from(rate)).round() / 10.0;
    let [median, min, max] = [median, min, max].map(percent);
    Spread { median, min, max }
}

/// Contenders with a row in `this` and none in `other`.
fn missing(this: &Document, other: &Document, which: &str) -> Vec<String> {
    let rows = this.cases.iter().flat_map(|case| case.rows.iter().map(move |row| (case, row)));
    let is_missing = |(case, row): &(&CaseResult, &Row)| {
        other.case(&case.key).is_none_or(|case| case.row(&row.contender).is_none())
    };
    let missing = rows.filter(is_missing);
    missing
        .map(|(case, row)| format!("{} {} (not in the {which})", case.key, row.contender))
        .collect()
}

impl Cell {
    /// Relative to the first; nothing where that is zero and the other is not.
    fn distance(&self) -> Option<f64> {
        let (first, again) = (self.first.median, self.again.median);
        if first == again {
            return Some(0.0);
        }
        (first != 0.0).then(|| ((again - first) / first).abs())
    }

    fn is_within(&self) -> bool {
        (self.first.min..=self.first.max).contains(&self.again.median)
    }

    fn overlaps(&self) -> bool {
        self.first.min <= self.again.max && self.again.min <= self.first.max
    }
}

/// A line for each figure, and one for all.
fn summary(cells: &[Cell]) -> Vec<Vec<String>> {
    let mut figures: Vec<Figure> = cells.iter().map(|cell| cell.figure).collect();
    figures.sort_unstable();
    figures.dedup();
    let of =
        |figure| cells.iter().filter(|cell| cell.figure == figure).cloned().collect::<Vec<_>>();
    let lines = figures.into_iter().map(|figure| line(figure.name(), &of(figure)));
    lines.chain([line("**all**", cells)]).collect()
}

fn line(name: &str, cells: &[Cell]) -> Vec<String> {
    let count = |is: fn(&Cell) -> bool| cells.iter().filter(|cell| is(cell)).count();
    let distances: Vec<f64> = cells.iter().filter_map(Cell::distance).collect();
    let (median, largest) = match distances.as_slice() {
        [] => ("-".to_owned(), "-".to_owned()),
        distances => {
            let Spread { median, max, .. } = Spread::of(distances);
            (percent(median), percent(max))
        }
    };
    let counts = [count(Cell::is_within), count(Cell::overlaps), count(|cell| !cell.overlaps())];
    let before = [name.to_owned(), cells.len().to_string(), median, largest];
    before.into_iter().chain(counts.map(|count| count.to_string())).collect()
}

/// The cells that disagree.
fn apart(cells: &[Cell]) -> String {
    let apart: Vec<_> = cells.iter().filter(|cell| !cell.overlaps()).map(named).collect();
    if apart.is_empty() {
        return "No cell disagrees.\n".to_owned();
    }
    let head = ["cells that disagree", "first", "second", "distance"];
    table(&head, &apart)
}

fn named(cell: &Cell) -> Vec<String> {
    let show = |Spread { median, min, max }| {
        let show = |value| cell.figure.show(value);
        format!("{} ({}–{})", show(median), show(min), show(max))
    };
    let distance = cell.distance().map_or("from zero".to_owned(), percent);
    vec![cell.what.clone(), show(cell.first), show(cell.again), distance]
}

/// A verdict of the first run beside that of the second.
struct Verdict {
    differences: [Difference; 2],
    /// Whether the target was met.
    met: [Option<bool>; 2],
    cells: Vec<String>,
}

/// Whether what was said of the first run can be said of the second.
fn verdicts(first: &Document, again: &Document) -> String {
    let both = first.cases.iter().filter_map(|case| Some((case, again.case(&case.key)?)));
    let all: Vec<Verdict> = both.flat_map(|(case, other)| of_case(case, other)).collect();
    let is_changed =
        |one: &&Verdict| one.differences[0] != one.differences[1] || one.met[0] != one.met[1];
    let is_turned = |one: &&Verdict| {
        let has = |wanted| one.differences.contains(&wanted);
        has(Difference::Ahead) && has(Difference::Behind)
    };
    let changed: Vec<_> = all.iter().filter(is_changed).map(|one| one.cells.clone()).collect();
    let (differ, turned) = (changed.len(), all.iter().filter(is_turned).count());
    let said = format!(
        "Verdicts on {US} and its variants that both runs have: {}. The same in the second run: {}. \
         Different: {differ}, of which {turned} turned from ahead to behind or back.\n",
        all.len(),
        all.len() - differ
    );
    let head = ["verdicts that differ", "first", "second"];
    if changed.is_empty() { said } else { format!("{said}\n{}", table(&head, &changed)) }
}

fn of_case(case: &CaseResult, other: &CaseResult) -> Vec<Verdict> {
    let compared = case.comparisons.iter().filter_map(|one| {
        let pair = other.paired(&one.ours, &one.theirs, one.figure)?;
        let met = [one.ratio, pair.over].map(|ratio| Some(ratio.median <= one.at_most?));
        let differences = [one.difference, pair.difference];
        let said = |index: usize, spread| {
            let target = match met[index] {
                Some(true) => "; target met",
                Some(false) => "; target MISSED",
                None => "",
            };
            format!("{}, {}{target}", ratio(spread), differences[index].text())
        };
        let what = format!("{}, {}: {} / {}", case.key, label(one.figure), one.ours, one.theirs);
        let cells = vec![what, said(0, one.ratio), said(1, pair.over)];
        Some(Verdict { differences, met, cells })
    });
    compared.collect()
}

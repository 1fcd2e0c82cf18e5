//! Where evenkeel is not ahead: everything that speaks against it, before anything else.

use super::input::Inputs;
use super::markdown::{label, ratio, spread, table};
use super::paired::US;
use crate::case::{BOTH, Group};
use crate::document::{CaseResult, Document};
use crate::stats::Difference;
use crate::verdict::Comparison;

/// A line of the tables.
#[derive(Debug)]
pub(super) struct Line {
    rank: Rank,
    cells: Vec<String>,
}

/// The worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Failed,
    Behind,
    Missed,
    NotSeen,
}

/// The section.
pub(super) fn section(inputs: &Inputs) -> String {
    let lines: Vec<Line> = inputs.shown().flat_map(|(_, document)| lines(document)).collect();
    let mut text = String::from("## Where evenkeel is not ahead\n\n");
    if lines.is_empty() {
        return text + "Nowhere: it is ahead in every round of everything that is compared.\n";
    }
    text += "Compared are costs, throughput, p99, and what clients notice of disruptions, with the better of HAProxy and nginx at their \
             defaults (in bulk also HAProxy with splice forced), and everything that has a target. \
             Ratios are evenkeel's figure over theirs.\n\n";
    for (rank, title, what) in GROUPS {
        let of_rank = lines.iter().filter(|line| line.rank == rank);
        let rows: Vec<_> = of_rank.map(|line| line.cells.clone()).collect();
        text += &format!("### {title}\n\n");
        text += &if rows.is_empty() { "None.\n".to_owned() } else { table(what, &rows) };
        text += "\n";
    }
    text
}

/// How many there are of a rank.
pub(super) fn count(document: &Document, rank: Rank) -> usize {
    lines(document).iter().filter(|line| line.rank == rank).count()
}

/// Of one network.
fn lines(document: &Document) -> Vec<Line> {
    let network = document.network.name.as_str();
    let mut lines: Vec<Line> = Vec::new();
    for case in &document.cases {
        lines.extend(failures(network, case));
        let compared = case.comparisons.iter().filter(|one| one.is_not_ahead());
        lines.extend(compared.map(|one| line(network, case, one)));
    }
    let told = |line: &&String| {
        let mut known = document.cases.iter().flat_map(|case| {
            case.comparisons.iter().map(|one| format!("{}: {}", case.key, one.text()))
        });
        !known.any(|known| known == **line)
    };
    // What the run said and no comparison says.
    lines.extend(document.not_ahead.iter().filter(told).map(|told| Line {
        rank: Rank::Missed,
        cells: cells(network, told, ["", "", "", "", "see the workload"].map(str::to_owned)),
    }));
    lines
}

/// Of ours, who did not come to the end of a case, or not without errors.
fn failures(network: &str, case: &CaseResult) -> Vec<Line> {
    let failed = case.failed.iter().filter(|one| one.contender.starts_with(US));
    let failed = failed.map(|one| (one.contender.clone(), format!("failed: {}", one.why)));
    let in_disruption = case.definition().is_some_and(|one| one.group() == Group::Disruption);
    let erring = case
        .rows
        .iter()
        .filter(|row| row.contender.starts_with(US) && row.errors > 0 && !in_disruption);
    let erring = erring.map(|row| {
        let others = BOTH.iter().filter_map(|name| Some((name, case.row(name)?.errors)));
        let others: Vec<_> = others.map(|(name, errors)| format!("{name} {errors}")).collect();
        let said = format!("{} requests failed ({})", row.errors, others.join(", "));
        (row.contender.clone(), said)
    });
    let line = |(who, said)| Line {
        rank: Rank::Failed,
        cells: vec![network.to_owned(), case.title.clone(), who, said],
    };
    failed.chain(erring).map(line).collect()
}

fn line(network: &str, case: &CaseResult, one: &Comparison) -> Line {
    let shown = |who: &str| {
        let measured = case.measured(who, one.figure);
        format!("{who} {}", measured.map_or("-".to_owned(), spread))
    };
    let rank = match one.difference {
        Difference::Behind => Rank::Behind,
        _ if one.met == Some(false) => Rank::Missed,
        _ => Rank::NotSeen,
    };
    let rest =
        [label(one.figure), shown(&one.ours), shown(&one.theirs), ratio(one.ratio), verdict(one)];
    Line { rank, cells: cells(network, &case.title, rest) }
}

/// The difference and the target, in words.
pub(super) fn verdict(one: &Comparison) -> String {
    let target = match (one.at_most, one.met) {
        (Some(at_most), Some(true)) => format!("; target ≤ {at_most:.2} met"),
        (Some(at_most), _) => format!("; target ≤ {at_most:.2} MISSED"),
        (None, Some(true)) => "; target, not behind, met".to_owned(),
        (None, Some(false)) => "; target, not behind, MISSED".to_owned(),
        (None, None) => String::new(),
    };
    one.difference.text().to_owned() + &target
}

fn cells(network: &str, title: &str, rest: [String; 5]) -> Vec<String> {
    [network.to_owned(), title.to_owned()].into_iter().chain(rest).collect()
}

const COLUMNS: &[&str] =
    &["network", "workload", "figure", "ours", "theirs", "ours / theirs", "verdict"];
const GROUPS: [(Rank, &str, &[&str]); 4] = [
    (Rank::Failed, "Failed, or not without errors", &["network", "workload", "who", "what"]),
    (Rank::Behind, "Behind in every round", COLUMNS),
    (Rank::Missed, "Not behind, but a target is missed", COLUMNS),
    (Rank::NotSeen, "No difference seen", COLUMNS),
];

//! The README's part: the chief figures, what they say, and where the rest is.

use super::headline::{CHIEFS, Chief, cell};
use super::input::Inputs;
use super::markdown::{list, ratio, table};
use super::not_ahead::{Rank, count};
use super::paired::{PYTHON, Paired, US};
use crate::case::BOTH;
use crate::document::Document;
use crate::stats::Difference;

/// `readme` with `part` between the markers.
///
/// # Errors
/// When it has not both markers, in their order.
pub(super) fn with(readme: &str, part: &str) -> Result<String, String> {
    let missing = |marker| {
        format!(
            "the README has no line {marker}; put {BEGIN} and, below it, {END} where the comparison shall be"
        )
    };
    let (before, rest) = readme.split_once(BEGIN).ok_or_else(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    Ok(format!("{before}{BEGIN}\n{part}{END}{after}"))
}

/// What stands between the markers.
pub(super) fn part(inputs: &Inputs) -> String {
    let mut text = String::from(
        "CPU time and memory of the balancer beside HAProxy (`mode tcp`), nginx (`stream`) and the Python version, \
         one thread each on a core of their own. The kernel's TCP stack is most of every figure.\n\n\
         ![How much more the others take than evenkeel, in the chief workloads](bench/results/headline.svg)\n",
    );
    for (name, document) in inputs.shown() {
        text += &of_network(name, document);
    }
    text + "\nAll of it, with the places where evenkeel is not ahead at the top: \
            [bench/RESULTS.md](bench/RESULTS.md).\n"
}

fn of_network(name: &str, document: &Document) -> String {
    let here = |one: &&Chief| document.case(one.key).is_some();
    let rows: Vec<_> = CHIEFS.iter().filter(here).map(|one| row(document, one)).collect();
    let head = [
        name,
        "evenkeel",
        "HAProxy",
        "nginx",
        "Python",
        "beside the better of HAProxy and nginx",
        "beside Python",
    ];
    let Document { rounds, host, .. } = document;
    format!(
        "\n{}\n{} {host}; median, smallest and largest of {rounds} rounds in alternating order.\n",
        table(&head, &rows),
        sentences(name, document)
    )
}

fn row(document: &Document, one: &Chief) -> Vec<String> {
    let case = document.case(one.key);
    let shown = |who| cell(case, who, one.figure);
    let best = best_of_theirs(document, one).map_or("-".to_owned(), |(who, pair)| {
        format!("evenkeel / {who} {}, {}", ratio(pair.over), pair.difference.text())
    });
    let python = case.and_then(|case| case.paired(US, PYTHON, one.figure));
    let python = python.map_or("-".to_owned(), |pair| {
        format!("Python / evenkeel {}, {}", ratio(pair.under), pair.difference.text())
    });
    let cells = [US, "haproxy", "nginx", PYTHON].map(shown);
    [one.label.to_owned()].into_iter().chain(cells).chain([best, python]).collect()
}

fn best_of_theirs(document: &Document, one: &Chief) -> Option<(&'static str, Paired)> {
    let case = document.case(one.key)?;
    let theirs = case.best(BOTH, one.figure)?;
    Some((theirs, case.paired(US, theirs, one.figure)?))
}

/// What the verdicts support, and no more.
fn sentences(name: &str, document: &Document) -> String {
    let theirs = CHIEFS.iter().filter_map(|one| Some(best_of_theirs(document, one)?.1.difference));
    let python = CHIEFS
        .iter()
        .filter_map(|one| Some(document.case(one.key)?.paired(US, PYTHON, one.figure)?.difference));
    let theirs = tally("the better of HAProxy and nginx", &theirs.collect::<Vec<_>>());
    let python = tally("the Python version", &python.collect::<Vec<_>>());
    let network = name[..1].to_uppercase() + &name[1..];
    let said: Vec<_> = [theirs, python].into_iter().flatten().collect();
    let first = match said.as_slice() {
        [] => format!("{network}: nothing could be compared."),
        said => format!("{network}: {}.", said.join("; ")),
    };
    let [failed, behind, missed, not_seen] =
        [Rank::Failed, Rank::Behind, Rank::Missed, Rank::NotSeen].map(|rank| count(document, rank));
    let failures =
        if failed > 0 { format!(", {failed} failures or errors") } else { String::new() };
    format!(
        "{first} In all comparisons of this network it is behind in {behind}, misses a target without being behind in \
         {missed}, and shows no difference in {not_seen}{failures}."
    )
}

/// In how many of these evenkeel is ahead, and in how many not.
fn tally(whom: &str, differences: &[Difference]) -> Option<String> {
    let of = |wanted| differences.iter().filter(|one| **one == wanted).count();
    let rest = [
        (Difference::Behind, "behind in every round"),
        (Difference::NotSeen, "without a difference"),
        (Difference::TooFewRounds, "with too few rounds to tell"),
    ];
    let rest = rest.into_iter().filter(|(wanted, _)| of(*wanted) > 0);
    let rest: Vec<_> = rest.map(|(wanted, how)| format!("{how} in {}", of(wanted))).collect();
    let rest = if rest.is_empty() { String::new() } else { format!(", {}", list(&rest)) };
    let (ahead, all) = (of(Difference::Ahead), differences.len());
    (all > 0).then(|| {
        format!("evenkeel is ahead of {whom} in every round in {ahead} of {all} rows{rest}")
    })
}

/// Before the part.
pub(super) const BEGIN: &str = "<!-- comparison:begin -->";
/// After it.
pub(super) const END: &str = "<!-- comparison:end -->";

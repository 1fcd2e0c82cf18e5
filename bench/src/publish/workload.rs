//! A section for each workload: tables of all networks, the picture, and what the rounds say.

use super::headline::cell;
use super::input::Inputs;
use super::markdown::{label, ratio, table};
use super::not_ahead::verdict;
use super::paired::US;
use crate::case::{self, Group};
use crate::document::{Absent, CaseResult, Document};
use crate::figure::Figure;

/// All workloads of this kind.
pub(super) fn sections(inputs: &Inputs, disruptions: bool) -> String {
    let of_kind = |(key, _): &(&str, &str)| {
        let case = case::ALL.iter().find(|case| case.key == *key);
        case.is_some_and(|case| case.group() == Group::Disruption) == disruptions
    };
    let all: Vec<_> = inputs.keys().into_iter().filter(of_kind).collect();
    if all.is_empty() {
        return "Not measured.\n".to_owned();
    }
    let sections = all.into_iter().map(|(key, title)| section(inputs, key, title));
    sections.collect::<Vec<_>>().join("\n")
}

fn section(inputs: &Inputs, key: &str, title: &str) -> String {
    let mut text = format!("### {title}\n\n`--only {key}`\n\n![{title}](results/{key}.svg)\n");
    for network in &inputs.networks {
        text += &format!("\n**{}**", network.name);
        let document = network.first.as_ref().map(|source| &source.document);
        let Some((document, case)) = document.and_then(|one| Some((one, one.case(key)?))) else {
            text += &format!(": {}\n", why_not_there(key, document));
            continue;
        };
        if let Some(rate) = case.rate_per_s {
            text += &format!(", {rate} requests/s are sent");
        }
        text += &format!("\n\n{}", of_network(document, case));
    }
    text
}

fn why_not_there(key: &str, document: Option<&Document>) -> &'static str {
    let case = case::ALL.iter().find(|case| case.key == key);
    match (document, case) {
        (Some(_), Some(case)) if !case.is_of_the_network() => {
            "not measured, as it does not depend on the network."
        }
        _ => "not measured.",
    }
}

fn of_network(document: &Document, case: &CaseResult) -> String {
    let figures = case.figures();
    let names = figures.iter().map(|figure| figure.name());
    let head: Vec<&str> = [""].into_iter().chain(names).chain(["errors"]).collect();
    let here = document.contenders.iter().filter(|known| {
        let name = known.name.as_str();
        case.row(name).is_some() || case.failed.iter().any(|one| one.contender == name)
    });
    let rows: Vec<_> = here.map(|known| row(case, &known.name, &figures)).collect();
    let mut text = table(&head, &rows);
    for one in &case.comparisons {
        let (figure, ratio) = (label(one.figure), ratio(one.ratio));
        let said = format!("{figure}: {} / {} {ratio}", one.ours, one.theirs);
        text += &format!("\n- {said}, {}", verdict(one));
    }
    let mut notes: Vec<String> = Vec::new();
    if case.comparisons.is_empty() {
        notes.push(
            "Nothing is compared: evenkeel, or those it is compared with, have no row.".into(),
        );
    }
    let said = |(why, who): (String, Vec<&str>)| format!("{}: {why}", who.join(", "));
    let left_out: Vec<_> = by_reason(&case.left_out).into_iter().map(said).collect();
    if !left_out.is_empty() {
        notes.push(format!("Left out: {}.", left_out.join("; ")));
    }
    let absent = document
        .contenders
        .iter()
        .filter_map(|known| Some(format!("{} (`{}`)", known.name, known.absent.as_ref()?)));
    let absent: Vec<_> = absent.collect();
    if !absent.is_empty() {
        notes.push(format!("Not here: {}.", absent.join(", ")));
    }
    if !notes.is_empty() {
        text += &format!("\n\n{}", notes.join(" "));
    }
    text + "\n"
}

/// The same reason is told once.
fn by_reason(absent: &[Absent]) -> Vec<(String, Vec<&str>)> {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for Absent { contender, why } in absent {
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, who)) => who.push(contender),
            None => reasons.push((why.clone(), vec![contender])),
        }
    }
    reasons
}

fn row(case: &CaseResult, name: &str, figures: &[Figure]) -> Vec<String> {
    let shown = if name == US { format!("**{name}**") } else { name.to_owned() };
    let cells = figures.iter().enumerate().map(|(index, &figure)| match case.row(name) {
        // The reason is told once.
        None if index > 0 => "-".to_owned(),
        _ => cell(Some(case), name, figure),
    });
    let errors = case.row(name).map_or("-".to_owned(), |row| row.errors.to_string());
    [shown].into_iter().chain(cells).chain([errors]).collect()
}

impl CaseResult {
    /// Why a contender has nothing to show.
    pub(super) fn why_not(&self, name: &str) -> String {
        let why = |list: &[Absent]| {
            list.iter().find(|one| one.contender == name).map(|one| one.why.clone())
        };
        match (why(&self.failed), why(&self.left_out)) {
            (Some(why), _) => format!("failed: {why}"),
            (_, Some(why)) => format!("left out: {why}"),
            _ if name == "direct" => "no balancer".to_owned(),
            _ => "not measured".to_owned(),
        }
    }
}

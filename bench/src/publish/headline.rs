//! The chief figures: beside the Python version, and how much of its own part evenkeel has left.

use super::input::Inputs;
use super::markdown::{percent, ratio, spread, table};
use super::paired::{PYTHON, US};
use crate::case::BOTH;
use crate::document::{CaseResult, Document};
use crate::figure::Figure;

/// A workload, and what matters in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chief {
    pub(super) key: &'static str,
    pub(super) figure: Figure,
    /// As the README says it.
    pub(super) label: &'static str,
}

/// Of the README's table and picture.
pub(super) const CHIEFS: &[Chief] = &[
    chief("ping-64", Figure::CpuUs, "64 B requests, 64 connections: CPU µs a request"),
    chief("ping-1000", Figure::CpuUs, "1000 connections: CPU µs a request"),
    chief("ping-4000", Figure::CpuUs, "4000 connections: CPU µs a request"),
    chief("conn", Figure::CpuUs, "connect, one request, close: CPU µs"),
    chief("bulk-1-up", Figure::CpuSPerGb, "1 stream up: CPU-s/GB"),
    chief("bulk-8-down", Figure::CpuSPerGb, "8 streams down: CPU-s/GB"),
    chief("idle", Figure::BytesPerConn, "an idle connection: resident bytes"),
    chief("ping-1", Figure::P50Us, "1 connection: p50 µs"),
];

/// Of the headline against the Python version.
const AGAINST_PYTHON: &[Chief] = &[
    chief("ping-1", Figure::CpuUs, "CPU µs a request, 1 connection"),
    chief("ping-64", Figure::CpuUs, "CPU µs a request, 64 connections"),
    chief("ping-1000", Figure::CpuUs, "CPU µs a request, 1000 connections"),
    chief("ping-4000", Figure::CpuUs, "CPU µs a request, 4000 connections"),
    chief("conn", Figure::CpuUs, "CPU µs a connection (connect, one request, close)"),
    chief("bulk-1-up", Figure::CpuSPerGb, "CPU-s/GB, 1 stream up"),
    chief("bulk-1-down", Figure::CpuSPerGb, "CPU-s/GB, 1 stream down"),
    chief("bulk-8-up", Figure::CpuSPerGb, "CPU-s/GB, 8 streams up"),
    chief("bulk-8-down", Figure::CpuSPerGb, "CPU-s/GB, 8 streams down"),
    chief("conn", Figure::PerSecond, "connections/s, 64 clients (more is better)"),
    chief("ping-64", Figure::P99Us, "p99 µs, 64 connections"),
    chief("ping-1000", Figure::P99Us, "p99 µs, 1000 connections"),
    chief("conn", Figure::P99Us, "p99 µs, connect, one request, close"),
    chief("open-50", Figure::P99Us, "p99 µs, constant rate, half of the weakest one's ceiling"),
];

/// Those whose floor is known.
const WITH_A_FLOOR: &[Chief] = &[
    chief("ping-1", Figure::CpuUs, "64 B requests, 1 connection"),
    chief("ping-64", Figure::CpuUs, "64 connections"),
    chief("ping-1000", Figure::CpuUs, "1000 connections"),
    chief("ping-4000", Figure::CpuUs, "4000 connections"),
    chief("conn", Figure::CpuUs, "connect, one request, close"),
    chief("bulk-1-up", Figure::CpuSPerGb, "1 stream up"),
    chief("bulk-1-down", Figure::CpuSPerGb, "1 stream down"),
    chief("bulk-8-up", Figure::CpuSPerGb, "8 streams up"),
    chief("bulk-8-down", Figure::CpuSPerGb, "8 streams down"),
];

const fn chief(key: &'static str, figure: Figure, label: &'static str) -> Chief {
    Chief { key, figure, label }
}

/// Ratios to the Python version.
pub(super) fn beside_python(inputs: &Inputs) -> String {
    let mut text = String::from(
        "## Beside the Python version\n\n\
         The ratio is the Python version's figure over evenkeel's in the same round: above 1 it takes \
         so many times as much. In connections/s, where more is better, below 1 it does so much less.\n",
    );
    for network in &inputs.networks {
        let Some(source) = &network.first else {
            text += &format!("\n{}: not measured.\n", network.name);
            continue;
        };
        let rows = AGAINST_PYTHON.iter().map(|one| python_row(&source.document, one));
        let head = ["", "evenkeel", "Python", "Python / evenkeel", "evenkeel is"];
        text += &format!("\n### {}\n\n{}", network.name, table(&head, &rows.collect::<Vec<_>>()));
    }
    text
}

fn python_row(document: &Document, one: &Chief) -> Vec<String> {
    let Chief { key, figure, label } = *one;
    let case = document.case(key);
    let cell = |who| cell(case, who, figure);
    let (ratio, verdict) = match case.and_then(|case| case.paired(US, PYTHON, figure)) {
        Some(pair) => (ratio(pair.under), pair.difference.text().to_owned()),
        None => ("-".to_owned(), "not compared".to_owned()),
    };
    vec![label.to_owned(), cell(US), cell(PYTHON), ratio, verdict]
}

/// What was measured, or why nothing was.
pub(super) fn cell(case: Option<&CaseResult>, who: &str, figure: Figure) -> String {
    let Some(case) = case else { return "not measured".to_owned() };
    case.measured(who, figure).map_or_else(|| case.why_not(who), spread)
}

/// The share of the part that is not the kernel's.
pub(super) fn own_part(inputs: &Inputs) -> String {
    let mut text = String::from(
        "## What is left of the balancer's own part\n\n\
         The floor relay does the least that a relay can: two sockets, one receive, one send. What a \
         balancer costs beyond it is its own; the rest is the kernel's, whoever asks. The share is \
         (evenkeel − floor) / (better of HAProxy and nginx − floor), where the floor is the cheaper of \
         floor-epoll and floor-ring, and floor-splice in bulk. These are differences of medians, so \
         they have no spread and no verdict: where both sides are close to the floor they say little.\n",
    );
    for network in &inputs.networks {
        let Some(source) = &network.first else {
            text += &format!("\n{}: not measured.\n", network.name);
            continue;
        };
        let rows = WITH_A_FLOOR.iter().map(|one| own_row(source.document.case(one.key), one));
        let head = ["medians", "figure", "evenkeel", "better of the two", "floor", "own part left"];
        text += &format!("\n### {}\n\n{}", network.name, table(&head, &rows.collect::<Vec<_>>()));
    }
    text
}

fn own_row(case: Option<&CaseResult>, one: &Chief) -> Vec<String> {
    let Chief { figure, label, .. } = *one;
    let floors: &[&str] = match figure {
        Figure::CpuSPerGb => &["floor-splice"],
        _ => &["floor-epoll", "floor-ring"],
    };
    let best = |names: &[&'static str]| {
        let name = case?.best(names, figure)?;
        Some((name, case?.measured(name, figure)?.spread.median))
    };
    let show = |found: Option<(&str, f64)>| match found {
        Some((name, median)) => format!("{name} {}", figure.show(median)),
        None => "not measured".to_owned(),
    };
    let (us, them, floor) = (best(&[US]), best(BOTH), best(floors));
    let share = match (us, them, floor) {
        (Some((_, us)), Some((_, them)), Some((_, floor))) => share(us, them, floor),
        _ => "-".to_owned(),
    };
    vec![label.to_owned(), figure.name().to_owned(), show(us), show(them), show(floor), share]
}

/// Of costs.
fn share(us: f64, them: f64, floor: f64) -> String {
    match (us - floor, them - floor) {
        (_, theirs) if theirs <= 0.0 => "theirs is not above the floor".to_owned(),
        (ours, _) if ours <= 0.0 => "none: not above the floor".to_owned(),
        (ours, theirs) => percent(ours / theirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_what_lies_above_the_floor() {
        assert_eq!(share(8.0, 12.0, 7.0), "20.0 %");
        assert_eq!(share(7.0, 12.0, 7.0), "none: not above the floor");
        assert_eq!(share(8.0, 6.0, 7.0), "theirs is not above the floor");
    }
}

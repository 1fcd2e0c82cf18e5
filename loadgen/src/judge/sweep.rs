//! One result for each value of a range.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::metric::Metric;
use super::rank::median_of_sorted;
use crate::report::Report;

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// Requests a second.
    Rate,
    /// Connections.
    Conns,
    /// Bytes of a request.
    Size,
}

/// A range as it is typed: `rate=1k,2k,5k`, `conns=1..64*2` or `size=100..500+100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// What is varied.
    pub over: Over,
    /// In the order in which they were typed; none is 0, none is there twice.
    pub values: Vec<u64>,
}

/// A metric over the rounds of one value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// In the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// All rounds of one value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// What is varied.
    pub over: Over,
    /// Its value.
    pub value: u64,
    /// Rounds that were measured.
    pub rounds: usize,
    /// Those of them that are suspect; the figures hold them too.
    pub suspect: usize,
    /// Why, each reason once.
    pub reasons: Vec<String>,
    /// What could be told in at least one round.
    pub figures: BTreeMap<Metric, Figure>,
    /// Its values, round by round.
    pub runs: BTreeMap<Metric, Vec<Option<f64>>>,
}

impl Sweep {
    /// The indexes of values in a round's order: every other one runs backwards, so that what
    /// drifts with time does not look like what comes with the value.
    #[must_use]
    pub fn order(&self, round: usize) -> Vec<usize> {
        let forwards = 0..self.values.len();
        if round.is_multiple_of(2) { forwards.collect() } else { forwards.rev().collect() }
    }
}

impl Cell {
    /// The cell of a value from the reports of its rounds.
    #[must_use]
    pub fn new(over: Over, value: u64, reports: &[Report]) -> Self {
        let suspect = reports.iter().filter(|report| !report.verdict.valid);
        let mut reasons: Vec<String> =
            suspect.clone().flat_map(|report| report.verdict.reasons.clone()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let of =
            |metric: Metric| (metric, reports.iter().map(|report| metric.of(report)).collect());
        let runs: BTreeMap<Metric, Vec<Option<f64>>> = Metric::ALL.into_iter().map(of).collect();
        let figure = |(&metric, runs): (&Metric, &Vec<Option<f64>>)| {
            Some((metric, Figure::of(&runs.iter().copied().flatten().collect::<Vec<_>>())?))
        };
        let figures = runs.iter().filter_map(figure).collect();
        Self {
            over,
            value,
            rounds: reports.len(),
            suspect: suspect.count(),
            reasons,
            figures,
            runs,
        }
    }
}

impl Figure {
    /// Of the runs of one value or target; `None` without runs.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self { median: median_of_sorted(&sorted), min, max })
    }

    /// The median, and the spread behind it.
    #[must_use]
    pub fn show(&self, metric: Metric) -> String {
        let [median, min, max] = [self.median, self.min, self.max].map(|value| metric.show(value));
        format!("{median} ({min}..{max})")
    }
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, list) = text.split_once('=').ok_or(EXAMPLES)?;
        let over = match name {
            "rate" => Over::Rate,
            "conns" => Over::Conns,
            "size" => Over::Size,
            _ => return Err(format!("`{name}` is none of rate, conns and size")),
        };
        let mut values = Vec::new();
        for part in list.split(',') {
            for value in range(part)? {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        Ok(Self { over, values })
    }
}

fn range(part: &str) -> Result<Vec<u64>, String> {
    let Some((first, rest)) = part.split_once("..") else { return Ok(vec![number(part)?]) };
    let at = rest.find(['*', '+']).ok_or(EXAMPLES)?;
    let (last, step) = (number(&rest[..at])?, number(&rest[at + 1..])?);
    let first = number(first)?;
    if first > last {
        return Err(format!("`{part}` begins above its end"));
    }
    let times = rest.as_bytes()[at] == b'*';
    if times && step < 2 {
        return Err(format!("`{part}` does not grow: multiply by 2 or more"));
    }
    let next = |value: &u64| if times { value.checked_mul(step) } else { value.checked_add(step) };
    let values: Vec<u64> = std::iter::successors(Some(first), next)
        .take_while(|&value| value <= last)
        .take(VALUES_MAX + 1)
        .collect();
    if values.len() > VALUES_MAX {
        return Err(format!("`{part}` has more than {VALUES_MAX} values"));
    }
    Ok(values)
}

fn number(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let value = digits.parse::<u64>().ok().and_then(|value| value.checked_mul(factor));
    value
        .filter(|&value| value > 0)
        .ok_or_else(|| format!("`{text}` is no number from 1: {EXAMPLES}"))
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rate => "rate",
            Self::Conns => "conns",
            Self::Size => "size",
        })
    }
}

const EXAMPLES: &str = "write rate=1k,2k,5k, conns=1..64*2 or size=100..500+100";
/// A run each: more would take days.
const VALUES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn ranges_are_lists_and_steps() {
        for (text, over, values) in [
            ("rate=1k,2k,5k", Over::Rate, &[1000, 2000, 5000][..]),
            ("conns=1..64*2", Over::Conns, &[1, 2, 4, 8, 16, 32, 64]),
            ("conns=1..100*10", Over::Conns, &[1, 10, 100]),
            ("size=100..500+200", Over::Size, &[100, 300, 500]),
            ("size=64,4k,2M,64", Over::Size, &[64, 4000, 2_000_000]),
            ("conns=1,4..6+1", Over::Conns, &[1, 4, 5, 6]),
            ("conns=7..7*2", Over::Conns, &[7]),
        ] {
            let sweep: Sweep = text.parse().expect(text);
            assert_eq!((sweep.over, sweep.values.as_slice()), (over, values), "{text}");
        }
        for (text, said) in [
            ("rate", "write rate=1k"),
            ("colour=1", "none of rate, conns and size"),
            ("rate=", "no number from 1"),
            ("rate=0", "no number from 1"),
            ("rate=1..8", "write rate=1k"),
            ("rate=8..1*2", "begins above its end"),
            ("rate=1..8*1", "does not grow"),
            ("rate=1..8+0", "no number from 1"),
            ("rate=1..1M+1", "more than 1000"),
        ] {
            let error = text.parse::<Sweep>().expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn every_other_round_runs_backwards() {
        let sweep: Sweep = "conns=1,2,3".parse().expect("a list");
        assert_eq!([0, 1, 2].map(|round| sweep.order(round)), [[0, 1, 2], [2, 1, 0], [0, 1, 2]]);
    }

    #[test]
    fn a_cell_has_median_and_spread_and_marks_what_is_suspect() {
        let run = |goodput_per_s: f64, reason: Option<&str>| {
            let mut report = sample();
            report.totals.goodput_per_s = goodput_per_s;
            report.verdict.valid = reason.is_none();
            report.verdict.reasons = reason.into_iter().map(str::to_owned).collect();
            report.sut = None;
            report
        };
        let reports = [run(30.0, Some("late")), run(10.0, None), run(20.0, Some("late"))];
        let cell = Cell::new(Over::Rate, 7, &reports);
        assert_eq!(
            (cell.rounds, cell.suspect, cell.reasons.as_slice()),
            (3, 2, &["late".to_owned()][..])
        );
        let goodput = Figure { median: 20.0, min: 10.0, max: 30.0 };
        assert_eq!(cell.figures.get(&Metric::Goodput), Some(&goodput));
        assert_eq!(cell.figures.get(&Metric::CpuPerRequest), None, "nobody looked");
        assert!(cell.figures.contains_key(&Metric::P99));
        let two = Cell::new(Over::Rate, 7, &reports[..2]);
        assert_eq!(two.figures[&Metric::Goodput].median, 20.0);
        let json = serde_json::to_value(&cell).expect("it has a JSON form");
        assert_eq!(json["figures"]["goodput_per_s"]["median"], 20.0);
    }
}

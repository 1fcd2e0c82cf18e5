//! What the rows of a case say: the targets, and whether somebody is ahead of evenkeel.

use serde::{Deserialize, Serialize};

use crate::case::{Bound, Case, Goal};
use crate::figure::Figure;
use crate::stats::{Difference, Spread};

/// What a case showed for one contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Who.
    pub(crate) contender: String,
    /// By figure.
    pub(crate) figures: Vec<Measured>,
    /// Requests that failed, over all rounds.
    pub(crate) errors: u64,
}

/// A figure of one contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Which.
    pub(crate) figure: Figure,
    /// Over the rounds.
    #[serde(flatten)]
    pub(crate) spread: Spread,
    /// One of each round, in their order.
    pub(crate) rounds: Vec<f64>,
}

/// Ours beside the better of theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// In what.
    pub(crate) figure: Figure,
    /// Who of ours.
    pub(crate) ours: String,
    /// Whose median was better.
    pub(crate) theirs: String,
    /// Ours over theirs in the same round, as [`Figure::ratios`] makes it.
    pub(crate) ratio: Spread,
    /// One of each round.
    pub(crate) ratios: Vec<f64>,
    /// Who is ahead.
    pub(crate) difference: Difference,
    /// What the median ratio shall not be above.
    pub(crate) at_most: Option<f64>,
    /// Whether the target is reached; nothing where there is none.
    pub(crate) met: Option<bool>,
}

impl Row {
    /// The values of a figure.
    #[must_use]
    pub(crate) fn measured(&self, figure: Figure) -> Option<&Measured> {
        self.figures.iter().find(|one| one.figure == figure)
    }
}

/// The targets of `case`, and beside them what it costs and whether somebody is ahead.
#[must_use]
pub(crate) fn comparisons(case: &Case, rows: &[Row]) -> Vec<Comparison> {
    let goals = case.goals.iter().map(|goal| compare(goal, Some(goal.bound), rows));
    let figures = rows.iter().find(|row| row.contender == US).map(|row| row.figures.iter());
    let unasked = figures.into_iter().flatten().map(|one| one.figure).filter(|&figure| {
        let has_goal = |goal: &Goal| goal.ours == US && goal.figure == figure;
        let matters = figure.is_headline() || figure.is_cost();
        matters && (figure.is_headline() || !case.goals.iter().any(has_goal))
    });
    let unasked = unasked.map(|figure| {
        let goal = Goal { ours: US, figure, theirs: case.rivals(), bound: Bound::NotBehind };
        compare(&goal, None, rows)
    });
    goals.chain(unasked).flatten().collect()
}

/// Nothing when one side was not measured.
fn compare(goal: &Goal, bound: Option<Bound>, rows: &[Row]) -> Option<Comparison> {
    let Goal { ours, figure, theirs, .. } = *goal;
    let of = |name: &str| rows.iter().find(|row| row.contender == name)?.measured(figure);
    let us = of(ours)?;
    let measured = theirs.iter().filter_map(|&name| Some((name, of(name)?)));
    let sign = if figure.lower_is_better() { 1.0 } else { -1.0 };
    let (theirs, them) = measured.min_by(|(_, one), (_, other)| {
        (sign * one.spread.median).total_cmp(&(sign * other.spread.median))
    })?;
    let ratios = figure.ratios(&us.rounds, &them.rounds);
    let (ratio, difference) =
        (Spread::of(&ratios), Difference::of(&ratios, figure.lower_is_better()));
    let (at_most, met) = match bound {
        Some(Bound::AtMost(at_most)) => (Some(at_most), Some(ratio.median <= at_most)),
        Some(Bound::NotBehind) => (None, Some(difference != Difference::Behind)),
        None => (None, None),
    };
    let (ours, theirs) = (ours.to_owned(), theirs.to_owned());
    Some(Comparison { figure, ours, theirs, ratio, ratios, difference, at_most, met })
}

impl Comparison {
    /// One line: the ratio, the target, and what comes of it.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let Self { figure, ours, theirs, ratio, difference, at_most, met, .. } = self;
        let Spread { median, min, max } = ratio;
        let target = match (at_most, met) {
            (Some(at_most), Some(true))
                if max <= at_most && *difference != Difference::TooFewRounds =>
            {
                format!("; target ≤ {at_most:.2}: met in every round")
            }
            (Some(at_most), Some(true)) => format!("; target ≤ {at_most:.2}: met"),
            (Some(at_most), _) => format!("; target ≤ {at_most:.2}: MISSED"),
            (None, Some(true)) => "; target, not behind: met".to_owned(),
            (None, Some(false)) => "; target, not behind: MISSED".to_owned(),
            (None, None) => String::new(),
        };
        let how = if figure.may_be_none() { " (one added to both)" } else { "" };
        format!(
            "{}{how}: {ours} / {theirs} {median:.2} ({min:.2}–{max:.2}), {}{target}",
            figure.name(),
            difference.text()
        )
    }

    /// Whether it belongs to those that somebody reads first.
    #[must_use]
    pub(crate) fn is_not_ahead(&self) -> bool {
        let not_ahead = match self.difference {
            // As few as theirs, in every round: who has none cannot be ahead of who has none.
            _ if self.figure.may_be_none() && self.ratio.max <= 1.0 => false,
            Difference::Ahead => false,
            Difference::Behind | Difference::NotSeen => true,
            // A hint is better than nothing.
            Difference::TooFewRounds if self.figure.lower_is_better() => self.ratio.median >= 1.0,
            Difference::TooFewRounds => self.ratio.median <= 1.0,
        };
        self.met == Some(false) || (self.ours == US && not_ahead)
    }
}

/// The contender that nobody shall be ahead of.
const US: &str = "evenkeel";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case;

    fn row(contender: &'static str, figures: &[(Figure, &[f64])]) -> Row {
        let measured = |&(figure, rounds): &(Figure, &[f64])| Measured {
            figure,
            spread: Spread::of(rounds),
            rounds: rounds.to_vec(),
        };
        Row {
            contender: contender.to_owned(),
            figures: figures.iter().map(measured).collect(),
            errors: 0,
        }
    }

    fn case(key: &str) -> &'static Case {
        case::ALL.iter().find(|case| case.key == key).expect("it is one of them")
    }

    /// Five rounds alike.
    fn ping(contender: &'static str, cpu: f64, per_second: f64) -> Row {
        row(contender, &[(Figure::CpuUs, &[cpu; 5]), (Figure::PerSecond, &[per_second; 5])])
    }

    #[test]
    fn the_better_of_theirs_is_chosen_for_each_figure() {
        let rows =
            [ping("evenkeel", 8.0, 90.0), ping("haproxy", 10.0, 80.0), ping("nginx", 11.0, 100.0)];
        let found = comparisons(case("ping-64"), &rows);
        let summary: Vec<_> =
            found.iter().map(|one| (one.figure, one.theirs.as_str(), one.met)).collect();
        assert_eq!(
            summary,
            [(Figure::CpuUs, "haproxy", Some(true)), (Figure::PerSecond, "nginx", None)]
        );
        assert_eq!(
            found[0].text(),
            "CPU µs: evenkeel / haproxy 0.80 (0.80–0.80), ahead in every round; target ≤ 0.85: met in every round"
        );
        assert!(!found[0].is_not_ahead() && found[1].is_not_ahead());
        assert_eq!(found[1].difference, Difference::Behind);
    }

    #[test]
    fn a_target_is_missed_by_the_median() {
        let rows = [ping("evenkeel", 9.0, 90.0), ping("haproxy", 10.0, 80.0)];
        let found = comparisons(case("ping-64"), &rows);
        assert_eq!((found[0].met, found[0].at_most), (Some(false), Some(0.85)));
        assert!(found[0].is_not_ahead() && found[0].text().ends_with("≤ 0.85: MISSED"));
    }

    #[test]
    fn who_was_not_measured_is_not_compared_with() {
        assert_eq!(comparisons(case("ping-64"), &[ping("evenkeel", 9.0, 90.0)]), []);
        assert_eq!(comparisons(case("ping-64"), &[ping("haproxy", 9.0, 90.0)]), []);
    }

    #[test]
    fn bulk_is_held_against_forced_splice_too() {
        let bulk = |name, cpu: f64| row(name, &[(Figure::CpuSPerGb, &[cpu; 5])]);
        let rows = [bulk("evenkeel", 0.15), bulk("haproxy", 0.6), bulk("haproxy-splice", 0.16)];
        let found = comparisons(case("bulk-1-up"), &rows);
        let summary: Vec<_> = found.iter().map(|one| (one.theirs.as_str(), one.met)).collect();
        assert_eq!(summary, [("haproxy", Some(true)), ("haproxy-splice", Some(false))]);
    }

    #[test]
    fn as_few_failures_as_theirs_is_not_behind_and_can_be_written_and_read() {
        let failed = |name, failed: [f64; 5]| row(name, &[(Figure::FailedRequests, &failed)]);
        let compare = |ours, theirs| {
            let rows = [failed("evenkeel", ours), failed("haproxy", theirs)];
            let mut found = comparisons(case("reload"), &rows);
            assert_eq!(found.len(), 1);
            let text = serde_json::to_string(&found).expect("numbers");
            assert_eq!(serde_json::from_str::<Vec<Comparison>>(&text).expect("numbers"), found);
            found.remove(0)
        };
        let none = [0.0; 5];
        let equal = compare(none, none);
        assert_eq!((equal.difference, equal.is_not_ahead()), (Difference::NotSeen, false));
        let text =
            "failed (one added to both): evenkeel / haproxy 1.00 (1.00–1.00), no difference seen";
        assert_eq!(equal.text(), text);
        let fewer = compare(none, [3.0, 1.0, 4.0, 1.0, 5.0]);
        assert_eq!((fewer.difference, fewer.is_not_ahead()), (Difference::Ahead, false));
        let more = compare([3.0, 1.0, 4.0, 1.0, 5.0], none);
        assert_eq!((more.difference, more.is_not_ahead()), (Difference::Behind, true));
        assert!(compare([0.0, 0.0, 0.0, 0.0, 1.0], none).is_not_ahead());
    }
}

//! Two contenders in a figure, round by round.

use crate::case::{self, Case};
use crate::document::CaseResult;
use crate::figure::Figure;
use crate::stats::{Difference, Spread};
use crate::verdict::{Measured, Row};

/// Ours and another one's, in the same rounds.
#[derive(Debug)]
pub(super) struct Paired {
    /// Ours over theirs.
    pub(super) over: Spread,
    /// Theirs over ours.
    pub(super) under: Spread,
    /// Who is ahead.
    pub(super) difference: Difference,
}

impl CaseResult {
    /// What a contender was measured to have.
    pub(super) fn measured(&self, contender: &str, figure: Figure) -> Option<&Measured> {
        self.row(contender)?.measured(figure)
    }

    /// The row of a contender.
    pub(super) fn row(&self, contender: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.contender == contender)
    }

    /// The one of `names` whose median is best.
    pub(super) fn best<'a>(&self, names: &[&'a str], figure: Figure) -> Option<&'a str> {
        let sign = if figure.lower_is_better() { 1.0 } else { -1.0 };
        let medians = names
            .iter()
            .filter_map(|name| Some((*name, sign * self.measured(name, figure)?.spread.median)));
        medians.min_by(|one, other| one.1.total_cmp(&other.1)).map(|(name, _)| name)
    }

    /// Nothing when one side was not measured, or when a zero makes a ratio impossible.
    pub(super) fn paired(&self, ours: &str, theirs: &str, figure: Figure) -> Option<Paired> {
        let (ours, theirs) = (self.measured(ours, figure)?, self.measured(theirs, figure)?);
        let over = figure.ratios(&ours.rounds, &theirs.rounds);
        let under = figure.ratios(&theirs.rounds, &ours.rounds);
        let possible = !over.is_empty() && over.iter().chain(&under).all(|one| one.is_finite());
        let difference = possible.then(|| Difference::of(&over, figure.lower_is_better()))?;
        let (over, under) = (Spread::of(&over), Spread::of(&under));
        Some(Paired { over, under, difference })
    }

    /// What is known of the case besides its results.
    pub(super) fn definition(&self) -> Option<&'static Case> {
        case::ALL.iter().find(|case| case.key == self.key)
    }

    /// The figures that anybody has, in the order of their columns.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let all = self.rows.iter().flat_map(|row| &row.figures).map(|one| one.figure);
        let mut figures: Vec<Figure> = all.collect();
        figures.sort_unstable();
        figures.dedup();
        figures
    }
}

/// The contender that all this is about.
pub(super) const US: &str = "evenkeel";
/// The one that it replaces.
pub(super) const PYTHON: &str = "python";

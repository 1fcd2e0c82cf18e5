//! The chief workloads in one look: how much more the others take than evenkeel.

use loadgen::report::plot::{Axis, short};

use super::super::headline::CHIEFS;
use super::super::input::Inputs;
use super::super::markdown::ratio;
use super::super::paired::{PYTHON, Paired, US};
use super::svg::Svg;
use crate::document::Document;
use crate::stats::Difference;

/// Of the first network that was measured.
pub(super) fn picture(inputs: &Inputs) -> String {
    let mut svg = Svg::default();
    svg.text("h", LEFT, 26.0, TITLE);
    let mut y = 44.0;
    if let Some((network, document)) = inputs.shown().next() {
        let rounds = document.rounds;
        let said = format!(
            "{network}, {}; median and range of {rounds} rounds; right of 1 evenkeel takes less",
            document.host
        );
        svg.text("s", LEFT, y, &said);
        legend(&mut svg, y + 20.0);
        y = draw(&mut svg, document, y + 32.0);
    }
    svg.finish(TITLE, y + 10.0)
}

fn legend(svg: &mut Svg, y: f64) {
    let mut x = LEFT + 5.0;
    for (name, letter) in OTHERS {
        svg.circle(&format!("p{letter}"), x, y - 4.0);
        svg.text("s", x + 10.0, y, name);
        x += 80.0;
    }
    svg.circle("ob", x, y - 4.0);
    svg.text("s", x + 10.0, y, "hollow: no difference seen, as not every round shows it");
}

/// Returns where it ends.
fn draw(svg: &mut Svg, document: &Document, top: f64) -> f64 {
    let groups: Vec<(&str, Vec<Mark>)> = CHIEFS
        .iter()
        .filter_map(|one| {
            let case = document.case(one.key)?;
            let mark =
                |(name, letter)| Some(Mark { letter, pair: case.paired(US, name, one.figure)? });
            let marks: Vec<Mark> = OTHERS.into_iter().filter_map(mark).collect();
            (!marks.is_empty()).then_some((one.label, marks))
        })
        .collect();
    let all = || groups.iter().flat_map(|(_, marks)| marks).map(|mark| mark.pair.under);
    let low = all().map(|one| one.min).fold(0.8, f64::min);
    let high = all().map(|one| one.max).fold(2.0, f64::max);
    let axis = Axis::logarithmic(low * SCALE, high * SCALE);
    let height = |marks: &[Mark]| ROW * marks.len() as f64 + GAP;
    let bottom = top + groups.iter().map(|(_, marks)| height(marks)).sum::<f64>();
    for tick in axis.ticks() {
        svg.line("g", [at(&axis, tick), top], [at(&axis, tick), bottom]);
        svg.text("t", at(&axis, tick), bottom + 14.0, &format!("{}×", short(tick / SCALE)));
    }
    svg.line("one", [at(&axis, SCALE), top], [at(&axis, SCALE), bottom]);
    let mut y = top + GAP / 2.0;
    for (label, marks) in &groups {
        let middle = y + ROW * marks.len() as f64 / 2.0;
        svg.text("", LEFT, middle + 4.0, label);
        for mark in marks {
            mark.draw(svg, &axis, y + ROW / 2.0);
            y += ROW;
        }
        y += GAP;
    }
    bottom + 20.0
}

struct Mark {
    letter: char,
    pair: Paired,
}

impl Mark {
    fn draw(&self, svg: &mut Svg, axis: &Axis, y: f64) {
        let (letter, spread) = (self.letter, self.pair.under);
        let x = |ratio: f64| at(axis, ratio * SCALE);
        svg.line(&format!("wp{letter}"), [x(spread.min), y], [x(spread.max), y]);
        let seen = matches!(self.pair.difference, Difference::Ahead | Difference::Behind);
        let form = if seen { 'p' } else { 'o' };
        svg.circle(&format!("{form}{letter}"), x(spread.median), y);
        svg.text("s", VALUE, y + 4.0, &ratio(spread));
    }
}

fn at(axis: &Axis, value: f64) -> f64 {
    PLOT + axis.at(value) * (VALUE - 28.0 - PLOT)
}

const TITLE: &str = "What the others take, for the same work, over what evenkeel takes";
const OTHERS: [(&str, char); 3] = [("haproxy", 'a'), ("nginx", 'b'), (PYTHON, 'c')];
const LEFT: f64 = 16.0;
const PLOT: f64 = 330.0;
const VALUE: f64 = 740.0;
const ROW: f64 = 15.0;
const GAP: f64 = 12.0;
/// A logarithmic axis begins at 1.
const SCALE: f64 = 1e6;

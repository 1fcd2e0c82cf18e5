//! Rows in columns that line up.

use crate::figure::Figure;
use crate::verdict::{Measured, Row};

/// A line for each contender: median, and smallest and largest of the rounds.
pub(crate) fn print_table(rows: &[Row]) {
    lines(rows).iter().for_each(|line| println!("  {line}"));
}

fn lines(rows: &[Row]) -> Vec<String> {
    let mut figures: Vec<Figure> = Vec::new();
    for one in rows.iter().flat_map(|row| &row.figures) {
        if !figures.contains(&one.figure) {
            figures.push(one.figure);
        }
    }
    figures.sort_unstable();
    let head = figures.iter().map(|figure| figure.name().to_owned());
    let head: Vec<String> =
        [String::new()].into_iter().chain(head).chain(["errors".into()]).collect();
    let cells = |row: &Row| {
        let shown = figures.iter().map(|&figure| row.measured(figure).map_or("-".into(), show));
        let errors = row.errors.to_string();
        [row.contender.clone()].into_iter().chain(shown).chain([errors]).collect::<Vec<_>>()
    };
    let table: Vec<Vec<String>> = [head].into_iter().chain(rows.iter().map(cells)).collect();
    align(&table)
}

/// The first column to the left, the others to the right.
pub(crate) fn align(table: &[Vec<String>]) -> Vec<String> {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| table.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    table.iter().map(line).collect()
}

fn show(measured: &Measured) -> String {
    let show = |value| measured.figure.show(value);
    let spread = measured.spread;
    format!("{} ({}–{})", show(spread.median), show(spread.min), show(spread.max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Spread;

    #[test]
    fn columns_line_up_and_what_was_not_measured_is_a_dash() {
        let measured = |figure, rounds: &[f64]| Measured {
            figure,
            spread: Spread::of(rounds),
            rounds: rounds.to_vec(),
        };
        let (cpu, rate) = (Figure::CpuUs, Figure::PerSecond);
        let figures = vec![measured(cpu, &[1.0, 3.0, 2.0]), measured(rate, &[100.0])];
        let rows = [
            Row { contender: "evenkeel".into(), figures, errors: 0 },
            Row { contender: "direct".into(), figures: vec![measured(rate, &[90.0])], errors: 12 },
        ];
        assert_eq!(
            lines(&rows),
            [
                "                    CPU µs     per second  errors",
                "evenkeel  2.00 (1.00–3.00)  100 (100–100)       0",
                "direct                   -     90 (90–90)      12",
            ]
        );
    }
}

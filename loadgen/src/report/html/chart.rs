//! The frame of every plot: a stretching SVG, labels beside it, a legend, and what a tooltip says.

use super::escape;
use crate::report::plot::{self, Axis};

/// One plot.
#[derive(Debug, Default)]
pub(super) struct Chart {
    /// Begins the ids of its parts.
    pub(super) id: &'static str,
    /// What a screen reader says first.
    pub(super) title: String,
    /// What it says then: the picture in a sentence.
    pub(super) description: String,
    /// What is counted on the y axis.
    pub(super) unit: &'static str,
    /// Labels of the y axis: place, 0 at the bottom to 1, and text.
    pub(super) y: Vec<(f64, String)>,
    /// Labels of the x axis: place, 0 at the left to 1, and text.
    pub(super) x: Vec<(f64, String)>,
    /// SVG of what is drawn, on 1000 by 1000.
    pub(super) marks: String,
    /// Class and name of each kind of mark.
    pub(super) legend: Vec<(&'static str, String)>,
    /// Place and lines of each tooltip, from left to right.
    pub(super) tips: Vec<(f64, String)>,
    /// More classes.
    pub(super) class: &'static str,
}

impl Chart {
    /// The figure.
    pub(super) fn html(&self) -> String {
        let Self { id, unit, class, .. } = self;
        let (legend, svg) = (self.legend(), self.svg());
        let tips = serde_json::to_string(&self.tips).expect("numbers and texts have a JSON form");
        let tips = escape(&tips);
        let label = escape(&self.title);
        let y = labels(&self.y, "top", |at| 1.0 - at);
        let x = labels(&self.x, "left", |at| at);
        format!(
            "<figure class=\"chart {class}\" id=\"{id}-chart\">\n\
             <figcaption>{legend}<span class=\"unit\">{unit}</span></figcaption>\n\
             <div class=\"frame\"><div class=\"y\" aria-hidden=\"true\">{y}</div>\
             <div class=\"plot\" tabindex=\"0\" role=\"group\" aria-label=\"{label}\" data-tips=\"{tips}\">\
             {svg}</div>\
             <div class=\"x\" aria-hidden=\"true\">{x}</div></div>\n</figure>\n"
        )
    }

    fn legend(&self) -> String {
        let entry = |(class, name): &(&str, String)| {
            format!("<span class=\"key {class}\"><i></i>{}</span>", escape(name))
        };
        self.legend.iter().map(entry).collect()
    }

    fn svg(&self) -> String {
        let Self { id, marks, .. } = self;
        let (title, description) = (escape(&self.title), escape(&self.description));
        let lines: String = self.y.iter().map(|(at, _)| format!("M0 {}H1000", down(*at))).collect();
        let marks_x: String =
            self.x.iter().map(|(at, _)| format!("M{} 0V1000", across(*at))).collect();
        format!(
            "<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{title}</title>\
             <desc id=\"{id}-d\">{description}</desc>\
             <path class=\"grid\" d=\"{lines}\"/><path class=\"grid v\" d=\"{marks_x}\"/>{marks}</svg>"
        )
    }
}

fn labels(labels: &[(f64, String)], side: &str, place: impl Fn(f64) -> f64) -> String {
    let label = |(index, (at, text)): (usize, &(f64, String))| {
        let odd = if index % 2 == 1 { "odd " } else { "" };
        let end = match *at {
            at if at > 0.97 => "last",
            at if at < 0.03 => "first",
            _ => "",
        };
        let percent = place(*at) * 100.0;
        format!("<span class=\"{odd}{end}\" style=\"{side}:{percent:.2}%\">{}</span>", escape(text))
    };
    labels.iter().enumerate().map(label).collect()
}

/// A horizontal place, 0 to 1, in the SVG.
pub(super) fn across(at: f64) -> String {
    tenths(at * 1000.0)
}

/// A height, 0 to 1, in the SVG, whose y axis goes down.
pub(super) fn down(at: f64) -> String {
    tenths((1.0 - at) * 1000.0)
}

fn tenths(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// The labels of an axis.
pub(super) fn ticks(axis: &Axis, text: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    axis.ticks().into_iter().map(|tick| (axis.at(tick), text(tick))).collect()
}

/// The labels of an axis of latencies.
pub(super) fn time_ticks(axis: &Axis) -> Vec<(f64, String)> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let text = |ns: f64| {
        let text = plot::time(ns.round() as u64);
        text.replace(".00 ", " ").replace(".0 ", " ")
    };
    ticks(axis, text)
}

/// The labels of the time that has passed.
pub(super) fn elapsed_ticks(axis: &Axis) -> Vec<(f64, String)> {
    let end = axis.high();
    let (unit, name) = match end {
        end if end >= 7200.0 => (3600.0, "h"),
        end if end >= 150.0 => (60.0, "min"),
        _ => (1.0, "s"),
    };
    let in_units = Axis::exact(end / unit);
    let text = |tick: f64| {
        if tick == 0.0 { "0".to_owned() } else { format!("{} {name}", plot::short(tick)) }
    };
    ticks(&in_units, text)
}

/// Steps from left to right, one for each column: a mean holds for its whole column. A column
/// without a value leaves a gap.
pub(super) fn steps(columns: &[(f64, f64, Option<f64>)]) -> String {
    let mut path = String::new();
    let mut joined = false;
    for &(from, to, value) in columns {
        let Some(value) = value else {
            joined = false;
            continue;
        };
        let begin = if joined {
            format!("V{}", down(value))
        } else {
            format!("M{} {}", across(from), down(value))
        };
        path.push_str(&begin);
        path.push_str(&format!("H{}", across(to)));
        joined = true;
    }
    path
}

/// The same as an area above zero, between `steps` and the bottom.
pub(super) fn area(columns: &[(f64, f64, Option<f64>)]) -> String {
    let column = |&(from, to, value): &(f64, f64, Option<f64>)| {
        let value = value.filter(|&value| value > 0.0)?;
        Some(format!("M{} 1000V{}H{}V1000z", across(from), down(value), across(to)))
    };
    columns.iter().filter_map(column).collect()
}

/// A path with a class.
pub(super) fn path(class: &str, d: &str) -> String {
    if d.is_empty() { String::new() } else { format!("<path class=\"{class}\" d=\"{d}\"/>") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_without_a_value_leaves_a_gap() {
        let columns = [
            (0.0, 0.25, Some(0.5)),
            (0.25, 0.5, None),
            (0.5, 0.75, Some(0.0)),
            (0.75, 1.0, Some(1.0)),
        ];
        assert_eq!(steps(&columns), "M0 500H250M500 1000H750V0H1000");
        assert_eq!(area(&columns), "M0 1000V500H250V1000zM750 1000V0H1000V1000z");
    }

    #[test]
    fn texts_of_tooltips_and_labels_are_escaped() {
        let chart = Chart {
            title: "<b>".to_owned(),
            legend: vec![("c1", "<i>".to_owned())],
            tips: vec![(0.5, "\"<u>'".to_owned())],
            x: vec![(0.0, "<s>".to_owned())],
            ..Chart::default()
        };
        let html = chart.html();
        for tag in ["<b>", "<i>i", "<u>", "<s>"] {
            assert!(!html.contains(tag), "{tag} in {html}");
        }
        assert!(html.contains("&lt;u&gt;&#39;"), "{html}");
    }

    #[test]
    fn a_long_run_is_labelled_in_minutes_or_hours() {
        for (end, last) in [(10.0, "10 s"), (600.0, "10 min"), (36_000.0, "10 h")] {
            let labels = elapsed_ticks(&Axis::exact(end));
            assert_eq!(labels.last().expect("there are ticks").1, last);
        }
    }
}

//! Who answered, how often and how fast; and what went wrong.

use super::{escape, float, folded, over_time, section as part, table, time_or_dash};
use crate::report::{Backend, Interval, Report, plot};

/// Shares of the backends, their p99, and how the shares went over time.
pub(super) fn section(report: &Report, columns: &[Interval]) -> String {
    let backends = &report.backends;
    if backends.is_empty() {
        return String::new();
    }
    let due = due(report);
    let most =
        backends.iter().map(|one| one.share).chain([due(&backends[0].name)]).fold(0.0, f64::max);
    let (shown, rest) = backends.split_at(backends.len().min(SHOWN_MAX));
    let mut bars: String = shown.iter().map(|one| bar(one, due(&one.name), most)).collect();
    if !rest.is_empty() {
        bars += &others(rest);
    }
    let mut body = format!("<ul class=\"bars\">{bars}</ul>\n");
    body += &history(backends, columns);
    body += &folded("All as a table", &figures(backends, &due));
    let note = format!(
        "{} answered. The mark on each bar is the share it should have.",
        if backends.len() == 1 {
            "One backend".to_owned()
        } else {
            format!("{} backends", backends.len())
        }
    );
    part("backends", "Backends", &note, &body)
}

/// The share that a backend should have: by weight where there are weights, else an equal one.
fn due(report: &Report) -> impl Fn(&str) -> f64 {
    let weights = &report.config.weights;
    let sum: f64 = weights.values().sum();
    let equal = 1.0 / float(u64::try_from(report.backends.len().max(1)).unwrap_or(u64::MAX));
    move |name| if sum > 0.0 { weights.get(name).copied().unwrap_or(0.0) / sum } else { equal }
}

fn bar(backend: &Backend, due: f64, most: f64) -> String {
    let width = |share: f64| if most > 0.0 { (share / most * 100.0).min(100.0) } else { 0.0 };
    format!(
        "<li><span class=\"name\">{}</span>\
         <span class=\"bar\" aria-hidden=\"true\"><i style=\"width:{:.2}%\"></i><b style=\"left:{:.2}%\"></b></span>\
         <span class=\"share\">{}</span><span class=\"more\">{} · p99 {}</span></li>\n",
        escape(&backend.name),
        width(backend.share),
        width(due),
        plot::percent(backend.share),
        plot::count(backend.responses),
        time_or_dash(backend.p99_ns),
    )
}

fn others(rest: &[Backend]) -> String {
    let share: f64 = rest.iter().map(|one| one.share).sum();
    let responses: u64 = rest.iter().map(|one| one.responses).sum();
    format!(
        "<li class=\"others\"><span class=\"name\">{} others</span><span class=\"bar none\"></span>\
         <span class=\"share\">{}</span><span class=\"more\">{} together</span></li>\n",
        rest.len(),
        plot::percent(share),
        plot::count(responses)
    )
}

/// Answers a second of each backend over time, where they can be told apart.
fn history(backends: &[Backend], columns: &[Interval]) -> String {
    let known = columns.iter().any(|one| !one.backends.is_empty());
    if !known || columns.len() < 2 || !(2..=CLASSES.len()).contains(&backends.len()) {
        return String::new();
    }
    let series: Vec<_> = backends
        .iter()
        .zip(CLASSES)
        .map(|(backend, class)| {
            let of = |one: &Interval| one.backends.get(&backend.name).copied().unwrap_or(0);
            let rates = columns.iter().map(|one| over_time::a_second(of(one), one)).collect();
            (class, backend.name.clone(), rates)
        })
        .collect();
    over_time::lines("shares", "answers/s", columns, &series)
}

fn figures(backends: &[Backend], due: &impl Fn(&str) -> f64) -> String {
    let row = |one: &Backend| {
        vec![
            escape(&one.name),
            plot::count(one.responses),
            plot::percent(one.share),
            plot::percent(due(&one.name)),
            time_or_dash(one.response.quantile_ns(0.5)),
            time_or_dash(one.p99_ns),
            time_or_dash(one.response.max_ns()),
        ]
    };
    let heads = &["backend", "answers", "share", "should have", "p50", "p99", "max"];
    table("Backends", heads, &backends.iter().map(row).collect::<Vec<_>>())
}

/// Errors by kind.
pub(super) fn errors(report: &Report) -> String {
    let most = report.errors.values().copied().max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let row = |(kind, count): (&String, &u64)| {
        format!(
            "<li><span class=\"name\">{}</span>\
             <span class=\"bar bad\" aria-hidden=\"true\"><i style=\"width:{:.2}%\"></i></span>\
             <span class=\"share\">{}</span><span class=\"more\">{} of all intended</span></li>\n",
            escape(kind),
            float(*count) / float(most) * 100.0,
            plot::count(*count),
            plot::percent(float(*count) / float(report.totals.intended.max(1)))
        )
    };
    let rows: String = report.errors.iter().map(row).collect();
    part(
        "errors",
        "Errors",
        "By kind; an error never counts as an answer.",
        &format!("<ul class=\"bars\">{rows}</ul>\n"),
    )
}

/// As many bars as a person reads.
const SHOWN_MAX: usize = 20;
const CLASSES: [&str; 4] = ["c1", "c2", "c3", "c4"];

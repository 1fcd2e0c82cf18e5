//! The figures that matter most, and what became of each request.

use super::{escape, float, section};
use crate::report::{Direction, Distribution, Report, plot};

/// The cards at the top.
pub(super) fn cards(report: &Report) -> String {
    let cards = match (&report.stream, &report.hold) {
        (Some(stream), _) => stream_cards(&stream.directions, stream.probe.as_ref()),
        (_, Some(hold)) => vec![
            Card::new("Alive at the end", plot::count(hold.alive), "connections")
                .note(&format!("of {} wanted", plot::count(hold.wanted))),
            Card::new("Established", plot::count(hold.established), "connections")
                .note(&format!("within {}", plot::seconds(hold.connect_s))),
            Card::new("Probes answered", plot::count(hold.probes_ok), "")
                .note(&format!("{} failed", plot::count(hold.probes_failed)))
                .bad(hold.probes_failed > 0),
        ],
        _ => request_cards(report),
    };
    let cards: String = cards.iter().map(Card::html).collect();
    format!(
        "<section aria-labelledby=\"headline-h\"><h2 id=\"headline-h\" class=\"unseen\">Headline figures</h2>\
         <dl class=\"cards\">{cards}</dl></section>\n"
    )
}

fn request_cards(report: &Report) -> Vec<Card> {
    let totals = &report.totals;
    let offered = format!("of {} offered", plot::rate(totals.offered_per_s));
    let goodput = Card::new("Goodput", plot::rate(totals.goodput_per_s), "/s").note(&offered);
    let mut cards = vec![if report.config.rate_per_s.is_some() {
        goodput
    } else {
        goodput.note("requests answered rightly")
    }];
    let response = &report.latency.response;
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        cards.push(time_card(&format!("{name} response"), response, quantile));
    }
    let failed = totals.errors + totals.unanswered + totals.unsent;
    let share = float(failed) / float(totals.intended.max(1));
    let note = format!("{} of {}", plot::percent(share), plot::count(totals.intended));
    cards.push(
        Card::new("Not answered rightly", plot::count(failed), "").note(&note).bad(failed > 0),
    );
    cards
}

fn time_card(label: &str, times: &Distribution, quantile: f64) -> Card {
    match times.quantile_ns(quantile) {
        Some(ns) => {
            let text = plot::time(ns);
            let (value, unit) = text.split_once(' ').unwrap_or((&text, ""));
            let max = times.max_ns().unwrap_or(ns);
            let card = Card::new(label, value.to_owned(), unit);
            if quantile > 0.99 { card.note(&format!("max {}", plot::time(max))) } else { card }
        }
        None => Card::new(label, "–".to_owned(), "").note("too few samples"),
    }
}

fn stream_cards(directions: &[Direction], probe: Option<&Distribution>) -> Vec<Card> {
    let card = |one: &Direction| {
        let note =
            format!("{} in {} streams", plot::bytes(float(one.bytes)), one.streams_bytes.len());
        Card::new(&escape(&one.name), plot::gbit(one.gbit_per_s), "Gbit/s").note(&note)
    };
    let mut cards: Vec<Card> = directions.iter().map(card).collect();
    if let Some(probe) = probe {
        cards.push(time_card("Probe p50 under load", probe, 0.5));
        cards.push(time_card("Probe p99 under load", probe, 0.99));
    }
    let wrong: u64 = directions.iter().map(|one| one.wrong_bytes).sum();
    if wrong > 0 {
        cards.push(Card::new("Wrong bytes", plot::count(wrong), "").bad(true));
    }
    cards
}

/// A figure with its name.
struct Card {
    label: String,
    value: String,
    unit: String,
    note: String,
    bad: bool,
}

impl Card {
    fn new(label: &str, value: String, unit: &str) -> Self {
        let (label, unit) = (label.to_owned(), unit.to_owned());
        Self { label, value, unit, note: String::new(), bad: false }
    }

    fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }

    fn bad(mut self, bad: bool) -> Self {
        self.bad = bad;
        self
    }

    fn html(&self) -> String {
        let Self { label, value, unit, note, bad } = self;
        let class = if *bad { " bad" } else { "" };
        format!(
            "<div class=\"figure{class}\"><dt>{label}</dt><dd><span class=\"value\">{value}</span>\
             <span class=\"of\"> {unit}</span><small>{note}</small></dd></div>\n"
        )
    }
}

/// What became of each request that the plan called for: the sum is shown, since it must fit.
pub(super) fn requests(report: &Report) -> String {
    let totals = &report.totals;
    let failed = totals.errors + totals.unanswered + totals.unsent;
    // Of a bulk run these are its streams; they are told when one of them failed.
    if totals.intended == 0 || (report.stream.is_some() && failed == 0) {
        return String::new();
    }
    let parts = [
        ("ok", "answered rightly", totals.ok),
        ("errors", "errors", totals.errors),
        ("unanswered", "unanswered", totals.unanswered),
        ("unsent", "unsent", totals.unsent),
    ];
    let bar: String =
        parts.iter().map(|(class, _, count)| piece(class, *count, totals.intended)).collect();
    let parts: String = parts
        .iter()
        .map(|(class, name, count)| {
            let share = plot::percent(float(*count) / float(totals.intended));
            let count = plot::count(*count);
            format!(
                "<div><dt><i class=\"{class}\"></i>{name}</dt>\
                 <dd>{count} <small>{share}</small></dd></div>\n"
            )
        })
        .collect();
    let note = format!(
        "{} requests intended, {} offered a second, {} ended a second.",
        plot::count(totals.intended),
        plot::rate(totals.offered_per_s),
        plot::rate(totals.achieved_per_s)
    );
    let body = format!(
        "<div class=\"fate\" aria-hidden=\"true\">{bar}</div>\n<dl class=\"fates\">{parts}</dl>\n"
    );
    section("requests", "Requests", &note, &body)
}

fn piece(class: &str, count: u64, all: u64) -> String {
    if count == 0 {
        return String::new();
    }
    format!("<span class=\"{class}\" style=\"flex-grow:{:.6}\"></span>", float(count) / float(all))
}

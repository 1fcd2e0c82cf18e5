//! The upper part: who it is, what must be known, what goes through, who holds it up.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{RenderDirection, Sparkline, Widget as _};

use loadgen::report::plot;

use super::super::state::{Picture, Point, State};
use super::{Palette, spread};
use crate::ctl::show::is_grave;
use crate::ctl::table::{Tone, clean, cut, wrapped};
use crate::ctl::units::{self, count};

/// All lines above the curves.
pub(super) fn lines(
    state: &State,
    picture: &Picture,
    palette: Palette,
    width: u16,
    height: u16,
) -> Vec<Line<'static>> {
    let mut lines = vec![title(state, picture, palette, width)];
    lines.extend(alarms(state, picture, palette, width));
    lines.extend(flow(facts(picture), palette, width));
    let sentence = &picture.status.bottleneck.sentence;
    if !sentence.is_empty() && height > 5 {
        let nobody = matches!(picture.status.bottleneck.who.as_str(), "nobody" | "client" | "");
        let tone = if nobody { Tone::Plain } else { Tone::Warn };
        let text = wrapped(sentence, Some(width.into()), NAMES);
        let rows = if height > 20 { 2 } else { 1 };
        for (index, part) in text.lines().take(rows).enumerate() {
            let name = if index == 0 { " bottleneck " } else { "            " };
            let part = part.trim_start().to_owned();
            let name = Span::styled(name, palette.style(Tone::Dim));
            lines.push(Line::from(vec![name, Span::styled(part, palette.style(tone))]));
        }
    }
    lines
}

fn title(state: &State, picture: &Picture, palette: Palette, width: u16) -> Line<'static> {
    let status = &picture.status;
    let running = if status.state == "running" { Tone::Good } else { Tone::Warn };
    let line = Line::from(vec![
        Span::styled(format!(" evenkeel {} ", clean(&status.version)), palette.tab()),
        Span::styled(format!(" {}", clean(&status.state)), palette.style(running)),
        Span::raw(format!(
            " for {}  {}  pid {}",
            units::seconds(status.uptime_seconds),
            clean(&status.engine),
            status.pid
        )),
    ]);
    let address = format!("{} ", clean(&state.address));
    spread(line, Span::styled(address, palette.style(Tone::Dim)), width)
}

/// A lost connection, and what the balancer itself says comes first.
fn alarms(state: &State, picture: &Picture, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let lost = state.lost.iter().map(|lost| {
        let (error, attempts) = (&lost.error, lost.attempts);
        let text =
            format!("no connection, this is the last picture: {error}; trying again ({attempts})");
        (text, palette.alarm())
    });
    let banners = picture.status.banners.iter().map(|banner| {
        let style = if is_grave(banner) { palette.alarm() } else { palette.notice() };
        (format!("{}: {}", banner.kind, banner.text), style)
    });
    let width = usize::from(width);
    let line = |(text, style): (String, _)| {
        let text = cut(&format!(" {} ", clean(&text)), width);
        let blank = width.saturating_sub(Span::raw(text.as_str()).width());
        Line::styled(format!("{text}{}", " ".repeat(blank)), style)
    };
    lost.chain(banners).take(ALARMS).map(line).collect()
}

/// A name, a value, and how that is meant.
type Fact = (&'static str, String, Tone);

fn facts(picture: &Picture) -> Vec<Fact> {
    let status = &picture.status;
    let mut sessions = count(status.sessions.into());
    if status.sessions_max > 0 {
        sessions += &format!(" of {}", count(status.sessions_max));
    }
    let mut facts = vec![("sessions", sessions, Tone::Strong)];
    let waiting: u64 = status.pools.iter().map(|pool| u64::from(pool.waiting)).sum();
    if waiting > 0 {
        facts.push(("waiting", count(waiting), Tone::Warn));
    }
    let Some(rates) = &picture.rates else { return facts };
    let failed: f64 = rates.pools.iter().map(|pool| pool.failed).sum();
    facts.push(("new", format!("{}/s", plot::short(rates.accepted)), Tone::Good));
    facts.push(("ended", format!("{}/s", plot::short(rates.ended)), Tone::Plain));
    if failed > 0.0 {
        facts.push(("failed", format!("{}/s", plot::short(failed)), Tone::Bad));
    }
    facts.push(("↑", format!("{}/s", plot::bytes(rates.to_backends.bytes)), Tone::Figure));
    facts.push(("↓", format!("{}/s", plot::bytes(rates.to_clients.bytes)), Tone::Figure));
    if let Some(share) = rates.spliced() {
        facts.push(("spliced", format!("{:.0} %", share * 100.0), Tone::Plain));
    }
    facts
}

/// As many lines as it takes.
fn flow(facts: Vec<Fact>, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    for (name, value, tone) in facts {
        let fact = Line::from(vec![
            Span::styled(format!(" {name} "), palette.style(Tone::Dim)),
            Span::styled(format!("{value}  "), palette.style(tone)),
        ]);
        let last = lines.last_mut().expect("there is one from the beginning");
        // The blanks at its end may be cut.
        if last.width() > 0 && last.width() + fact.width() > usize::from(width) + 2 {
            lines.push(fact);
        } else {
            last.spans.extend(fact.spans);
        }
    }
    lines
}

/// How many rows the curves take, their names included.
pub(super) const fn curve_rows(height: u16) -> u16 {
    match height {
        0..20 => 0,
        20..28 => 3,
        28..40 => 5,
        _ => 7,
    }
}

/// New sessions and bytes over time, side by side.
pub(super) fn curves(state: &State, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let [left, _, right] = Layout::horizontal([
        Constraint::Ratio(1, 2),
        Constraint::Length(2),
        Constraint::Ratio(1, 2),
    ])
    .areas(Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area });
    let rate = |value: f64| format!("{}/s", plot::short(value));
    let bytes = |value: f64| format!("{}/s", plot::bytes(value));
    let accepted =
        Curve { name: "new sessions", of: |point| point.accepted, text: &rate, tone: Tone::Good };
    let moved = Curve {
        name: "bytes both ways",
        of: |point| point.bytes,
        text: &bytes,
        tone: Tone::Figure,
    };
    curve(state, palette, &accepted, left, buffer);
    curve(state, palette, &moved, right, buffer);
}

struct Curve<'a> {
    name: &'static str,
    of: fn(&Point) -> f64,
    text: &'a dyn Fn(f64) -> String,
    tone: Tone,
}

fn curve(state: &State, palette: Palette, what: &Curve<'_>, area: Rect, buffer: &mut Buffer) {
    if area.height < 2 || area.width < 8 {
        return;
    }
    let newest = state.history.iter().rev().take(area.width.into()).map(what.of);
    let newest: Vec<f64> = newest.collect();
    let most = newest.iter().copied().fold(0.0, f64::max);
    let peak = format!("peak {}", (what.text)(most));
    let name = Line::styled(what.name, palette.style(Tone::Dim));
    let title = Rect { height: 1, ..area };
    spread(name, Span::styled(peak, palette.style(Tone::Dim)), area.width).render(title, buffer);
    // A curve of whole numbers, fine enough for eight steps a row.
    let scaled = newest.iter().map(|value| whole(value / most.max(f64::MIN_POSITIVE) * STEPS));
    let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
    Sparkline::default()
        .data(scaled.collect::<Vec<u64>>())
        .max(whole(STEPS))
        .direction(RenderDirection::RightToLeft)
        .style(palette.style(what.tone))
        .render(below, buffer);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// As wide as ` bottleneck `.
const NAMES: usize = 12;
/// More would push out what they are about.
const ALARMS: usize = 4;
const STEPS: f64 = 10_000.0;

//! The picture: a function of the state, and of nothing else.

use loadgen::report::{Phase, plot};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget};

use super::heat::{self, GUTTER, Palette};
use super::state::{Column, Quantiles, Rate, State, float};

/// Draws all of it; what has no room is left out, the least important first.
pub(super) fn draw(state: &State, palette: Palette, area: Rect, buffer: &mut Buffer) {
    if area.height < 3 {
        headline(state, palette).render(area, buffer);
        return;
    }
    let rows = Rows::fitting(state, area.height);
    let heights = [1, 1, 1, rows.spark, rows.table, rows.heat, rows.backends, rows.hint];
    let parts: [Rect; 8] = Layout::vertical(heights.map(Constraint::Length)).areas(area);
    let [title, progress, rates, spark, table, map, backends, hint] = parts;
    headline(state, palette).render(title, buffer);
    bar(state, palette, progress, buffer);
    rate_line(state, palette).render(rates, buffer);
    let (columns, width) = visible(state, area.width);
    sparkline(&columns, width, palette, spark, buffer);
    latencies(state, palette, table, buffer);
    heat::draw(&columns, width, palette, below_gap(map), buffer);
    shares(state, palette, below_gap(backends), buffer);
    if rows.hint > 0 {
        Line::from("Ctrl-C ends the run with its report, twice without").dim().render(hint, buffer);
    }
}

/// How many rows each part has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    spark: u16,
    table: u16,
    heat: u16,
    backends: u16,
    hint: u16,
}

impl Rows {
    /// Title, progress and rate are always there; the rest by importance.
    fn fitting(state: &State, height: u16) -> Self {
        let mut left = height.saturating_sub(3);
        let mut take = |wanted: u16, least: u16| {
            let rows = if left < least { 0 } else { wanted.min(left) };
            left -= rows;
            rows
        };
        let mut rows = Self { table: take(3, 3), ..Self::default() };
        if rows.table == 0 {
            rows.table = take(1, 1);
        }
        rows.spark = take(1, 1);
        rows.heat = take(5, 4);
        // One row more is the gap above it.
        let backends = u16::try_from(state.backends.len()).unwrap_or(u16::MAX);
        rows.backends = if backends > 0 { take(backends.min(4) + 1, 2) } else { 0 };
        rows.hint = take(1, 1);
        rows.spark += take(2, 2);
        rows.heat += take(9, 1);
        if rows.backends > 0 {
            rows.backends += take(backends.saturating_sub(4).min(12), 1);
        }
        rows.heat += take(u16::MAX, 1);
        rows
    }
}

fn below_gap(area: Rect) -> Rect {
    Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }.intersection(area)
}

fn headline(state: &State, palette: Palette) -> Line<'static> {
    let (connected, wanted) = state.connections;
    let short = palette.style(if connected < wanted { YELLOW } else { Color::Reset });
    Line::from(vec![
        Span::styled("loadgen ", palette.style(BLUE).add_modifier(Modifier::BOLD)),
        Span::raw(state.title.clone()).bold(),
        Span::styled(
            format!("  {}/{} connections", plot::count(connected), plot::count(wanted)),
            short,
        ),
    ])
}

/// The phase as far as it is: `measuring ━━━━━━───── 6.2 s of 10 s, 3.8 s to go`.
fn bar(state: &State, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let name = format!("{:<11}", state.phase_name());
    let time = match (state.phase, state.expected_s) {
        (Phase::Done, _) => String::new(),
        (_, Some(expected)) => {
            let left = (expected - state.elapsed_s).max(0.0);
            format!(" {:.1} s of {}, {left:.0} s to go", state.elapsed_s, plot::seconds(expected))
        }
        (_, None) => format!(" {:.1} s", state.elapsed_s),
    };
    let (name_width, time_width) = (width(&name), width(&time));
    buffer.set_stringn(area.x, area.y, &name, area.width.into(), Style::new().bold());
    let room = area.width.saturating_sub(name_width + time_width);
    if room < 4 {
        let left = area.width.saturating_sub(name_width);
        buffer.set_stringn(
            area.x + name_width.min(area.width),
            area.y,
            &time,
            left.into(),
            Style::new(),
        );
        return;
    }
    let filled = cells(state.done().unwrap_or(0.0) * f64::from(room));
    for x in 0..room {
        let (symbol, style) =
            if x < filled { ("━", palette.style(BLUE)) } else { ("─", palette.style(GREY)) };
        buffer.set_string(area.x + name_width + x, area.y, symbol, style);
    }
    buffer.set_string(area.x + name_width + room, area.y, &time, Style::new());
}

fn rate_line(state: &State, palette: Palette) -> Line<'static> {
    let text = |rate: Rate| match rate {
        Rate::Answers(rate) => format!("{}/s", plot::rate(rate)),
        Rate::Bulk { up, down } => {
            format!("↑ {} ↓ {} Gbit/s", plot::gbit(up), plot::gbit(down))
        }
    };
    let now = state.last.as_ref().map_or_else(|| "–".to_owned(), |last| text(last.rate));
    let errors = state.totals.errors;
    let colour = if errors > 0 { RED } else { Color::Reset };
    let mut spans = vec![
        Span::raw("rate       "),
        Span::styled(now, palette.style(GREEN).add_modifier(Modifier::BOLD)),
    ];
    spans.push(Span::styled(format!("  errors {}", plot::count(errors)), palette.style(colour)));
    if let Some(last) = state.last.as_ref().filter(|last| last.errors > 0) {
        spans.push(Span::styled(format!(" (+{})", plot::count(last.errors)), palette.style(RED)));
    }
    if state.measured_s > 0.0 {
        spans.push(Span::raw(format!("  average {}", text(state.average()))));
    }
    Line::from(spans)
}

/// The newest columns that fit, and how many cells wide each is: a run whose end is known fills the
/// width at its end.
fn visible(state: &State, width: u16) -> (Vec<&Column>, u16) {
    let room = width.saturating_sub(GUTTER).max(1);
    let length = state.history.front().map_or(0.0, |first| first.length_s);
    let measuring = state.phase == Phase::Measuring;
    let expected = state.expected_s.filter(|_| measuring).unwrap_or(state.measured_s);
    let all = if length > 0.0 { (expected / length).ceil().max(1.0) } else { 1.0 };
    let each = cells(f64::from(room) / all).clamp(1, 8);
    let shown = usize::from(room / each);
    let skipped = state.history.len().saturating_sub(shown);
    (state.history.iter().skip(skipped).collect(), each)
}

fn sparkline(columns: &[&Column], width: u16, palette: Palette, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 || area.width <= GUTTER {
        return;
    }
    let most = columns.iter().map(|column| column.rate).fold(0.0, f64::max);
    buffer.set_string(area.x, area.y, format!("{:>7}", plot::short(most)), Style::new());
    let values = columns.iter().flat_map(|column| {
        let style = palette.style(if column.failed { RED } else { GREEN });
        let bar = ratatui::widgets::SparklineBar::from(whole(column.rate)).style(style);
        std::iter::repeat_n(bar, width.into())
    });
    let right = Rect { x: area.x + GUTTER, width: area.width - GUTTER, ..area };
    Sparkline::default().data(values).max(whole(most).max(1)).render(right, buffer);
}

fn latencies(state: &State, palette: Palette, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let last = state.last.as_ref().map_or([None; 5], |last| last.response);
    if area.height < 3 {
        let [p50, _, p99, _, max] = state.so_far.map(time);
        let line = format!("p50 {p50}  p99 {p99}  max {max}");
        buffer.set_stringn(area.x, area.y, line, area.width.into(), Style::new());
        return;
    }
    let row = |name: &str, cells: [String; 5]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>9}")).collect();
        format!("{name:<11}{cells}")
    };
    let heads = ["p50", "p90", "p99", "p99.9", "max"].map(str::to_owned);
    let lines = [
        (row("response", heads), palette.style(GREY)),
        (row("so far", state.so_far.map(time)), Style::new().bold()),
        (row("interval", last.map(time)), Style::new()),
    ];
    for (y, (line, style)) in (area.y..area.bottom()).zip(lines) {
        buffer.set_stringn(area.x, y, line, area.width.into(), style);
    }
}

fn time(ns: Quantile) -> String {
    ns.map_or_else(|| "–".to_owned(), plot::time)
}

type Quantile = <Quantiles as IntoIterator>::Item;

/// A bar for each backend, as many as there is room for.
fn shares(state: &State, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let all: u64 = state.backends.iter().map(|(_, count)| count).sum();
    let most = state.backends.iter().map(|&(_, count)| count).max().unwrap_or(0).max(1);
    let rows = usize::from(area.height);
    // The last row says how many have none.
    let shown =
        if state.backends.len() > rows { rows.saturating_sub(1) } else { state.backends.len() };
    for (y, (name, count)) in (area.y..).zip(&state.backends[..shown]) {
        let share = plot::percent(float(*count) / float(all.max(1)));
        let name: String = name.chars().take(NAME_WIDTH).collect();
        let figures = format!(" {share:>7} {:>11}", plot::count(*count));
        let room = area.width.saturating_sub(GUTTER + 9 + width(&figures));
        buffer.set_stringn(area.x, y, &name, area.width.into(), Style::new());
        let length = eighths(float(*count) / float(most) * f64::from(room));
        let left = area.x + GUTTER + 9;
        buffer.set_stringn(left, y, length, room.into(), palette.style(BLUE));
        if area.width > GUTTER + 9 {
            let rest = area.width - GUTTER - 9 - room;
            buffer.set_stringn(left + room, y, &figures, rest.into(), Style::new());
        }
    }
    if shown < state.backends.len() && rows > 0 {
        let more = format!("and {} more", state.backends.len() - shown);
        let y = area.bottom() - 1;
        buffer.set_stringn(area.x, y, more, area.width.into(), palette.style(GREY));
    }
}

/// A bar as long as told, to an eighth of a cell.
fn eighths(length: f64) -> String {
    let eighths = usize::from(cells(length * 8.0));
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8).copied());
    bar
}

fn width(text: &str) -> u16 {
    u16::try_from(text.chars().count()).unwrap_or(u16::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn cells(value: f64) -> u16 {
    value as u16
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

const NAME_WIDTH: usize = 16;
const BLUE: Color = Color::Indexed(75);
const GREEN: Color = Color::Indexed(78);
const YELLOW: Color = Color::Indexed(221);
const RED: Color = Color::Indexed(203);
const GREY: Color = Color::Indexed(245);

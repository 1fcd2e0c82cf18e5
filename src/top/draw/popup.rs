//! What lies above the view: a question, something to read, what keys do.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Padding, Paragraph, Widget as _};

use super::super::state::{Popup, State};
use super::Palette;
use crate::ctl::table::{Tone, clean, width, wrapped};

/// Draws it, if there is one.
pub(super) fn draw(state: &State, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let room = usize::from(area.width).saturating_sub(MARGIN).min(WIDEST);
    match &state.popup {
        None => {}
        Some(Popup::Help) => {
            let lines = HELP.iter().map(|(keys, what)| {
                let keys = Span::styled(format!("{keys:<12}"), palette.style(Tone::Strong));
                Line::from(vec![keys, Span::raw(*what)])
            });
            boxed("keys", Tone::Figure, lines.collect(), 0, palette, area, buffer);
        }
        Some(Popup::Confirm { question, .. }) => {
            let mut lines = text(question, room);
            lines.push(Line::default());
            lines.push(Line::from(vec![
                Span::styled("y", palette.style(Tone::Strong)),
                Span::raw(" yes   "),
                Span::styled("n", palette.style(Tone::Strong)),
                Span::raw(" no"),
            ]));
            boxed("sure?", Tone::Warn, lines, 0, palette, area, buffer);
        }
        Some(Popup::Text { title, lines, above }) => {
            let lines = lines.iter().flat_map(|line| text(line, room)).collect();
            boxed(title, Tone::Figure, lines, *above, palette, area, buffer);
        }
    }
}

fn text(text: &str, room: usize) -> Vec<Line<'static>> {
    if text.is_empty() {
        return vec![Line::default()];
    }
    let indent = if text.starts_with('•') { 2 } else { 0 };
    wrapped(text, Some(room), indent).lines().map(|line| Line::from(line.to_owned())).collect()
}

fn boxed(
    title: &str,
    tone: Tone,
    lines: Vec<Line<'static>>,
    above: u16,
    palette: Palette,
    area: Rect,
    buffer: &mut Buffer,
) {
    let title = format!(" {} ", clean(title));
    let widest = lines.iter().map(Line::width).chain([width(&title)]).max().unwrap_or(0);
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let size = |wanted: usize, most: u16| u16::try_from(wanted).unwrap_or(u16::MAX).min(most);
    let (wide, high) = (size(widest + 4, area.width), rows.saturating_add(2).min(area.height));
    let place = Rect {
        x: area.x + (area.width - wide) / 2,
        y: area.y + (area.height - high) / 2,
        width: wide,
        height: high,
    };
    Clear.render(place, buffer);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(palette.style(tone))
        .title(Span::styled(title, palette.style(Tone::Strong)))
        .padding(Padding::horizontal(1))
        .style(palette.popup());
    Paragraph::new(lines).block(block).scroll((above, 0)).render(place, buffer);
}

/// Borders, padding, and a little of what is below.
const MARGIN: usize = 8;
/// Longer lines are hard to read.
const WIDEST: usize = 92;

const HELP: [(&str, &str); 15] = [
    ("1-4 tab ←→", "overview, sessions, shards, events"),
    ("↑↓ j k", "select; PgUp PgDn g G go further"),
    ("d", "drain the backend: no new clients but sticky ones"),
    ("r", "ready: it gets new connections again"),
    ("m", "maint: nobody comes, nothing is checked"),
    ("K", "kill the session, or all of the backend"),
    ("enter", "sessions of the backend; more of an event"),
    ("e", "explain: why is it so?"),
    ("s", "sort by something else"),
    ("p space", "pause, go on"),
    ("esc", "back"),
    ("q Ctrl-C", "quit"),
    ("", ""),
    ("", "times are of the last 10 s; ↑ to backends, ↓ to clients"),
    ("", "1 kB is 1000 bytes, 1 MB is 1000 kB"),
];

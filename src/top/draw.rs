//! The picture: a function of the state and of the room there is, and of nothing else.
//!
//! From the top: what to know first, what goes through, who holds it up, curves if there is room, the
//! view, and what keys do. What has no room is left out, the least important first.

mod head;
mod lists;
mod palette;
mod popup;

pub(crate) use palette::Palette;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget as _;

use super::state::{Picture, Popup, State, View};
use crate::ctl::table::Tone;
use lists::Listing;

/// Draws all of it.
pub(crate) fn draw(state: &State, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let Some(picture) = &state.picture else {
        waiting(state, palette, area, buffer);
        return;
    };
    let mut room = Room { palette, left: area, buffer };
    // The last line is for keys, once there is more than what must be seen.
    let hints = (area.height > 6).then(|| room.last_line());
    let airy = area.height >= AIRY;
    let head = head::lines(state, picture, palette, area.width, area.height);
    head.into_iter().for_each(|line| room.put(line));
    let curves = head::curve_rows(area.height);
    if curves > 0 && room.left.height > curves {
        room.gap(airy);
        let part = room.take(curves);
        head::curves(state, palette, part, room.buffer);
        room.gap(airy);
    }
    if area.height > 8 {
        room.put(tabs(state, palette, area.width));
        room.gap(airy);
    }
    view(state, picture, &mut room);
    if let Some(hints) = hints {
        footer(state, palette, hints.width).render(hints, buffer);
    }
    popup::draw(state, palette, area, buffer);
}

/// The overview as text, with every backend and shard, for files and pipes.
pub(crate) fn as_text(state: &State, width: u16) -> String {
    let Some(picture) = &state.picture else { return String::new() };
    let palette = Palette::Plain;
    let mut lines = head::lines(state, picture, palette, width, u16::MAX);
    let shown = usize::from(width);
    for listing in [
        lists::pools(picture, shown),
        lists::backends(state, picture, shown),
        lists::shards(picture, shown),
    ] {
        lines.push(Line::default());
        lines.extend(listing.lines.iter().map(|pieces| palette.line(pieces)));
    }
    let text = |line: &Line<'_>| {
        let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
        text.trim_end().to_owned() + "\n"
    };
    lines.iter().map(text).collect()
}

/// What is left of the screen, from the top.
struct Room<'a> {
    palette: Palette,
    left: Rect,
    buffer: &'a mut Buffer,
}

impl Room<'_> {
    fn put(&mut self, line: Line<'_>) {
        if self.left.height > 0 {
            let row = self.take(1);
            line.render(row, self.buffer);
        }
    }

    fn gap(&mut self, wanted: bool) {
        if wanted {
            self.take(1);
        }
    }

    fn take(&mut self, rows: u16) -> Rect {
        let rows = rows.min(self.left.height);
        let taken = Rect { height: rows, ..self.left };
        self.left.y += rows;
        self.left.height -= rows;
        taken
    }

    fn last_line(&mut self) -> Rect {
        self.left.height = self.left.height.saturating_sub(1);
        Rect { y: self.left.bottom(), height: 1, ..self.left }
    }

    /// Heads, and as many rows as fit, the selected one among them.
    fn list(&mut self, listing: &Listing, selected: Option<usize>, most: u16) {
        let rows = usize::from(most.min(self.left.height));
        let Some((heads, body)) = listing.lines.split_first().filter(|_| rows > 0) else { return };
        self.put(self.palette.line(heads));
        let (shown, first) = window(body.len(), rows - 1, selected.unwrap_or(0));
        for (index, pieces) in body.iter().enumerate().skip(first).take(shown) {
            let mut line = self.palette.line(pieces);
            if selected == Some(index) {
                line = line.patch_style(self.palette.selected());
                // As far as the screen goes.
                let blank = usize::from(self.left.width).saturating_sub(line.width());
                line.push_span(Span::styled(" ".repeat(blank), self.palette.selected()));
            }
            self.put(line);
        }
    }
}

/// How many rows are shown, and which is the first, so that the selected one is near the middle.
fn window(rows: usize, room: usize, selected: usize) -> (usize, usize) {
    let shown = rows.min(room);
    let first = selected.saturating_sub(shown / 2).min(rows - shown);
    (shown, first)
}

fn view(state: &State, picture: &Picture, room: &mut Room<'_>) {
    let width = usize::from(room.left.width);
    let selected = Some(state.row());
    match state.view {
        View::Overview => overview(state, picture, room),
        View::Sessions => {
            let (palette, listing) = (room.palette, lists::sessions(state, width));
            room.put(palette.line(&lists::sessions_title(state)));
            room.list(&listing, selected, u16::MAX);
        }
        View::Shards => {
            let palette = room.palette;
            room.put(palette.line(&lists::balance(picture)));
            room.list(&lists::shards(picture, width), selected, u16::MAX);
        }
        View::Events => room.list(&lists::events(state, width), selected, u16::MAX),
    }
}

/// Pools, backends, and shards if there is room below.
fn overview(state: &State, picture: &Picture, room: &mut Room<'_>) {
    let (width, height) = (usize::from(room.left.width), room.left.height);
    let rows = |listing: &Listing| u16::try_from(listing.lines.len()).unwrap_or(u16::MAX);
    let pools = lists::pools(picture, width);
    let backends = lists::backends(state, picture, width);
    let shards = lists::shards(picture, width);
    // A pool alone says little that its backends do not.
    if height > rows(&backends).min(6) + 4 {
        let most = rows(&pools).min(height / 3);
        room.list(&pools, None, most);
        if height > 12 {
            room.put(Line::default());
        }
    }
    room.list(&backends, Some(state.row()), u16::MAX);
    if room.left.height > rows(&shards) {
        room.put(Line::default());
        room.list(&shards, None, u16::MAX);
    }
}

fn tabs(state: &State, palette: Palette, width: u16) -> Line<'static> {
    let mut spans = Vec::new();
    for (index, view) in View::ALL.into_iter().enumerate() {
        let style = match view == state.view {
            true => palette.tab(),
            false => palette.style(Tone::Dim),
        };
        spans.push(Span::styled(format!(" {} {} ", index + 1, view.name()), style));
    }
    let order = match state.view {
        View::Overview => state.backend_sort.name(),
        View::Sessions => state.session_sort.name(),
        View::Shards => "",
        View::Events => "newest first",
    };
    let line = Line::from(spans);
    let order = if state.paused { "paused: p goes on" } else { order };
    let tone = if state.paused { Tone::Warn } else { Tone::Dim };
    spread(line, Span::styled(format!("{order} "), palette.style(tone)), width)
}

/// What came of the last wish, or what keys do.
fn footer(state: &State, palette: Palette, width: u16) -> Line<'static> {
    if let Some(message) = &state.message {
        let tone = if message.good { Tone::Good } else { Tone::Bad };
        return Line::styled(
            format!(" {}", crate::ctl::table::clean(&message.text)),
            palette.style(tone),
        );
    }
    let of_view: &[(&str, &str)] = match state.view {
        View::Overview => &[
            ("↑↓", "select"),
            ("d", "drain"),
            ("r", "ready"),
            ("m", "maint"),
            ("K", "kill"),
            ("e", "explain"),
            ("⏎", "sessions"),
            ("s", "sort"),
        ],
        View::Sessions => {
            &[("↑↓", "select"), ("K", "kill"), ("e", "explain"), ("s", "sort"), ("esc", "back")]
        }
        View::Shards => &[],
        View::Events => &[("↑↓", "select"), ("⏎", "evidence")],
    };
    let always = [("?", "help"), ("q", "quit")];
    let wide = |hints: &[(&str, &str)]| {
        hints
            .iter()
            .map(|(key, what)| key.chars().count() + what.chars().count() + 3)
            .sum::<usize>()
    };
    let mut room = usize::from(width).saturating_sub(wide(&always) + 1);
    let fits = |hint: &&(&str, &str)| {
        let own = wide(&[**hint]);
        let fits = own <= room;
        room = if fits { room - own } else { 0 };
        fits
    };
    let shown: Vec<(&str, &str)> = of_view.iter().filter(fits).copied().chain(always).collect();
    let mut spans = vec![Span::raw(" ")];
    for (key, what) in shown {
        spans.push(Span::styled(key.to_owned(), palette.style(Tone::Strong)));
        spans.push(Span::styled(format!(" {what}  "), palette.style(Tone::Dim)));
    }
    Line::from(spans)
}

/// `right` at the right edge, where there is room for it.
fn spread(mut line: Line<'static>, right: Span<'static>, width: u16) -> Line<'static> {
    let used = line.width() + right.width();
    if let Some(blank) = usize::from(width).checked_sub(used).filter(|&blank| blank > 0) {
        line.push_span(Span::raw(" ".repeat(blank)));
        line.push_span(right);
    }
    line
}

/// Nothing was seen yet.
fn waiting(state: &State, palette: Palette, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width).saturating_sub(2).max(1);
    let mut lines = vec![Line::styled(
        format!(" evenkeel top  {}", crate::ctl::table::clean(&state.address)),
        palette.style(Tone::Strong).add_modifier(Modifier::BOLD),
    )];
    let (text, style) = match &state.lost {
        None => ("connecting …".to_owned(), Style::new()),
        Some(lost) => {
            (format!("{}; trying again ({})", lost.error, lost.attempts), palette.style(Tone::Bad))
        }
    };
    lines.push(Line::default());
    let text = crate::ctl::table::wrapped(&text, Some(width), 0);
    lines.extend(text.lines().map(|line| Line::styled(format!(" {line}"), style)));
    lines.push(Line::styled(" q quits", palette.style(Tone::Dim)));
    for (row, line) in area.rows().zip(lines) {
        line.render(row, buffer);
    }
    if state.popup == Some(Popup::Help) {
        popup::draw(state, palette, area, buffer);
    }
}

/// From so many rows on there is room for gaps.
const AIRY: u16 = 28;

//! The heat map of the live view: latency over time in half cells of 256 colours, or in shades.

use loadgen::report::{Distribution, plot};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

use super::state::Column;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Palette {
    /// Of 256.
    Colours,
    /// None: bold and dim at the most.
    Shades,
}

impl Palette {
    /// By `NO_COLOR` (no-color.org) and the kind of terminal.
    pub(super) fn of_environment() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let term = std::env::var("TERM").unwrap_or_default();
        let few = term.starts_with("vt") || term == "linux" || term.ends_with("-mono");
        if no_color || few { Self::Shades } else { Self::Colours }
    }

    /// A foreground colour, where there are colours.
    pub(super) fn style(self, colour: Color) -> Style {
        match self {
            Self::Colours => Style::new().fg(colour),
            Self::Shades => Style::new(),
        }
    }
}

/// How many answers fell into each piece of latency; a twentieth of a decade each.
pub(super) fn buckets(times: &Distribution) -> Vec<u32> {
    let mut counts = Vec::new();
    if times.count() == 0 {
        return counts;
    }
    for piece in times.0.iter_recorded() {
        let bucket = bucket(piece.value_iterated_to());
        if counts.len() <= bucket {
            counts.resize(bucket + 1, 0);
        }
        let more = u32::try_from(piece.count_since_last_iteration()).unwrap_or(u32::MAX);
        counts[bucket] = counts[bucket].saturating_add(more);
    }
    counts
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "60 s are bucket 215"
)]
fn bucket(ns: u64) -> usize {
    ((ns.max(1) as f64).log10() * BUCKETS_A_DECADE) as usize
}

/// Where a bucket begins, in nanoseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 60 s")]
fn begins(bucket: usize) -> u64 {
    let bucket = f64::from(u32::try_from(bucket).unwrap_or(u32::MAX));
    10_f64.powf(bucket / BUCKETS_A_DECADE).round() as u64
}

/// Draws `columns`, each `width` cells wide, with labels in the first [`GUTTER`] cells.
pub(super) fn draw(
    columns: &[&Column],
    width: u16,
    palette: Palette,
    area: Rect,
    buffer: &mut Buffer,
) {
    let Some((low, high)) = range(columns).filter(|_| area.height > 0) else { return };
    let halves = if palette == Palette::Colours { 2 } else { 1 };
    let rows = usize::from(area.height) * halves;
    let counts = columns.iter().map(|column| rows_of(column, low, high, rows)).collect::<Vec<_>>();
    let most = counts.iter().flatten().copied().max().unwrap_or(0);
    let map = Map { counts, thresholds: plot::thresholds(most, LEVELS), rows, palette };
    for y in 0..area.height {
        for x in 0..area.width.saturating_sub(GUTTER) {
            let column = usize::from(x / width.max(1));
            map.cell(column, y, &mut buffer[(area.x + GUTTER + x, area.y + y)]);
        }
    }
    labels(low, high, area, buffer);
}

fn range(columns: &[&Column]) -> Option<(usize, usize)> {
    let first = |column: &&Column| column.counts.iter().position(|&count| count > 0);
    let low = columns.iter().filter_map(first).min()?;
    let high = columns.iter().map(|column| column.counts.len()).max()?;
    Some((low, high))
}

/// The counts of a column in as many rows as there are, from the shortest on.
fn rows_of(column: &Column, low: usize, high: usize, rows: usize) -> Vec<u64> {
    let pieces = high - low;
    let of = |row: usize| {
        let from = low + row * pieces / rows;
        let to = (low + (row + 1) * pieces / rows).max(from + 1);
        let counts = column.counts.iter().skip(from).take(to - from);
        counts.map(|&count| u64::from(count)).sum()
    };
    (0..rows).map(of).collect()
}

struct Map {
    counts: Vec<Vec<u64>>,
    thresholds: Vec<u64>,
    rows: usize,
    palette: Palette,
}

impl Map {
    /// The level of a row that is counted from the top.
    fn level(&self, column: usize, row: usize) -> Option<usize> {
        let count = self.counts.get(column)?[self.rows - 1 - row];
        let level = plot::level(count, &self.thresholds)?;
        let last = self.thresholds.len() - 1;
        Some((level * TOP).checked_div(last).unwrap_or(TOP))
    }

    fn cell(&self, column: usize, y: u16, cell: &mut ratatui::buffer::Cell) {
        let y = usize::from(y);
        if self.palette == Palette::Shades {
            let shade = |level| SHADES[level * (SHADES.len() - 1) / TOP];
            cell.set_char(self.level(column, y).map_or(' ', shade));
            return;
        }
        let [upper, lower] = [2 * y, 2 * y + 1].map(|row| {
            Color::Indexed(self.level(column, row).map_or(GROUND, |level| COLOURS[level]))
        });
        cell.set_char('▀').set_fg(upper).set_bg(lower);
    }
}

fn labels(low: usize, high: usize, area: Rect, buffer: &mut Buffer) {
    let rows = usize::from(area.height);
    let mut places = vec![0, rows.saturating_sub(1)];
    if rows >= 7 {
        places.push(rows / 2);
    }
    for row in places {
        // The lower edge of the lowest row, the upper edge of the highest, else the middle.
        let twice = match row {
            0 => 2 * rows,
            row if row + 1 == rows => 0,
            row => 2 * (rows - row) - 1,
        };
        let text = plot::time(begins(low + (high - low) * twice / (2 * rows)));
        let y = area.y + u16::try_from(row).unwrap_or(0);
        let label = format!("{text:>7}");
        buffer.set_stringn(area.x, y, label, usize::from(area.width), Style::new());
    }
}

/// Cells for labels at the left of all that goes over time.
pub(super) const GUTTER: u16 = 8;
const BUCKETS_A_DECADE: f64 = 20.0;
const LEVELS: u32 = 10;
const TOP: usize = 9;
/// From little to much, equally far apart for the eye on a dark ground; the page's dark scale among
/// the 256 colours of xterm.
const COLOURS: [u8; 10] = [239, 60, 96, 132, 167, 203, 209, 215, 221, 228];
/// Where nothing is.
const GROUND: u8 = 234;
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];

//! What is drawn for a state, cell by cell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use loadgen::report::{Distribution, Interval, Phase, Progress, Totals};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::draw::draw;
use super::heat::Palette;
use super::lines::{Lines, line};
use super::state::State;

/// A run of ten seconds, six of which are over: two backends, one of which stalls in the fifth.
fn state() -> State {
    let mut state = State::new("ping 127.0.0.1:8080");
    let mut response = Distribution::default();
    let mut backends = BTreeMap::new();
    let mut totals = Totals::default();
    for second in 0..6_u32 {
        let errors = if second == 4 { 7 } else { 0 };
        let mut interval = Interval {
            start_s: f64::from(second),
            length_s: 1.0,
            ok: 1000,
            errors,
            ..Interval::default()
        };
        for request in 0..1000 {
            let stalled = second == 4 && request < 20;
            let ns = 100_000 + request * 100 + if stalled { 500_000_000 } else { 0 };
            interval.response.record_ns(ns);
            response.record_ns(ns);
        }
        *backends.entry("B1".to_owned()).or_default() += 750;
        *backends.entry("B2\u{1b}[31m".to_owned()).or_default() += 250;
        (totals.ok, totals.errors) = (totals.ok + 1000, totals.errors + errors);
        state.update(&Progress {
            phase: Phase::Measuring,
            elapsed_s: f64::from(second) + 1.0,
            expected_s: Some(10.0),
            connected: 50,
            wanted: 50,
            so_far: &totals,
            response: &response,
            backends: &backends,
            interval: Some(&interval),
        });
    }
    state
}

fn drawn(state: &State, palette: Palette, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(state, palette, buffer.area, &mut buffer);
    buffer
}

fn lines_of(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let line = |cells: &[ratatui::buffer::Cell]| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.replace('\u{202f}', " ").trim_end().to_owned()
    };
    buffer.content.chunks(width).map(line).collect()
}

#[test]
fn the_whole_view_without_colours() {
    let lines = lines_of(&drawn(&state(), Palette::Shades, 70, 20));
    for line in &lines {
        println!("{line}");
    }
    assert_eq!(lines[0], "loadgen ping 127.0.0.1:8080  50/50 connections");
    assert_eq!(lines[1].replace(['━', '─'], ""), "measuring   6.0 s of 10 s, 4 s to go");
    let (full, empty) = (lines[1].matches('━').count(), lines[1].matches('─').count());
    assert_eq!(full, (full + empty) * 6 / 10);
    assert_eq!(lines[2], "rate       1 000/s  errors 7  average 1 000/s");
    // Six columns of six cells, the newest at the right.
    assert_eq!(lines[3], format!("     1k {}", "█".repeat(36)));
    let table = lines.iter().position(|line| line.starts_with("response")).expect("a table");
    assert_eq!(lines[table], "response         p50      p90      p99    p99.9      max");
    assert_eq!(lines[table + 1], "so far        150 µs   190 µs   199 µs        –   500 ms");
    assert_eq!(lines[table + 2], "interval      150 µs   190 µs   199 µs        –   200 µs");
    assert!(lines[19].starts_with("Ctrl-C"));
    let bars = lines.iter().position(|line| line.starts_with("B1")).expect("bars");
    assert!(lines[bars].ends_with("75 %       4 500"), "{}", lines[bars]);
    // The name's escape sequence does nothing.
    assert!(lines[bars + 1].starts_with("B2[31m"), "{}", lines[bars + 1]);
    let length = |line: &str| line.matches('█').count();
    assert_eq!(length(&lines[bars + 1]), length(&lines[bars]) / 3);
}

#[test]
fn the_heat_map_shows_the_stall_in_its_second_only() {
    let lines = lines_of(&drawn(&state(), Palette::Shades, 70, 20));
    let top = lines.iter().find(|line| line.starts_with(" 501 ms")).expect("the longest");
    let stall: String = top.chars().skip(8).collect();
    assert_eq!(stall.trim(), "▒".repeat(6));
    assert_eq!(stall.find('▒'), Some(4 * 6), "{stall:?}");
    let bottom = lines.iter().find(|line| line.starts_with(" 100 µs")).expect("the shortest");
    assert_eq!(bottom.matches('█').count(), 36, "{bottom}");
}

#[test]
fn colours_are_used_where_they_may_be() {
    let coloured = |palette| {
        let buffer = drawn(&state(), palette, 70, 20);
        let own =
            |cell: &&ratatui::buffer::Cell| cell.fg != Color::Reset || cell.bg != Color::Reset;
        buffer.content.iter().filter(own).count()
    };
    assert_eq!(coloured(Palette::Shades), 0);
    assert!(coloured(Palette::Colours) > 300);
    let buffer = drawn(&state(), Palette::Colours, 70, 20);
    assert!(lines_of(&buffer).iter().any(|line| line.contains('▀')));
}

#[test]
fn any_size_can_be_drawn_and_small_ones_keep_what_matters() {
    for width in [0, 1, 7, 9, 20, 40, 200] {
        for height in [0, 1, 2, 3, 5, 10, 24, 60] {
            for palette in [Palette::Colours, Palette::Shades] {
                drawn(&state(), palette, width, height);
                drawn(&State::new("nothing yet"), palette, width, height);
            }
        }
    }
    let lines = lines_of(&drawn(&state(), Palette::Shades, 40, 10));
    assert!(lines[0].contains("127.0.0.1:8080") && lines[2].contains("1 000/s"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("so far")), "{lines:#?}");
}

#[test]
fn more_backends_than_rows_are_counted() {
    let mut state = state();
    state.backends = (0..500).map(|index| (format!("backend-{index}"), 12)).collect();
    let lines = lines_of(&drawn(&state, Palette::Shades, 80, 24));
    let shown = lines.iter().filter(|line| line.starts_with("backend-")).count();
    let more = lines.iter().find(|line| line.starts_with("and ")).expect("the rest");
    assert_eq!(*more, format!("and {} more", 500 - shown));
}

#[test]
fn a_bulk_run_shows_bits() {
    let mut state = State::new("stream");
    let totals = Totals { bytes_out: 250_000_000, bytes_in: 125_000_000, ..Totals::default() };
    let interval = Interval {
        length_s: 1.0,
        bytes_out: 250_000_000,
        bytes_in: 125_000_000,
        ..Interval::default()
    };
    state.update(&progress(&totals, 1.0, Some(&interval)));
    assert!(line(&state).contains("up 2.00 down 1.00 Gbit/s"), "{}", line(&state));
    let lines = lines_of(&drawn(&state, Palette::Shades, 80, 24));
    assert!(lines[2].contains("↑ 2.00 ↓ 1.00 Gbit/s"), "{}", lines[2]);
}

#[test]
fn requests_that_nobody_answers_are_no_bulk() {
    let mut state = State::new("ping 127.0.0.1:8080");
    let totals = Totals { bytes_out: 3200, ..Totals::default() };
    let interval = Interval { length_s: 1.0, bytes_out: 3200, ..Interval::default() };
    state.update(&progress(&totals, 1.0, Some(&interval)));
    assert!(line(&state).contains(" 0.00/s"), "{}", line(&state));
}

fn progress<'a>(
    totals: &'a Totals,
    elapsed_s: f64,
    interval: Option<&'a Interval>,
) -> Progress<'a> {
    static NONE: BTreeMap<String, u64> = BTreeMap::new();
    static EMPTY: std::sync::LazyLock<Distribution> =
        std::sync::LazyLock::new(Distribution::default);
    Progress {
        phase: Phase::Measuring,
        elapsed_s,
        expected_s: Some(10.0),
        connected: 1,
        wanted: 1,
        so_far: totals,
        response: &EMPTY,
        backends: &NONE,
        interval,
    }
}

#[test]
fn there_is_a_line_a_second_of_what_takes_long() {
    let (mut lines, began) = (Lines::default(), Instant::now());
    let mut state = state();
    let after = |ms| began + Duration::from_millis(ms);
    let shown: Vec<bool> =
        [0, 500, 1000, 1500, 2000].map(|ms| lines.due(&state, after(ms)).is_some()).into();
    assert_eq!(shown, [false, false, true, false, true]);
    state.expected_s = Some(1.0);
    let mut lines = Lines::default();
    let shown: Vec<bool> = [0, 1100, 2000].map(|ms| lines.due(&state, after(ms)).is_some()).into();
    assert_eq!(shown, [false; 3], "it is over soon");
    assert!(lines.due(&state, after(3200)).is_some(), "it was not");
}

#[test]
fn a_line_says_rate_percentiles_and_errors() {
    assert_eq!(
        line(&state()),
        "    6 s  measuring       1 000/s  p50  150 µs  p99  199 µs  7 errors"
    );
}

//! What is shown while a run goes on: a live view in a terminal, lines elsewhere.
//!
//! All of it goes to standard error, so that a report on standard output stays clean.

mod draw;
mod heat;
mod lines;
mod screen;
mod state;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use loadgen::report::{Phase, Progress};

use lines::Lines;
use screen::Screen;
use state::State;

pub(super) use screen::restore;

/// The view of one run.
#[derive(Debug)]
pub(super) struct View {
    state: State,
    way: Way,
    /// When it was last drawn, and in which phase.
    drawn: Option<(Instant, Phase)>,
}

#[derive(Debug)]
enum Way {
    Live(Screen),
    Lines(Lines),
}

impl View {
    /// A view that suits standard error; `live` false gives lines even in a terminal. The `title`
    /// begins with the workload.
    pub(super) fn new(live: bool, title: &str) -> Self {
        let live = live && std::io::stderr().is_terminal() && knows_more_than_lines();
        let screen = if live { Screen::open().ok() } else { None };
        let way = screen.map_or_else(|| Way::Lines(Lines::default()), Way::Live);
        Self { state: State::new(title), way, drawn: None }
    }

    /// Shows how it goes.
    pub(super) fn show(&mut self, progress: &Progress<'_>) {
        self.state.update(progress);
        match &mut self.way {
            Way::Lines(lines) => {
                if let Some(line) = lines.due(&self.state, Instant::now()) {
                    eprintln!("{line}");
                }
            }
            Way::Live(screen) => {
                let now = Instant::now();
                let fresh = self.drawn.is_none_or(|(at, phase)| {
                    phase != progress.phase || now.duration_since(at) >= REDRAW_MIN
                });
                if fresh {
                    self.drawn = Some((now, progress.phase));
                    screen.draw(&self.state);
                }
            }
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn close(&mut self) {
        if let Way::Live(_) = self.way {
            restore();
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether the terminal has a cursor that can be moved.
fn knows_more_than_lines() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Ten times a second is as fast as a person sees, and costs the run nothing.
const REDRAW_MIN: Duration = Duration::from_millis(100);

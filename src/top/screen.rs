//! The terminal: taken, drawn on, and given back as it was, also by a panic.
//!
//! Cells are kept and compared here: `ratatui::Terminal` asks the terminal where its cursor is when it
//! clears, and the answer would come among the keys.

use std::io::{self, BufWriter, Stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::{Position, Rect};

use super::draw::{Palette, draw};
use super::state::State;

/// The terminal while it is ours.
#[derive(Debug)]
pub(crate) struct Screen {
    backend: CrosstermBackend<BufWriter<Stdout>>,
    palette: Palette,
    /// What it shows.
    shown: Buffer,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It has no size, or cannot be written to.
    pub(crate) fn open() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(restore_before_panics);
        let backend = CrosstermBackend::new(BufWriter::new(io::stdout()));
        backend.size()?;
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(Self { backend, palette: Palette::of_environment(), shown: Buffer::default() })
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn draw(&mut self, state: &State) -> io::Result<()> {
        let area = Rect::from((Position::ORIGIN, self.backend.size()?));
        let mut next = Buffer::empty(area);
        draw(state, self.palette, area, &mut next);
        queue!(self.backend, BeginSynchronizedUpdate)?;
        if self.shown.area != area {
            self.backend.clear()?;
            self.shown = Buffer::empty(area);
        }
        self.backend.draw(self.shown.diff(&next).into_iter())?;
        self.shown = next;
        queue!(self.backend, EndSynchronizedUpdate)?;
        io::Write::flush(&mut self.backend)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, if it is ours.
fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Nobody is left to tell.
        let _ = execute!(io::stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// A panic's message belongs on the normal screen.
fn restore_before_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        hook(panic);
    }));
}

/// Whether the terminal is ours; there is one.
static TAKEN: AtomicBool = AtomicBool::new(false);

//! The terminal: taken, drawn on, and given back as it was.
//!
//! The view takes the alternate screen. An inline one would have to ask the terminal where the
//! cursor is; the question goes to standard output and the answer comes from the keyboard, which
//! spoils a report that is written there, or waits for an answer that cannot come. The report stands on
//! the normal screen afterwards. (`ratatui::Terminal` asks that question, too, when it clears: so the
//! cells are kept and compared here.)
//!
//! Keys stay as they are (no raw mode): Ctrl-C is the signal that ends a run.

use std::io::{self, BufWriter, Stderr};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::{Position, Rect};

use super::draw::draw;
use super::heat::Palette;
use super::state::State;

/// The terminal while the view has it.
#[derive(Debug)]
pub(super) struct Screen {
    backend: CrosstermBackend<BufWriter<Stderr>>,
    palette: Palette,
    /// What it shows.
    shown: Buffer,
    frames: u32,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It has no size, or cannot be written to.
    pub(super) fn open() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(restore_before_panics);
        let backend = CrosstermBackend::new(BufWriter::new(io::stderr()));
        backend.size()?;
        execute!(io::stderr(), EnterAlternateScreen, Hide)?;
        TAKEN.store(true, Ordering::SeqCst);
        let palette = Palette::of_environment();
        Ok(Self { backend, palette, shown: Buffer::default(), frames: 0 })
    }

    /// Draws what has changed. A terminal that has gone away is no reason to stop measuring.
    pub(super) fn draw(&mut self, state: &State) {
        if TAKEN.load(Ordering::SeqCst) {
            let _ = self.try_draw(state);
        }
    }

    fn try_draw(&mut self, state: &State) -> io::Result<()> {
        let area = Rect::from((Position::ORIGIN, self.backend.size()?));
        let mut next = Buffer::empty(area);
        draw(state, self.palette, area, &mut next);
        queue!(self.backend, BeginSynchronizedUpdate)?;
        // What is typed is echoed into the picture; now and then all of it is drawn anew.
        if self.shown.area != area || self.frames.is_multiple_of(REPAIR_FRAMES) {
            self.backend.clear()?;
            self.shown = Buffer::empty(area);
        }
        self.frames += 1;
        self.backend.draw(self.shown.diff(&next).into_iter())?;
        self.shown = next;
        queue!(self.backend, EndSynchronizedUpdate)?;
        io::Write::flush(&mut self.backend)
    }
}

/// Gives the terminal back, if a view has it. From any thread, at any time, also before an exit.
pub(in crate::cli) fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Nobody is left to tell.
        let _ = execute!(io::stderr(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
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

/// Whether a view has the terminal; there is one terminal, whoever draws on it.
static TAKEN: AtomicBool = AtomicBool::new(false);
const REPAIR_FRAMES: u32 = 20;

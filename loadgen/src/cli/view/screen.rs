//! The terminal: taken, drawn on, and given back as it was.
//!
//! The view takes the alternate screen. An inline one would have to ask the terminal where the
//! cursor is; the question goes to standard output and the answer comes from the keyboard, which
//! spoils a report that is written there. The report stands on the normal screen afterwards.
//! Keys stay as they are (no raw mode): Ctrl-C is the signal that ends a run.

use std::io::{self, BufWriter, Stderr};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};

use super::draw::draw;
use super::heat::Palette;
use super::state::State;

/// The terminal while the view has it.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
    palette: Palette,
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
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(io::stderr())))?;
        execute!(io::stderr(), EnterAlternateScreen, Hide)?;
        TAKEN.store(true, Ordering::SeqCst);
        Ok(Self { terminal, palette: Palette::of_environment(), frames: 0 })
    }

    /// Draws all of it. A terminal that has gone away is no reason to stop measuring.
    pub(super) fn draw(&mut self, state: &State) {
        if TAKEN.load(Ordering::SeqCst) {
            let _ = self.try_draw(state);
        }
    }

    fn try_draw(&mut self, state: &State) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        // What is typed is echoed into the picture; now and then all of it is drawn anew.
        if self.frames.is_multiple_of(REPAIR_FRAMES) {
            self.terminal.clear()?;
        }
        self.frames += 1;
        let palette = self.palette;
        self.terminal.draw(|frame| draw(state, palette, frame.area(), frame.buffer_mut()))?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
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

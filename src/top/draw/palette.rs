//! What the terminal can show.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::ctl::table::{Pieces, Tone};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Palette {
    /// Of 256.
    Colours,
    /// None: bold, dim and reversed at the most.
    Shades,
    /// Nothing but letters.
    Plain,
}

impl Palette {
    /// By `NO_COLOR` (no-color.org) and the kind of terminal.
    pub(crate) fn of_environment() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let term = std::env::var("TERM").unwrap_or_default();
        if no_color || has_few(&term) { Self::Shades } else { Self::Colours }
    }

    pub(crate) fn style(self, tone: Tone) -> Style {
        let (colour, modifier) = match tone {
            Tone::Plain => (None, Modifier::empty()),
            Tone::Strong => (None, Modifier::BOLD),
            Tone::Dim => (Some(GREY), Modifier::DIM),
            Tone::Good => (Some(GREEN), Modifier::empty()),
            Tone::Warn => (Some(YELLOW), Modifier::empty()),
            Tone::Bad => (Some(RED), Modifier::BOLD),
            Tone::Figure => (Some(BLUE), Modifier::empty()),
        };
        match (self, colour) {
            (Self::Plain, _) => Style::new(),
            // Grey is dim enough.
            (Self::Colours, Some(colour)) => {
                Style::new().fg(colour).add_modifier(modifier.difference(Modifier::DIM))
            }
            (Self::Colours, None) | (Self::Shades, _) => Style::new().add_modifier(modifier),
        }
    }

    /// The row that keys are about.
    pub(crate) fn selected(self) -> Style {
        match self {
            Self::Colours => Style::new().bg(SELECTED),
            Self::Shades => Style::new().add_modifier(Modifier::REVERSED),
            Self::Plain => Style::new(),
        }
    }

    /// The view that is looked at.
    pub(crate) fn tab(self) -> Style {
        match self {
            Self::Colours => Style::new().fg(BLACK).bg(BLUE).add_modifier(Modifier::BOLD),
            Self::Shades => Style::new().add_modifier(Modifier::REVERSED),
            Self::Plain => Style::new(),
        }
    }

    /// What must not be missed.
    pub(crate) fn alarm(self) -> Style {
        match self {
            Self::Colours => Style::new().fg(WHITE).bg(DARK_RED).add_modifier(Modifier::BOLD),
            Self::Shades => Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD),
            Self::Plain => Style::new(),
        }
    }

    /// What should be known.
    pub(crate) fn notice(self) -> Style {
        match self {
            Self::Colours => Style::new().fg(YELLOW).bg(OLIVE),
            Self::Shades => Style::new().add_modifier(Modifier::BOLD),
            Self::Plain => Style::new(),
        }
    }

    /// What lies above the view.
    pub(crate) fn popup(self) -> Style {
        match self {
            Self::Colours => Style::new().bg(RAISED),
            Self::Shades | Self::Plain => Style::new(),
        }
    }

    /// Laid-out pieces in their tones.
    pub(crate) fn line(self, pieces: &Pieces) -> Line<'static> {
        let span = |(text, tone): &(String, Tone)| Span::styled(text.clone(), self.style(*tone));
        Line::from(pieces.iter().map(span).collect::<Vec<_>>())
    }
}

/// Whether a terminal of this kind has fewer colours than are used here; one that does not say what it is may.
fn has_few(term: &str) -> bool {
    matches!(term, "" | "dumb" | "linux") || term.starts_with("vt") || term.ends_with("-mono")
}

const BLUE: Color = Color::Indexed(75);
const GREEN: Color = Color::Indexed(78);
const YELLOW: Color = Color::Indexed(221);
const RED: Color = Color::Indexed(203);
const GREY: Color = Color::Indexed(245);
const BLACK: Color = Color::Indexed(16);
const WHITE: Color = Color::Indexed(231);
const DARK_RED: Color = Color::Indexed(88);
const OLIVE: Color = Color::Indexed(58);
const SELECTED: Color = Color::Indexed(237);
const RAISED: Color = Color::Indexed(235);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_have_them() {
        for term in ["xterm-256color", "tmux-256color", "xterm", "screen", "alacritty"] {
            assert!(!has_few(term), "{term}");
        }
        for term in ["", "dumb", "linux", "vt100", "vt220", "xterm-mono"] {
            assert!(has_few(term), "{term}");
        }
    }
}

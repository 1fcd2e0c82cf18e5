//! A page of 80 columns: labels on the left, lines that wrap on the right.

use super::Look;

/// The text so far.
pub(in crate::report) struct Page {
    look: Look,
    text: String,
    /// The label that the next line begins with.
    label: String,
}

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Colour {
    Good,
    Bad,
    Label,
    Faint,
}

impl Page {
    pub(in crate::report) fn new(look: Look) -> Self {
        Self { look, text: String::new(), label: String::new() }
    }

    pub(in crate::report) fn finish(self) -> String {
        self.text
    }

    /// The next line belongs to `label`.
    pub(in crate::report) fn section(&mut self, label: &str) {
        label.clone_into(&mut self.label);
    }

    /// A line, wrapped between words.
    pub(in crate::report) fn line(&mut self, text: &str) {
        self.wrapped(text, 0);
    }

    /// As [`Page::line`]; what is wrapped stands further to the right.
    pub(in crate::report) fn item(&mut self, text: &str) {
        self.wrapped(text, 2);
    }

    /// A line that stays as it is.
    pub(in crate::report) fn row(&mut self, text: &str) {
        let label = std::mem::take(&mut self.label);
        let padding = " ".repeat(LABEL_WIDTH.saturating_sub(label.chars().count()));
        let label = if label.is_empty() { label } else { self.paint(Colour::Label, &label) };
        let line = format!("{label}{padding}{text}");
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A line without a label that begins at the margin.
    pub(in crate::report) fn row_of(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// `text` in a colour, where there are colours.
    pub(in crate::report) fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            _ if !self.look.colour => return text.to_owned(),
            Colour::Good => "1;32",
            Colour::Bad => "1;31",
            Colour::Label => "1",
            Colour::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    fn wrapped(&mut self, text: &str, indent: usize) {
        let (mut line, mut width) = (String::new(), 0);
        for word in text.split(' ') {
            let word_width = shown_width(word);
            if width > indent && LABEL_WIDTH + width + 1 + word_width > WIDTH {
                self.row(&std::mem::replace(&mut line, " ".repeat(indent)));
                width = indent;
            } else if width > 0 {
                line.push(' ');
                width += 1;
            }
            line.push_str(word);
            width += word_width;
        }
        self.row(&line);
    }
}

/// Columns of `text` without what only colours it.
pub(in crate::report) fn shown_width(text: &str) -> usize {
    let mut painting = false;
    let shows = |&sign: &char| {
        let shown = !painting && sign != '\x1b';
        painting = (painting || sign == '\x1b') && sign != 'm';
        shown
    };
    text.chars().filter(shows).count()
}

const WIDTH: usize = 80;
/// `steadiness` and a space.
pub(in crate::report) const LABEL_WIDTH: usize = 11;

//! Tables for people: aligned, as wide as the terminal, the least important column left out first.
//!
//! What came from elsewhere (names, evidence, what backends say of themselves) cannot move the cursor:
//! control characters are replaced.

use ratatui::text::Span;

/// What it is written on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paper {
    /// Of the terminal; any width elsewhere.
    pub(crate) width: Option<usize>,
    /// Whether it may be coloured.
    pub(crate) colours: bool,
}

/// How a text is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As any other.
    #[default]
    Plain,
    /// What a person looks for.
    Strong,
    /// What is there if one wants it.
    Dim,
    /// As it should be.
    Good,
    /// On its way, or somebody wants it so.
    Warn,
    /// Not as it should be.
    Bad,
    /// A bar, a curve.
    Figure,
}

/// One field of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    head: &'static str,
    right: bool,
    /// Those with the highest go first where there is no room, and together; those with 0 stay.
    rank: u8,
    /// So wide at least: what changes in place should not move.
    least: usize,
    /// Whether it may be cut: the last one only.
    elastic: bool,
}

/// A line as it is laid out: pieces that follow each other, blanks included.
pub(crate) type Pieces = Vec<(String, Tone)>;

/// Rows below heads.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Paper {
    /// Standard output as it is. `COLUMNS` is believed where it is set, as by `ls`.
    pub(crate) fn of_stdout() -> Self {
        use std::io::IsTerminal as _;
        let terminal = std::io::stdout().is_terminal();
        let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let size = || ratatui::crossterm::terminal::size().ok().filter(|_| terminal);
        let width = said.or_else(|| size().map(|(width, _)| width.into())).filter(|&w| w > 0);
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        // no-color.org
        Self { width, colours: terminal && !dumb && set("NO_COLOR").is_none() }
    }

    /// A text in its tone; what is in it cannot do anything to the terminal.
    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        let text = clean(text);
        let code = match tone {
            _ if !self.colours || text.is_empty() => return text,
            Tone::Plain => return text,
            Tone::Strong => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
            Tone::Figure => "34",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: clean(&text.into()), tone }
    }

    fn width(&self) -> usize {
        width(&self.text)
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A column of words.
pub(crate) const fn left(head: &'static str, rank: u8) -> Column {
    Column { head, right: false, rank, least: 0, elastic: false }
}

/// A column of numbers.
pub(crate) const fn right(head: &'static str, rank: u8) -> Column {
    Column { head, right: true, rank, least: 0, elastic: false }
}

impl Column {
    /// So wide at least.
    pub(crate) const fn at_least(self, least: usize) -> Self {
        Self { least, ..self }
    }

    /// It is better cut than left out. The last column only.
    pub(crate) const fn elastic(self) -> Self {
        Self { elastic: true, ..self }
    }
}

impl Table {
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: impl Into<Vec<Cell>>) {
        let row = row.into();
        debug_assert_eq!(row.len(), self.columns.len(), "a cell for each column");
        self.rows.push(row);
    }

    /// All of it, a line each, with a newline at the end of each.
    pub(crate) fn render(&self, paper: Paper) -> String {
        let painted = |(text, tone): &(String, Tone)| paper.paint(text, *tone);
        let line = |pieces: &Pieces| pieces.iter().map(painted).collect::<String>() + "\n";
        self.laid_out(paper.width).iter().map(line).collect()
    }

    /// Heads and rows with what fits into `room`.
    pub(crate) fn laid_out(&self, room: Option<usize>) -> Vec<Pieces> {
        let widths: Vec<usize> =
            (0..self.columns.len()).map(|index| self.width_of(index)).collect();
        let shown = self.fitting(&widths, room);
        let heads: Vec<Cell> =
            self.columns.iter().map(|column| Cell::new(column.head, Tone::Dim)).collect();
        let lines = std::iter::once(&heads).chain(&self.rows);
        lines.map(|row| self.line(row, &shown, &widths, room)).collect()
    }

    /// Which columns have room: those of a rank all together, the lower ranks first.
    fn fitting(&self, widths: &[usize], room: Option<usize>) -> Vec<usize> {
        let filled = self.filled();
        let Some(room) = room else { return filled };
        let rank = |&index: &usize| self.columns[index].rank;
        let mut ranks: Vec<u8> = filled.iter().map(rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let (mut shown, mut used) = (Vec::new(), 0);
        for this in ranks {
            let group: Vec<usize> =
                filled.iter().copied().filter(|one| rank(one) == this).collect();
            let taken = |shortest: usize| -> usize {
                let own = |&index: &usize| match self.columns[index].elastic {
                    true => widths[index].min(shortest) + GAP,
                    false => widths[index] + GAP,
                };
                group.iter().map(own).sum()
            };
            let fits = |own: &usize| this == 0 || used + own <= room + GAP;
            let own = [taken(SENTENCE), taken(SHORTEST)].into_iter().find(fits);
            if let Some(own) = own {
                shown.extend(group);
                used += own;
            }
        }
        shown.sort_unstable();
        shown
    }

    /// Columns that say something, or that are always there.
    fn filled(&self) -> Vec<usize> {
        let empty = |index: usize| self.rows.iter().all(|row| row[index].text.is_empty());
        let says = |&index: &usize| self.columns[index].rank == 0 || !empty(index);
        (0..self.columns.len()).filter(says).collect()
    }

    fn width_of(&self, index: usize) -> usize {
        let (column, rows) = (self.columns[index], self.rows.iter());
        let widest = rows.map(|row| row[index].width()).max().unwrap_or(0);
        widest.max(width(column.head)).max(column.least)
    }

    fn line(&self, row: &[Cell], shown: &[usize], widths: &[usize], room: Option<usize>) -> Pieces {
        let mut pieces = Pieces::new();
        // Blanks at the end of a line are nobody's.
        let (mut used, mut owed) = (0, 0);
        for &index in shown {
            let (cell, own) = (&row[index], widths[index]);
            let left = room.map_or(usize::MAX, |room| room.saturating_sub(used));
            let text = cut(&cell.text, left);
            let blank = own.saturating_sub(width(&text));
            let (before, after) = if self.columns[index].right { (blank, 0) } else { (0, blank) };
            if text.is_empty() {
                owed += blank + GAP;
            } else {
                pieces.push((" ".repeat(owed + before), Tone::Plain));
                pieces.push((text, cell.tone));
                owed = after + GAP;
            }
            used += own + GAP;
        }
        pieces.retain(|(text, _)| !text.is_empty());
        pieces
    }
}

/// Without anything that a terminal obeys: control characters, and what turns the direction of text.
pub(crate) fn clean(text: &str) -> String {
    let obeyed = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}')
    };
    text.chars().map(|letter| if obeyed(letter) { '\u{fffd}' } else { letter }).collect()
}

/// As many cells as fit, the last of them a sign that there is more.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if width(&kept) + 1 > room {
            kept.pop();
            break;
        }
    }
    let kept = kept.trim_end().to_owned();
    if room > 0 { kept + "…" } else { kept }
}

/// A sentence in lines that fit, each but the first indented.
pub(crate) fn wrapped(text: &str, room: Option<usize>, indent: usize) -> String {
    let text = clean(text);
    let Some(room) = room.map(|room| room.max(indent + 20)) else { return text };
    let (mut lines, mut used) = (String::new(), indent);
    for (index, word) in text.split(' ').enumerate() {
        let own = width(word);
        if index > 0 && used + 1 + own > room {
            lines += &format!("\n{}", " ".repeat(indent));
            used = indent;
        } else if index > 0 {
            lines.push(' ');
            used += 1;
        }
        lines += word;
        used += own;
    }
    lines
}

pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// As much of a sentence as other columns make room for.
const SENTENCE: usize = 40;
/// Less of a sentence says nothing.
const SHORTEST: usize = 14;
/// Between two columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table =
            Table::new([left("NAME", 0), right("CONNS", 1), left("EMPTY", 1), left("WHY", 2)]);
        table.push([Cell::new("a", Tone::Good), "12".into(), "".into(), "".into()]);
        table.push(["long-name".into(), "3".into(), "".into(), "refused three times".into()]);
        table
    }

    fn on(width: usize) -> String {
        table().render(Paper { width: Some(width), colours: false })
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        assert_eq!(
            table().render(Paper::default()),
            "NAME       CONNS  WHY\na             12\nlong-name      3  refused three times\n"
        );
    }

    #[test]
    fn the_least_important_column_gives_way_first_and_the_name_never() {
        assert_eq!(on(37), table().render(Paper::default()));
        assert_eq!(on(30), "NAME       CONNS\na             12\nlong-name      3\n");
        assert_eq!(on(12), "NAME\na\nlong-name\n");
        assert_eq!(on(4), "NAME\na\nlon…\n");
    }

    #[test]
    fn a_sentence_is_cut_before_it_is_left_out_and_smaller_columns_use_what_is_left() {
        let mut table = Table::new([
            left("NAME", 0),
            right("A", 3),
            right("B", 3),
            right("C", 2),
            left("WHY", 1).elastic(),
        ]);
        table.push([
            "a".into(),
            "12".into(),
            "34".into(),
            "5678901234".into(),
            "because it is so".into(),
        ]);
        let on = |width| table.render(Paper { width: Some(width), colours: false });
        assert_eq!(
            on(42),
            "NAME   A   B           C  WHY\na     12  34  5678901234  because it is so\n"
        );
        // C does not fit, A and B do.
        assert_eq!(on(30), "NAME   A   B  WHY\na     12  34  because it is so\n");
        assert_eq!(on(21), "NAME  WHY\na     because it is…\n");
        assert_eq!(on(15), "NAME   A   B\na     12  34\n");
    }

    #[test]
    fn colours_take_no_room() {
        let coloured = table().render(Paper { width: None, colours: true });
        assert!(coloured.contains("\x1b[32ma\x1b[0m             12\n"), "{coloured:?}");
    }

    #[test]
    fn what_came_from_elsewhere_moves_no_cursor() {
        let mut table = Table::new([left("NAME", 0)]);
        table.push(["a\x1b[2J\r\nb\u{202e}".into()]);
        assert_eq!(table.render(Paper::default()), "NAME\na\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}\n");
    }

    #[test]
    fn sentences_are_wrapped_at_words() {
        let text = "the backend web/a is waited for";
        assert_eq!(wrapped(text, None, 4), text);
        assert_eq!(wrapped(text, Some(24), 4), "the backend web/a is\n    waited for");
    }
}

//! What is wrong with a configuration, where, and what was probably meant.

use std::fmt;
use std::sync::Arc;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In an option of the command line, or nowhere: a default.
    CommandLine,
    /// In a file.
    File {
        /// The name by which the file was given.
        file: Arc<str>,
        /// From 1; 0 is the file as a whole.
        line: u32,
        /// From 1, in characters.
        column: u32,
    },
}

/// One thing that is wrong, or that should be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What it is, and what to do: one line.
    pub text: String,
}

/// Everything that is wrong; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Place {
    /// How an option is called where this is: `max_sessions` in a file, `--max-sessions` elsewhere.
    #[must_use]
    pub fn option(&self, key: &str) -> String {
        match self {
            Self::CommandLine => format!("--{}", key.replace('_', "-")),
            Self::File { .. } => key.to_owned(),
        }
    }

    /// The same with a value, as it would be typed.
    #[must_use]
    pub fn setting(&self, key: &str, value: impl fmt::Display) -> String {
        match self {
            Self::CommandLine => format!("{} {value}", self.option(key)),
            Self::File { .. } => format!("{key} = {value}"),
        }
    }
}

impl Problem {
    /// Something wrong at a place.
    pub(crate) fn new(place: &Place, text: impl Into<String>) -> Self {
        // Whatever a name holds, the problem stays on one line.
        let text = text.into().replace(['\n', '\r'], " ");
        Self { place: place.clone(), text }
    }
}

impl Problems {
    /// The lines that tell of them: a few, because the first ones often cause the others.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.0.iter().take(MOST).map(ToString::to_string).collect();
        if let more @ 1.. = self.0.len().saturating_sub(MOST) {
            lines.push(format!("and {more} more problems"));
        }
        lines
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, text } = self;
        match place {
            Place::CommandLine => f.write_str(text),
            Place::File { file, line: 0, .. } => write!(f, "{file}: {text}"),
            Place::File { file, line, column } => write!(f, "{file}:{line}:{column}: {text}"),
        }
    }
}

/// `; did you mean …?` if one of `known` is near enough to what was written, else nothing.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(written, known).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default()
}

/// The nearest word, if not more than about a third of the letters are different.
pub(crate) fn closest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Nobody means a word with a text of thousands of letters, and the distance takes their square.
    if written.len() > LONGEST_WORD {
        return None;
    }
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let written = plain(written);
    let enough = |known: &str| (known.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|known| (distance(&written, &plain(known)), known));
    let near = distances.filter(|(distance, known)| *distance <= enough(known));
    near.min_by_key(|&(distance, _)| distance).map(|(_, known)| known)
}

fn distance(a: &str, b: &str) -> usize {
    strsim::damerau_levenshtein(a, b)
}

/// Problems that are told at once.
const MOST: usize = 10;
/// Letters.
const LONGEST_WORD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_proposed_and_no_word_that_is_far() {
        let known = ["algorithm", "backlog", "weight", "rise"];
        for (written, proposed) in [
            ("algoritm", Some("algorithm")),
            ("wieght", Some("weight")),
            ("ALGORITHM", Some("algorithm")),
            ("back-log", Some("backlog")),
            ("raise", Some("rise")),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(closest(written, known), proposed, "{written}");
        }
        assert_eq!(closest(&"algorithm".repeat(1000), known), None);
    }

    #[test]
    fn the_first_ten_are_told_and_the_others_counted() {
        let problem = |n| Problem::new(&Place::CommandLine, format!("problem {n}"));
        let lines = Problems((1..=13).map(problem).collect()).lines();
        assert_eq!(lines.len(), 11);
        assert_eq!((lines[9].as_str(), lines[10].as_str()), ("problem 10", "and 3 more problems"));
        assert_eq!(Problems((1..=10).map(problem).collect()).lines().len(), 10);
    }

    #[test]
    fn a_problem_is_one_line_whatever_it_quotes() {
        let problem = Problem::new(&Place::CommandLine, "a\r\nb");
        assert_eq!(problem.to_string(), "a  b");
    }
}

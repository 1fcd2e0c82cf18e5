//! The text of a file, its tables one by one, and what is wrong in it. Nothing in here knows what the
//! keys mean.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::expand::expand;
use super::problem::{Place, Problem, Problems, did_you_mean};
use super::tables::keys;

/// A file that is being read, and what was found to be wrong in it.
pub(super) struct Source<'i> {
    text: &'i str,
    file: Arc<str>,
    /// Where each line begins.
    lines: Vec<usize>,
    problems: Vec<Problem>,
}

/// A table before its keys are read.
#[derive(Clone, Default)]
pub(super) struct Raw<'i> {
    /// How it is called in messages, as in `[pool.web]`.
    pub(super) title: String,
    pub(super) span: Range<usize>,
    pub(super) entries: DeTable<'i>,
}

impl<'i> Source<'i> {
    pub(super) fn new(text: &'i str, file: &str) -> Self {
        let lines = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let lines = std::iter::once(0).chain(lines.map(|(at, _)| at + 1)).collect();
        Self { text, file: file.into(), lines, problems: Vec::new() }
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> Place {
        Place::File { file: Arc::clone(&self.file), line: 0, column: 0 }
    }

    /// Where something begins.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let at = span.start.min(self.text.len());
        let line = self.lines.partition_point(|&start| start <= at);
        let before = &self.text.as_bytes()[self.lines[line - 1]..at];
        // The first byte of each character; a line that is longer than any editor shows is counted
        // in bytes from there.
        let (shown, rest) = before.split_at(before.len().min(LONG_LINE));
        let column = shown.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() + rest.len() + 1;
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Place::File { file: Arc::clone(&self.file), line: number(line), column: number(column) }
    }

    /// Something is wrong.
    pub(super) fn problem(&mut self, span: &Range<usize>, text: impl Into<String>) {
        let problem = Problem::new(&self.place(span), text);
        // What is wrong in the defaults is met again in every pool.
        if !self.problems.contains(&problem) && self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// What was wrong, in the order of the file.
    pub(super) fn check(&mut self) -> Result<(), Problems> {
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|problem| match problem.place {
            Place::CommandLine => (0, 0),
            Place::File { line, column, .. } => (line, column),
        });
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }

    /// The tables of the file, with variables replaced; without what could not be.
    pub(super) fn parse(
        &mut self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<DeTable<'i>, Problems> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let span = error.span().unwrap_or_default();
            self.problem(&span, format!("{}; see https://toml.io", error.message()));
        }
        // What comes after a mistake in the syntax is guesswork.
        self.check()?;
        let mut root = root.into_inner();
        self.expand_all(&mut root, env);
        Ok(root)
    }

    fn expand_all(&mut self, table: &mut DeTable<'i>, env: &dyn Fn(&str) -> Option<String>) {
        keep(table, |_, value| self.expand(value, env));
    }

    /// Whether all of it could be.
    fn expand(
        &mut self,
        value: &mut Spanned<DeValue<'i>>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> bool {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) if text.contains('$') => match expand(text, env) {
                Ok(expanded) => *text = Cow::Owned(expanded),
                Err(problem) => {
                    self.problem(&span, problem);
                    return false;
                }
            },
            DeValue::Array(list) => {
                let before = list.len();
                // All of them, so that every variable that is missing is told of.
                return list
                    .iter_mut()
                    .filter_map(|one| self.expand(one, env).then_some(()))
                    .count()
                    == before;
            }
            DeValue::Table(table) => self.expand_all(table, env),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
        true
    }

    /// A value that must be a table.
    pub(super) fn table(&mut self, value: Spanned<DeValue<'i>>, title: String) -> Option<Raw<'i>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(entries) => Some(Raw { title, span, entries }),
            DeValue::Array(_) => {
                self.problem(&span, format!("there is one such table; write {title}"));
                None
            }
            other => {
                self.problem(
                    &span,
                    format!(
                        "it is a value of another kind ({}); write a table, {title}",
                        other.type_str()
                    ),
                );
                None
            }
        }
    }

    /// A value that must be a list of tables.
    pub(super) fn tables(&mut self, value: Spanned<DeValue<'i>>, title: &str) -> Vec<Raw<'i>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(list) => {
                let tables = list.into_iter().map(|one| self.table(one, title.to_owned()));
                tables.collect::<Vec<_>>().into_iter().flatten().collect()
            }
            _ => {
                self.problem(
                    &span,
                    format!("there may be several such tables; write {title} for each"),
                );
                Vec::new()
            }
        }
    }

    /// Says of each key that a table does not have what was meant, and leaves it out. `elsewhere`
    /// tells of keys that other tables have.
    pub(super) fn refuse_unknown(
        &mut self,
        raw: &mut Raw<'i>,
        known: &[&str],
        elsewhere: &dyn Fn(&str) -> Option<&'static str>,
    ) {
        let Raw { title, entries, .. } = raw;
        keep(entries, |key, _| {
            let (span, key) = (key.span(), key.get_ref());
            if known.contains(&key.as_ref()) {
                return true;
            }
            let advice = match (did_you_mean(key, known.iter().copied()), elsewhere(key)) {
                (_, Some(table)) => format!("; it belongs into {table}"),
                (meant, None) if !meant.is_empty() => meant,
                _ => format!("; expected one of {}", known.join(", ")),
            };
            self.problem(&span, format!("unknown key `{key}` in {title}{advice}"));
            false
        });
    }

    /// The values of a table, without those that are wrong, each of which is told of.
    pub(super) fn read<T: for<'de> Deserialize<'de> + Default>(&mut self, raw: &Raw<'i>) -> T {
        let mut entries = raw.entries.clone();
        let known = keys::<T>();
        keep(&mut entries, |key, _| known.contains(&key.get_ref().as_ref()));
        loop {
            let table = Spanned::new(raw.span.clone(), DeValue::Table(entries.clone()));
            let error = match T::deserialize(ValueDeserializer::from(table)) {
                Ok(read) => return read,
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| raw.span.clone());
            let before = entries.len();
            let mut wrong = String::new();
            keep(&mut entries, |key, value| {
                let (key_span, whole) = (key.span(), value.span());
                let inside = whole.start <= span.start && span.end <= whole.end;
                if key_span == span || inside {
                    wrong = format!("`{}`: ", key.get_ref());
                }
                key_span != span && !inside
            });
            self.problem(&span, format!("{wrong}{}", error.message()));
            if entries.len() == before {
                return T::default();
            }
        }
    }
}

impl<'i> Raw<'i> {
    /// Takes a key out.
    pub(super) fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'i>>> {
        self.entries.remove(key)
    }

    /// Where each of its keys is written.
    pub(super) fn places(&self) -> BTreeMap<String, Range<usize>> {
        let key = |key: &Spanned<Cow<'i, str>>| (key.get_ref().to_string(), key.span());
        self.entries.iter().map(|(one, _)| key(one)).collect()
    }

    /// Adds what `defaults` say and this does not.
    pub(super) fn complete(&mut self, defaults: &DeTable<'i>, wanted: impl Fn(&str) -> bool) {
        for (key, value) in defaults.iter() {
            if wanted(key.get_ref()) && !self.entries.contains_key(key.get_ref().as_ref()) {
                self.entries.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Leaves out the entries that are not wanted; the map's own `retain` does not show their places.
fn keep<'i>(
    table: &mut DeTable<'i>,
    mut wanted: impl FnMut(&Spanned<Cow<'i, str>>, &mut Spanned<DeValue<'i>>) -> bool,
) {
    let entries = std::mem::take(table).into_iter();
    *table = entries
        .filter_map(|(key, mut value)| wanted(&key, &mut value).then_some((key, value)))
        .collect();
}

/// Bytes of a line of which characters are counted.
const LONG_LINE: usize = 4096;

/// Problems that are kept; ten of them are told.
const MOST_PROBLEMS: usize = 1000;

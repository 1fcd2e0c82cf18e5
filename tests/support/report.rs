//! What the balancer says when it ends.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use super::Balancer;

/// Its last words.
#[derive(Debug)]
pub(crate) struct Report {
    counters: BTreeMap<String, u64>,
    /// In their order.
    pub(crate) shards: Vec<Share>,
    log: String,
}

/// What came to one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) accepted: u64,
    pub(crate) handed_over: u64,
    pub(crate) taken_over: u64,
    pub(crate) served: u64,
}

impl Balancer {
    /// Asks it to end, which it does well, and listens. What is open then is cut after a second.
    pub(crate) fn end(mut self) -> Report {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait().code(), Some(0), "{}", self.log());
        Report::read(self.log())
    }
}

impl Report {
    /// Of a balancer that has ended.
    pub(crate) fn read(log: String) -> Self {
        let line = log.lines().find_map(|line| line.split_once(" counters: "));
        let counters = numbers(line.unwrap_or_else(|| panic!("no counters in: {log}")).1);
        let mut shards = Vec::new();
        for line in log.lines() {
            let Some((_, said)) = line.split_once(&format!(" shard {} (CPU ", shards.len())) else {
                continue;
            };
            let said = numbers(said);
            let [accepted, handed_over, taken_over, served] =
                ["accepted", "handed_over", "taken_over", "served"].map(|name| said[name]);
            shards.push(Share { accepted, handed_over, taken_over, served });
        }
        Self { counters, shards, log }
    }

    /// One of its counters; those that count nothing are not told.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// Two of its counters.
    pub(crate) fn counts<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        names.map(|name| self.count(name))
    }

    /// The log, line by line.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.log.lines()
    }

    /// Lines of the log with these words.
    pub(crate) fn lines_with(&self, words: &str) -> usize {
        self.log.lines().filter(|line| line.contains(words)).count()
    }
}

/// What is written as `name=number`.
fn numbers(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(name, number)| (name.to_owned(), number.parse().expect("a number"))).collect()
}

//! What happened over many runs: to be printed, and to see that everything does happen.

use std::collections::BTreeMap;
use std::fmt;

use crate::core::session::EndReason;
use crate::shard::shared::Shared;

use super::driver::SimDriver;
use super::faults::Fault;
use super::outcomes::OUTCOMES;

/// Counts by name, of one run or many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) runs: u64,
    pub(super) sessions: u64,
    pub(super) bytes: u64,
    pub(super) turns: u64,
    pub(super) turns_max: u64,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    pub(super) ended: BTreeMap<&'static str, u64>,
    pub(super) counters: BTreeMap<&'static str, u64>,
    /// Of one run: equal runs have equal digests. Of many: their sum.
    pub(super) digest: u64,
}

impl Totals {
    pub(super) fn of(driver: &SimDriver, shared: &Shared) -> Self {
        let counters = &shared.counters[0];
        let (sessions, bytes) = driver.ledger.totals(&driver.world);
        let struck = driver.world.faults.struck;
        Self {
            runs: 1,
            sessions,
            bytes,
            turns: driver.turns,
            turns_max: driver.turns,
            faults: Fault::ALL.iter().map(|&(_, name, _)| name).zip(struck).collect(),
            outcomes: OUTCOMES.into_iter().zip(driver.outcomes).collect(),
            ended: EndReason::ALL
                .map(|reason| (reason.label(), counters.ended[reason as usize].value()))
                .into(),
            counters: counters.list().into_iter().collect(),
            digest: driver.digest,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.sessions += other.sessions;
        self.bytes += other.bytes;
        self.turns += other.turns;
        self.turns_max = self.turns_max.max(other.turns_max);
        self.digest = self.digest.wrapping_add(other.digest);
        for (into, from) in [
            (&mut self.faults, &other.faults),
            (&mut self.outcomes, &other.outcomes),
            (&mut self.ended, &other.ended),
            (&mut self.counters, &other.counters),
        ] {
            for (name, count) in from {
                *into.entry(name).or_default() += count;
            }
        }
    }

    /// What never happened, although it can.
    pub(super) fn never(&self) -> Vec<&'static str> {
        let all = [&self.faults, &self.outcomes, &self.ended, &self.counters];
        let never = all.into_iter().flatten().filter(|&(_, &count)| count == 0);
        never.map(|(&name, _)| name).filter(|name| !MUST_NOT_HAPPEN.contains(name)).collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, sessions, bytes, turns, turns_max, .. } = self;
        writeln!(f, "{runs} runs: {sessions} sessions relayed {bytes} bytes")?;
        writeln!(f, "{turns} turns, at most {turns_max} in a run")?;
        for (title, counts) in [
            ("faults", &self.faults),
            ("completions", &self.outcomes),
            ("ended", &self.ended),
            ("counters", &self.counters),
        ] {
            writeln!(f, "{title}:")?;
            for (name, count) in counts {
                writeln!(f, "  {name:<24}{count:>12}")?;
            }
        }
        Ok(())
    }
}

/// Counters that stay at zero here: two would be bugs, nothing is logged, nobody is redirected, and no
/// session moves.
const MUST_NOT_HAPPEN: [&str; 8] = [
    "stale_completion",
    "unexpected_event",
    "log_suppressed",
    "not_redirected",
    "met_itself",
    "came_too_late",
    // Not drawn: the tables and tests/suite/failover.rs have it.
    "failed_over",
    // No other process takes over: tests/service has that.
    "sockets_handed_on",
];

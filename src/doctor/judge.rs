//! What the host says, held against what is wanted: values in, findings out.

mod cpus;
mod descriptors;
mod network;
mod pipes;
mod ports;
mod queues;
mod ring;

use super::facts::Facts;
use super::needs::Needs;
use super::{Finding, Verdict};

/// All of them, in an order that stays.
pub(super) fn findings(facts: &Facts, needs: &Needs) -> Vec<Finding> {
    let sessions = Sessions::of(facts, needs);
    let mut findings = vec![
        descriptors::open_files(facts.files, needs),
        queues::accept_backlog(facts.queues, needs.backlog),
        queues::syn_backlog(facts.queues, needs.backlog),
        queues::migration(facts.queues.migrate_req),
        ports::listening(&facts.ports, &needs.listening),
        ports::local(&facts.ports, &needs.routes, sessions),
        ports::reuse(&facts.ports, &needs.routes),
        ring::io_uring(&facts.ring, needs.engine),
        ring::locked_memory(facts.locked, needs),
        pipes::budget(&facts.pipes, needs),
        network::conntrack(facts.conntrack, sessions),
    ];
    findings.extend(network::offloads(&facts.interfaces));
    findings.push(network::congestion(&facts.congestion));
    findings.push(cpus::shards(&facts.cpus, &needs.cpus));
    findings.push(cpus::quota(&facts.cpus, needs.cpus.len()));
    findings
}

/// How many sessions a limit is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sessions {
    /// As many as were asked for, or else as many as there are descriptors for.
    many: u64,
    /// Whether somebody asked for them.
    asked: bool,
}

impl Sessions {
    fn of(facts: &Facts, needs: &Needs) -> Self {
        let fitting = facts.files.map_or(0, |files| needs.takers.sessions(files.hard));
        let many = needs.max_sessions.unwrap_or(fitting as u64);
        Self { many, asked: needs.max_sessions.is_some() }
    }

    /// Of a limit that is too low for them: what nobody asked for is no promise that is broken.
    fn too_many(self) -> Verdict {
        if self.asked { Verdict::Bad } else { Verdict::Warn }
    }
}

/// A round number that is enough.
fn round_up(needed: u64) -> u64 {
    needed.checked_next_power_of_two().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod testing {
    use super::*;

    pub(super) const ASKED: fn(u64) -> Sessions = |many| Sessions { many, asked: true };
    pub(super) const FITTING: fn(u64) -> Sessions = |many| Sessions { many, asked: false };

    /// The verdict, and a part of the line that mends it: none where nothing is to be mended.
    #[track_caller]
    pub(super) fn check(finding: &Finding, verdict: Verdict, in_cure: &str) {
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        let cure = finding.cure.as_deref().unwrap_or("");
        assert!(cure.contains(in_cure), "{finding:?}");
        assert_eq!(cure.is_empty(), verdict == Verdict::Ok, "{finding:?}");
        let told = [finding.name.as_str(), &finding.value, finding.why, cure];
        assert!(told.iter().all(|text| !text.contains('\n')), "{finding:?}");
        assert!(told[..3].iter().all(|text| !text.is_empty()), "{finding:?}");
    }
}

//! The table of cases: what is done, and what evenkeel shall reach there. Who takes part is up to
//! the contenders ([`crate::contender::Contender::stays_out_of`]).
//!
//! The targets are those that were set when the project began, each against the better of HAProxy
//! and nginx in the same run.

use std::num::NonZeroU32;

use loadgen::load::Workload;

use crate::figure::Figure;

/// One part of the comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// What it is asked for by, whole or up to a `-`.
    pub(crate) key: &'static str,
    /// As it is printed.
    pub(crate) title: &'static str,
    /// What is done.
    pub(crate) kind: Kind,
    /// What evenkeel shall reach.
    pub(crate) goals: &'static [Goal],
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Requests of 64 bytes and their echoes, each when the last one is answered.
    Load {
        /// On connections that stay, or each on its own.
        workload: Workload,
        /// Connections at the same time.
        connections: NonZeroU32,
    },
    /// The same on connections that stay, sent at a constant rate whatever comes back.
    Paced {
        /// Connections that share the rate.
        connections: NonZeroU32,
        /// Of what the weakest contender can do in a closed loop.
        percent: u32,
    },
    /// Streams of loadgen.
    Bulk {
        /// How many at the same time.
        streams: u32,
        /// From the backend to the client.
        down: bool,
    },
    /// The same by iperf3, which we did not write.
    Iperf {
        /// How many at the same time.
        streams: u32,
        /// From the backend to the client.
        down: bool,
    },
    /// One stream of writes of so many bytes, each sent at once.
    Writes {
        /// Bytes of a write.
        bytes: usize,
    },
    /// Requests by wrk, which we did not write, over HTTP.
    Wrk {
        /// Connections at the same time.
        connections: NonZeroU32,
    },
    /// Connections that have done one exchange and rest.
    Idle,
    /// Something happens while requests come.
    Disruption(Disruption),
}

/// What happens to a backend or to the balancer under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disruption {
    /// One of two backends is killed (SIGKILL).
    BackendKilled,
    /// The configuration is read anew, as each contender is told to.
    Reload,
    /// The balancer is ended and started again, as its operator would do it.
    Restart,
}

/// What a case is about, as far as it matters for who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Small requests.
    Requests,
    /// Many bytes one way.
    Bulk,
    /// Connections that rest.
    Idle,
    /// Something happens.
    Disruption,
}

/// What a contender of ours shall reach in a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Goal {
    /// Who.
    pub(crate) ours: &'static str,
    /// In what.
    pub(crate) figure: Figure,
    /// The better of these is what it is compared with.
    pub(crate) theirs: &'static [&'static str],
    /// How far.
    pub(crate) bound: Bound,
}

/// How a ratio of ours to theirs is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// The median ratio is not above this.
    AtMost(f64),
    /// Theirs is not ahead in every round.
    NotBehind,
}

impl Case {
    /// Whether `wanted` (`ping-64`, `bulk`, `bulk-8`) asks for it.
    #[must_use]
    pub(crate) fn is_asked_for_by(&self, wanted: &str) -> bool {
        let rest = self.key.strip_prefix(wanted);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// What it is about.
    #[must_use]
    pub(crate) const fn group(&self) -> Group {
        match self.kind {
            Kind::Load { .. } | Kind::Paced { .. } | Kind::Wrk { .. } => Group::Requests,
            Kind::Bulk { .. } | Kind::Iperf { .. } | Kind::Writes { .. } => Group::Bulk,
            Kind::Idle => Group::Idle,
            Kind::Disruption(_) => Group::Disruption,
        }
    }

    /// Whether there is one connection, which waits most of the time.
    #[must_use]
    pub(crate) const fn is_one_connection(&self) -> bool {
        matches!(self.kind, Kind::Load { connections: NonZeroU32::MIN, .. })
    }

    /// Whether the load is made by a program that we did not write.
    #[must_use]
    pub(crate) const fn has_a_witness(&self) -> bool {
        matches!(self.kind, Kind::Wrk { .. } | Kind::Iperf { .. })
    }

    /// Whether it depends on the network, and so is worth running on another one.
    #[must_use]
    pub(crate) const fn is_of_the_network(&self) -> bool {
        !matches!(self.kind, Kind::Idle)
    }

    /// Against whom it is checked that nobody is ahead.
    #[must_use]
    pub(crate) fn rivals(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Bulk { .. } | Kind::Iperf { .. } => &["haproxy", "nginx", "haproxy-splice"],
            _ => BOTH,
        }
    }
}

/// The others at their defaults.
pub(crate) const BOTH: &[&str] = &["haproxy", "nginx"];

/// All, in the order in which they are run.
pub(crate) const ALL: &[Case] = &[
    ping(
        "ping-1",
        "ping 64 B, 1 connection",
        1,
        &[
            ours(Figure::P50Us, Bound::NotBehind),
            Goal { ours: "evenkeel-busy", ..ours(Figure::P50Us, Bound::AtMost(0.35)) },
        ],
    ),
    ping("ping-64", "ping 64 B, 64 connections", 64, &[cost(0.85)]),
    ping("ping-1000", "ping 64 B, 1000 connections", 1000, &[cost(0.80)]),
    ping("ping-4000", "ping 64 B, 4000 connections", 4000, &[cost(0.80)]),
    paced("open-50", "open loop at 50 % of the weakest one's ceiling, 64 connections", 50),
    paced("open-80", "open loop at 80 % of the weakest one's ceiling, 64 connections", 80),
    Case {
        key: "conn",
        title: "connect, one request, close; 64 clients",
        kind: Kind::Load { workload: Workload::Conn, connections: count(64) },
        goals: &[cost(0.80)],
    },
    Case {
        key: "wrk-64",
        title: "wrk, HTTP on 64 connections",
        kind: Kind::Wrk { connections: count(64) },
        goals: &[],
    },
    bulk("bulk-1-up", "1 stream up", 1, false),
    bulk("bulk-1-down", "1 stream down", 1, true),
    bulk("bulk-8-up", "8 streams up", 8, false),
    bulk("bulk-8-down", "8 streams down", 8, true),
    iperf("iperf-1-up", "iperf3, 1 stream up", 1, false),
    iperf("iperf-8-down", "iperf3, 8 streams down", 8, true),
    writes("writes-32", "writes of 32 B, 1 stream up", 32),
    writes("writes-100", "writes of 100 B, 1 stream up", 100),
    Case {
        key: "idle",
        title: "idle connections",
        kind: Kind::Idle,
        goals: &[Goal { theirs: &["haproxy"], ..ours(Figure::BytesPerConn, Bound::AtMost(0.10)) }],
    },
    disruption("killed", "one of two backends is killed", Disruption::BackendKilled),
    disruption("reload", "the configuration is read anew", Disruption::Reload),
    disruption("restart", "the balancer is restarted", Disruption::Restart),
];

const fn ping(
    key: &'static str,
    title: &'static str,
    connections: u32,
    goals: &'static [Goal],
) -> Case {
    let kind = Kind::Load { workload: Workload::Ping, connections: count(connections) };
    Case { key, title, kind, goals }
}

const fn bulk(key: &'static str, title: &'static str, streams: u32, down: bool) -> Case {
    Case { key, title, kind: Kind::Bulk { streams, down }, goals: BULK_GOALS }
}

const fn iperf(key: &'static str, title: &'static str, streams: u32, down: bool) -> Case {
    Case { key, title, kind: Kind::Iperf { streams, down }, goals: BULK_GOALS }
}

const BULK_GOALS: &[Goal] = &[
    ours(Figure::CpuSPerGb, Bound::AtMost(0.25)),
    Goal { theirs: &["haproxy-splice"], ..ours(Figure::CpuSPerGb, Bound::AtMost(0.85)) },
];

const fn writes(key: &'static str, title: &'static str, bytes: usize) -> Case {
    Case { key, title, kind: Kind::Writes { bytes }, goals: &[] }
}

const fn paced(key: &'static str, title: &'static str, percent: u32) -> Case {
    let kind = Kind::Paced { connections: count(64), percent };
    Case { key, title, kind, goals: &[] }
}

const fn disruption(key: &'static str, title: &'static str, what: Disruption) -> Case {
    Case { key, title, kind: Kind::Disruption(what), goals: &[] }
}

/// The balancer's CPU for each request.
const fn cost(at_most: f64) -> Goal {
    ours(Figure::CpuUs, Bound::AtMost(at_most))
}

const fn ours(figure: Figure, bound: Bound) -> Goal {
    Goal { ours: "evenkeel", figure, theirs: BOTH, bound }
}

const fn count(connections: u32) -> NonZeroU32 {
    NonZeroU32::new(connections).expect("not 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Contender;

    #[test]
    fn a_case_is_asked_for_by_its_key_or_the_beginning_of_it() {
        let asked = |wanted: &str| {
            let cases = ALL.iter().filter(|case| case.is_asked_for_by(wanted));
            cases.map(|case| case.key).collect::<Vec<_>>()
        };
        assert_eq!(asked("ping-1"), ["ping-1"]);
        assert_eq!(asked("ping").len(), 4);
        assert_eq!(asked("bulk-1"), ["bulk-1-up", "bulk-1-down"]);
        assert_eq!(asked("bul"), [""; 0]);
    }

    #[test]
    fn everyone_who_is_named_exists() {
        for case in ALL {
            let goals = case.goals.iter();
            let named = goals.flat_map(|goal| goal.theirs.iter().chain([&goal.ours]));
            for name in named.chain(case.rivals()) {
                assert!(Contender::named(name).is_some(), "{name} of {}", case.key);
            }
        }
    }
}

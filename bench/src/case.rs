//! The table of cases: what is done, by whom, and what evenkeel shall reach there.
//!
//! The targets are those that were set when the project began, each against the better of HAProxy
//! and nginx in the same run.

use std::num::NonZeroU32;

use loadgen::load::Workload;
use serde::Serialize;

use crate::figure::Figure;

/// One part of the comparison.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Case {
    /// What it is asked for by, whole or up to a `-`.
    pub(crate) key: &'static str,
    /// As it is printed.
    pub(crate) title: &'static str,
    /// What is done.
    #[serde(skip)]
    pub(crate) kind: Kind,
    /// Who takes part.
    #[serde(skip)]
    pub(crate) contenders: &'static [&'static str],
    /// What evenkeel shall reach.
    #[serde(skip)]
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
    /// Streams of iperf3.
    Bulk {
        /// Over veth pairs, or on loopback.
        veth: bool,
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
    /// Connections that have done one exchange and rest.
    Idle,
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
    /// Whether `wanted` (`ping-64`, `bulk`, `bulk-veth`) asks for it.
    #[must_use]
    pub(crate) fn is_asked_for_by(&self, wanted: &str) -> bool {
        let rest = self.key.strip_prefix(wanted);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Against whom it is checked that nobody is ahead.
    #[must_use]
    pub(crate) fn rivals(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Bulk { .. } => &["haproxy", "nginx", "haproxy-splice"],
            Kind::Load { .. } | Kind::Paced { .. } | Kind::Writes { .. } | Kind::Idle => BOTH,
        }
    }
}

/// The others at their defaults.
pub(crate) const BOTH: &[&str] = &["haproxy", "nginx"];

/// All, in the order in which they are run.
pub(crate) const ALL: &[Case] = &[
    Case {
        contenders: LATENCY,
        ..ping(
            "ping-1",
            "ping 64 B, 1 connection",
            1,
            &[
                ours(Figure::P50Us, Bound::NotBehind),
                Goal { ours: "evenkeel-busy", ..ours(Figure::P50Us, Bound::AtMost(0.35)) },
            ],
        )
    },
    ping("ping-64", "ping 64 B, 64 connections", 64, &[cost(0.85)]),
    ping("ping-1000", "ping 64 B, 1000 connections", 1000, &[cost(0.80)]),
    ping("ping-4000", "ping 64 B, 4000 connections", 4000, &[cost(0.80)]),
    Case {
        key: "conn",
        title: "connect, one request, close; 64 clients",
        kind: Kind::Load { workload: Workload::Conn, connections: count(64) },
        contenders: SMALL,
        goals: &[cost(0.80)],
    },
    bulk("bulk-lo-1-up", "1 stream up, loopback", false, 1, false),
    bulk("bulk-lo-1-down", "1 stream down, loopback", false, 1, true),
    bulk("bulk-lo-8-up", "8 streams up, loopback", false, 8, false),
    bulk("bulk-lo-8-down", "8 streams down, loopback", false, 8, true),
    bulk("bulk-veth-1-up", "1 stream up, veth", true, 1, false),
    bulk("bulk-veth-1-down", "1 stream down, veth", true, 1, true),
    bulk("bulk-veth-8-up", "8 streams up, veth", true, 8, false),
    bulk("bulk-veth-8-down", "8 streams down, veth", true, 8, true),
    writes("writes-32", "writes of 32 B, 1 stream up", 32),
    writes("writes-100", "writes of 100 B, 1 stream up", 100),
    Case {
        key: "idle",
        title: "idle connections",
        kind: Kind::Idle,
        contenders: &["evenkeel", "evenkeel-epoll", "haproxy", "nginx"],
        goals: &[Goal { theirs: &["haproxy"], ..ours(Figure::BytesPerConn, Bound::AtMost(0.10)) }],
    },
    paced("open-50", "open loop at 50 % of the weakest one's ceiling, 64 connections", 50),
    paced("open-80", "open loop at 80 % of the weakest one's ceiling, 64 connections", 80),
];

const SMALL: &[&str] =
    &["evenkeel", "evenkeel-epoll", "haproxy", "nginx", "floor-epoll", "floor-ring", "direct"];
const LATENCY: &[&str] = &[
    "evenkeel",
    "evenkeel-epoll",
    "evenkeel-busy",
    "haproxy",
    "nginx",
    "floor-epoll",
    "floor-ring",
    "direct",
];
const STREAMS: &[&str] = &[
    "evenkeel",
    "evenkeel-epoll",
    "evenkeel-copy",
    "evenkeel-splice",
    "haproxy",
    "haproxy-splice",
    "nginx",
    "floor-splice",
    "direct",
];

const fn ping(
    key: &'static str,
    title: &'static str,
    connections: u32,
    goals: &'static [Goal],
) -> Case {
    let kind = Kind::Load { workload: Workload::Ping, connections: count(connections) };
    Case { key, title, kind, contenders: SMALL, goals }
}

const fn bulk(
    key: &'static str,
    title: &'static str,
    veth: bool,
    streams: u32,
    down: bool,
) -> Case {
    const GOALS: &[Goal] = &[
        ours(Figure::CpuSPerGb, Bound::AtMost(0.25)),
        Goal { theirs: &["haproxy-splice"], ..ours(Figure::CpuSPerGb, Bound::AtMost(0.85)) },
    ];
    let kind = Kind::Bulk { veth, streams, down };
    Case { key, title, kind, contenders: STREAMS, goals: GOALS }
}

const fn writes(key: &'static str, title: &'static str, bytes: usize) -> Case {
    Case { key, title, kind: Kind::Writes { bytes }, contenders: STREAMS, goals: &[] }
}

const fn paced(key: &'static str, title: &'static str, percent: u32) -> Case {
    let kind = Kind::Paced { connections: count(64), percent };
    Case { key, title, kind, contenders: SMALL, goals: &[] }
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
        assert_eq!(asked("bulk-veth-1"), ["bulk-veth-1-up", "bulk-veth-1-down"]);
        assert_eq!(asked("bul"), [""; 0]);
    }

    #[test]
    fn everyone_who_is_named_exists() {
        for case in ALL {
            let goals = case.goals.iter();
            let named = goals.flat_map(|goal| goal.theirs.iter().chain([&goal.ours]));
            for name in named.chain(case.contenders).chain(case.rivals()) {
                assert!(Contender::named(name).is_some(), "{name} of {}", case.key);
            }
        }
    }
}

//! Of each shard: its share of the work, and every surprise that it counts.

use std::collections::BTreeMap;

use super::backends::bytes;
use super::family::{Family, Kind, Labels, Value};
use super::reasons::{self, Ended};
use crate::shard::counters::Counters;
use crate::shard::driver::Counts;

/// What is known of a shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardSeen {
    /// Its number.
    pub index: usize,
    /// Where it runs.
    pub cpu: usize,
    /// Sessions now.
    pub sessions: u32,
    /// Processor time of its thread, in nanoseconds, if that is known.
    pub cpu_ns: Option<u64>,
    /// What it counts, by name.
    pub counts: Counts,
    /// Sessions ended.
    pub ended: Ended,
    /// What its driver counts; nothing if it did not say so in time.
    pub driver: Option<Counts>,
}

/// All of them.
pub(super) fn families(all: &[ShardSeen]) -> Vec<Family> {
    let labels = |one: &ShardSeen| Labels::new(&[("shard", &one.index.to_string())]);
    let all: Vec<_> = all.iter().map(|one| (labels(one), one)).collect();
    let mut families = gauges(&all);
    families.extend(traffic(&all));
    families.push(path_changes(&all));
    families.extend(counters(&all));
    families.extend(driver_counters(&all));
    families
}

type Seen<'a> = [(Labels, &'a ShardSeen)];

fn gauges(all: &Seen<'_>) -> Vec<Family> {
    let gauge =
        |name: &str, help| Family::new(&format!("evenkeel_shard_{name}"), Kind::Gauge, help);
    let times = all.iter().filter_map(|(labels, one)| Some((labels, one.cpu_ns?)));
    vec![
        Family::new("evenkeel_shard", Kind::Info, "Where the shard runs.").of(all, |(_, one)| {
            let (shard, cpu) = (one.index.to_string(), one.cpu.to_string());
            (Labels::new(&[("shard", &shard), ("cpu", &cpu)]), true)
        }),
        gauge("up", "Whether the shard answered when it was asked just now.")
            .of(all, |(labels, one)| (labels.clone(), one.driver.is_some())),
        gauge("current_sessions", "Sessions now.")
            .of(all, |(labels, one)| (labels.clone(), one.sessions)),
        Family::new("evenkeel_shard_cpu_seconds", Kind::Counter, "Processor time of its thread.")
            .of(times, |(labels, ns)| (labels.clone(), Value::Nanoseconds(ns))),
    ]
}

fn traffic(all: &Seen<'_>) -> Vec<Family> {
    let by_path = |names: [&str; 2]| -> Vec<[u64; 2]> {
        all.iter().map(|(_, one)| names.map(|name| value(&one.counts, name))).collect()
    };
    let copied = by_path(["bytes_to_backends_copied", "bytes_to_clients_copied"]);
    let spliced = by_path(["bytes_to_backends_spliced", "bytes_to_clients_spliced"]);
    let sums = || {
        let sums = all.iter().zip(&copied).zip(&spliced);
        sums.map(|(((labels, _), copied), spliced)| (labels, copied, spliced))
    };
    let mut families = Vec::from(bytes("evenkeel_shard", sums));
    families.push(reasons::family(
        "evenkeel_shard_sessions_ended",
        "Sessions ended, by HAProxy's two letters and a word.",
        all.iter().map(|(labels, one)| (labels, &one.ended)),
    ));
    families
}

/// Which way took which path from then on, and why.
fn path_changes(all: &Seen<'_>) -> Family {
    let help = "Times that a direction of a session changed its path, and why.";
    let mut family = Family::new("evenkeel_shard_path_changes", Kind::Counter, help);
    for (labels, one) in all {
        for (name, part) in PATH_CHANGES {
            family.push(labels.and(part), value(&one.counts, name).into());
        }
    }
    family
}

/// Every counter that has no family of its own.
fn counters(all: &Seen<'_>) -> Vec<Family> {
    let rest = Counters::HELP.iter().filter(|(name, _)| !has_its_own_family(name));
    let family = |&(name, help): &(&str, &str)| {
        // HAProxy's word for what is accepted.
        let called = if name == "accepted" { "connections" } else { name };
        Family::new(&format!("evenkeel_shard_{called}"), Kind::Counter, help.trim())
            .of(all, |(labels, one)| (labels.clone(), value(&one.counts, name)))
    };
    rest.map(family).collect()
}

fn has_its_own_family(name: &str) -> bool {
    name.starts_with("bytes_to_") || PATH_CHANGES.iter().any(|(known, _)| *known == name)
}

fn driver_counters(all: &Seen<'_>) -> Vec<Family> {
    let mut families: BTreeMap<&str, Family> = BTreeMap::new();
    for (labels, one) in all {
        for &(name, count) in one.driver.iter().flatten() {
            let help =
                DRIVER_HELP.iter().find_map(|&(known, help)| (known == name).then_some(help));
            let help = help.unwrap_or("Counted by the driver.");
            let family = families.entry(name).or_insert_with(|| {
                Family::new(&format!("evenkeel_shard_{name}"), Kind::Counter, help)
            });
            family.push(labels.clone(), count.into());
        }
    }
    families.into_values().collect()
}

fn value(counts: &Counts, name: &str) -> u64 {
    counts.iter().find_map(|&(known, count)| (known == name).then_some(count)).unwrap_or(0)
}

const PATH_CHANGES: [(&str, &str); 10] = [
    ("path_to_backend_spliced", "direction=\"in\",to=\"spliced\",why=\"bulk\""),
    ("path_to_backend_little", "direction=\"in\",to=\"copied\",why=\"little\""),
    ("path_to_backend_nothing", "direction=\"in\",to=\"copied\",why=\"nothing\""),
    ("path_to_backend_end", "direction=\"in\",to=\"copied\",why=\"end\""),
    ("path_to_backend_no_pipe", "direction=\"in\",to=\"copied\",why=\"no-pipe\""),
    ("path_to_client_spliced", "direction=\"out\",to=\"spliced\",why=\"bulk\""),
    ("path_to_client_little", "direction=\"out\",to=\"copied\",why=\"little\""),
    ("path_to_client_nothing", "direction=\"out\",to=\"copied\",why=\"nothing\""),
    ("path_to_client_end", "direction=\"out\",to=\"copied\",why=\"end\""),
    ("path_to_client_no_pipe", "direction=\"out\",to=\"copied\",why=\"no-pipe\""),
];

const DRIVER_HELP: [(&str, &str); 14] = [
    ("busy_poll_found", "Looks before sleeping that found something."),
    ("busy_poll_vain", "Looks before sleeping that found nothing."),
    ("epoll_accept_eagain", "Accepts that found nobody."),
    ("epoll_cancel_missed", "Cancels that found nothing to cancel."),
    ("epoll_recv_eagain", "Receives that found nothing where there should have been something."),
    ("epoll_send_eagain", "Sends that found no room at all."),
    ("epoll_stale_event", "Events for a socket that is gone."),
    ("epoll_waits", "Calls of epoll_pwait2(2) or epoll_wait(2)."),
    ("ring_cancel_missed", "Cancels that found nothing to cancel."),
    ("ring_close_failed", "Closes that failed."),
    ("ring_cq_overflow", "Waits that the kernel answered with EBUSY: completions had overflowed."),
    ("ring_enters", "Calls of io_uring_enter(2)."),
    ("ring_foreign_cqe", "Completions with user data that nobody packed."),
    ("ring_sq_full", "Times that the submission queue was full and was submitted early."),
];

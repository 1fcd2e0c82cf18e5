//! `evenkeel ctl status`: the first thing that one looks at.

use std::collections::BTreeMap;

use crate::api::{Bytes, Status};
use crate::ctl::table::{Paper, Tone, wrapped};
use crate::ctl::units::{self, both, bytes, count};

use super::{backends, is_grave, listeners, pools, shards, share_spliced};

/// All of it: what to know first at the top.
pub(crate) fn status(status: &Status, paper: Paper) -> String {
    let mut text = head(status, paper);
    for banner in &status.banners {
        let line = wrapped(&format!("{}: {}", banner.kind, banner.text), paper.width, INDENT);
        let tone = if is_grave(banner) { Tone::Bad } else { Tone::Warn };
        for line in line.lines() {
            text += &format!("{}\n", paper.paint(line, tone));
        }
    }
    text += &fact("sessions", &sessions(status), paper);
    text += &fact("traffic", &traffic(status), paper);
    if !status.bottleneck.sentence.is_empty() {
        text += &fact("bottleneck", &status.bottleneck.sentence, paper);
    }
    for (name, counts) in [("ended", &status.ended), ("counters", &status.counters)] {
        if !counts.is_empty() {
            text += &fact(name, &listed(counts), paper);
        }
    }
    text += "\n";
    text += &listeners(&status.listeners, paper);
    text += "\n";
    text += &pools(&status.pools, paper);
    text += "\n";
    text += &backends(&status.backends, paper, status.time_ms);
    text += "\n";
    text += &shards(&status.shards, paper);
    text
}

fn head(status: &Status, paper: Paper) -> String {
    let tone = if status.state == "running" { Tone::Good } else { Tone::Warn };
    format!(
        "{} {} for {}, {}, pid {}\n",
        paper.paint(&format!("evenkeel {}", status.version), Tone::Strong),
        paper.paint(&status.state, tone),
        units::seconds(status.uptime_seconds),
        crate::ctl::table::clean(&status.engine),
        status.pid
    )
}

fn sessions(status: &Status) -> String {
    let mut text = count(status.sessions.into());
    if status.sessions_max > 0 {
        text += &format!(" of at most {}", count(status.sessions_max));
    }
    let waiting: u64 = status.pools.iter().map(|pool| u64::from(pool.waiting)).sum();
    if waiting > 0 {
        text += &format!(", {} wait for a backend", count(waiting));
    }
    text
}

fn traffic(status: &Status) -> String {
    let sum = |of: fn(&crate::api::Pool) -> Bytes| {
        status.pools.iter().map(of).fold(Bytes::default(), |sum, one| Bytes {
            copied: sum.copied.saturating_add(one.copied),
            spliced: sum.spliced.saturating_add(one.spliced),
        })
    };
    let (sent, received) = (sum(|pool| pool.to_backend), sum(|pool| pool.to_clients));
    let mut text = format!("{} to backends, {} back", bytes(both(sent)), bytes(both(received)));
    if let Some(share) = share_spliced(sent, received) {
        text += &format!(", {share}");
    }
    text
}

/// `-- finished 12, CD client-gone 3`, the most frequent first.
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<(&String, &u64)> = counts.iter().filter(|(_, count)| **count > 0).collect();
    counts.sort_by_key(|&(name, count)| (std::cmp::Reverse(*count), name));
    let parts: Vec<String> =
        counts.iter().map(|(name, number)| format!("{name} {}", count(**number))).collect();
    parts.join(", ")
}

fn fact(name: &str, text: &str, paper: Paper) -> String {
    let name = paper.paint(&format!("{name:<INDENT$}"), Tone::Dim);
    format!("{name}{}\n", wrapped(text, paper.width, INDENT))
}

const INDENT: usize = 12;

//! What a comparison brought, as it lies in `bench/results/`: written by `bench compare`, read by
//! whatever is made from it.

use serde::{Deserialize, Serialize};

use crate::audit::Seen;
use crate::contender::Known;
use crate::host::Host;
use crate::verdict::{Comparison, Row};

/// All of a run on one network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// One short round, which shows nothing but that everything works.
    pub(crate) quick: bool,
    /// Whether all cases that were asked for are in it.
    pub(crate) complete: bool,
    /// Where and when.
    pub(crate) host: Host,
    /// What the connections went over.
    pub(crate) network: NetworkUsed,
    /// The balancer's, which it has for itself.
    pub(crate) balancer_cpu: usize,
    /// Those of clients and backends.
    pub(crate) other_cpus: Vec<usize>,
    /// Runs of each contender in each case.
    pub(crate) rounds: u32,
    /// How long each of them is measured.
    pub(crate) seconds_a_run: f64,
    /// Connections of the case `idle`.
    pub(crate) idle_connections: u32,
    /// Versions of the independent witnesses that are here, and the lines that bring the others.
    pub(crate) witnesses: Vec<String>,
    /// Everyone who was looked for.
    pub(crate) contenders: Vec<Known>,
    /// What those who are here were seen to do.
    pub(crate) seen: Vec<Seen>,
    /// In the order in which they were run.
    pub(crate) cases: Vec<CaseResult>,
    /// Where evenkeel is not ahead, or misses a target, in words.
    pub(crate) not_ahead: Vec<String>,
}

/// What the connections went over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NetworkUsed {
    /// `loopback` or `lab`.
    pub(crate) name: String,
    /// TCP's, for everyone.
    pub(crate) congestion_control: String,
    /// What else there is to know.
    pub(crate) notes: Vec<String>,
}

/// What a case showed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CaseResult {
    /// As it is asked for.
    pub(crate) key: String,
    /// As it is printed.
    pub(crate) title: String,
    /// Requests a second, if the case is paced.
    pub(crate) rate_per_s: Option<u32>,
    /// Who came to its end.
    pub(crate) rows: Vec<Row>,
    /// What the rows say.
    pub(crate) comparisons: Vec<Comparison>,
    /// Who did not come to its end.
    pub(crate) failed: Vec<Absent>,
    /// Who had no part in it.
    pub(crate) left_out: Vec<Absent>,
}

/// Somebody who has no row, and why.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Absent {
    /// Who.
    pub(crate) contender: String,
    /// Why.
    pub(crate) why: String,
}

/// Of [`Document`]. The files of `evenkeel-bench-cost-2` and before have other fields.
pub(crate) const SCHEMA: &str = "evenkeel-bench-compare-1";

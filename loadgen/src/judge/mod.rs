//! Verdicts over several runs: which rate a target can carry, how it behaves over a range, and
//! whether one target differs from another.
//!
//! Nothing here runs a load or looks at a clock: results come in, and decisions, tables and
//! sentences come out. The run is the sample; requests of one run are not independent.

mod compare;
mod holm;
mod metric;
mod order;
mod power;
mod rank;
mod search;
mod sweep;
mod trial;

pub use compare::{Comparison, Sample, compare, pairs_needed};
pub use holm::holm;
pub use metric::Metric;
pub use order::orders;
pub use power::detectable;
pub use rank::{RankTest, Shift, mann_whitney, shift};
pub use search::{Bound, Finding, Limit, Search, Vote};
pub use sweep::{Cell, Figure, Over, Sweep};
pub use trial::{ACHIEVED_SHARE, Trial};

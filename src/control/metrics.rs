//! Metrics for Prometheus and whoever reads its formats: from what shards and the control thread count
//! anyway to text.
//!
//! Reading order: [`gather`] looks at the running balancer; `process`, `listeners`, `pools`, `backends`
//! and `shards` make a [`family::Family`] of each thing that is known; [`text`] writes them in the
//! format that [`accept`] finds to be wanted.
//!
//! What is looked at under the lock of the configuration is a few words of each backend; sums over
//! shards are made after it, and the text while it is sent, piece by piece. Nothing is kept from one
//! scrape to the next, so scrapers do not disturb each other.
//!
//! Names are `evenkeel_{process,listener,pool,backend,shard}_…`; where HAProxy's exporter has a name for
//! the same it is that name (docs/operating.md has the table). A client is in no label.

pub mod accept;
mod backends;
pub mod body;
pub mod family;
pub mod gather;
mod host;
mod listeners;
mod pools;
mod process;
mod reasons;
mod shards;
pub mod text;

use family::Family;
use gather::Seen;

/// All families, in the order in which they are written.
#[must_use]
pub fn families(seen: &Seen) -> Vec<Family> {
    let mut families = process::families(&seen.process);
    families.extend(listeners::families(&seen.listeners));
    families.extend(pools::families(&seen.pools));
    families.extend(backends::families(&seen.backends));
    families.extend(shards::families(&seen.shards));
    families
}

#[cfg(test)]
mod tests;

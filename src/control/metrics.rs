//! Metrics for Prometheus and whoever reads its formats: from what shards and the control thread count
//! anyway to text.
//!
//! Reading order: [`gather`] looks at the running balancer; `process`, `listeners`, `pools`, `backends`
//! and `shards` make a [`family::Family`] of each thing that is known; [`text`] writes them in the
//! format that [`accept`] finds to be wanted.
//!
//! What is looked at under the lock of the configuration is a few words of each backend; sums over
//! shards are made after it, and the text while it is sent, piece by piece, both in the background: no
//! shard waits for a scrape, also where it has one CPU with everything else. Nothing is kept from one
//! scrape to the next, so scrapers do not disturb each other.
//!
//! Names are `evenkeel_{process,listener,pool,backend,shard}_…`; where HAProxy's exporter has a name for
//! the same it is that name (docs/operating.md has the table). A client is in no label.

pub mod accept;
mod backends;
pub mod family;
pub mod gather;
mod host;
mod listeners;
mod pools;
mod process;
mod reasons;
mod shards;
mod tcp;
pub mod text;

use family::Family;
use gather::Seen;

/// All families, in the order in which they are written, each made when it is asked for.
pub fn families(seen: Seen) -> impl Iterator<Item = Family> + Send {
    PARTS.iter().flat_map(move |part| part(&seen))
}

/// What is made at once: with hundreds of backends some hundred microseconds each.
const PARTS: [fn(&Seen) -> Vec<Family>; 15] = [
    |seen| process::families(&seen.process),
    |seen| listeners::families(&seen.listeners),
    |seen| pools::families(&seen.pools),
    |seen| backends::about(&seen.backends),
    |seen| backends::states(&seen.backends),
    |seen| backends::gauges(&seen.backends),
    |seen| backends::counters(&seen.backends),
    |seen| Vec::from(backends::moved(&seen.backends)),
    |seen| vec![backends::ended(&seen.backends)],
    |seen| vec![backends::connect(&seen.backends)],
    |seen| vec![backends::first_byte(&seen.backends)],
    |seen| vec![backends::response(&seen.backends)],
    |seen| vec![backends::session(&seen.backends)],
    |seen| tcp::families(&seen.backends),
    |seen| shards::families(&seen.shards),
];

#[cfg(test)]
mod tests;

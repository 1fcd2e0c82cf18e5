//! `/metrics` of the real binary: traffic of which everything is known, read by public parsers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod dashboards;
mod forms;
mod going_on;
mod haproxy;
mod known_traffic;
mod scrape;
mod states;

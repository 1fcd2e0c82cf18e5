//! `/metrics` of the real binary: traffic of which everything is known, read by public parsers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

#[path = "metrics/dashboards.rs"]
mod dashboards;
#[path = "metrics/forms.rs"]
mod forms;
#[path = "metrics/going_on.rs"]
mod going_on;
#[path = "metrics/haproxy.rs"]
mod haproxy;
#[path = "metrics/known_traffic.rs"]
mod known_traffic;
#[path = "metrics/scrape.rs"]
mod scrape;
#[path = "metrics/states.rs"]
mod states;

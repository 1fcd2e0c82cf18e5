//! The admin API on the real binary: what it says, what it changes, what survives, and what strangers
//! can do to it, which is nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

#[path = "admin/client.rs"]
mod client;

#[path = "admin/browser.rs"]
mod browser;
#[path = "admin/changes.rs"]
mod changes;
#[path = "admin/floods.rs"]
mod floods;
#[path = "admin/intruder.rs"]
mod intruder;
#[path = "admin/looking.rs"]
mod looking;
#[path = "admin/places.rs"]
mod places;
#[path = "admin/schema.rs"]
mod schema;
#[path = "admin/sessions.rs"]
mod sessions;
#[path = "admin/state.rs"]
mod state;
#[path = "admin/wire.rs"]
mod wire;

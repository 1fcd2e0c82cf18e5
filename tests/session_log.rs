//! The session log of the real binary: what its lines say, where they go, and what happens to them when
//! whoever should take them does not.

#[path = "session_log/files.rs"]
mod files;
#[path = "session_log/lines.rs"]
mod lines;
#[path = "session_log/reading.rs"]
mod reading;
#[path = "session_log/reasons.rs"]
mod reasons;
#[path = "session_log/stuck.rs"]
mod stuck;
mod support;

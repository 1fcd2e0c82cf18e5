//! The session log of the real binary: what its lines say, where they go, and what happens to them when
//! whoever should take them does not.

mod files;
mod lines;
mod reading;
mod reasons;
mod stuck;

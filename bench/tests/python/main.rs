//! The Python version of the comparison, black box: it must be right to be worth measuring. Without
//! Python these tests are skipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod bytes;
mod choice;
mod program;
#[allow(dead_code, reason = "the scripted backends are those of the balancer's own tests")]
mod support;

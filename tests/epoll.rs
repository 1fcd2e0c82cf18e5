//! The whole black-box suite once more, with `--engine epoll`: a driver is right when nobody who
//! connects can tell which one it is.
//!
//! Not in it: `demo.rs`, whose clients and backends need a ring anyway, `engine.rs`, which chooses
//! engines itself, and who is picked (`algorithms.rs`, `ejected.rs`, `sticky.rs`), where no driver is
//! asked.

#![expect(clippy::duplicate_mod, reason = "each file brings its support, as when it is alone")]

#[path = "balance.rs"]
mod balance;
#[path = "bytes.rs"]
mod bytes;
#[path = "curl.rs"]
mod curl;
#[path = "drain.rs"]
mod drain;
#[path = "ends.rs"]
mod ends;
#[path = "failover.rs"]
mod failover;
#[path = "health.rs"]
mod health;
#[path = "held.rs"]
mod held;
#[path = "hostile.rs"]
mod hostile;
#[path = "killed.rs"]
mod killed;
#[path = "limits.rs"]
mod limits;
#[path = "program.rs"]
mod program;
#[path = "proxy_protocol.rs"]
mod proxy_protocol;
#[path = "python_bugs.rs"]
mod python_bugs;
#[path = "reload.rs"]
mod reload;
#[path = "reload_proof.rs"]
mod reload_proof;
#[path = "telling.rs"]
mod telling;
#[path = "who.rs"]
mod who;

//! The whole black-box suite once more, with `--engine epoll`: a driver is right when nobody who
//! connects can tell which one it is.
//!
//! Not in it: `demo.rs`, whose clients and backends need a ring anyway, `engine.rs`, which chooses
//! engines itself, and who is picked (`algorithms.rs`, `ejected.rs`, `sticky.rs`), where no driver is
//! asked.

#[path = "suite/balance.rs"]
mod balance;
#[path = "suite/bytes.rs"]
mod bytes;
#[path = "suite/curl.rs"]
mod curl;
#[path = "suite/drain.rs"]
mod drain;
#[path = "suite/ends.rs"]
mod ends;
#[path = "suite/failover.rs"]
mod failover;
#[path = "suite/health.rs"]
mod health;
#[path = "suite/held.rs"]
mod held;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/killed.rs"]
mod killed;
#[path = "suite/limits.rs"]
mod limits;
#[path = "suite/program.rs"]
mod program;
#[path = "suite/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "suite/python_bugs.rs"]
mod python_bugs;
#[path = "suite/reload.rs"]
mod reload;
#[path = "suite/reload_proof.rs"]
mod reload_proof;
mod support;
#[path = "suite/telling.rs"]
mod telling;
#[path = "suite/who.rs"]
mod who;

//! The whole black-box suite once more, with `--engine epoll`: a driver is right when nobody who
//! connects can tell which one it is.
//!
//! Not in it: `demo.rs`, whose clients and backends need a ring anyway, and `engine.rs`, which chooses
//! engines itself.

#![expect(clippy::duplicate_mod, reason = "each file brings its support, as when it is alone")]

#[path = "balance.rs"]
mod balance;
#[path = "bytes.rs"]
mod bytes;
#[path = "curl.rs"]
mod curl;
#[path = "ends.rs"]
mod ends;
#[path = "failover.rs"]
mod failover;
#[path = "hostile.rs"]
mod hostile;
#[path = "limits.rs"]
mod limits;
#[path = "program.rs"]
mod program;
#[path = "telling.rs"]
mod telling;

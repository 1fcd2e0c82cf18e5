//! The black-box suite (`tests/suite/`): the real binary on the ring, and peers that do as they are
//! told. `epoll.rs` runs it once more on the other engine, `always.rs` with other options.

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

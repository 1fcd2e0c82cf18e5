//! The control thread: what is slow, rare, or waits for others, so that no shard has to.
//!
//! Reading order: [`runtime`] is the thread and what its futures run on; [`probe`] asks a backend
//! once; [`checks`] asks all of them again and again; [`resolve`] follows what names stand for;
//! [`bottleneck`] says who holds the traffic up.
//!
//! What is found out goes to atomics that shards read, and to the closures of who started it.

pub mod admin;
pub mod background;
pub mod bottleneck;
pub mod checks;
pub mod details;
pub mod drift;
pub mod events;
pub mod ever;
mod logs;
pub mod manager;
pub mod metrics;
pub mod overrides;
pub mod page;
pub mod probe;
pub mod resolve;
pub mod runtime;
pub mod service;
mod sockets;
pub mod standing;
pub mod state_file;
pub mod world;

//! A shard: one thread that owns listeners, a driver, a table of sessions and their timers.
//!
//! Reading order: [`driver`] says what a shard needs of the operating system; [`run`] is the loop;
//! [`uring`], [`epoll`] and `sim` are drivers; [`shared`] is the little that shards have in common.

pub mod backend;
pub mod bells;
mod busy_poll;
pub mod commands;
pub mod condition;
pub mod conn;
pub mod counters;
pub mod driver;
pub mod epoll;
pub mod histogram;
pub mod listener;
mod listeners;
pub mod notices;
pub mod outgoing;
pub mod per_ip;
mod pipes;
pub mod pool;
pub mod post;
pub mod record;
pub mod run;
pub mod shared;
#[cfg(test)]
mod sim;
pub mod sticky;
mod striped;
pub mod tally;
pub mod tcp_tally;
#[cfg(test)]
mod tests;
pub mod uring;

pub(crate) use pipes::{PIPE_BYTES, PIPE_BYTES_MIN};
pub use run::{Room, Shard, Turn};

//! evenkeel, a TCP load balancer for Linux on io_uring.
//!
//! Three layers, arrows point down only: the program ([`cli`], [`config`], [`program`]) starts
//! shards ([`shard`]), which drive the state machines of [`core`] over a driver.
#![deny(unsafe_code)]

pub mod core;
pub mod shard;

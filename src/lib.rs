//! evenkeel, a TCP load balancer for Linux on io_uring.
//!
//! Three layers, arrows point down only: the program ([`cli`], [`config`], [`program`], [`balancer`],
//! [`control`], [`engine`], [`demo`], [`doctor`], [`settings`], [`session_log`], `report`) starts shards ([`shard`]), which drive the state machines of [`core`] over a driver.
//! [`ctl`] and [`top`] are clients of a program that runs; they know [`api`] alone.
#![deny(unsafe_code)]

pub mod api;
pub mod balancer;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
pub mod ctl;
pub mod demo;
pub mod doctor;
pub mod engine;
pub mod log_file;
pub mod logging;
pub mod program;
pub mod quantile;
mod report;
pub mod service;
pub mod session_log;
pub mod settings;
pub mod shard;
pub mod top;

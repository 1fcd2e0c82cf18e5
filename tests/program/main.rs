//! The program beside what clients see of it (`tests/suite/`): its options, files, names and limits, the
//! admin API's other side, metrics, logs, and the service manager. One test program, because each one links
//! the whole library.

mod algorithms;
mod config;
mod corpus;
mod ctl;
mod demo;
mod doctor;
mod ejected;
mod engine;
mod listener;
mod metrics;
mod names;
mod namespace;
mod options;
mod original_dst;
mod packaging;
mod pipes;
mod proxy_header;
mod service;
mod session_log;
mod shards;
mod sticky;
#[path = "../support/mod.rs"]
mod support;

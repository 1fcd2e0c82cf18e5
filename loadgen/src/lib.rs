//! What evenkeel is measured with: backends that have names, a client, and a load generator that
//! says how fast, how late, and who answered.
//!
//! Everything runs on the rings of the [`uring`] crate, one ring a thread. [`serve`] starts
//! backends inside this process, [`load`] puts load on a target and returns a [`load::Report`],
//! [`client`] is the client for people. What is typed on a command line is the binary's business.

#![forbid(unsafe_code)]

pub mod client;
mod histogram;
pub mod load;
mod python;
pub mod serve;
pub mod target;

pub use histogram::Percentile;
pub use python::python_address;

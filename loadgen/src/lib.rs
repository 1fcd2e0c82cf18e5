//! What evenkeel is measured with: backends that have names, a client, and a load generator that
//! says how fast, how late, and who answered.
//!
//! Everything runs on the rings of the [`uring`] crate, one ring a thread. [`serve`] starts
//! backends inside this process, [`load`] puts load on a target and returns a [`report::Report`],
//! [`client`] is the client for people. What is typed on a command line is the binary's business.
//!
//! ```
//! use std::num::{NonZeroU64, NonZeroUsize};
//! use std::sync::atomic::AtomicBool;
//! use loadgen::load::{self, Plan, Workload};
//! use loadgen::serve::{self, Backend, Mode};
//!
//! let address = "127.0.0.1:0".parse()?;
//! let backend = Backend { name: Some("B1".to_owned()), address, mode: Mode::Hello };
//! let serving = serve::start(vec![backend], NonZeroUsize::MIN)?;
//! let plan = Plan {
//!     requests: NonZeroU64::new(1000),
//!     ..Plan::new(serving.addresses()[0], Workload::Ping)
//! };
//! let report = load::run(&plan, &mut |_progress| {}, &AtomicBool::new(false))?;
//! assert_eq!((report.totals.ok, report.backends[0].responses), (1000, 1000));
//! println!("{:?} ns", report.latency.response.quantile_ns(0.99));
//! serving.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod client;
mod connection;
mod crew;
pub mod doctor;
mod histogram;
pub mod hold;
mod io;
pub mod judge;
pub mod load;
mod pin;
mod python;
pub mod report;
pub mod serve;
pub mod stream;
pub mod sut;
pub mod target;

pub use crew::{Close, RunError};
pub use io::{Engine, EngineError};
pub use pin::PinError;
pub use python::python_address;

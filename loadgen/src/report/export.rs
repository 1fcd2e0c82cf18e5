//! A report in forms that other programs read: percentile tables, interval logs, tables.

mod csv;
mod hgrm;
mod hlog;

pub use csv::csv;
pub use hgrm::hgrm;
pub use hlog::hlog;

//! What all pictures of a report have in common, on a page and in a terminal: numbers as people
//! read them, axes, columns of time, and the counts of a heat map.

mod axis;
mod columns;
mod heat;
mod units;

pub use axis::Axis;
pub use columns::columns;
pub use heat::{Heat, level, thresholds};
pub use units::{bytes, count, gbit, percent, rate, seconds, short, time};

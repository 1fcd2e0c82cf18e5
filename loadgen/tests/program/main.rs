//! loadgen as it is run, against peers that do as they are told. One test program, because each one links the
//! whole library; what measures time is beside it, in programs of its own.

mod client;
#[path = "../common/mod.rs"]
mod common;
mod doctor;
mod hold;
mod judge;
mod load;
#[path = "../peers/mod.rs"]
mod peers;
mod report;
mod schema;
mod serve;
mod serve_inject;
mod serve_modes;
mod serve_script;
mod stream;

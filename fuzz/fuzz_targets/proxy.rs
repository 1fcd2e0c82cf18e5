//! The PROXY protocol from a stranger. Run it with `scripts/fuzz proxy`.
#![no_main]

#[path = "../checks/proxy.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));

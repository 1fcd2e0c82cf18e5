//! The program `evenkeel`: arguments in, exit code out.
#![deny(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    evenkeel::program::main(std::env::args_os())
}

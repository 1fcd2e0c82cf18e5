//! `loadgen ab`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;

/// What `ab` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// Compare targets, interleaved, with a statistical verdict.
pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::Run("not there yet".to_owned()))
}

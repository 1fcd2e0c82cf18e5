//! `loadgen sweep`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;

/// What `sweep` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// One result for each value of rate, connections or size.
pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::Run("not there yet".to_owned()))
}

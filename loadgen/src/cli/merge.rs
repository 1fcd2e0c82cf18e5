//! `loadgen merge`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;

/// What `merge` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// Add up results of the same run from several generators.
pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::Run("not there yet".to_owned()))
}

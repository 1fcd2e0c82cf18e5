//! `loadgen diff`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;

/// What `diff` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// Compare two results.
pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::Run("not there yet".to_owned()))
}

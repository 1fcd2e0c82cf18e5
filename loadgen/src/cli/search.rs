//! `loadgen search`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;

/// What `search` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// Find the highest rate that keeps an objective.
pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::Run("not there yet".to_owned()))
}

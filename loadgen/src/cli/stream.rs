//! `loadgen stream`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;

/// What `stream` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// Measure bulk: one or more streams up, down or both ways.
pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::Run("not there yet".to_owned()))
}

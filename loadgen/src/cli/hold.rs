//! `loadgen hold`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;

/// What `hold` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// Open connections, keep them, and probe that they live.
pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::Run("not there yet".to_owned()))
}

//! `loadgen doctor`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;

/// What `doctor` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// Look at the limits, the clock and the floor of this generator on this machine.
pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::Run("not there yet".to_owned()))
}

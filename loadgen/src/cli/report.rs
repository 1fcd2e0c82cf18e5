//! `loadgen report`.

use std::process::ExitCode;

use clap::Args;

use super::Failure;

/// What `report` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

/// Turn result.json into text, HTML, CSV, .hgrm or .hlog.
pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::Run("not there yet".to_owned()))
}

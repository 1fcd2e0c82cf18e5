//! `loadgen merge`: results of several generators that ran together, added up.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use loadgen::report::merge::merge;

use super::Failure;
use super::output::{Outputs, shown};
use super::report::read;

/// What `merge` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files that --json wrote, two or more
    #[arg(required = true, num_args = 2..)]
    results: Vec<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
}

/// Add up results of the same run from several generators.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    arguments.outputs.check()?;
    let part = |path: &PathBuf| Ok((path.display().to_string(), read(path)?));
    let parts = arguments.results.iter().map(part).collect::<Result<_, Failure>>()?;
    let mut report = merge(parts).map_err(Failure::run)?;
    arguments.outputs.convert(&mut report, shown)
}

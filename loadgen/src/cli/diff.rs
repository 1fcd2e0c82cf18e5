//! `loadgen diff`: two results side by side.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use loadgen::report::diff::diff;

use super::Failure;
use super::output::{look, to_stdout};
use super::report::read;

/// What `diff` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A file that --json wrote
    a: PathBuf,
    /// Another one
    b: PathBuf,
}

/// Compare two results.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (a, b) = (read(&arguments.a)?, read(&arguments.b)?);
    let names = [&arguments.a, &arguments.b].map(|path| path.display().to_string());
    to_stdout(&diff([&names[0], &names[1]], [&a, &b], look()))?;
    Ok(ExitCode::SUCCESS)
}

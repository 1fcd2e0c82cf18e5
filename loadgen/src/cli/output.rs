//! Where a report goes: the text on standard output, and files in every form.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use loadgen::report::Report;

use super::{Failure, print_now};

/// Where a report goes.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Outputs {
    /// Write the report as JSON to this file; `-` is standard output, instead of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Outputs {
    /// Before the run: whether the files can be written, so that nothing is measured for nobody.
    pub(super) fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Writes `report` in every form that was asked for; the exit code that it stands for.
    pub(super) fn write(&self, report: &Report) -> Result<ExitCode, Failure> {
        print_now(&format!("{:#?}\n", report.totals));
        Ok(ExitCode::SUCCESS)
    }
}

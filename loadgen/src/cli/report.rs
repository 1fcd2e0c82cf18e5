//! `loadgen report`: a result that was kept, in every form that a run can write.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use loadgen::report::file::JSON_SCHEMA;
use loadgen::report::{Report, wrk};

use super::Failure;
use super::output::{Outputs, shown, to_stdout};

/// What `report` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A file that --json wrote; `-` is standard input
    #[arg(required_unless_present = "schema")]
    result: Option<PathBuf>,
    /// Print it as wrk would have
    #[arg(long)]
    wrk: bool,
    /// Print the JSON Schema of results, and nothing else
    #[arg(long, conflicts_with_all = ["result", "wrk"])]
    schema: bool,
    #[command(flatten)]
    outputs: Outputs,
}

/// Turn result.json into text, HTML, CSV, .hgrm or .hlog.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Some(path) = &arguments.result else {
        to_stdout(JSON_SCHEMA)?;
        return Ok(ExitCode::SUCCESS);
    };
    arguments.outputs.check()?;
    let mut report = read(path)?;
    let text = if arguments.wrk { wrk::wrk } else { shown };
    arguments.outputs.convert(&mut report, text)
}

/// Reads a result.
pub(super) fn read(path: &Path) -> Result<Report, Failure> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let name = path.display();
    let text = text.map_err(|error| Failure::Run(format!("cannot read {name}: {error}")))?;
    Report::from_json(&text).map_err(|error| Failure::Run(format!("{name}: {error}")))
}

//! The command line: what may be typed, and which exit code comes back.
//!
//! 0: done. 1: could not run, or not one request succeeded. 2: wrong arguments. 3: the objective
//! was missed. 4: the result is suspect, with --strict. 130: stopped.

mod ab;
mod client;
mod conduct;
mod diff;
mod doctor;
mod hold;
mod judged;
mod load;
mod merge;
mod output;
mod report;
mod search;
mod serve;
mod signals;
mod stream;
mod sweep;
mod values;
mod view;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

/// Backends with names, a client, and load for trying a TCP balancer
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start one or more backends: loadgen serve --name B1 --port 8881 --name B2 --port 8882
    Serve(serve::Arguments),
    /// Send one message, or talk line by line
    Client(client::Arguments),
    /// Measure requests on connections that stay
    Ping(load::Arguments),
    /// Measure HTTP/1.1 requests on connections that stay
    Http(load::HttpArguments),
    /// Measure connections: connect, one request, its answer, close
    Conn(load::ConnArguments),
    /// Open connections, keep them, and probe that they live
    Hold(hold::Arguments),
    /// Measure bulk: one or more streams up, down or both ways
    Stream(stream::Arguments),
    /// Find the highest rate that keeps an objective
    Search(search::Arguments),
    /// One result for each value of rate, connections or size
    Sweep(sweep::Arguments),
    /// Compare targets, interleaved, with a statistical verdict
    Ab(ab::Arguments),
    /// Turn result.json into text, HTML, CSV, .hgrm or .hlog
    Report(report::Arguments),
    /// Compare two results
    Diff(diff::Arguments),
    /// Add up results of the same run from several generators
    Merge(merge::Arguments),
    /// Look at the limits, the clock and the floor of this generator on this machine
    Doctor(doctor::Arguments),
}

/// Why a command ends without its result.
#[derive(Debug)]
enum Failure {
    /// The arguments do not fit together; exit code 2.
    Usage(String),
    /// It could not be done; exit code 1.
    Run(String),
}

impl Failure {
    fn run(error: impl Display) -> Self {
        Self::Run(error.to_string())
    }
}

/// Parses, runs, and answers with the exit code.
pub(crate) fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(Cli { command }) => command,
        Err(error) if !error.use_stderr() || error.kind() == HELP_FOR_NOTHING => error.exit(),
        Err(error) => return misused(&one_line(&error.render().to_string())),
    };
    let result = match command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Client(arguments) => client::run(&arguments),
        Command::Ping(arguments) => load::ping(&arguments),
        Command::Http(arguments) => load::http(&arguments),
        Command::Conn(arguments) => load::conn(&arguments),
        Command::Hold(arguments) => hold::run(&arguments),
        Command::Stream(arguments) => stream::run(&arguments),
        Command::Search(arguments) => search::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Ab(arguments) => ab::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Run(message)) => {
            eprintln!("loadgen: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Usage(message)) => misused(&message),
    }
}

/// One line: what is wrong, and where the options are.
fn misused(message: &str) -> ExitCode {
    let commands = Cli::command();
    let typed = std::env::args().nth(1).filter(|word| commands.find_subcommand(word).is_some());
    let command = typed.map_or_else(String::new, |word| format!(" {word}"));
    eprintln!("loadgen: {message}; see `loadgen{command} --help`");
    ExitCode::from(USAGE)
}

/// What clap says in several lines, its usage left out.
fn one_line(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let said: Vec<String> =
        said.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let said = said.join("; ").replace(":; ", ": ");
    said.strip_prefix("error: ").unwrap_or(&said).trim_end_matches(['.', ';']).to_owned()
}

const HELP_FOR_NOTHING: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// Prints `text` at once. A reader that has gone away is no reason to stop serving or measuring.
fn print_now(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

const USAGE: u8 = 2;
/// What shells answer for a program that SIGINT ended.
const STOPPED: u8 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_one_line_with_its_cure() {
        let said = |words: &[&str]| {
            let typed = std::iter::once("loadgen").chain(words.iter().copied());
            let error = Cli::try_parse_from(typed).expect_err("it is wrong");
            one_line(&error.render().to_string())
        };
        for (words, expected) in [
            (
                &["ping", "h:1", "-c", "0"][..],
                "invalid value '0' for '--connections <CONNECTIONS>'",
            ),
            (&["ping", "h:1", "--sise", "9"], "a similar argument exists: '--size'"),
            (&["stream"], "required arguments were not provided: <TARGET>"),
            (&["pingg"], "a similar subcommand exists: 'ping'"),
        ] {
            let line = said(words);
            assert!(line.contains(expected) && !line.contains(['\n', '\u{1b}']), "{line}");
        }
    }
}

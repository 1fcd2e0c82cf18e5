//! The command line: what may be typed, and which exit code comes back.
//!
//! 0: done. 1: could not run, or not one request succeeded. 2: wrong arguments. 130: stopped.

mod client;
mod load;
mod serve;
mod signals;
mod values;

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
    /// Measure connections: connect, one request, its answer, close
    Conn(load::ConnArguments),
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
    let result = match Cli::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Client(arguments) => client::run(&arguments),
        Command::Ping(arguments) => load::ping(&arguments),
        Command::Conn(arguments) => load::conn(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Run(message)) => {
            eprintln!("loadgen: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Usage(message)) => {
            let error = Cli::command().error(ErrorKind::ValueValidation, message);
            // A closed standard error leaves nobody to tell.
            let _ = error.print();
            ExitCode::from(USAGE)
        }
    }
}

/// Prints `text` at once. A reader that has gone away is no reason to stop serving or measuring.
fn print_now(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

const USAGE: u8 = 2;

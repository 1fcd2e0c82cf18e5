//! `loadgen client`: the client for people.

use std::fs::File;
use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::Args;
use loadgen::client::{self, Prompt};
use loadgen::target::Target;

use super::Failure;

/// What `client` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port of the balancer or backend
    #[arg(short, long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Send this and end; without it, one message a line is read
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

/// Runs one conversation.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let target = Target { host: arguments.host.clone(), port: arguments.port };
    let done = match &arguments.message {
        Some(message) => client::send_one(&target, message, &mut stdout()),
        None => {
            let prompt = if stdin().is_terminal() { Prompt::Shown } else { Prompt::Hidden };
            // The library's own standard input reads ahead.
            let input = stdin().as_fd().try_clone_to_owned().map_err(Failure::run)?;
            client::converse(&target, &mut File::from(input), &mut stdout(), prompt)
        }
    };
    done.map(|()| ExitCode::SUCCESS).map_err(Failure::run)
}

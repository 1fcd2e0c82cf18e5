//! `evenkeel ctl`: asks a running evenkeel over its admin API, and changes it.
//!
//! Tables are for people, `--json` is for programs and is what the API says, byte for byte. Nothing is
//! known here about how the balancer works: only what [`crate::api`] says.

mod act;
pub mod client;
mod meant;
pub(crate) mod names;
pub(crate) mod show;
pub(crate) mod table;
mod tell;
pub(crate) mod units;
mod watch;

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::cli::{Ctl, CtlCommand};
use client::{Client, ClientError};
use table::Paper;

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// Nobody answered, or the answer was no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It was understood, and cannot be done.
    #[error("{0}")]
    Cannot(String),
    /// Standard output.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// What all commands have at hand.
struct Desk {
    client: Client,
    paper: Paper,
    json: bool,
}

/// Does what was asked for: 0 done, 1 not.
pub fn main(ctl: &Ctl) -> ExitCode {
    let done = Client::of(&ctl.admin).map_err(CtlError::from).and_then(|client| {
        Desk { client, paper: Paper::of_stdout(), json: ctl.json }.run(&ctl.command)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `ctl sessions | head`: who reads has enough.
        Err(CtlError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "evenkeel ctl: {}", table::clean(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

impl Desk {
    fn run(&self, command: &CtlCommand) -> Result<(), CtlError> {
        match command {
            CtlCommand::Status => self.status(),
            CtlCommand::Backends { pool } => self.backends(pool.as_deref()),
            CtlCommand::Pools => self.pools(),
            CtlCommand::Listeners => self.listeners(),
            CtlCommand::Shards => self.shards(),
            CtlCommand::Add(add) => self.add(add),
            CtlCommand::Remove { backend } => self.remove(backend),
            CtlCommand::Weight { backend, weight } => self.weigh(backend, *weight),
            CtlCommand::Ready(which) => self.set_state(&which.backends, "ready"),
            CtlCommand::Drain(which) => self.set_state(&which.backends, "drain"),
            CtlCommand::Maint(which) => self.set_state(&which.backends, "maint"),
            CtlCommand::Sessions(sessions) => self.sessions(&sessions.filter, sessions.limit),
            CtlCommand::Kill(kill) => self.kill(kill),
            CtlCommand::Explain(what) => self.explain(what),
            CtlCommand::Events { follow, number } => self.events(*follow, *number),
            CtlCommand::Info => self.info(),
            CtlCommand::Health { ready, live } => self.health(*ready, *live),
            CtlCommand::Metrics => self.metrics(),
            CtlCommand::Reload => self.reload(),
            CtlCommand::Dump(filter) => self.dump(filter),
            CtlCommand::Wait(wait) => self.wait(wait),
        }
    }

    /// Writes all of it at once.
    fn print(&self, text: &str) -> Result<(), CtlError> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }
}

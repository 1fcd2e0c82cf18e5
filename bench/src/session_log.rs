//! What the session log holds and costs. Its writer alone, fed with records at a rate, says how many sessions
//! a second it takes without losing one, and what a line costs its thread; the balancer under connections,
//! with the log and without, says what a session costs more.

mod feed;
mod sessions;

use std::io;
use std::path::{Path, PathBuf};

use evenkeel::config::plan::SessionLogFormat;
use serde::Serialize;

use crate::host::{self, Host};
use crate::signals::Stop;

/// Options of `bench session-log`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds of connections, with the log and without in turn; 0 leaves them out
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// How long one run takes
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
}

/// What is written to the results folder.
#[derive(Debug, Serialize)]
struct Results<'a> {
    schema: &'static str,
    host: &'a Host,
    seconds: u32,
    writer: Vec<feed::Row>,
    sessions: Vec<sessions::Row>,
}

/// Measures, prints and writes.
///
/// # Errors
/// When something cannot be started, or a file cannot be written.
pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let stop = Stop::on_signals()?;
    let Arguments { rounds, seconds, ref out } = *arguments;
    if rounds > 0 {
        host::build_evenkeel()?;
    }
    let host = Host::read();
    println!("{host}");
    println!("\nthe writer alone, records of 2 shards, {seconds} s each");
    let mut writer = Vec::new();
    for format in [SessionLogFormat::Text, SessionLogFormat::Json] {
        for rate in RATES {
            stop.check()?;
            let row = feed::run(format, rate, seconds)?;
            println!("  {row}");
            writer.push(row);
        }
    }
    println!("\nconnections of a balancer on one CPU, {rounds} rounds of {seconds} s each");
    let sessions = if rounds > 0 { sessions::run(rounds, seconds, stop)? } else { Vec::new() };
    sessions.iter().for_each(|row| println!("  {row}"));
    let schema = "evenkeel-bench-session-log-1";
    write(&Results { schema, host: &host, seconds, writer, sessions }, out)
}

fn write(results: &Results<'_>, out: &Path) -> io::Result<()> {
    let path = out.join(format!("session-log-{}.json", results.host.date()));
    std::fs::create_dir_all(out)?;
    std::fs::write(&path, serde_json::to_string_pretty(results)? + "\n")?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

/// A file that is gone when it is dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let name = format!("evenkeel-bench-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn lines(&self) -> io::Result<u64> {
        Ok(std::fs::read_to_string(&self.0)?.lines().count() as u64)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Never made if nothing began.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Sessions a second: what a small machine can have, and what none has.
const RATES: [u32; 3] = [10_000, 50_000, 200_000];

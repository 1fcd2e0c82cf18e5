//! evenkeel beside other balancers: `cargo run --release -p bench -- compare`.
#![forbid(unsafe_code)]

mod audit;
mod case;
mod compare;
mod contender;
mod document;
mod figure;
mod floor;
mod generators;
mod host;
mod iperf;
mod network;
mod observe;
mod pick;
mod place;
mod process;
mod publish;
mod relay;
mod run;
mod scrape;
mod session_log;
mod signals;
mod soak;
mod stats;
mod table;
mod verdict;

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use signals::{INTERRUPTED, Stop};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measurements of the balancer beside others, on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A backend of `compare` that can be killed: answers each line with its name, until a signal
    #[command(hide = true)]
    Backend(run::backend::Arguments),
    /// evenkeel beside HAProxy, nginx, the Python version and others, in every workload
    #[command(alias = "cost")]
    Compare(compare::Options),
    /// The least that a relay can cost: two sockets, one receive, one send, until SIGTERM
    Floor(floor::Arguments),
    /// loadgen beside wrk and iperf3 on the same targets
    Generators(generators::Arguments),
    /// What it costs to watch the balancer: everything on beside everything off
    Observe(observe::Arguments),
    /// What picking a backend takes, on one thread and on all CPUs
    Pick(pick::Arguments),
    /// RESULTS.md, its pictures and the README's table, from the documents of `compare`
    Publish(publish::Arguments),
    /// A relay on tokio-uring, as a contender; relays until SIGTERM
    Relay(relay::Arguments),
    /// What the session log takes without losing a line, and what it costs
    SessionLog(session_log::Arguments),
    /// What a scrape of hundreds of backends does to the data path
    Scrape(scrape::Arguments),
    /// Long churn against the balancer, and whether its memory, descriptors or pipes grow
    Soak(soak::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Backend(arguments) => run::backend::run(&arguments).map(|never| match never {}),
        Command::Compare(options) => compare(&options),
        Command::Floor(arguments) => floor::run(&arguments).map(|never| match never {}),
        Command::Generators(arguments) => generators::run(&arguments),
        Command::Observe(arguments) => observe::run(&arguments),
        Command::Pick(arguments) => pick::run(&arguments),
        Command::Publish(arguments) => publish::run(&arguments),
        Command::Relay(arguments) => relay::run(&arguments).map(|never| match never {}),
        Command::SessionLog(arguments) => session_log::run(&arguments),
        Command::Scrape(arguments) => scrape::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            let interrupted = error.kind() == ErrorKind::Interrupted;
            if interrupted { INTERRUPTED.into() } else { ExitCode::FAILURE }
        }
    }
}

fn compare(options: &compare::Options) -> io::Result<()> {
    let stop = Stop::on_signals()?;
    compare::run(options, stop)
}

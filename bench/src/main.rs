//! What evenkeel costs beside other balancers: `cargo run --release -p bench -- cost`.
#![forbid(unsafe_code)]

mod contender;
mod cost;
mod floor;
mod host;
mod soak;
mod stats;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde::Serialize;

use contender::Contender;
use cost::{Case, Row, Settings};
use host::Host;

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
    /// CPU time per request and per connection beside HAProxy (`mode tcp`), medians with spread
    Cost {
        /// Runs of each contender and workload
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// How long each run is measured
        #[arg(long, default_value = "4s", value_parser = humantime::parse_duration)]
        duration: Duration,
        /// Folder for the results
        #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
        out: PathBuf,
    },
    /// The least that a relay can cost: two sockets, one receive, one send, until SIGTERM
    Floor(floor::Arguments),
    /// Long churn against the balancer, and whether its memory, descriptors or pipes grow
    Soak(soak::Arguments),
}

/// What is written to the results folder.
#[derive(Debug, Serialize)]
struct Results<'a> {
    schema: &'static str,
    host: &'a Host,
    rounds: u32,
    seconds_a_run: f64,
    contenders: Vec<(&'static str, String)>,
    rows: &'a [Row],
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Cost { rounds, duration, out } => cost(rounds, duration, &out),
        Command::Floor(arguments) => floor::run(&arguments).map(|never| match never {}),
        Command::Soak(arguments) => soak::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn cost(rounds: u32, duration: Duration, out: &Path) -> io::Result<()> {
    host::build_evenkeel()?;
    let settings = settings(rounds, duration)?;
    let host = Host::read();
    let (contenders, versions) = present();
    println!("{host}");
    versions.iter().for_each(|(name, version)| println!("{name}: {version}"));
    println!(
        "balancer on CPU {}, clients and backend on CPU {}; {rounds} rounds of {duration:?}\n",
        settings.balancer_cpu, settings.other_cpu
    );
    uring::raise_nofile_limit()?;
    uring::pin_to(settings.other_cpu)?;
    let backend = host::start_backend()?;
    let mut rows = Vec::new();
    for case in Case::ALL {
        rows.extend(cost::measure(case, &contenders, &settings, &backend)?);
    }
    print_table(&rows);
    let seconds_a_run = duration.as_secs_f64();
    let schema = "evenkeel-bench-cost-1";
    let results =
        Results { schema, host: &host, rounds, seconds_a_run, contenders: versions, rows: &rows };
    let path = out.join(format!("cost-{}.json", host.date()));
    std::fs::create_dir_all(out)?;
    std::fs::write(&path, serde_json::to_string_pretty(&results)? + "\n")?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

fn settings(rounds: u32, duration: Duration) -> io::Result<Settings> {
    let cpus = uring::allowed_cpus()?;
    let &[balancer_cpu, other_cpu, ..] = cpus.as_slice() else {
        let needed = "two CPUs are needed: one for the balancer, one for clients and backend";
        return Err(io::Error::other(needed));
    };
    let warm_up = Duration::from_millis(500);
    Ok(Settings { rounds, duration, warm_up, balancer_cpu, other_cpu })
}

/// Who is here, with versions; who is not is named with the line that brings it.
fn present() -> (Vec<Contender>, Vec<(&'static str, String)>) {
    let mut present = (Vec::new(), Vec::new());
    for contender in Contender::ALL {
        match contender.version() {
            Some(version) => {
                present.0.push(contender);
                present.1.push((contender.name(), version));
            }
            None => {
                println!("{} is not here: {}", contender.name(), contender.install_hint());
            }
        }
    }
    present
}

fn print_table(rows: &[Row]) {
    println!(
        "\n{:<44} {:<9} {:>20} {:>16} {:>9} {:>9} {:>7} {:>19}",
        "workload",
        "",
        "CPU µs (min–max)",
        "per second",
        "p50 µs",
        "p99 µs",
        "errors",
        "CPU over evenkeel's"
    );
    for row in rows {
        let cpu = row.cpu_us;
        let ratio = row.over_evenkeel;
        println!(
            "{:<44} {:<9} {:>20} {:>16.0} {:>9.0} {:>9.0} {:>7} {:>19}",
            row.case,
            row.contender,
            format!("{:.2} ({:.2}–{:.2})", cpu.median, cpu.min, cpu.max),
            row.per_second.median,
            row.p50_us.median,
            row.p99_us.median,
            row.errors,
            format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max),
        );
    }
    for case in Case::ALL {
        println!("{}", verdict(&case.name(), rows));
    }
}

/// A difference is only called one where the spreads do not overlap.
fn verdict(case: &str, rows: &[Row]) -> String {
    let of = |contender: Contender| {
        rows.iter().find(|row| row.case == case && row.contender == contender.name())
    };
    match (of(Contender::Evenkeel), of(Contender::Haproxy)) {
        (Some(ours), Some(theirs)) if ours.cpu_us.is_below(&theirs.cpu_us) => {
            format!("{case}: evenkeel costs less than HAProxy in every run")
        }
        (Some(ours), Some(theirs)) if theirs.cpu_us.is_below(&ours.cpu_us) => {
            format!("{case}: HAProxy costs less than evenkeel in every run")
        }
        (Some(_), Some(_)) => format!("{case}: no difference seen, the spreads overlap"),
        _ => format!("{case}: nothing to compare with"),
    }
}

//! What it costs to watch the balancer: everything on beside everything off, in alternating order.
//!
//! On: the admin API, a scrape of `/metrics` and a look at `/api/status` each second (a Prometheus that
//! is in a hurry, and a dashboard that is open), a line of JSON for each session, and the kernel's view
//! of connections. Off: none of that. What shards always count is in both; what that costs is to be seen
//! beside a build that does not count it (`--before`).

use std::io::{self, Read as _, Write as _};
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use loadgen::load::Workload;
use serde::Serialize;

use crate::case::{Case, Kind};
use crate::contender::{ALL, BEFORE, Contender, OBSERVED, UNOBSERVED, own_files};
use crate::figure::Figure;
use crate::host::{self, Host};
use crate::network::{Cpus, Network};
use crate::run::{Bench, Run};
use crate::signals::Stop;
use crate::stats::{Difference, Spread, ratios};

/// Options of `bench observe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs of each side in each workload, their order reversed from one to the next
    #[arg(long, default_value = "10")]
    rounds: NonZeroU32,
    /// How long each run is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Only these workloads, with commas between them
    #[arg(long, value_name = "WORKLOADS", value_delimiter = ',', value_parser = WORKLOADS.map(|(name, _)| name))]
    only: Vec<String>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
    /// Instead: evenkeel as it comes beside another build of it, `evenkeel-before` in this program's folder
    #[arg(long)]
    before: bool,
}

/// What is compared: the side that is the measure, and the other one.
#[derive(Clone, Copy)]
struct Sides {
    contenders: [&'static Contender; 2],
    labels: [&'static str; 2],
    /// Whether somebody looks at the second one.
    watched: bool,
    /// How the file of results begins.
    file: &'static str,
}

const ON_AND_OFF: Sides = Sides {
    contenders: [&UNOBSERVED, &OBSERVED],
    labels: ["off", "on"],
    watched: true,
    file: "observe",
};

const BEFORE_AND_NOW: Sides = Sides {
    contenders: [&BEFORE, &ALL[0]],
    labels: ["before", "now"],
    watched: false,
    file: "before",
};

/// What is written to the results folder.
#[derive(Debug, Serialize)]
struct Results<'a> {
    schema: &'static str,
    host: &'a Host,
    rounds: u32,
    duration_s: f64,
    /// What the two sides are called.
    sides: [&'static str; 2],
    off: String,
    on: String,
    /// Answers to scrapes in all runs together.
    scrapes: u64,
    rows: Vec<Row>,
}

/// One figure in one workload.
#[derive(Debug, Serialize)]
struct Row {
    workload: &'static str,
    figure: Figure,
    off: Spread,
    on: Spread,
    /// On over off, in the same round.
    ratio: Spread,
    ratios: Vec<f64>,
    difference: Difference,
    errors: [u64; 2],
}

/// Measures, prints and writes.
///
/// # Errors
/// When nothing can be measured, or the results cannot be written.
pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let stop = Stop::on_signals()?;
    host::build_evenkeel()?;
    uring::raise_nofile_limit()?;
    let (host, cpus) = (Host::read(), Cpus::deal()?);
    host::keep_off(cpus.balancer)?;
    let network = Network::loopback(&cpus)?;
    let bench = Bench { network, duration: arguments.duration, idle_connections: 0, stop };
    println!("{host}");
    let sides = if arguments.before { BEFORE_AND_NOW } else { ON_AND_OFF };
    let [off, on] = sides.contenders.map(Contender::look);
    for (side, label) in [&off, &on].into_iter().zip(sides.labels) {
        let name = &side.name;
        if side.version.is_none() {
            let told = format!("{name} is not there; put a build of evenkeel beside this program");
            return Err(io::Error::new(io::ErrorKind::NotFound, told));
        }
        println!("{label:<6} {}", side.command);
    }
    println!();
    let (off, on) = (off.command, on.command);
    let scrapes = AtomicU64::new(0);
    let mut rows = Vec::new();
    for (workload, kind) in WORKLOADS {
        if !arguments.only.is_empty() && arguments.only.iter().all(|one| one != workload) {
            continue;
        }
        let case = Case { key: workload, title: workload, kind, goals: &[] };
        let runs = measure(&case, sides, arguments.rounds, &bench, &scrapes)?;
        rows.extend(rows_of(workload, &runs));
    }
    rows.iter().for_each(|row| row.print(sides.labels));
    let scrapes = scrapes.into_inner();
    if sides.watched {
        println!("{scrapes} scrapes were answered");
    }
    let (rounds, duration_s) = (arguments.rounds.get(), arguments.duration.as_secs_f64());
    let schema = "evenkeel-bench-observe-1";
    let results = Results {
        schema,
        host: &host,
        rounds,
        duration_s,
        sides: sides.labels,
        off,
        on,
        scrapes,
        rows,
    };
    write(&results, sides.file, &arguments.out)
}

/// The runs of both sides, off first.
fn measure(
    case: &Case,
    sides: Sides,
    rounds: NonZeroU32,
    bench: &Bench,
    scrapes: &AtomicU64,
) -> io::Result<[Vec<Run>; 2]> {
    let mut runs = [Vec::new(), Vec::new()];
    for round in 0..rounds.get() {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let run = || bench.run(case, sides.contenders[side], None);
            let run = if side == 1 && sides.watched { watched(scrapes, run) } else { run() }?;
            eprint!(".");
            runs[side].push(run);
        }
    }
    eprintln!(" {}", case.key);
    Ok(runs)
}

/// Looks at the balancer as long as `work` goes on.
fn watched<T>(answered: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let (over, socket) = (AtomicBool::new(false), PathBuf::from(own_files() + ".sock"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for path in ["/metrics", "/api/status"] {
                    // Before it has started and after it has ended nobody answers.
                    answered.fetch_add(u64::from(ask(&socket, path).is_ok()), Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
}

/// One request on a connection of its own, read to its end.
fn ask(socket: &Path, path: &str) -> io::Result<()> {
    let mut connection = UnixStream::connect(socket)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    Err(io::Error::other("it does not answer as it should"))
}

fn rows_of(workload: &'static str, [off, on]: &[Vec<Run>; 2]) -> Vec<Row> {
    let values = |runs: &[Run], figure| -> Vec<f64> {
        let of = |run: &Run| run.figures.iter().find(|(one, _)| *one == figure).map(|one| one.1);
        runs.iter().filter_map(of).collect()
    };
    let errors = [off, on].map(|runs| runs.iter().map(|run| run.errors).sum());
    let row = |figure: Figure| {
        let (off, on) = (values(off, figure), values(on, figure));
        if off.is_empty() || off.len() != on.len() {
            return None;
        }
        let ratios = ratios(&on, &off);
        let difference = Difference::of(&ratios, figure.lower_is_better());
        let (off, on, ratio) = (Spread::of(&off), Spread::of(&on), Spread::of(&ratios));
        Some(Row { workload, figure, off, on, ratio, ratios, difference, errors })
    };
    FIGURES.iter().copied().filter_map(row).collect()
}

impl Row {
    fn print(&self, [one, other]: [&str; 2]) {
        let Self { workload, figure, off, on, ratio, errors, .. } = self;
        let show = |spread: &Spread| {
            let Spread { median, min, max } = *spread;
            format!("{} ({}–{})", figure.show(median), figure.show(min), figure.show(max))
        };
        let Spread { median, min, max } = ratio;
        println!(
            "{workload:<10} {:<11} {one} {:<22} {other} {:<22} ratio {median:.3} ({min:.3}–{max:.3}), errors {}/{}",
            figure.name(),
            show(off),
            show(on),
            errors[0],
            errors[1],
        );
    }
}

fn write(results: &Results<'_>, file: &str, out: &Path) -> io::Result<()> {
    let path = out.join(format!("{file}-{}.json", results.host.date()));
    std::fs::create_dir_all(out)?;
    std::fs::write(&path, serde_json::to_string_pretty(results)? + "\n")?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

const fn connections(connections: u32) -> NonZeroU32 {
    match NonZeroU32::new(connections) {
        Some(connections) => connections,
        None => NonZeroU32::MIN,
    }
}

const WORKLOADS: [(&str, Kind); 4] = [
    ("ping-64", Kind::Load { workload: Workload::Ping, connections: connections(64) }),
    ("ping-1000", Kind::Load { workload: Workload::Ping, connections: connections(1000) }),
    ("conn", Kind::Load { workload: Workload::Conn, connections: connections(64) }),
    ("bulk-1-up", Kind::Bulk { streams: 1, down: false }),
];

const FIGURES: &[Figure] = &[
    Figure::CpuUs,
    Figure::PerSecond,
    Figure::P50Us,
    Figure::P99Us,
    Figure::CpuSPerGb,
    Figure::GbitPerS,
];

//! What picking a backend takes: the balancer's own code on a pool of atomics as its shards have it,
//! on one thread and on all CPUs at the same time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use evenkeel::core::BackendId;
use evenkeel::core::balance::{Algorithm, Picked, Pool as _, Request, Tried, pick};
use fastrand::Rng;
use serde::Serialize;

use crate::host::Host;
use crate::stats::Spread;

mod pool;

use pool::{BACKENDS, Kind, Pool};

/// Options of `bench pick`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs of each algorithm in each case, their order reversed from one to the next
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Picks of each thread in a run
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(1..))]
    picks: u32,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
}

/// What is written to the results folder.
#[derive(Debug, Serialize)]
struct Results<'a> {
    schema: &'static str,
    host: &'a Host,
    backends: u16,
    rounds: u32,
    picks: u32,
    rows: Vec<Row>,
}

/// One algorithm in one case.
#[derive(Debug, Serialize)]
struct Row {
    case: Kind,
    threads: usize,
    /// `nothing` charges and discharges backends as the others do, and picks none.
    algorithm: String,
    ns_a_pick: Spread,
    rounds_ns: Vec<f64>,
}

/// One line of the table while it is measured.
struct Subject {
    kind: Kind,
    threads: usize,
    algorithm: Option<Algorithm>,
    rounds_ns: Vec<f64>,
}

/// Measures, prints and writes.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let host = Host::read();
    println!("{host}");
    println!("{BACKENDS} backends, {} rounds of {} picks", arguments.rounds, arguments.picks);
    let mut subjects = subjects(host.cpus);
    for round in 0..arguments.rounds {
        if round % 2 == 0 {
            subjects.iter_mut().for_each(|subject| subject.measure(arguments.picks));
        } else {
            subjects.iter_mut().rev().for_each(|subject| subject.measure(arguments.picks));
        }
    }
    let rows: Vec<Row> = subjects.into_iter().map(Row::of).collect();
    print_table(&rows);
    let Arguments { rounds, picks, ref out } = *arguments;
    let schema = "evenkeel-bench-pick-1";
    write(&Results { schema, host: &host, backends: BACKENDS, rounds, picks, rows }, out)
}

fn subjects(cpus: usize) -> Vec<Subject> {
    let threads = if cpus > 1 { vec![1, cpus] } else { vec![1] };
    let mut subjects = Vec::new();
    for kind in Kind::ALL {
        for &threads in &threads {
            for algorithm in [None].into_iter().chain(ALGORITHMS.map(Some)) {
                subjects.push(Subject { kind, threads, algorithm, rounds_ns: Vec::new() });
            }
        }
    }
    subjects
}

impl Subject {
    /// One run: what a pick takes the thread that makes it, the mean of all threads.
    fn measure(&mut self, picks: u32) {
        let pool = Pool::new(self.algorithm.unwrap_or(Algorithm::First), self.kind);
        let barrier = Barrier::new(self.threads);
        let shard = |seed| {
            let mut rng = Rng::with_seed(seed);
            // Fills caches, and finds the state that the pool stays in.
            self.algorithm.map_or_else(|| charges(&pool, picks), |_| churn(&pool, picks, &mut rng));
            barrier.wait();
            let start = Instant::now();
            self.algorithm.map_or_else(|| charges(&pool, picks), |_| churn(&pool, picks, &mut rng));
            start.elapsed().as_secs_f64() * 1e9 / f64::from(picks)
        };
        let ns: Vec<f64> = thread::scope(|scope| {
            let seeds = (0..).take(self.threads);
            let shards: Vec<_> = seeds.map(|seed| scope.spawn(move || shard(seed))).collect();
            shards.into_iter().map(|shard| shard.join().expect("picking does not panic")).collect()
        });
        let threads = f64::from(u32::try_from(self.threads).expect("CPUs can be counted"));
        self.rounds_ns.push(ns.iter().sum::<f64>() / threads);
    }
}

/// Picks, and charges who was picked; each thread has [`SESSIONS`] sessions, the oldest ends.
fn churn(pool: &Pool, picks: u32, rng: &mut Rng) {
    let mut sessions = [None; SESSIONS];
    for session in (0..SESSIONS).cycle().take(picks as usize) {
        let request = Request { key: rng.u64(..), tried: &Tried::NOBODY, sticky: None };
        let Picked::Backend(picked) = pick(pool, &request, rng) else {
            panic!("somebody is always ready");
        };
        pool.charge(picked.backend);
        if let Some(oldest) = sessions[session].replace(picked.backend) {
            pool.discharge(oldest);
        }
    }
    sessions.into_iter().flatten().for_each(|backend| pool.discharge(backend));
}

/// What [`churn`] does beside picking.
fn charges(pool: &Pool, picks: u32) {
    let mut sessions = [None; SESSIONS];
    for (session, id) in
        (0..SESSIONS).cycle().zip((0..pool.backends()).cycle()).take(picks as usize)
    {
        pool.charge(BackendId(id));
        if let Some(oldest) = sessions[session].replace(BackendId(id)) {
            pool.discharge(oldest);
        }
    }
    sessions.into_iter().flatten().for_each(|backend| pool.discharge(backend));
}

impl Row {
    fn of(subject: Subject) -> Self {
        let Subject { kind, threads, algorithm, rounds_ns } = subject;
        let algorithm = algorithm.map_or_else(|| "nothing".into(), |one| one.to_string());
        let ns_a_pick = Spread::of(&rounds_ns);
        Self { case: kind, threads, algorithm, ns_a_pick, rounds_ns }
    }
}

fn print_table(rows: &[Row]) {
    let mut before = None;
    for row in rows {
        let Row { case, threads, algorithm, ns_a_pick, .. } = row;
        if before.replace((case, threads)) != Some((case, threads)) {
            println!("\n{}, {threads} at the same time: ns a pick", case.text());
        }
        let Spread { median, min, max } = ns_a_pick;
        println!("  {algorithm:<18} {median:>7.1} ({min:.1}–{max:.1})");
    }
}

fn write(results: &Results<'_>, out: &Path) -> io::Result<()> {
    let path = out.join(format!("pick-{}.json", results.host.date()));
    std::fs::create_dir_all(out)?;
    std::fs::write(&path, serde_json::to_string_pretty(results)? + "\n")?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

/// Sessions of each thread at a time: a few for each backend.
const SESSIONS: usize = 256;

const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::Auto,
    Algorithm::RoundRobin,
    Algorithm::LeastConnections,
    Algorithm::Random,
    Algorithm::P2c,
    Algorithm::SourceHash,
    Algorithm::Maglev,
    Algorithm::First,
];

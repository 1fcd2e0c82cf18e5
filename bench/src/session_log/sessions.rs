//! The balancer under connections, with the session log and without, in alternating order.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::Duration;

use loadgen::load::{Plan, Workload};
use loadgen::serve::{Backend, Mode};
use nix::sys::signal::Signal;
use serde::Serialize;

use super::Temporary;
use crate::place::{Namespace, Place};
use crate::process::Process;
use crate::signals::Stop;
use crate::stats::{Spread, ratios};

/// One way to log, over all rounds.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    log: &'static str,
    /// CPU time of the whole process, the log's thread included.
    cpu_us_a_connection: Spread,
    /// Beside no log, round by round.
    beside_off: Spread,
    sessions_per_s: Spread,
    lines: u64,
    dropped: u64,
    rounds: Vec<Round>,
}

/// One run.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    connections: u64,
    sessions_per_s: f64,
    cpu_us_a_connection: f64,
    lines: u64,
    dropped: u64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, cpu_us_a_connection: cpu, beside_off: beside, .. } = self;
        let Self { sessions_per_s: rate, lines, dropped, .. } = self;
        write!(
            f,
            "{log:<5} {:.2} ({:.2}\u{2013}{:.2}) CPU-\u{b5}s a connection, {:.3} ({:.3}\u{2013}{:.3}) beside off, \
             {:.0} ({:.0}\u{2013}{:.0}) sessions/s, {lines} lines, {dropped} dropped",
            cpu.median,
            cpu.min,
            cpu.max,
            beside.median,
            beside.min,
            beside.max,
            rate.median,
            rate.min,
            rate.max
        )
    }
}

/// Measures each of the ways in each round.
pub(super) fn run(rounds: u32, seconds: u32, stop: Stop) -> io::Result<Vec<Row>> {
    let mut measured: [Vec<Round>; WAYS.len()] = Default::default();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..WAYS.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for way in order {
            stop.check()?;
            measured[way].push(one(WAYS[way], seconds)?);
        }
    }
    let cpu = |rounds: &[Round]| -> Vec<f64> {
        rounds.iter().map(|round| round.cpu_us_a_connection).collect()
    };
    let off = cpu(&measured[0]);
    let rows = WAYS.into_iter().zip(measured).map(|(log, rounds)| Row {
        log,
        cpu_us_a_connection: Spread::of(&cpu(&rounds)),
        beside_off: Spread::of(&ratios(&cpu(&rounds), &off)),
        sessions_per_s: Spread::of(
            &rounds.iter().map(|one| one.sessions_per_s).collect::<Vec<_>>(),
        ),
        lines: rounds.iter().map(|one| one.lines).sum(),
        dropped: rounds.iter().map(|one| one.dropped).sum(),
        rounds,
    });
    Ok(rows.collect())
}

fn one(log: &str, seconds: u32) -> io::Result<Round> {
    let cpus = uring::allowed_cpus()?;
    let (first, others) = cpus.split_first().ok_or(io::ErrorKind::NotFound)?;
    let balancers = Place { cpus: vec![*first], namespace: Namespace::default() };
    let others = if others.is_empty() { &cpus[..] } else { others };
    let clients = Place { cpus: others.to_vec(), namespace: Namespace::default() };
    clients.run(|| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let backend = Backend { name: Some("B1".to_owned()), address, mode: Mode::Hello };
        let serving = loadgen::serve::start(vec![backend], NonZeroUsize::MIN);
        let serving = serving.map_err(io::Error::other)?;
        let (lines, said) = (Temporary::new("lines"), Temporary::new("said"));
        let command = command(log, serving.addresses()[0], &lines.0, &said.0)?;
        let mut evenkeel = balancers.run(|| Process::spawn(command, Vec::new()))?;
        let target = listening(&mut evenkeel)?;
        let load = |seconds: u32| {
            let plan = Plan {
                connections: CONNECTIONS,
                duration: Duration::from_secs(seconds.into()),
                ..Plan::new(target, Workload::Conn)
            };
            let never = Arc::new(AtomicBool::new(false));
            loadgen::load::run(&plan, &mut |_| {}, &never).map_err(io::Error::other)
        };
        load(1)?;
        sleep(CATCH_UP);
        let before = evenkeel.cpu()?;
        let report = load(seconds)?;
        // What is queued for the log belongs to its cost.
        sleep(CATCH_UP);
        let cpu = evenkeel.cpu()? - before;
        evenkeel.end_by(Signal::SIGTERM, Duration::from_secs(10))?;
        serving.stop();
        let totals = &report.totals;
        Ok(Round {
            connections: totals.ok,
            sessions_per_s: totals.goodput_per_s,
            cpu_us_a_connection: cpu.as_secs_f64() * 1e6 / totals.ok.max(1) as f64,
            lines: if log == "off" { 0 } else { lines.lines()? },
            dropped: counter(&said.0, "session_log_dropped")?,
        })
    })
}

fn command(
    log: &str,
    backend: SocketAddr,
    lines: &std::path::Path,
    said: &std::path::Path,
) -> io::Result<Command> {
    let here = std::env::current_exe()?;
    let mut command = Command::new(here.parent().unwrap_or(&PathBuf::new()).join("evenkeel"));
    command.args(["--host", "127.0.0.1", "--port", "0", "--shards", "1"]);
    command.args(["--backends", &backend.to_string(), "--health-check-interval", "0"]);
    command.args(["--drain-timeout", "1s"]);
    if log != "off" {
        command.arg("--session-log").arg(lines).args(["--session-log-format", log]);
    }
    command.stdout(Stdio::piped()).stderr(File::create(said)?);
    Ok(command)
}

/// Where it listens, as it says.
fn listening(evenkeel: &mut Process) -> io::Result<SocketAddr> {
    let mut lines = BufReader::new(evenkeel.stdout().ok_or(io::ErrorKind::BrokenPipe)?).lines();
    let said = lines.find_map(|line| {
        line.ok()?.strip_prefix("listening on ").and_then(|address| address.parse().ok())
    });
    said.ok_or_else(|| io::Error::other("the balancer did not start"))
}

/// A counter of its last words; what counted nothing is not told.
fn counter(said: &std::path::Path, name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(said)?;
    let words = text.split_whitespace().filter_map(|word| word.split_once('='));
    let found = words.filter(|(word, _)| *word == name).find_map(|(_, count)| count.parse().ok());
    Ok(found.unwrap_or(0))
}

const WAYS: [&str; 3] = ["off", "text", "json"];

/// Enough to keep a shard busy.
const CONNECTIONS: NonZeroU32 = NonZeroU32::new(64).expect("not zero");

/// More than the log's thread rests while there is something to do.
const CATCH_UP: Duration = Duration::from_millis(300);

//! Long churn against one balancer, and whether it grows: every path moves (idle, short, bulk,
//! half-closed, stalled and reset connections), every byte is checked where it arrives, and memory,
//! descriptors and pipes are sampled from outside.

mod backend;
mod children;
mod clients;
mod parts;
mod peer;
mod sample;
mod talk;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use nix::sys::signal::{SigSet, Signal};
use serde::Serialize;

use crate::host::{self, Host};
use children::{Evenkeel, Program};
use clients::Mix;
use sample::Sample;
use tally::Tally;
use verdict::{Check, Evidence};

/// What `bench soak` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How long the load lasts, once all connections are open
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// Connections at a time; fewer where the balancer's file limit says so
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(50..=15_000))]
    connections: u32,
    /// The balancer's engine
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    engine: Engine,
    /// The balancer's shards
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
    /// What this process is; the program starts itself with it
    #[arg(long, hide = true, value_enum, default_value_t = Part::Whole)]
    part: Part,
    /// Where the clients connect
    #[arg(long, hide = true, required_if_eq("part", "clients"))]
    target: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// What evenkeel chooses
    Auto,
    /// io_uring
    Uring,
    /// epoll(7)
    Epoll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Whole,
    Clients,
    Backends,
}

/// What is written to the results folder.
#[derive(Debug, Serialize)]
struct Results<'a> {
    schema: &'static str,
    host: &'a Host,
    minutes: f64,
    connections: u32,
    connections_asked: u32,
    shards: u16,
    balancer: &'a [String],
    balancer_at_the_end: Vec<String>,
    passed: bool,
    /// It was ended before its time, so that it shows nothing.
    interrupted: bool,
    checks: &'a [Check],
    clients: &'a Tally,
    before: Sample,
    after: Sample,
    /// From when on the load was steady, seconds since the clients started.
    steady_from_s: f64,
    samples: Vec<Sample>,
}

/// Runs the soak, or the part of it that this process is.
///
/// # Errors
/// When it cannot be run, and when the balancer grew, erred, or changed bytes.
pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    match (arguments.part, arguments.target) {
        (Part::Backends, _) => parts::backends(BACKENDS),
        (Part::Clients, Some(target)) => parts::clients(target, arguments.connections),
        _ => soak(arguments),
    }
}

fn soak(arguments: &Arguments) -> io::Result<()> {
    let interrupted = watch_signals()?;
    host::build_evenkeel()?;
    uring::raise_nofile_limit()?;
    let host = Host::read();
    println!("{host}");
    let mut backends = Program::part(&["--part", "backends"])?;
    let evenkeel =
        Evenkeel::start(&backends.line(START)?, arguments.shards, engine(arguments.engine)?)?;
    evenkeel.settings.iter().for_each(|line| println!("  {line}"));
    let connections = arguments.connections.min(fitting(&evenkeel, arguments.shards));
    let mix = Mix::of(connections);
    println!("{connections} connections of {} asked: {mix:?}", arguments.connections);

    let mut run = Run::new(&evenkeel, arguments.minutes, connections, interrupted)?;
    run.load()?;
    let (after, tally) = run.leave()?;
    backends.ask_to_end();
    let wrong_at_backends = backends.line(START)?.parse().map_err(io::Error::other)?;

    let Run { before, samples, steady_from, interrupted, .. } = run;
    let interrupted = interrupted.load(Ordering::Relaxed);
    let steady = &samples[steady_from..];
    let evidence = Evidence { before, steady, after, tally: &tally, wrong_at_backends };
    let checks = evidence.judge();
    let passed = checks.iter().all(Check::passed) && !interrupted;
    print_verdict(&checks, &tally, before, after);
    let engine = evenkeel.setting("engine").and_then(|text| text.split(' ').next());
    let name = format!("soak-{}-{}.json", engine.unwrap_or("unknown"), host.date());
    let results = Results {
        schema: "evenkeel-bench-soak-1",
        host: &host,
        minutes: arguments.minutes,
        connections,
        connections_asked: arguments.connections,
        shards: arguments.shards,
        balancer: &evenkeel.settings.clone(),
        balancer_at_the_end: evenkeel.stop(),
        passed,
        interrupted,
        checks: &checks,
        clients: &tally,
        before,
        after,
        steady_from_s: steady.first().map_or(0.0, |sample| sample.at_s),
        samples: verdict::thinned(&samples, SAMPLES_WRITTEN),
    };
    results.balancer_at_the_end.iter().for_each(|line| println!("  {line}"));
    write(&results, &arguments.out, &name)?;
    if passed { Ok(()) } else { Err(io::Error::other("the soak has not passed, see above")) }
}

/// The load and what is seen of the balancer meanwhile.
struct Run {
    pid: u32,
    clients: Program,
    tally: Tally,
    started: Instant,
    duration: Duration,
    interrupted: Arc<AtomicBool>,
    before: Sample,
    samples: Vec<Sample>,
    /// Index of the first sample under steady load.
    steady_from: usize,
}

impl Run {
    fn new(
        evenkeel: &Evenkeel,
        minutes: f64,
        connections: u32,
        interrupted: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let pid = evenkeel.pid();
        let before = Sample::take(pid, 0.0, 0)?;
        let (target, connections) = (evenkeel.address.to_string(), connections.to_string());
        let part = ["--part", "clients", "--target", &target, "--connections", &connections];
        Ok(Self {
            pid,
            clients: Program::part(&part)?,
            tally: Tally::default(),
            started: Instant::now(),
            duration: Duration::from_secs_f64(minutes * 60.0),
            interrupted,
            before,
            samples: Vec::new(),
            steady_from: 0,
        })
    }

    /// Until the time is over or somebody interrupts it.
    fn load(&mut self) -> io::Result<()> {
        let period = SAMPLE_EVERY.min(self.duration / 60);
        let tell_every = TELL_EVERY.min(self.duration / 6);
        let (mut ready_at, mut tell_at) = (None, Duration::ZERO);
        loop {
            self.sample()?;
            let now = self.started.elapsed();
            if now >= tell_at {
                self.tell();
                tell_at = now + tell_every;
            }
            if ready_at.is_none() && self.tally.ready {
                ready_at = Some(now);
                println!("all connections are open after {now:.1?}");
            }
            let loaded = ready_at.map_or(Duration::ZERO, |ready_at| now - ready_at);
            if loaded < settling(self.duration) {
                self.steady_from = self.samples.len();
            }
            let late = ready_at.is_none() && now > RAMP_MAX;
            if loaded > self.duration || self.interrupted.load(Ordering::Relaxed) {
                // An interrupted run may have none.
                self.steady_from = self.steady_from.min(self.samples.len() - 1);
                return Ok(());
            }
            if late {
                let opened = self.tally.open;
                return Err(io::Error::other(format!("only {opened} connections could be opened")));
            }
            thread::sleep(period);
        }
    }

    fn sample(&mut self) -> io::Result<()> {
        if let Some(line) = self.clients.newest_line() {
            self.tally = serde_json::from_str(&line)?;
        }
        if !self.clients.runs() {
            return Err(io::Error::other("the clients ended"));
        }
        let at_s = self.started.elapsed().as_secs_f64();
        let sample = Sample::take(self.pid, at_s, self.tally.open);
        let gone = |error| io::Error::other(format!("the balancer ended: {error}"));
        self.samples.push(sample.map_err(gone)?);
        Ok(())
    }

    fn tell(&self) {
        let Some(sample) = self.samples.last() else { return };
        let Sample { at_s, sessions, rss_kib, rss_anon_kib, fds, pipe_fds, cpu_s, .. } = sample;
        let (made, errors) = (self.tally.sessions_total(), self.tally.errors_total());
        println!(
            "{at_s:>6.0} s: {sessions} open, {made} made, {errors} errors, {} wrong; VmRSS {rss_kib} \
             KiB, RssAnon {rss_anon_kib} KiB, {fds} fds + {pipe_fds} of pipes, {cpu_s:.1} s CPU",
            self.tally.wrong
        );
    }

    /// All clients leave; what the balancer holds when it has come to rest.
    fn leave(&mut self) -> io::Result<(Sample, Tally)> {
        self.clients.ask_to_end();
        let give_up = Instant::now() + LEAVE_MAX;
        while self.clients.runs() && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(100));
        }
        if let Some(line) = self.clients.newest_line() {
            self.tally = serde_json::from_str(&line)?;
        }
        let give_up = Instant::now() + REST_MAX;
        loop {
            let at_s = self.started.elapsed().as_secs_f64();
            let after = Sample::take(self.pid, at_s, self.tally.open)?;
            if after.fds <= self.before.fds || Instant::now() > give_up {
                return Ok((after, self.tally.clone()));
            }
            thread::sleep(Duration::from_millis(250));
        }
    }
}

fn print_verdict(checks: &[Check], tally: &Tally, before: Sample, after: Sample) {
    println!("\nfirst steady tenth -> last tenth, medians; at the end all clients have left");
    checks.iter().for_each(|check| println!("{check}"));
    let made: Vec<String> =
        tally.sessions.iter().map(|(role, count)| format!("{role} {count}")).collect();
    println!("\n{} sessions ({})", tally.sessions_total(), made.join(", "));
    println!("{} answers, {} MiB checked", tally.answered, tally.bytes >> 20);
    tally.errors.iter().for_each(|(what, count)| println!("error: {what}: {count}"));
    // Standard output of the balancer is one of them, and was there before.
    let pooled = after.pipe_fds.saturating_sub(before.pipe_fds);
    println!("at the end {pooled} descriptors of pooled pipes, VmRSS {} KiB", after.rss_kib);
}

fn write(results: &Results<'_>, out: &Path, name: &str) -> io::Result<()> {
    let path = out.join(name);
    std::fs::create_dir_all(out)?;
    std::fs::write(&path, serde_json::to_string_pretty(results)? + "\n")?;
    let word = match (results.passed, results.interrupted) {
        (true, _) => "passed",
        (false, true) => "INTERRUPTED, so nothing is shown",
        (false, false) => "FAILED",
    };
    println!("\n{word}; written to {}", path.display());
    Ok(())
}

/// How long buffers, pools and caches may take to find their size: memory of a buffer is used when
/// it is first written, and under 1000 connections the last of a fresh balancer's was written after
/// some 15 s.
fn settling(duration: Duration) -> Duration {
    (duration / 10).max(SETTLING_MIN.min(duration / 2))
}

/// The option that asks for an engine, where there is a choice.
fn engine(engine: Engine) -> io::Result<Option<&'static str>> {
    let name = match engine {
        Engine::Auto => return Ok(None),
        Engine::Uring => "uring",
        Engine::Epoll => "epoll",
    };
    if children::knows("--engine") {
        return Ok(Some(name));
    }
    Err(io::Error::other("this evenkeel has no --engine: leave it out"))
}

/// What the balancer's limit takes. The kernel spreads connections over the shards by a hash, so
/// one shard gets more than its part; five times the usual difference is left free.
fn fitting(evenkeel: &Evenkeel, shards: u16) -> u32 {
    let limit = evenkeel.setting("sessions").and_then(|text| {
        let digits = text.trim_start_matches("at most ");
        digits.split(' ').next()?.parse::<u32>().ok()
    });
    let limit = limit.unwrap_or(FITTING_WITHOUT_A_WORD);
    limit.saturating_sub(5 * (limit * u32::from(shards)).isqrt())
}

/// The first signal ends the load; what was seen so far is written, but passes for nothing.
fn watch_signals() -> io::Result<Arc<AtomicBool>> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    // Children inherit the mask: evenkeel waits for both anyway, the others for their input.
    signals.thread_block()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    thread::spawn(move || {
        if signals.wait().is_ok() {
            flag.store(true, Ordering::Relaxed);
        }
    });
    Ok(interrupted)
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.1..=24.0 * 60.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("from 0.1 to 1440 minutes".to_owned())
    }
}

/// Ports in TIME_WAIT count for each backend's address on its own.
const BACKENDS: usize = 4;
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const TELL_EVERY: Duration = Duration::from_secs(30);
const START: Duration = Duration::from_secs(10);
const SETTLING_MIN: Duration = Duration::from_secs(20);
const RAMP_MAX: Duration = Duration::from_secs(120);
/// A client may just have begun to wait for bytes.
const LEAVE_MAX: Duration = Duration::from_secs(45);
const REST_MAX: Duration = Duration::from_secs(10);
const SAMPLES_WRITTEN: usize = 200;
/// Of 20 000 descriptors.
const FITTING_WITHOUT_A_WORD: u32 = 9_500;

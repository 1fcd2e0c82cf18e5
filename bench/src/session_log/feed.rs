//! The writer of the session log, with real queues and a real file, and threads that put records as shards
//! do.

use std::fmt;
use std::fs;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use evenkeel::cli::Cli;
use evenkeel::config::Config;
use evenkeel::config::plan::{Address, SessionLogFormat};
use evenkeel::core::balance::{Algorithm, By};
use evenkeel::core::moment::Moment;
use evenkeel::core::session::EndReason;
use evenkeel::log_file::LogFile;
use evenkeel::session_log::{SessionLog, Sink};
use evenkeel::shard::backend::Backend;
use evenkeel::shard::bells::Bells;
use evenkeel::shard::commands::Moved;
use evenkeel::shard::listener::{Listener, Sockets};
use evenkeel::shard::pool::{Pool, PoolState};
use evenkeel::shard::record::{Record, Records};
use evenkeel::shard::shared::{Gate, Shared};
use evenkeel::shard::tally::ListenerTallies;
use serde::Serialize;

use super::Temporary;

/// One format at one rate.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    format: String,
    /// Records a second that were to be put, and that were.
    rate: u32,
    achieved: f64,
    records: u64,
    /// Lines that are in the file.
    lines: u64,
    dropped: u64,
    lost: u64,
    bytes_a_line: f64,
    /// CPU time of the log's thread, the writes included.
    cpu_us_a_line: f64,
    /// Of one CPU.
    busy_percent: f64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, rate, achieved, lines, dropped, lost, .. } = self;
        let Self { bytes_a_line, cpu_us_a_line, busy_percent, .. } = self;
        write!(
            f,
            "{format:<5} {rate:>7}/s ({achieved:.0}/s): {lines} lines of {bytes_a_line:.0} B, {dropped} dropped, \
             {lost} lost, {cpu_us_a_line:.2} CPU-\u{b5}s a line, {busy_percent:.1} % of a CPU"
        )
    }
}

/// Feeds the writer for so many seconds.
pub(super) fn run(format: SessionLogFormat, rate: u32, seconds: u32) -> io::Result<Row> {
    let file = Temporary::new("session-log");
    let mut shared = Shared::new(SHARDS, Duration::ZERO, Arc::new(Bells::default()));
    shared.records = Some(Arc::new(Records::new(SHARDS, QUEUE)));
    let shared = Arc::new(shared);
    let sink = Sink::file(Arc::new(LogFile::open(&file.0).map_err(io::Error::other)?), format);
    let example = example()?;
    let log = SessionLog::start(&shared, Some(sink))?.ok_or(io::ErrorKind::NotFound)?;
    let (began, cpu_before) = (Instant::now(), cpu_ns()?);
    thread::scope(|scope| {
        for shard in 0..SHARDS {
            let (shared, example) = (&shared, Record { shard, ..example.clone() });
            scope.spawn(move || put(shared, &example, rate / 2, seconds));
        }
    });
    let elapsed = began.elapsed();
    let dropped: u64 = shared.counters.iter().map(|one| one.session_log_dropped.value()).sum();
    let put: u64 = shared.counters.iter().map(|one| one.accepted.value()).sum();
    // Until it has caught up; its thread is gone when it has ended.
    let give_up = Instant::now() + Duration::from_secs(30);
    while shared.session_log.lines() < put - dropped && Instant::now() < give_up {
        thread::sleep(Duration::from_millis(5));
    }
    let cpu = Duration::from_nanos(cpu_ns()? - cpu_before);
    log.finish();
    let records = shared.records.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let (lines, lost) = (file.lines()?, shared.session_log.lost(records));
    let per_line = |of: f64| of / lines.max(1) as f64;
    Ok(Row {
        format: format.to_string(),
        rate,
        achieved: put as f64 / elapsed.as_secs_f64(),
        records: put,
        lines,
        dropped,
        lost,
        bytes_a_line: per_line(fs::metadata(&file.0)?.len() as f64),
        cpu_us_a_line: per_line(cpu.as_secs_f64() * 1e6),
        busy_percent: 100.0 * cpu.as_secs_f64() / elapsed.as_secs_f64(),
    })
}

/// What one shard does: some records every millisecond, as many as are due.
fn put(shared: &Shared, example: &Record, rate: u32, seconds: u32) {
    let Some(records) = &shared.records else { return };
    let counters = &shared.counters[example.shard];
    let (began, all) = (Instant::now(), u64::from(rate) * u64::from(seconds));
    let mut done = 0;
    while done < all {
        let elapsed = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let due = (elapsed.saturating_mul(rate.into()) / 1_000_000).min(all);
        while done < due {
            let now = Moment::from_ns(uring::monotonic_ns());
            let record = Record { ended: now, client: Some(client(done)), ..example.clone() };
            if !records.put(record) {
                counters.session_log_dropped.add(1);
            }
            done += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    counters.accepted.add(done);
}

/// Another one each time, so that nothing of a line is the same.
fn client(number: u64) -> std::net::SocketAddr {
    let [_, _, _, _, _, a, b, c] = number.to_be_bytes();
    ([10, a, b, c], 1024 + u16::from(c) * 200).into()
}

fn example() -> io::Result<Record> {
    let words = ["evenkeel", "--backends", "10.0.0.1:8080"].map(Into::into);
    let cli = Cli::read(words).map_err(io::Error::other)?;
    let config = Config::load(&cli.serve).map_err(io::Error::other)?;
    let address = Address::Inet(([0, 0, 0, 0], 8080).into());
    let place = Address::Inet(([10, 0, 0, 1], 8080).into());
    let backend = Arc::new(Backend::new(1, place.to_string(), &[place]));
    let state = Arc::new(PoolState::new(2, None, Arc::new(Bells::default())));
    let pool = Arc::new(Pool::new(&config.pools[0], vec![Arc::clone(&backend)], None, state));
    let listener = Listener {
        id: 3,
        name: address.to_string(),
        address,
        max_sessions: None,
        access: None,
        per_ip: None,
        greets: None,
        pool: Arc::clone(&pool),
        gate: Arc::<Gate>::default(),
        tallies: Arc::new(ListenerTallies::new(SHARDS)),
        sockets: Arc::<Sockets>::default(),
    };
    let now = Moment::from_ns(uring::monotonic_ns());
    Ok(Record {
        began: now,
        ended: now,
        shard: 0,
        owner: Some(uring::Owner::slot(4711)),
        listener: Arc::new(listener),
        pool,
        backend: Some(backend),
        client: None,
        destination: None,
        by: Some(By::Algorithm(Algorithm::RoundRobin)),
        queue_us: Some(31),
        connect_us: Some(311),
        first_byte_us: Some(1200),
        to_backend: Moved { copied: 1234, spliced: 0 },
        to_client: Moved { copied: 45_000, spliced: 4_467_345 },
        reason: EndReason::Finished,
        retries: 0,
        moves: 0,
    })
}

/// CPU time of the log's thread so far (`/proc/PID/task/TID/schedstat`).
fn cpu_ns() -> io::Result<u64> {
    // A thread that was started a moment ago has not got its name yet.
    for _ in 0..1000 {
        for task in fs::read_dir("/proc/self/task")?.flatten() {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if name.trim() == "session-log" {
                let stat = fs::read_to_string(task.path().join("schedstat"))?;
                let ns = stat.split_whitespace().next().and_then(|ns| ns.parse().ok());
                return ns.ok_or_else(|| io::Error::other("no schedstat in this kernel"));
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::other("the log's thread is not there"))
}

const SHARDS: usize = 2;

/// As it is where nothing is said.
const QUEUE: usize = 16 * 1024;

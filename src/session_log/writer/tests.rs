//! On real files, with records of shards that do not run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;

use super::super::example::Example;
use super::super::{Format, SessionLog};
use super::*;
use crate::log_file::LogFile;
use crate::shard::bells::Bells;
use crate::shard::record::Record;

/// A path that is gone when it is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-session-log-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.0).expect("it is there");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn shared(shards: usize, most: usize) -> Arc<Shared> {
    let mut shared = Shared::new(shards, Duration::ZERO, Arc::new(Bells::default()));
    shared.records = Some(Arc::new(Records::new(shards, most)));
    Arc::new(shared)
}

fn sink(path: &Path) -> Sink {
    Sink::file(Arc::new(LogFile::open(path).expect("it can be opened")), Format::Text)
}

fn records(shared: &Shared) -> &Arc<Records> {
    shared.records.as_ref().expect("there are")
}

/// As a shard does it.
fn end_sessions(shared: &Shared, shard: usize, many: u8) {
    let example = Example::new().record;
    for retries in 0..many {
        let record = Record { shard, retries, ..example.clone() };
        if !records(shared).put(record) {
            shared.counters[shard].session_log_dropped.add(1);
        }
    }
}

/// Lines, lost and dropped.
fn fates(shared: &Shared) -> [u64; 3] {
    let dropped = shared.counters.iter().map(|one| one.session_log_dropped.value()).sum();
    [shared.session_log.lines(), shared.session_log.lost(records(shared)), dropped]
}

#[test]
fn everything_that_is_queued_is_written_at_the_end() {
    let (file, shared) = (Temporary::new(), shared(2, 1000));
    let log = SessionLog::start(&shared, Some(sink(&file.0))).expect("a thread").expect("wanted");
    (0..2).for_each(|shard| end_sessions(&shared, shard, 200));
    log.finish();
    assert_eq!((file.lines().len(), fates(&shared)), (400, [400, 0, 0]));
}

#[test]
fn a_shard_that_ends_many_sessions_keeps_nobody_waiting_and_its_lines_are_in_order() {
    let (file, shared) = (Temporary::new(), shared(2, 1000));
    end_sessions(&shared, 0, 200);
    end_sessions(&shared, 1, 1);
    let log = SessionLog::start(&shared, Some(sink(&file.0))).expect("a thread").expect("wanted");
    log.finish();
    let retries = |line: &String| -> usize {
        let (_, rest) = line.split_once("retries ").expect("a field");
        rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    };
    let mut order: Vec<usize> = file.lines().iter().map(retries).collect();
    assert_eq!(order.remove(OF_A_SHARD), 0, "the other shard's");
    assert!(order.is_sorted() && order.len() == 200, "{order:?}");
}

#[test]
fn a_file_that_is_full_loses_what_is_queued_at_the_end_and_counts_it() {
    let shared = shared(1, 100);
    end_sessions(&shared, 0, 150);
    let log = SessionLog::start(&shared, Some(sink(Path::new("/dev/full"))));
    log.expect("a thread").expect("wanted").finish();
    assert_eq!(fates(&shared), [0, 100, 50]);
    assert!(shared.session_log.write_errors() > 0);
}

#[test]
fn a_fifo_that_nobody_reads_does_not_keep_the_program_from_ending() {
    let (file, shared) = (Temporary::new(), shared(1, 10_000));
    nix::unistd::mkfifo(&file.0, nix::sys::stat::Mode::S_IRWXU).expect("a free name");
    for _ in 0..10 {
        end_sessions(&shared, 0, 200);
    }
    let log = SessionLog::start(&shared, Some(sink(&file.0))).expect("a thread").expect("wanted");
    log.finish();
    let [lines, lost, dropped] = fates(&shared);
    assert!(lines > 0 && lost > 0, "{lines} lines, {lost} lost");
    assert_eq!((lines + lost, dropped), (2000, 0));
    assert_eq!(shared.session_log.write_errors(), 0, "it is no error that nobody reads");
}

#[test]
fn a_reader_that_is_slow_gets_every_line() {
    let (file, shared) = (Temporary::new(), shared(1, 10_000));
    nix::unistd::mkfifo(&file.0, nix::sys::stat::Mode::S_IRWXU).expect("a free name");
    for _ in 0..10 {
        end_sessions(&shared, 0, 200);
    }
    let log = SessionLog::start(&shared, Some(sink(&file.0))).expect("a thread").expect("wanted");
    // Opened while the writer still has it: the end comes when that has ended.
    let opened = fs::File::open(&file.0).expect("there is a writer");
    let reader = std::thread::spawn(move || io::read_to_string(opened).expect("text"));
    log.finish();
    assert_eq!(fates(&shared), [2000, 0, 0]);
    assert_eq!(reader.join().expect("no panic").lines().count(), 2000);
}

#[test]
fn rests_are_short_while_there_is_something_and_long_when_there_is_nothing() {
    let after = |looks: &[Look]| {
        let rest = |before: (Look, Duration), look: &Look| (*look, look.rest(before));
        looks.iter().fold((Look::Nothing, BUSY), rest).1.as_millis()
    };
    assert_eq!(after(&[Look::Nothing]), 40);
    assert_eq!(after(&[Look::Nothing; 10]), 250);
    assert_eq!(after(&[Look::Nothing, Look::Nothing, Look::Written]), 20);
    assert_eq!(after(&[Look::Written, Look::Full]), 1);
    assert_eq!(after(&[Look::Full; 3]), 4);
    assert_eq!(after(&[Look::Full; 10]), 20);
    assert_eq!(after(&[Look::Full, Look::Full, Look::Partly]), 1);
    assert_eq!(after(&[Look::Failed; 10]), 250);
}

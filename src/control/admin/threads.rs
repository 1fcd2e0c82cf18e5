//! CPU time of the shards' threads, which the kernel counts.

use std::path::PathBuf;
use std::sync::OnceLock;

/// Where the kernel tells of each shard's thread.
#[derive(Debug, Default)]
pub struct Threads {
    /// Looked up once: a shard keeps its thread.
    files: OnceLock<Vec<PathBuf>>,
}

impl Threads {
    /// Milliseconds for each shard, in their order.
    #[must_use]
    pub fn cpu_ms(&self) -> Vec<u64> {
        self.files.get_or_init(find).iter().map(|file| cpu_ms(file).unwrap_or(0)).collect()
    }
}

/// The files of the threads `shard-0`, `shard-1` ….
fn find() -> Vec<PathBuf> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut found: Vec<(usize, PathBuf)> = threads
        .filter_map(|thread| {
            let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
            let shard = name.trim().strip_prefix("shard-")?.parse().ok()?;
            Some((shard, thread.path().join("schedstat")))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, file)| file).collect()
}

/// The first number of schedstat: nanoseconds on a CPU (sched-stats in the kernel's documentation).
fn cpu_ms(file: &PathBuf) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? / 1_000_000)
}

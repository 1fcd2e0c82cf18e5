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
    /// Nanoseconds for each shard, in their order, as far as the kernel tells.
    #[must_use]
    pub fn cpu_ns(&self) -> Vec<Option<u64>> {
        self.files.get_or_init(find).iter().map(cpu_ns).collect()
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
fn cpu_ns(file: &PathBuf) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

//! CPU time of the shards' threads, which the kernel counts.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::shard::shared::Shared;

/// Where the kernel tells of each shard's thread.
#[derive(Debug, Default)]
pub struct Threads {
    /// Looked up once: a shard keeps its thread.
    files: OnceLock<Vec<(usize, PathBuf)>>,
}

impl Threads {
    /// Nanoseconds for each shard, in their order, as far as the kernel tells; of one that has ended as
    /// it said itself.
    #[must_use]
    pub fn cpu_ns(&self, shared: &Shared) -> Vec<Option<u64>> {
        let files = self.files.get_or_init(find);
        let of = |shard: usize| {
            let file = files.iter().find(|(of, _)| *of == shard);
            let ended = || shared.last_words(shard).map(|last| last.cpu_ns);
            file.and_then(|(_, file)| cpu_ns(file)).or_else(ended)
        };
        (0..shared.counters.len()).map(of).collect()
    }
}

/// The files of the threads `shard-0`, `shard-1` ….
fn find() -> Vec<(usize, PathBuf)> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads
        .filter_map(|thread| {
            let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
            let shard = name.trim().strip_prefix("shard-")?.parse().ok()?;
            Some((shard, thread.path().join("schedstat")))
        })
        .collect()
}

/// The first number of schedstat: nanoseconds on a CPU (sched-stats in the kernel's documentation).
fn cpu_ns(file: &PathBuf) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

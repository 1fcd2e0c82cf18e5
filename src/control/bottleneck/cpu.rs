//! How much CPU time the shards' threads got, and how long they waited for it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::bottleneck::Load;

/// Of one thread, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTime {
    ran_ns: u64,
    /// It could have run, but another thread had the CPU, or the cgroup's quota was used up.
    waited_ns: u64,
}

/// Where the kernel tells of each shard's thread.
#[derive(Debug)]
pub(super) struct Threads(Vec<Option<PathBuf>>);

impl Threads {
    /// Finds the threads of so many shards by their names.
    pub(super) fn find(shards: usize) -> Self {
        let mut files = vec![None; shards];
        let Ok(threads) = fs::read_dir("/proc/self/task") else { return Self(files) };
        for thread in threads.flatten() {
            let name = fs::read_to_string(thread.path().join("comm")).ok();
            let shard = name.and_then(|name| shard_of(&name));
            if let Some(file) = shard.and_then(|shard| files.get_mut(shard)) {
                *file = Some(thread.path().join("schedstat"));
            }
        }
        Self(files)
    }

    /// What each had so far, as far as the kernel tells.
    pub(super) fn times(&self) -> Vec<Option<CpuTime>> {
        let read = |file: &PathBuf| CpuTime::parse(&fs::read_to_string(file).ok()?);
        self.0.iter().map(|file| file.as_ref().and_then(read)).collect()
    }
}

impl CpuTime {
    /// Three numbers, of which the first two are nanoseconds on the CPU and waiting for it
    /// (Documentation/scheduler/sched-stats.rst).
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(str::parse);
        let (ran_ns, waited_ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self { ran_ns, waited_ns })
    }

    /// Which parts of `time` that was, since `before`.
    pub(super) fn load_since(self, before: Self, shard: usize, time: Duration) -> Option<Load> {
        let time_ns = time.as_nanos();
        let thousandths = |now: u64, then: u64| {
            let part = u128::from(now.saturating_sub(then)) * 1000;
            u32::try_from(part.checked_div(time_ns)?).ok()
        };
        let waited = thousandths(self.waited_ns, before.waited_ns)?;
        let ran = thousandths(self.ran_ns, before.ran_ns)?;
        Some(Load { shard, wanted: (ran + waited).min(1000), waited: waited.min(1000) })
    }
}

/// The number in the name of a shard's thread.
fn shard_of(name: &str) -> Option<usize> {
    name.trim_end().strip_prefix("shard-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_seen_to_work() {
        let (work, done) = (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel());
        let thread = std::thread::Builder::new().name("shard-1".to_owned());
        let worker = thread.spawn(move || {
            let started = std::time::Instant::now();
            while started.elapsed() < Duration::from_millis(50) {}
            done.0.send(()).expect("it is waited for");
            let _ = work.1.recv();
        });
        done.1.recv().expect("it works");
        let times = Threads::find(3).times();
        drop(work.0);
        worker.expect("a thread").join().expect("no panic");
        if times[1].is_none() {
            assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs CONFIG_SCHED_INFO");
            return eprintln!("SKIPPED: needs a kernel with CONFIG_SCHED_INFO");
        }
        let CpuTime { ran_ns, waited_ns } = times[1].expect("looked at");
        assert!(ran_ns + waited_ns >= 40_000_000, "{times:?}");
        assert_eq!((times[0], times[2]), (None, None));
    }

    #[test]
    fn what_it_wanted_is_what_it_had_and_what_it_waited_for() {
        let before = CpuTime::parse("1000000 5000000 7").expect("three numbers");
        let after = CpuTime::parse("301000000 205000000 90\n").expect("three numbers");
        let load = |time| after.load_since(before, 2, Duration::from_millis(time));
        assert_eq!(load(1000), Some(Load { shard: 2, wanted: 500, waited: 200 }));
        assert_eq!(load(400), Some(Load { shard: 2, wanted: 1000, waited: 500 }));
        assert_eq!(load(0), None);
        assert_eq!(CpuTime::parse("1000000"), None);
    }

    #[test]
    fn only_shards_are_shards() {
        for (name, shard) in [("shard-0\n", Some(0)), ("shard-12\n", Some(12)), ("control\n", None)]
        {
            assert_eq!(shard_of(name), shard, "{name}");
        }
        assert_eq!(shard_of("shard-x"), None);
    }
}

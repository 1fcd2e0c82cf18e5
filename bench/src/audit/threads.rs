//! Processes and threads of a contender, where they may run, and which of them work.

use std::collections::{BTreeSet, HashMap};
use std::fs;

/// CPU time of each thread so far, in nanoseconds, by its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Threads(HashMap<u32, u64>);

impl Threads {
    /// Those of `processes` now.
    pub(super) fn of(processes: &[u32]) -> Self {
        let used = |pid: u32, tid: u32| {
            // One that ended in between is none.
            let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
            Some((tid, text.split_whitespace().next()?.parse().ok()?))
        };
        let each = processes.iter().flat_map(|&pid| ids(pid).filter_map(move |tid| used(pid, tid)));
        Self(each.collect())
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many used more than one twentieth of the CPU time since `before`.
    pub(super) fn worked_since(&self, before: &Self) -> usize {
        let used =
            |(tid, now): (&u32, &u64)| now - before.0.get(tid).copied().unwrap_or(0).min(*now);
        let used: Vec<u64> = self.0.iter().map(used).collect();
        let all: u64 = used.iter().sum();
        used.into_iter().filter(|used| used * 20 > all).count()
    }
}

/// The threads of a process.
pub(super) fn ids(pid: u32) -> impl Iterator<Item = u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok())
}

/// Where the threads of `processes` may run; each answer once.
pub(super) fn cpus_allowed(processes: &[u32]) -> String {
    let status =
        |pid: u32, tid: u32| fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok();
    let lists = processes.iter().flat_map(|&pid| {
        ids(pid).filter_map(move |tid| {
            Some(field(&status(pid, tid)?, "Cpus_allowed_list:")?.to_owned())
        })
    });
    lists.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(" and ")
}

/// What `/proc/PID/status` has after `name`.
pub(super) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process::Process;

    fn threads(used: &[(u32, u64)]) -> Threads {
        Threads(used.iter().copied().collect())
    }

    #[test]
    fn those_work_that_use_a_twentieth() {
        let before = threads(&[(1, 1_000_000), (2, 100), (3, 0)]);
        let after = threads(&[(1, 1_000_500), (2, 690), (3, 50), (4, 60)]);
        // 500, 590, 50 and 60 of 1200: a twentieth is 60.
        assert_eq!(after.worked_since(&before), 2);
        assert_eq!(before.worked_since(&before), 0);
    }

    #[test]
    fn the_threads_of_another_process_are_counted_with_their_cpus() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = Process::spawn(command, Vec::new()).expect("every system has sleep");
        let processes = process.tree();
        assert_eq!(Threads::of(&processes).count(), 1);
        let own = fs::read_to_string("/proc/thread-self/status").expect("/proc is there");
        let own = field(&own, "Cpus_allowed_list:").expect("it is there");
        assert_eq!(cpus_allowed(&processes), own);
        assert_eq!(cpus_allowed(&[processes[0], processes[0]]), own, "each answer once");
    }
}

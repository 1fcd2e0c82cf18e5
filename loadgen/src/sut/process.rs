//! Processes and their threads, from /proc and from the processor clock of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// What processes have used since they began, and what they hold now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Of all threads, ended ones too, and of children that have ended and were waited for.
    pub(super) cpu_ns: u64,
    /// Resident memory; pages that processes share count for each of them.
    pub(super) resident_bytes: u64,
    /// Who they are: number and time of start, which a later process of that number has not.
    pub(super) processes: BTreeSet<(u32, u64)>,
    /// Voluntary and involuntary context switches of each thread.
    switches: BTreeMap<u32, (u64, u64)>,
}

impl Usage {
    /// A process and its descendants. Those that are `known` from before and still live count also
    /// when they have got another parent.
    ///
    /// # Errors
    /// When the process itself is gone.
    pub(super) fn of_tree(root: u32, known: Option<&Self>) -> io::Result<Self> {
        let born = Stat::read(root)?.alive(root)?.started;
        let known: BTreeSet<(u32, u64)> =
            known.map(|one| one.processes.clone()).unwrap_or_default();
        if known.iter().any(|&(pid, started)| pid == root && started != born) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let all = all_processes()?;
        let still = known
            .iter()
            .filter(|(pid, started)| all.get(pid).is_some_and(|stat| stat.started == *started));
        let mut members: BTreeSet<u32> = still.map(|&(pid, _)| pid).chain([root]).collect();
        // Children may have lower numbers than their parents, so until nobody is added any more.
        loop {
            let child = |(pid, stat): (&u32, &Stat)| members.contains(&stat.parent).then_some(*pid);
            let grown: BTreeSet<u32> =
                members.iter().copied().chain(all.iter().filter_map(child)).collect();
            if grown == members {
                break;
            }
            members = grown;
        }
        Ok(Self::of(members))
    }

    /// Just these processes; who is gone meanwhile is left out.
    pub(super) fn of(pids: impl IntoIterator<Item = u32>) -> Self {
        let mut sum = Self::default();
        for pid in pids {
            let Ok(stat) = Stat::read(pid).and_then(|stat| stat.alive(pid)) else { continue };
            sum.cpu_ns += cpu_ns(pid).unwrap_or(stat.own_ns) + stat.children_ns;
            sum.resident_bytes += resident_bytes(pid);
            sum.processes.insert((pid, stat.started));
            sum.switches.extend(switches(pid));
        }
        sum
    }

    /// Context switches of the threads that are here now; of new ones all, `None` without threads.
    pub(super) fn switches_since(&self, earlier: &Self) -> Option<(u64, u64)> {
        let fresh = |(thread, now): (&u32, &(u64, u64))| {
            let then = earlier.switches.get(thread).copied().unwrap_or_default();
            (now.0.saturating_sub(then.0), now.1.saturating_sub(then.1))
        };
        let add = |sum: (u64, u64), one: (u64, u64)| (sum.0 + one.0, sum.1 + one.1);
        self.switches.iter().map(fresh).reduce(add)
    }
}

/// Whether there is such a process, and not only what is left of it.
pub(super) fn exists(pid: u32) -> bool {
    Stat::read(pid).and_then(|stat| stat.alive(pid)).is_ok()
}

/// The part of /proc/PID/stat that is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    own_ns: u64,
    children_ns: u64,
    started: u64,
}

impl Stat {
    fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(proc(pid, "stat"))?;
        Self::parse(&text, NS_PER_TICK)
            .ok_or_else(|| io::Error::other(format!("cannot read {text:?}")))
    }

    /// Fields are counted from behind the name, which may hold anything, brackets included.
    fn parse(text: &str, ns_per_tick: u64) -> Option<Self> {
        let (_, behind) = text.rsplit_once(')')?;
        let fields: Vec<&str> = behind.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            own_ns: (number(11)? + number(12)?) * ns_per_tick,
            children_ns: (number(13)? + number(14)?) * ns_per_tick,
            started: number(19)?,
        })
    }

    /// Refuses what has ended and only waits for its parent to look.
    fn alive(self, pid: u32) -> io::Result<Self> {
        if matches!(self.state, 'Z' | 'X') {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("process {pid} has ended"),
            ));
        }
        Ok(self)
    }
}

/// The processor clock of a whole process: nanoseconds, and it keeps what ended threads have used,
/// which the sum over /proc/PID/task/*/schedstat would lose.
fn cpu_ns(pid: u32) -> Option<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).ok()?;
    let now = clock.now().ok()?;
    let (seconds, ns) = (u64::try_from(now.tv_sec()).ok()?, u64::try_from(now.tv_nsec()).ok()?);
    Some(seconds * 1_000_000_000 + ns)
}

fn all_processes() -> io::Result<BTreeMap<u32, Stat>> {
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let pids = fs::read_dir("/proc")?.filter_map(|entry| number(entry.ok()?));
    Ok(pids.filter_map(|pid| Some((pid, Stat::read(pid).ok()?))).collect())
}

fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(proc(pid, "status")).unwrap_or_default();
    field(&status, "VmRSS:").unwrap_or_default() * 1024
}

fn switches(pid: u32) -> Vec<(u32, (u64, u64))> {
    let Ok(tasks) = fs::read_dir(proc(pid, "task")) else { return Vec::new() };
    let of_task = |entry: fs::DirEntry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let thread = entry.file_name().to_str()?.parse().ok()?;
        Some((thread, parse_switches(&status)?))
    };
    tasks.filter_map(|entry| of_task(entry.ok()?)).collect()
}

fn parse_switches(status: &str) -> Option<(u64, u64)> {
    Some((
        field(status, "voluntary_ctxt_switches:")?,
        field(status, "nonvoluntary_ctxt_switches:")?,
    ))
}

/// The number behind `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn proc(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// USER_HZ is 100 wherever io_uring is; what the kernel itself ticks with does not matter here.
const NS_PER_TICK: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "4711 (a) (b c) S 42 4711 1 0 -1 4194304 99 1 0 0 7 5 30 2 20 0 3 0 2504459 31 38";

    #[test]
    fn a_process_is_read_behind_its_name_whatever_that_is() {
        let expected = Stat {
            state: 'S',
            parent: 42,
            own_ns: 120_000_000,
            children_ns: 320_000_000,
            started: 2_504_459,
        };
        assert_eq!(Stat::parse(STAT, 10_000_000), Some(expected));
        for cut in ["", "4711 (a", "4711 (a) S 42 1 1"] {
            assert_eq!(Stat::parse(cut, 1), None, "{cut:?}");
        }
    }

    #[test]
    fn what_has_ended_is_not_alive() {
        for (state, alive) in
            [('R', true), ('S', true), ('D', true), ('T', true), ('Z', false), ('X', false)]
        {
            let text = STAT.replace(" S ", &format!(" {state} "));
            let stat = Stat::parse(&text, 1).expect("a whole line");
            assert_eq!(stat.alive(4711).is_ok(), alive, "{state}");
        }
    }

    #[test]
    fn switches_of_both_kinds_are_told_apart() {
        let status = "Name:\tx\nnonvoluntary_ctxt_switches:\t3\nvoluntary_ctxt_switches:\t150\n";
        assert_eq!(parse_switches(status), Some((150, 3)));
        assert_eq!(parse_switches("voluntary_ctxt_switches:\t1\n"), None);
        assert_eq!(field("VmPeak: 9 kB\nVmRSS:\t    2056 kB\n", "VmRSS:"), Some(2056));
    }

    #[test]
    fn new_threads_count_whole_and_ended_ones_are_left_out() {
        let usage = |threads: &[(u32, (u64, u64))]| Usage {
            switches: threads.iter().copied().collect(),
            ..Usage::default()
        };
        let (before, after) =
            (usage(&[(1, (10, 1)), (2, (5, 5))]), usage(&[(1, (17, 2)), (3, (4, 0))]));
        assert_eq!(after.switches_since(&before), Some((11, 1)));
        assert_eq!(usage(&[]).switches_since(&before), None);
    }
}

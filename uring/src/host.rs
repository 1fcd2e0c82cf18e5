//! What this process may use of its host: descriptors, processors, the clock.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::CpuList;

/// The number of descriptors this process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NofileLimit {
    /// The soft limit before it was raised.
    pub before: u64,
    /// The soft limit now.
    pub now: u64,
}

/// Raises the soft limit of open descriptors to the hard one (`RLIMIT_NOFILE`).
///
/// # Errors
/// As getrlimit(2).
pub fn raise_nofile_limit() -> io::Result<NofileLimit> {
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Raising soft to hard needs no privilege; where a sandbox forbids it, the old limit stands.
    let now = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(before, |()| hard);
    Ok(NofileLimit { before, now })
}

/// Keeps memory in small pages, in this thread and those that it starts: with huge ones a table of a
/// few hundred KiB takes megabytes. It goes on without where the kernel has no such thing.
pub fn refuse_huge_pages() {
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// The processors that this process may run on, ascending: the affinity mask, which `taskset` and
/// a container's cpuset narrow.
///
/// # Errors
/// As sched_getaffinity(2).
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mask = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&cpu| mask.is_set(cpu).unwrap_or(false)).collect())
}

/// The processors that are switched on, whether or not this process may use them; none if the
/// kernel does not tell.
#[must_use]
pub fn online_cpus() -> Vec<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    text.trim().parse().map_or_else(|_| Vec::new(), |CpuList(cpus)| cpus)
}

/// Keeps the calling thread on one processor.
///
/// # Errors
/// `EINVAL` when the process may not run there.
pub fn pin_to(cpu: usize) -> io::Result<()> {
    let mut mask = CpuSet::new();
    mask.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &mask)?)
}

/// Lets the calling thread give way to all others: it gets the least weight (nice 19), and slices of
/// this length, so that a thread of the usual ones goes first whenever it wakes. Slices are of Linux 6.12
/// and later, 100 ms at most (Documentation/scheduler/sched-eevdf.rst); kernels before take the weight
/// alone.
///
/// # Errors
/// As sched_setattr(2).
pub fn give_way(slice: Duration) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).expect("a few words"),
        sched_policy: SCHED_OTHER,
        sched_flags: 0,
        sched_nice: 19,
        sched_priority: 0,
        sched_runtime: u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX),
        sched_deadline: 0,
        sched_period: 0,
    };
    let (this_thread, no_flags) = (0, 0);
    // SAFETY: the kernel reads `size` bytes of `attributes`, which is as large and lives through the call,
    // and keeps no pointer to it.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_setattr, this_thread, &raw const attributes, no_flags)
    };
    Errno::result(done)?;
    Ok(())
}

/// The kernel's release, as uname(2) gives it.
#[must_use]
pub fn kernel_release() -> String {
    sysctl("kernel/osrelease").unwrap_or_default()
}

/// A setting of the kernel by its path below /proc/sys, if it has it.
#[must_use]
pub fn sysctl(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
    Some(text.trim().to_owned())
}

/// `CLOCK_MONOTONIC` in nanoseconds.
#[must_use]
#[expect(clippy::cast_sign_loss, reason = "the monotonic clock starts at zero")]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// What the calling thread has used (`CLOCK_THREAD_CPUTIME_ID`), in nanoseconds.
#[must_use]
#[expect(clippy::cast_sign_loss, reason = "it starts at zero")]
pub fn thread_cpu_ns() -> u64 {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    let used = used.expect("every Linux has this clock");
    used.tv_sec() as u64 * 1_000_000_000 + used.tv_nsec() as u64
}

/// Threads without a real-time policy (include/uapi/linux/sched.h).
const SCHED_OTHER: u32 = 0;

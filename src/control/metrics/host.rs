//! What the kernel says of this process: processor time, memory, descriptors.

use std::fs;

use nix::time::{ClockId, clock_gettime};

/// What the kernel says; what it does not say is left out of the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all threads, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Memory that is there.
    pub resident_bytes: Option<u64>,
    /// Memory that was asked for.
    pub virtual_bytes: Option<u64>,
    /// Threads now.
    pub threads: Option<u64>,
    /// Descriptors now.
    pub open_fds: Option<u64>,
}

impl Usage {
    /// Looks.
    #[must_use]
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name| field(&status, name).map(|kib| kib * 1024);
        Self {
            cpu_ns: cpu_ns(),
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            threads: field(&status, "Threads:"),
            open_fds: open_fds(),
        }
    }
}

/// The number after a name in /proc/self/status.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_ns() -> Option<u64> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok()?;
    let (seconds, ns) = (u64::try_from(time.tv_sec()).ok()?, u64::try_from(time.tv_nsec()).ok()?);
    Some(seconds * 1_000_000_000 + ns)
}

/// The size of the directory is their number since Linux 6.2 (proc_readfd_count, fs/proc/fd.c); before
/// it is 0, and they are counted, which takes milliseconds with tens of thousands.
fn open_fds() -> Option<u64> {
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return Some(size);
    }
    let count = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // The directory that is read is one of them.
    Some(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_the_number_after_its_name() {
        let status = "Name:\tevenkeel\nVmSize:\t  123456 kB\nVmRSS:\t    4321 kB\nThreads:\t7\n";
        assert_eq!(field(status, "VmRSS:"), Some(4321));
        assert_eq!(field(status, "Threads:"), Some(7));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_uses_something() {
        std::hint::black_box((0..1_000_000).sum::<u64>());
        let usage = Usage::read();
        assert!(usage.cpu_ns > Some(0) && usage.resident_bytes > Some(1 << 16), "{usage:?}");
        assert!(usage.virtual_bytes >= usage.resident_bytes && usage.threads >= Some(1));
        assert!(usage.open_fds >= Some(3), "{usage:?}");
    }
}

//! What this machine and this process are.

use std::time::SystemTime;

use nix::time::{ClockId, clock_gettime};

use crate::report::Env;

/// Where and with what a run takes place that begins now.
pub(crate) fn env() -> Env {
    Env {
        started_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: uring::kernel_release(),
        cpu_model: cpu_model(),
        cpus: u32::try_from(uring::online_cpus().len()).unwrap_or(u32::MAX),
        congestion_control: uring::sysctl("net/ipv4/tcp_congestion_control").unwrap_or_default(),
        ..Env::default()
    }
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = |line: &str| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    };
    text.lines().find_map(model).unwrap_or_default()
}

/// What this thread has used of its processor so far.
pub(crate) fn thread_cpu_ns() -> u64 {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has one");
    let nanoseconds = i128::from(used.tv_sec()) * 1_000_000_000 + i128::from(used.tv_nsec());
    u64::try_from(nanoseconds).unwrap_or(0)
}

/// Resident memory of this process; 0 where /proc is not mounted.
pub(crate) fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kilobytes.unwrap_or(0) * 1024
}

/// How many local ports the kernel picks from for one destination and one source.
pub(crate) fn local_ports() -> u64 {
    let range = uring::sysctl("net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<u64>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => last.saturating_sub(first) + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        let env = env();
        assert!(env.started_at.ends_with('Z') && env.started_at.contains('T'), "{env:?}");
        assert!(env.cpus > 0 && !env.kernel.is_empty(), "{env:?}");
        assert!(resident_bytes() > 100_000);
        assert!(local_ports() > 0);
    }

    #[test]
    fn a_thread_that_works_uses_time() {
        let before_ns = thread_cpu_ns();
        let text: String = (0..100_000).map(|number| number.to_string()).collect();
        assert!(text.len() > 100_000 && thread_cpu_ns() > before_ns);
    }
}

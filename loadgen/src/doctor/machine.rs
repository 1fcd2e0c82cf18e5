//! Processors: how many, how fast they may run, and who takes them away.

use super::{Finding, Verdict};

/// Jiffies of all processors since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTimes {
    all: u64,
    stolen: u64,
}

/// Processors and their governor.
pub(super) fn findings() -> Vec<Finding> {
    let allowed = uring::allowed_cpus().map_or(1, |cpus| cpus.len());
    let quota = uring::cpu_quota().filter(|quota| quota.is_less_than(allowed));
    let limit = quota.map(uring::CpuQuota::cpus_rounded_up);
    let governor = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    let governor = governor.ok().map(|text| governor_finding(text.trim()));
    [Some(processors(allowed, limit)), governor].into_iter().flatten().collect()
}

/// The line of all processors in /proc/stat.
pub(super) fn cpu_times() -> Option<CpuTimes> {
    parse(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// What the host took in between.
#[expect(clippy::cast_precision_loss, reason = "jiffies of a few seconds")]
pub(super) fn stolen(before: Option<CpuTimes>, after: Option<CpuTimes>) -> Option<Finding> {
    let (before, after) = (before?, after?);
    let all = after.all.checked_sub(before.all).filter(|&all| all > 0)?;
    let percent = after.stolen.saturating_sub(before.stolen) as f64 / all as f64 * 100.0;
    let why =
        "time that the host gave to others stands in the latencies as if the target had taken it";
    let finding = Finding::ok("stolen time", format!("{percent:.1}% while this looked"), why);
    let cure =
        "measure on a machine of its own, or when its neighbours are quiet; see st in `vmstat 1`";
    Some(match percent {
        ..0.5 => finding,
        ..5.0 => finding.but(Verdict::Note, cure),
        _ => finding.but(Verdict::Bad, cure),
    })
}

fn processors(allowed: usize, quota: Option<usize>) -> Finding {
    let why = "generator and target on the same processors measure each other";
    if let Some(limit) = quota {
        let value = format!("{allowed}, and time of {limit} (cgroup)");
        let cure = "a group that has used its time stands still for up to 100 ms; raise cpu.max of \
             the cgroup (docker run --cpus)";
        return Finding::ok("processors", value, why).but(Verdict::Note, cure);
    }
    let finding = Finding::ok("processors", allowed.to_string(), why);
    if allowed > 1 {
        return finding;
    }
    finding.but(Verdict::Bad, "measure from a machine with two or more")
}

fn governor_finding(governor: &str) -> Finding {
    let why = "a processor that slows down between requests answers the next one late";
    let finding = Finding::ok("CPU governor", governor, why);
    if governor == "performance" {
        return finding;
    }
    finding.but(Verdict::Note, "cpupower frequency-set -g performance")
}

/// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`; the guests' time is in
/// that of user and nice already (proc_stat(5)).
fn parse(stat: &str) -> Option<CpuTimes> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<u64> = line.split_whitespace().map_while(|time| time.parse().ok()).collect();
    let stolen = *times.get(7)?;
    Some(CpuTimes { all: times[..8].iter().sum(), stolen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_number() {
        let stat = "cpu  10 20 30 40 50 60 70 80 9000 9000\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse(stat), Some(CpuTimes { all: 360, stolen: 80 }));
        assert_eq!(parse("cpu  1 2 3\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn what_was_stolen_meanwhile_is_judged() {
        let before = CpuTimes { all: 1000, stolen: 500 };
        for (more, verdict) in
            [(0, Verdict::Ok), (4, Verdict::Ok), (6, Verdict::Note), (50, Verdict::Bad)]
        {
            let after = CpuTimes { all: 2000, stolen: 500 + more };
            let finding = stolen(Some(before), Some(after)).expect("time went by");
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        }
        assert_eq!(stolen(Some(before), Some(before)), None);
        assert_eq!(stolen(None, Some(before)), None);
    }

    #[test]
    fn processors_and_their_governor_are_judged() {
        assert_eq!(processors(2, None).verdict, Verdict::Ok);
        assert_eq!(processors(8, Some(2)).verdict, Verdict::Note);
        assert_eq!(processors(1, None).verdict, Verdict::Bad);
        assert_eq!(governor_finding("performance").verdict, Verdict::Ok);
        assert_eq!(governor_finding("powersave").verdict, Verdict::Note);
    }
}

//! Processors, and how much time on them.

use std::collections::BTreeSet;

use super::super::facts::Cpus;
use super::{Finding, Verdict};

/// Whether each shard has a CPU of its own.
pub(super) fn shards(cpus: &Cpus, shards: &[usize]) -> Finding {
    let (name, why) =
        ("shards", "each is a busy thread; two on one CPU take turns, and both answer later");
    let own: BTreeSet<usize> = shards.iter().copied().collect();
    let on = own.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    let (many, allowed) = (shards.len(), cpus.allowed);
    let value = format!("{many} on CPU {on}; {allowed} may be used");
    let finding = Finding::ok(name, value, why);
    if many <= own.len() {
        return finding;
    }
    let most = own.len();
    finding
        .but(Verdict::Warn, format!("--shards {most}"))
        .noting(format!("or `shards = {most}` under [process]; or leave it out"))
}

/// Whether the cgroup grants the time that they can use.
pub(super) fn quota(cpus: &Cpus, shards: usize) -> Finding {
    let (name, why) = (
        "CPU quota",
        "a cgroup that has used its time stands still until the next period, up to 100 ms",
    );
    let Some(quota) = cpus.quota else { return Finding::ok(name, "none", why) };
    let finding = Finding::ok(name, format!("{quota} CPU for {shards} shards"), why);
    if !quota.is_less_than(shards) {
        return finding;
    }
    let half = !quota.is_less_than(shards.div_ceil(2));
    let verdict = if half { Verdict::Warn } else { Verdict::Bad };
    let cure = format!("systemctl set-property evenkeel.service CPUQuota={}%", shards * 100);
    let fewer = quota.cpus_rounded_up().min(shards);
    let note = format!("docker update --cpus {shards} CONTAINER; or --shards {fewer}");
    finding.but(verdict, cure).noting(note)
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::Verdict::{Bad, Ok as Good, Warn};
    use super::*;
    use uring::CpuQuota;

    fn host(quota: &str) -> Cpus {
        Cpus { allowed: 4, quota: CpuQuota::of_v2(quota) }
    }

    #[test]
    fn a_shard_wants_a_cpu_of_its_own() {
        let host = host("max 100000");
        check(&shards(&host, &[0, 1, 2, 3]), Good, "");
        check(&shards(&host, &[2]), Good, "");
        check(&shards(&host, &[0, 1, 0]), Warn, "--shards 2");
        assert_eq!(shards(&host, &[0, 1, 0]).value, "3 on CPU 0 1; 4 may be used");
    }

    #[test]
    fn shards_want_time() {
        for (quota_of_v2, shards, verdict, in_cure) in [
            ("max 100000", 4, Good, ""),
            ("400000 100000", 4, Good, ""),
            ("399999 100000", 4, Warn, "CPUQuota=400%"),
            ("200000 100000", 4, Warn, "CPUQuota=400%"),
            ("199999 100000", 4, Bad, "CPUQuota=400%"),
            ("100000 100000", 1, Good, ""),
            ("50000 100000", 1, Bad, "CPUQuota=100%"),
            ("150000 100000", 2, Warn, "CPUQuota=200%"),
        ] {
            check(&quota(&host(quota_of_v2), shards), verdict, in_cure);
        }
        assert_eq!(quota(&host("150000 100000"), 2).value, "1.5 CPU for 2 shards");
    }
}

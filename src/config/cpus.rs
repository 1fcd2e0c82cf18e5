//! Which CPU each shard gets.

use std::fmt;

use uring::{CpuList, CpuQuota};

use super::draft::At;
use super::host::{HostError, cpu_unusable, host};
use super::problem::Place;

/// The CPUs of this host, as far as they matter to this process.
#[derive(Clone, Debug)]
pub(super) struct HostCpus {
    /// Those that the process may use.
    pub(super) allowed: Vec<usize>,
    /// Those that are switched on.
    pub(super) online: Vec<usize>,
    /// How much time on them, if that is limited.
    pub(super) quota: Option<CpuQuota>,
}

/// Why a CPU of `--cpus` cannot have a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuProblem {
    /// There is none of that number, or it is switched off.
    NotThere,
    /// `taskset`, a container or systemd keeps the process off it.
    NotAllowed,
}

impl HostCpus {
    pub(super) fn read() -> Result<Self, HostError> {
        let allowed = uring::allowed_cpus().map_err(host("the CPU affinity mask"))?;
        Ok(Self { allowed, online: uring::online_cpus(), quota: uring::cpu_quota() })
    }

    /// One CPU for each shard: those that are listed, or else as many as the quota can keep busy of
    /// those that are allowed; in turn when there are more shards than CPUs.
    pub(super) fn for_shards(
        &self,
        shards: Option<u16>,
        listed: Option<&At<CpuList>>,
    ) -> Result<Vec<usize>, HostError> {
        let cpus = match listed {
            Some(At { value: CpuList(cpus), place }) => self.check(cpus, place)?,
            None => &self.allowed,
        };
        let quota = self.quota.filter(|_| listed.is_none());
        let busy = quota.map_or(cpus.len(), |quota| cpus.len().min(quota.cpus_rounded_up()));
        let shards = shards.map_or(busy, usize::from);
        Ok(cpus.iter().copied().cycle().take(shards).collect())
    }

    /// The quota, if it allows less than the affinity mask does.
    pub(super) fn narrowing_quota(&self) -> Option<CpuQuota> {
        self.quota.filter(|quota| quota.is_less_than(self.allowed.len()))
    }

    fn check<'a>(&self, cpus: &'a [usize], place: &Place) -> Result<&'a [usize], HostError> {
        let Some(&cpu) = cpus.iter().find(|cpu| !self.allowed.contains(cpu)) else {
            return Ok(cpus);
        };
        let there = self.online.contains(&cpu);
        let problem = if there { CpuProblem::NotAllowed } else { CpuProblem::NotThere };
        Err(cpu_unusable(place, cpu, problem, &CpuList(self.allowed.clone())))
    }
}

impl fmt::Display for CpuProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotThere => "which this machine has not, or has switched off",
            Self::NotAllowed => "which this process may not use (taskset, a container or systemd)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of four CPUs the process may use two.
    fn host_cpus(quota: Option<&str>) -> HostCpus {
        let quota = quota.map(|quota| CpuQuota::of_v2(quota).expect("a quota"));
        HostCpus { allowed: vec![1, 3], online: vec![0, 1, 2, 3], quota }
    }

    fn at(list: &str) -> At<CpuList> {
        At { value: list.parse().expect("a list"), place: Place::CommandLine }
    }

    fn cpus(shards: Option<u16>, list: Option<&str>) -> Result<Vec<usize>, String> {
        let list = list.map(at);
        host_cpus(None).for_shards(shards, list.as_ref()).map_err(|error| error.to_string())
    }

    #[test]
    fn shards_take_the_cpus_in_turn() {
        for (shards, list, expected) in [
            (None, None, &[1, 3][..]),
            (Some(1), None, &[1]),
            (Some(3), None, &[1, 3, 1]),
            (None, Some("3"), &[3]),
            (None, Some("3,1"), &[3, 1]),
            (Some(1), Some("3,1"), &[3]),
            (Some(3), Some("3"), &[3, 3, 3]),
        ] {
            assert_eq!(cpus(shards, list).as_deref(), Ok(expected), "{shards:?} on {list:?}");
        }
    }

    #[test]
    fn a_quota_narrows_the_default_only() {
        let list = at("1,3");
        for (quota, narrowing, by_default) in [
            ("50000 100000", true, 1),
            ("100000 100000", true, 1),
            ("150000 100000", true, 2),
            ("200000 100000", false, 2),
            ("900000 100000", false, 2),
        ] {
            let host = host_cpus(Some(quota));
            assert_eq!(host.narrowing_quota().is_some(), narrowing, "{quota}");
            let shards = |shards, list| host.for_shards(shards, list).expect("usable").len();
            let seen = [shards(None, None), shards(Some(3), None), shards(None, Some(&list))];
            assert_eq!(seen, [by_default, 3, 2], "{quota}");
        }
    }

    #[test]
    fn a_cpu_that_cannot_be_used_is_named_with_why_and_with_those_that_can() {
        for (list, parts) in [
            ("1,4", ["--cpus", "CPU 4", "this machine has not", "1,3"]),
            ("0-3", ["--cpus", "CPU 0", "may not use", "1,3"]),
        ] {
            let error = cpus(None, Some(list)).expect_err(list);
            for part in parts {
                assert!(error.contains(part), "{list}: {part} is not in: {error}");
            }
        }
    }
}

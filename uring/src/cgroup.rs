//! How much CPU time this process may have: the quota of its cgroup, which containers and systemd
//! set. A process with more busy threads than that is stopped for the rest of each period.

use std::cmp::Ordering;
use std::fmt;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// CPU time in each period of wall time (`cpu.max`, or `cpu.cfs_quota_us` with
/// `cpu.cfs_period_us`).
#[derive(Clone, Copy, Debug)]
pub struct CpuQuota {
    quota_us: u64,
    /// Never 0.
    period_us: u64,
}

/// The tightest quota between this process's cgroup and the root, of either version of cgroups;
/// nothing where there is none.
#[must_use]
pub fn cpu_quota() -> Option<CpuQuota> {
    let cgroups = read_to_string("/proc/self/cgroup").ok()?;
    let mounts = read_to_string("/proc/self/mountinfo").ok()?;
    tightest(groups(&cgroups, &mounts).iter().flat_map(Group::up_to_the_mount))
}

impl CpuQuota {
    /// As many CPUs as can be busy at least part of the time; 1 or more.
    #[must_use]
    pub fn cpus_rounded_up(self) -> usize {
        usize::try_from(self.quota_us.div_ceil(self.period_us)).unwrap_or(usize::MAX).max(1)
    }

    /// Whether it is less than so many CPUs all the time.
    #[must_use]
    pub fn is_less_than(self, cpus: usize) -> bool {
        u128::from(self.quota_us) < cpus as u128 * u128::from(self.period_us)
    }

    /// From the text of `cpu.max`: `50000 100000`; nothing for `max 100000`.
    #[must_use]
    pub fn of_v2(cpu_max: &str) -> Option<Self> {
        let (quota, period) = cpu_max.trim().split_once(' ')?;
        Self::new(quota, period)
    }

    /// A quota of -1 is none.
    fn of_v1(cfs_quota_us: &str, cfs_period_us: &str) -> Option<Self> {
        Self::new(cfs_quota_us.trim(), cfs_period_us.trim())
    }

    fn new(quota: &str, period: &str) -> Option<Self> {
        let (quota_us, period_us) = (quota.parse().ok()?, period.parse().ok()?);
        (period_us > 0).then_some(Self { quota_us, period_us })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let share =
            |one: &Self, other: &Self| u128::from(one.quota_us) * u128::from(other.period_us);
        share(self, other).cmp(&share(other, self))
    }
}

/// In CPUs: `0.5`, `2`.
impl fmt::Display for CpuQuota {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus = format!("{:.3}", self.quota_us as f64 / self.period_us as f64);
        f.write_str(cpus.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// This process's place in one hierarchy that can limit CPU time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    version: Version,
    mount: PathBuf,
    /// Below `mount`.
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Group {
    /// The quotas of the group and of those that it is in, as far up as the mount shows them.
    fn up_to_the_mount(&self) -> impl Iterator<Item = CpuQuota> {
        let folders = self.path.ancestors().map(|path| self.mount.join(path));
        folders.filter_map(|folder| self.version.quota(&folder))
    }
}

impl Version {
    fn quota(self, folder: &Path) -> Option<CpuQuota> {
        let read = |file| read_to_string(folder.join(file)).ok();
        match self {
            Self::V1 => CpuQuota::of_v1(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?),
            Self::V2 => CpuQuota::of_v2(&read("cpu.max")?),
        }
    }
}

fn tightest(quotas: impl Iterator<Item = CpuQuota>) -> Option<CpuQuota> {
    quotas.min_by(CpuQuota::compare)
}

/// From /proc/self/cgroup (cgroups(7)) and /proc/self/mountinfo (proc(5)). What is mounted below
/// another root than the process's own group (a container that is shown a part of the host's) tells
/// nothing about it, and is left out.
fn groups(cgroups: &str, mounts: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for (version, path) in cgroups.lines().filter_map(membership) {
        let mounts = mounts.lines().filter_map(Mount::parse).filter(|one| one.version == version);
        let relative = mounts.filter_map(|one| {
            Some((PathBuf::from(one.point), Path::new(path).strip_prefix(one.root).ok()?))
        });
        groups.extend(relative.map(|(mount, path)| Group { version, mount, path: path.into() }));
    }
    groups
}

/// `0::/user.slice` of version 2, `4:cpu,cpuacct:/docker/1f` of version 1.
fn membership(line: &str) -> Option<(Version, &str)> {
    let mut fields = line.splitn(3, ':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    match (id, controllers) {
        ("0", "") => Some((Version::V2, path)),
        _ if has_cpu(controllers) => Some((Version::V1, path)),
        _ => None,
    }
}

/// A mount that shows groups which can limit CPU time.
struct Mount<'a> {
    version: Version,
    /// Which group is at the mount point.
    root: &'a str,
    /// Blanks are escaped here; nobody mounts cgroups below a folder with blanks.
    point: &'a str,
}

impl<'a> Mount<'a> {
    /// `31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw`.
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let version = match (filesystem.next()?, filesystem.nth(1)?) {
            ("cgroup2", _) => Version::V2,
            ("cgroup", options) if has_cpu(options) => Version::V1,
            _ => return None,
        };
        Some(Self { version, root, point })
    }
}

fn has_cpu(list: &str) -> bool {
    list.split(',').any(|one| one == "cpu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_to_whole_cpus_and_shown_as_it_is() {
        for (cpu_max, shown, cpus) in [
            ("50000 100000\n", "0.5", 1),
            ("100000 100000\n", "1", 1),
            ("100001 100000\n", "1", 2),
            ("150000 100000\n", "1.5", 2),
            ("250000 50000\n", "5", 5),
            ("1000 1000000\n", "0.001", 1),
            ("2000000 100000\n", "20", 20),
        ] {
            let quota = CpuQuota::of_v2(cpu_max).expect(cpu_max);
            let seen = (quota.to_string(), quota.cpus_rounded_up());
            assert_eq!(seen, (shown.to_owned(), cpus), "{cpu_max}");
        }
    }

    #[test]
    fn no_quota_is_no_quota() {
        for cpu_max in ["max 100000\n", "", "max", "x 100000", "50000 0"] {
            assert!(CpuQuota::of_v2(cpu_max).is_none(), "{cpu_max}");
        }
        assert!(CpuQuota::of_v1("-1\n", "100000\n").is_none());
        let quota = CpuQuota::of_v1("75000\n", "50000\n").expect("1.5");
        assert_eq!(quota.to_string(), "1.5");
    }

    #[test]
    fn a_quota_is_less_than_the_cpus_that_it_cannot_keep_busy() {
        for (cpu_max, cpus, less) in
            [("50000 100000", 1, true), ("100000 100000", 1, false), ("150000 100000", 2, true)]
        {
            assert_eq!(CpuQuota::of_v2(cpu_max).expect(cpu_max).is_less_than(cpus), less);
        }
    }

    #[test]
    fn the_tightest_quota_counts() {
        let quotas = ["300000 100000", "max 100000", "50000 25000", "900000 100000"];
        let quotas = quotas.into_iter().filter_map(CpuQuota::of_v2);
        assert_eq!(tightest(quotas).expect("some").to_string(), "2");
        assert!(tightest(std::iter::empty()).is_none());
    }

    #[test]
    fn the_groups_of_this_process_are_found_wherever_they_are_mounted() {
        for (what, cgroups, mounts, expected) in [
            (
                "version 2 on a host",
                "0::/system.slice/evenkeel.service\n",
                "31 23 0:28 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
                &[(Version::V2, "/sys/fs/cgroup", "system.slice/evenkeel.service")][..],
            ),
            (
                "version 2 in a container with its own cgroup namespace",
                "0::/\n",
                "31 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
                &[(Version::V2, "/sys/fs/cgroup", "")],
            ),
            (
                "version 1 in a container that sees the host's names",
                "9:name=systemd:/docker/1f\n4:cpu,cpuacct:/docker/1f\n2:cpuset:/docker/1f\n",
                "41 31 0:33 /docker/1f /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                 42 31 0:34 /docker/1f /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n",
                &[(Version::V1, "/sys/fs/cgroup/cpu,cpuacct", "")],
            ),
            (
                "both versions",
                "1:cpu:/a/b:c\n0::/d\n",
                "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                &[
                    (Version::V1, "/sys/fs/cgroup/cpu", "a/b:c"),
                    (Version::V2, "/sys/fs/cgroup/unified", "d"),
                ],
            ),
            (
                "a group beside what is mounted",
                "0::/../other\n",
                "31 23 0:28 /mine /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
                &[],
            ),
            ("none", "", "22 1 8:1 / / rw - ext4 /dev/vda rw\nnonsense\n", &[]),
        ] {
            let groups: Vec<_> = groups(cgroups, mounts);
            let seen = groups.iter().map(|group| {
                (
                    group.version,
                    group.mount.to_str().expect("text"),
                    group.path.to_str().expect("text"),
                )
            });
            assert_eq!(seen.collect::<Vec<_>>(), expected, "{what}");
        }
    }
}

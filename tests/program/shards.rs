//! How many shards there are and where, by the options and by what the host grants.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Balancer, EVENKEEL, skip};

#[test]
fn shards_are_where_they_are_wanted() {
    let allowed = uring::allowed_cpus().unwrap();
    let last = allowed[allowed.len() - 1];
    let balancer = Balancer::with(&format!("{OPTIONS} --cpus {last}"));
    assert!(balancer.setting("shards").starts_with(&format!("1, on CPU {last}")));
    assert_eq!(balancer.cpus_of_thread("shard-0"), last.to_string());
    let balancer = Balancer::with(&format!("{OPTIONS} --cpus {last} --shards 2"));
    assert!(balancer.setting("shards").starts_with(&format!("2, on CPU {last} {last}")));
}

#[test]
fn a_quota_of_half_a_cpu_is_one_shard_and_told() {
    let Some(group) = Group::with_half_a_cpu() else {
        return skip("root, and a cgroup with the cpu controller that can be written to");
    };
    let first = uring::allowed_cpus().unwrap()[0];
    let settings = format!("1, on CPU {first} (the cgroup's quota is 0.5 CPU)");
    assert_eq!(group.balancer(OPTIONS).setting("shards"), settings);
    // Two shards where two are asked for.
    let balancer = group.balancer(&format!("{OPTIONS} --shards 2"));
    assert!(balancer.setting("shards").starts_with("2, on CPU "), "{:?}", balancer.settings);
    assert!(balancer.setting("shards").contains("0.5 CPU"), "{:?}", balancer.settings);
}

/// A cgroup with a quota and one in it without, where the balancer runs; gone when it is dropped.
struct Group {
    outer: PathBuf,
    inner: PathBuf,
}

impl Group {
    fn with_half_a_cpu() -> Option<Self> {
        let quota_files = [
            ("/sys/fs/cgroup", "cpu.max", "50000 100000"),
            ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "50000"),
            ("/sys/fs/cgroup/cpu,cpuacct", "cpu.cfs_quota_us", "50000"),
        ];
        quota_files.into_iter().find_map(|(mount, file, quota)| {
            // Version 2 hands a controller on where it is told to; version 1 has no such file.
            let control = Path::new(mount).join("cgroup.subtree_control");
            let _ = control.exists().then(|| fs::write(control, "+cpu"));
            let outer = Path::new(mount).join(format!("evenkeel-test-{}", std::process::id()));
            let group = Self { inner: outer.join("inner"), outer };
            fs::create_dir_all(&group.inner).ok()?;
            let file = group.outer.join(file);
            (file.exists() && fs::write(file, quota).is_ok()).then_some(group)
        })
    }

    fn balancer(&self, options: &str) -> Balancer {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]);
        command.arg(&self.inner).arg(EVENKEEL).args(options.split_whitespace());
        Balancer::started(&mut command)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A folder that is no cgroup, as on a machine without any, goes the same way.
        let _ = fs::remove_dir(&self.inner);
        let _ = fs::remove_dir(&self.outer);
    }
}

const OPTIONS: &str = "--host 127.0.0.1 --port 0";

//! What a cgroup counts, version 1 or 2; its processes tell the rest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::process::Usage;

/// A cgroup that counts processor time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cgroup {
    path: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Cgroup {
    /// The cgroup of a directory.
    ///
    /// # Errors
    /// When it has neither `cpu.stat` of version 2 nor `cpuacct.usage` of version 1.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let of = |version| Self { path: path.to_owned(), version };
        let two = of(Version::Two).cpu_ns().map(|_| of(Version::Two));
        // Version 1 has a cpu.stat of its own, about throttling, so both are tried.
        two.or_else(|_| of(Version::One).cpu_ns().map(|_| of(Version::One)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What its processes have used, and those of the cgroups below it.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn read(&self) -> io::Result<Usage> {
        let cpu_ns = self.cpu_ns()?;
        let mut usage = Usage::of(self.processes());
        usage.cpu_ns = cpu_ns;
        usage.resident_bytes = self.resident_bytes().unwrap_or(usage.resident_bytes);
        Ok(usage)
    }

    fn cpu_ns(&self) -> io::Result<u64> {
        let file = match self.version {
            Version::One => "cpuacct.usage",
            Version::Two => "cpu.stat",
        };
        let text = fs::read_to_string(self.path.join(file))?;
        let ns = match self.version {
            Version::One => text.trim().parse().ok(),
            Version::Two => row(&text, "usage_usec").map(|us| us * 1000),
        };
        ns.ok_or_else(|| io::Error::other(format!("{file} does not tell it")))
    }

    /// Anonymous memory, which is what grows with connections; the page cache of its files is not
    /// counted where the two are told apart.
    fn resident_bytes(&self) -> Option<u64> {
        let read = |path: &Path, file: &str| fs::read_to_string(path.join(file)).ok();
        match self.version {
            Version::Two => read(&self.path, "memory.stat")
                .and_then(|stat| row(&stat, "anon"))
                .or_else(|| read(&self.path, "memory.current")?.trim().parse().ok()),
            Version::One => {
                let path = memory_hierarchy(&self.path);
                read(&path, "memory.stat")
                    .and_then(|stat| row(&stat, "total_rss").or_else(|| row(&stat, "rss")))
                    .or_else(|| read(&path, "memory.usage_in_bytes")?.trim().parse().ok())
            }
        }
    }

    /// Of this cgroup and all below it.
    fn processes(&self) -> Vec<u32> {
        let mut directories = vec![self.path.clone()];
        let mut pids = Vec::new();
        while let Some(directory) = directories.pop() {
            let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            pids.extend(procs.lines().filter_map(|line| line.trim().parse::<u32>().ok()));
            let entries = fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok);
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            directories.extend(below.map(|entry| entry.path()));
        }
        pids
    }
}

/// Version 1 has a tree for each controller: the same place in that of memory, where there is one.
fn memory_hierarchy(path: &Path) -> PathBuf {
    let is_cpu = |name: &str| ["cpu", "cpuacct", "cpu,cpuacct", "cpuacct,cpu"].contains(&name);
    let mut replaced = false;
    let swap = |part: std::path::Component<'_>| {
        let name = part.as_os_str();
        if !replaced && name.to_str().is_some_and(is_cpu) {
            replaced = true;
            return "memory".into();
        }
        name.to_owned()
    };
    let swapped: PathBuf = path.components().map(swap).collect();
    if swapped.is_dir() { swapped } else { path.to_owned() }
}

/// The number in the row of `name`.
fn row(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    rest.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these files, which is removed when it is dropped.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path =
                std::env::temp_dir().join(format!("loadgen-cgroup-{name}-{}", std::process::id()));
            for (file, text) in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().expect("it is in a directory"))
                    .expect("a directory");
                fs::write(file, text).expect("a file");
            }
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            // What cannot be removed stays in the directory for such things.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read(path: &Path) -> (u64, u64, usize) {
        let usage = Cgroup::open(path).expect("a cgroup").read().expect("it is readable");
        (usage.cpu_ns, usage.resident_bytes, usage.processes.len())
    }

    #[test]
    fn version_2_counts_microseconds_and_anonymous_memory_and_all_below() {
        let own = std::process::id().to_string();
        let directory = Directory::new(
            "two",
            &[
                ("cpu.stat", "usage_usec 1234\nuser_usec 1000\n"),
                ("memory.current", "999\n"),
                ("memory.stat", "anon_thp 7\nanon 4096\nfile 1\n"),
                ("cgroup.procs", ""),
                ("below/cgroup.procs", &own),
            ],
        );
        assert_eq!(read(&directory.0), (1_234_000, 4096, 1));
        fs::remove_file(directory.0.join("memory.stat")).expect("it was there");
        assert_eq!(read(&directory.0).1, 999);
    }

    #[test]
    fn version_1_has_memory_in_another_tree() {
        let directory = Directory::new(
            "one",
            &[
                ("cpu,cpuacct/lb/cpu.stat", "nr_periods 0\n"),
                ("cpu,cpuacct/lb/cpuacct.usage", "5678\n"),
                ("memory/lb/memory.stat", "rss 1\ntotal_rss 8192\n"),
                ("memory/lb/memory.usage_in_bytes", "9000\n"),
            ],
        );
        let path = directory.0.join("cpu,cpuacct/lb");
        assert_eq!(read(&path), (5678, 8192, 0));
        fs::remove_file(directory.0.join("memory/lb/memory.stat")).expect("it was there");
        assert_eq!(read(&path).1, 9000);
    }

    #[test]
    fn without_a_memory_controller_the_processes_tell_what_they_hold() {
        let own = std::process::id().to_string();
        let files = [("cpu.stat", "usage_usec 1\n"), ("cgroup.procs", own.as_str())];
        let directory = Directory::new("none", &files);
        assert!(read(&directory.0).1 > 100_000, "this test is larger than that");
    }

    #[test]
    fn other_directories_are_no_cgroups() {
        let directory = Directory::new("no", &[("cpu.stat", "nr_periods 0\n")]);
        for path in [directory.0.as_path(), Path::new("/nonexistent")] {
            Cgroup::open(path).expect_err("neither version");
        }
    }
}

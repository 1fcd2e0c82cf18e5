//! Programs that are started for a run: what they cost, children included, and how they end.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// A program that runs, and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Removed with it.
    files: Vec<PathBuf>,
}

impl Process {
    /// Starts `command` with the CPU affinity and the network namespace of the calling thread,
    /// which is one that was made for this: see [`crate::place::Place::run`].
    ///
    /// # Errors
    /// When the program is not there.
    pub(crate) fn spawn(mut command: Command, files: Vec<PathBuf>) -> io::Result<Self> {
        // The bench waits for the end signals; its children shall see them.
        let before = SigSet::thread_get_mask()?;
        SigSet::all().thread_unblock()?;
        let spawned = command.stdin(Stdio::null()).spawn();
        before.thread_set_mask()?;
        let child = spawned.map_err(|error| {
            remove(&files);
            let program = command.get_program().to_string_lossy();
            io::Error::new(error.kind(), format!("{program} does not start: {error}"))
        })?;
        Ok(Self { child, files })
    }

    /// CPU time used so far, user and system, by all threads and children, from the scheduler's
    /// nanosecond account (`/proc/PID/task/TID/schedstat`).
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let each = self.tree().into_iter().map(cpu_ns_of).collect::<io::Result<Vec<_>>>()?;
        Ok(Duration::from_nanos(each.iter().sum()))
    }

    /// Resident memory of it and its children (`Rss` of `/proc/PID/smaps_rollup`, which is exact
    /// where `VmRSS` is not); a page that two of them share counts for each.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        let each = self.tree().into_iter().map(resident_of).collect::<io::Result<Vec<_>>>()?;
        Ok(each.iter().sum())
    }

    /// How many processes it is, itself included.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.tree().len()
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// As waitpid(2).
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).map_err(io::Error::other)?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    /// Ends it by `signal`, and returns as soon as it has ended.
    ///
    /// # Errors
    /// When it has not within `patience`.
    pub(crate) fn end_by(&mut self, how: Signal, patience: Duration) -> io::Result<ExitStatus> {
        self.signal(how)?;
        let give_up = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > give_up {
                let said = format!("it has not ended {patience:?} after {how}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, said));
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// What it wrote, if standard output is piped.
    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Its pid and those of its descendants.
    pub(crate) fn tree(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            pids.extend(children_of(pid));
            next += 1;
        }
        pids
    }
}

impl Drop for Process {
    /// Asks first; what has not ended after three seconds is killed.
    fn drop(&mut self) {
        let tree = self.tree();
        signal(self.child.id(), Signal::SIGTERM);
        let give_up = Instant::now() + Duration::from_secs(3);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < give_up {
            sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            tree.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            let _ = self.child.wait();
        }
        remove(&self.files);
    }
}

fn remove(files: &[PathBuf]) {
    for file in files {
        let _ = fs::remove_file(file);
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn cpu_ns_of(pid: u32) -> io::Result<u64> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that ends in between is one that has nothing to do with the load.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        ns += first_number(&text)?;
    }
    Ok(ns)
}

fn resident_of(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    Ok(first_number(line.unwrap_or_default())? * 1024)
}

/// The children of all threads; where the kernel has no such list, of every process that names
/// `pid` its parent.
fn children_of(pid: u32) -> Vec<u32> {
    let folder = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = folder.into_iter().flatten().flatten();
    let mut lists = lists.map(|task| fs::read_to_string(task.path().join("children"))).peekable();
    match lists.peek() {
        Some(Ok(_)) => lists.flatten().flat_map(|list| pids_in(&list)).collect(),
        _ => processes().filter(|&one| parent_of(one) == Some(pid)).collect(),
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fourth field of `/proc/PID/stat`; the second one may contain blanks, and ends in `)`.
fn parent_of(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn pids_in(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn first_number(text: &str) -> io::Result<u64> {
    let number = text.split_whitespace().next().and_then(|field| field.parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that has a child of its own.
    fn family() -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & wait"]);
        let process = Process::spawn(command, Vec::new()).expect("every system has sh");
        let give_up = Instant::now() + Duration::from_secs(5);
        while process.count() < 2 && Instant::now() < give_up {
            sleep(Duration::from_millis(5));
        }
        process
    }

    #[test]
    fn children_are_part_of_it() {
        let process = family();
        assert_eq!(process.count(), 2);
        assert!(process.resident_bytes().expect("it runs") > 0);
        assert!(process.cpu().expect("it runs") > Duration::ZERO);
        process.tree().into_iter().skip(1).for_each(|pid| signal(pid, Signal::SIGTERM));
    }

    #[test]
    fn parents_are_found_without_the_kernels_list() {
        assert_eq!(parent_of(std::process::id()), Some(std::os::unix::process::parent_id()));
    }
}

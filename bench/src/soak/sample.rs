//! What a process holds at one moment, from /proc.

use std::fs;
use std::io;

use serde::Serialize;

/// One look at the balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Sample {
    /// Seconds since the clients started.
    pub(super) at_s: f64,
    /// Connections that the clients had open.
    pub(super) sessions: u64,
    /// Resident memory (`VmRSS`).
    pub(super) rss_kib: u64,
    /// The part of it that is no file's (`RssAnon`).
    pub(super) rss_anon_kib: u64,
    /// Descriptors that are no pipe's.
    pub(super) fds: u64,
    /// Descriptors of pipes, two for each.
    pub(super) pipe_fds: u64,
    /// Threads, kernel threads of its rings not included.
    pub(super) threads: u64,
    /// CPU time so far, user and system.
    pub(super) cpu_s: f64,
}

impl Sample {
    /// Process `pid`, now.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn take(pid: u32, at_s: f64, sessions: u64) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let (fds, pipe_fds) = descriptors(pid)?;
        let field = |name| number_after(&status, name).ok_or(io::ErrorKind::InvalidData);
        Ok(Self {
            at_s,
            sessions,
            rss_kib: field("VmRSS:")?,
            rss_anon_kib: field("RssAnon:")?,
            fds,
            pipe_fds,
            threads: field("Threads:")?,
            cpu_s: cpu_s(pid)?,
        })
    }
}

/// Those that are no pipe's, and those that are.
fn descriptors(pid: u32) -> io::Result<(u64, u64)> {
    let (mut others, mut pipes) = (0, 0);
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that was closed since it was listed is none.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let is_pipe = target.to_string_lossy().starts_with("pipe:");
        *(if is_pipe { &mut pipes } else { &mut others }) += 1;
    }
    Ok((others, pipes))
}

/// From the scheduler's nanosecond account of the threads that live.
fn cpu_s(pid: u32) -> io::Result<f64> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        ns += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(ns as f64 / 1e9)
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_told_from_other_descriptors() {
        let before = descriptors(std::process::id()).expect("this process is there");
        let pipes = [(); 50].map(|()| io::pipe().expect("descriptors are left"));
        let (_, with) = descriptors(std::process::id()).expect("this process is there");
        // Other tests run beside this one, with pipes of their own.
        assert!(with >= before.1 + 80, "{before:?} {with}");
        drop(pipes);
        let sample = Sample::take(std::process::id(), 0.0, 0).expect("this process is there");
        assert!(sample.rss_kib > 0 && sample.threads > 0 && sample.fds > 0);
    }
}

//! A lab of the bench's own: `scripts/lab.sh` makes it, and takes it away when it is dropped.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::place::Namespace;

/// One client, one balancer and one backend on a switch, without delay, loss or a rate.
#[derive(Debug)]
pub(super) struct Lab {
    /// What the names of its namespaces begin with.
    pub(super) name: String,
    /// As `lab.sh status` says it: what happens to packets.
    pub(super) effects: Vec<String>,
}

impl Lab {
    /// A lab named after this process. What ended processes have left is taken away first.
    ///
    /// # Errors
    /// With what lab.sh says: without root, iproute2 or namespaces.
    pub(super) fn up() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        left_by_the_dead().iter().for_each(|name| down(name));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let said = lab_sh(&["up", "--name", &name, "--backends", "1", "--clients", "1"])?;
        Ok(Self { name, effects: effects(&said) })
    }

    /// The network of one of its hosts: `client1`, `balancer`, `backend1`.
    ///
    /// # Errors
    /// When somebody has taken it away.
    pub(super) fn host(&self, host: &str) -> io::Result<Namespace> {
        Namespace::named(&format!("{}-{host}", self.name))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        down(&self.name);
    }
}

fn down(name: &str) {
    if let Err(error) = lab_sh(&["down", "--name", name]) {
        eprintln!("bench: the lab {name} is not taken away: {error}");
    }
}

/// Runs the script of this source tree, wherever this program was started.
fn lab_sh(arguments: &[&str]) -> io::Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lab.sh");
    let done = Command::new(&script).args(arguments).stdin(Stdio::null()).output();
    let output = done.map_err(|error| {
        io::Error::new(error.kind(), format!("{} does not start: {error}", script.display()))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// The lines of a status that tell of the links.
fn effects(status: &str) -> Vec<String> {
    let of_links = |line: &&str| line.split_once(": ").is_some_and(|(key, _)| !key.contains(' '));
    status.lines().map(str::trim).filter(of_links).map(str::to_owned).collect()
}

/// Names of labs whose bench is no more.
fn left_by_the_dead() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut labs: Vec<String> = names.filter_map(|name| lab_of_the_dead(&name)).collect();
    labs.sort();
    labs.dedup();
    labs
}

/// The lab of a namespace `ekbench-PID-NUMBER-HOST`, if no bench has this PID.
fn lab_of_the_dead(namespace: &str) -> Option<String> {
    let (lab, _host) = namespace.rsplit_once('-')?;
    let (pid, _number) = lab.strip_prefix(PREFIX)?.split_once('-')?;
    let pid: u32 = pid.parse().ok()?;
    // PIDs are used again, by others too.
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name = program.as_deref().and_then(Path::file_name).unwrap_or_default();
    let alive = name.as_encoded_bytes().starts_with(b"bench");
    (!alive).then(|| lab.to_owned())
}

const PREFIX: &str = "ekbench-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_of_ended_processes_are_recognized_by_the_pid_in_their_name() {
        let ended = Command::new("true").spawn().and_then(|mut child| {
            child.wait()?;
            Ok(child.id())
        });
        let (ended, alive) = (ended.expect("true is everywhere"), std::process::id());
        let dead = Some(format!("ekbench-{ended}-0"));
        assert_eq!(lab_of_the_dead(&format!("ekbench-{ended}-0-backend1")), dead);
        assert_eq!(lab_of_the_dead(&format!("ekbench-{alive}-0-backend1")), None);
        // Process 1 is there, and no bench.
        assert!(lab_of_the_dead("ekbench-1-0-backend1").is_some());
        assert_eq!(lab_of_the_dead(&format!("lab-{ended}-0-backend1")), None);
        assert_eq!(lab_of_the_dead("ekbench-mine-0-backend1"), None);
    }

    #[test]
    fn effects_are_the_lines_about_links() {
        let status = "lab 'ekbench-7'\n  host address\n  client1 10.77.0.101 1500\n  MTU: 1500\n  \
                      delay: none (this kernel has no netem)\n  loss: none\n  rate: none\n";
        let wanted =
            ["MTU: 1500", "delay: none (this kernel has no netem)", "loss: none", "rate: none"];
        assert_eq!(effects(status), wanted);
    }
}

//! A network of a test's own, where the kernel's settings can be changed.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Moves this thread, and what it starts from now on, to a network with a loopback alone.
pub(crate) fn in_own_network() -> bool {
    let with_loopback = || Command::new("ip").args(["link", "set", "lo", "up"]).status();
    unshare(CloneFlags::CLONE_NEWNET).is_ok() && with_loopback().is_ok_and(|done| done.success())
}

/// /proc/sys/net shows the network of who looks.
pub(crate) fn set(sysctl: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{sysctl}"), value).expect("the network is our own");
}

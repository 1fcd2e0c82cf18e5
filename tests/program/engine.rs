//! Which engine is used where io_uring is not to be had, and what the operator is told.
//!
//! A seccomp filter plays the host.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::seccomp::{
    EPOLL_PWAIT2, IO_URING_ENTER, IO_URING_REGISTER, IO_URING_SETUP, behind,
};
use crate::support::{Balancer, Ended, read_to_the_end, run, skip};
use nix::errno::Errno;
use nix::sys::signal::Signal;

#[test]
fn auto_serves_by_epoll_where_io_uring_is_blocked_or_missing_and_says_why_once() {
    if switched_off_here() {
        return;
    }
    let backend = Backend::named("B1");
    for (errno, parts) in [
        (Errno::EPERM, ["EPERM", "seccomp=unconfined"]),
        (Errno::EACCES, ["EACCES", "seccomp=unconfined"]),
        (Errno::ENOSYS, unknown()),
        (Errno::EINVAL, ["lacks IORING_SETUP_DEFER_TASKRUN", "Linux 6.1 or later"]),
    ] {
        let mut balancer =
            behind(IO_URING_SETUP, errno, || Balancer::before(&[backend.address], "--engine auto"));
        (0..10).for_each(|_| assert_eq!(balancer.ask(), "B1", "{errno}"));
        let engine = engine_of(&balancer).to_owned();
        balancer.signal(Signal::SIGTERM);
        assert_eq!(balancer.wait().code(), Some(0), "{errno}: {}", balancer.log());
        let log = balancer.log();
        let said: Vec<&str> = log.lines().filter(|line| line.contains("epoll is used")).collect();
        let [said] = said.as_slice() else { panic!("{errno}: not one line in: {log}") };
        assert!(engine.starts_with("epoll on Linux "), "{errno}: {engine}");
        for part in parts {
            assert!(said.contains(part) && engine.contains(part), "{errno}: {said}\n{engine}");
        }
    }
}

/// What is said of a system call that is said to be unknown: a kernel that can switch io_uring off, from Linux
/// 6.6 on, has it, so it is a profile that says so, podman's for one.
fn unknown() -> [&'static str; 2] {
    match Path::new("/proc/sys/kernel/io_uring_disabled").exists() {
        true => ["ENOSYS", "seccomp=unconfined"],
        false => ["has no io_uring", "Linux 6.1 or later"],
    }
}

#[test]
fn auto_serves_by_epoll_where_a_filter_lets_only_the_setup_pass() {
    let backend = Backend::named("B1");
    for syscall in [IO_URING_ENTER, IO_URING_REGISTER] {
        let balancer =
            behind(syscall, Errno::EPERM, || Balancer::before(&[backend.address], "--engine auto"));
        assert_eq!(balancer.ask(), "B1");
        assert!(engine_of(&balancer).starts_with("epoll"), "{:?}", balancer.settings);
    }
}

#[test]
fn a_lack_of_memory_or_descriptors_stays_fatal_for_auto() {
    for errno in [Errno::ENOMEM, Errno::EMFILE] {
        let ended = behind(IO_URING_SETUP, errno, || start("auto"));
        assert_refused(&ended, &["cannot set up a ring", "ulimit -n"], errno.desc());
    }
}

#[test]
fn uring_or_nothing_is_one_line_with_cause_and_cure_and_exit_code_1() {
    if switched_off_here() {
        return;
    }
    for (errno, parts) in [
        (Errno::EPERM, ["EPERM", "seccomp=unconfined"]),
        (Errno::EACCES, ["EACCES", "seccomp=unconfined"]),
        (Errno::ENOSYS, unknown()),
        (Errno::EINVAL, ["lacks", "Linux 6.1 or later"]),
        (Errno::ENOMEM, ["cannot set up a ring", "ulimit -n"]),
    ] {
        let ended = behind(IO_URING_SETUP, errno, || start("uring"));
        assert_refused(&ended, &parts, errno.desc());
    }
}

#[test]
fn epoll_that_is_asked_for_asks_nothing_of_io_uring() {
    let backend = Backend::named("B1");
    let mut balancer = behind(IO_URING_SETUP, Errno::ENOMEM, || {
        Balancer::before(&[backend.address], "--engine epoll --log-level WARNING")
    });
    assert_eq!(balancer.ask(), "B1");
    assert_eq!(engine_of(&balancer), format!("epoll on Linux {}", uring::kernel_release()));
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait().code(), Some(0));
    assert_eq!(balancer.log(), "");
}

#[test]
fn auto_is_io_uring_where_it_can_be() {
    if let Err(error) = uring::self_test() {
        return skip(&format!("io_uring: {error}"));
    }
    for options in ["--engine auto", "--engine uring"] {
        let balancer = Balancer::with(&format!("--host 127.0.0.1 --port 0 {options}"));
        assert!(engine_of(&balancer).starts_with("uring on Linux "), "{:?}", balancer.settings);
    }
}

#[test]
fn epoll_keeps_its_deadlines_on_a_kernel_that_knows_only_milliseconds() {
    let backend = Backend::named_and_held("B1");
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let balancer = behind(EPOLL_PWAIT2, errno, || {
            Balancer::before(&[backend.address], "--engine epoll --idle-timeout 300ms")
        });
        let mut client = balancer.connect();
        client.read_exact(&mut [0; 2]).unwrap();
        read_to_the_end(&client);
        balancer.assert_idle(Duration::from_secs(1));
    }
}

/// What it says that it runs on.
fn engine_of(balancer: &Balancer) -> &str {
    let engine = balancer.settings.iter().find_map(|line| line.trim().strip_prefix("engine"));
    engine.expect("among the settings").trim()
}

fn start(engine: &str) -> Ended {
    run(&["--host", "127.0.0.1", "--port", "0", "--engine", engine])
}

fn assert_refused(ended: &Ended, parts: &[&str], what: &str) {
    let Ended { code, stdout, stderr } = ended;
    assert_eq!((*code, stdout.as_str()), (Some(1), ""), "{what}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{what}: not one line: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{what}: {part} is not in: {stderr}");
    }
}

/// Whether the sysctl has a word to say before any filter has.
fn switched_off_here() -> bool {
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let off = sysctl.is_ok_and(|value| value.trim() != "0");
    if off {
        skip("kernel.io_uring_disabled=0");
    }
    off
}

//! Setting up a ring where something forbids it: the error names the cause and the cure.
//!
//! A seccomp filter plays the host that forbids it. Filters belong to a thread and cannot be taken
//! off, so each test puts its filter on a fresh thread.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::Write as _;
use std::path::Path;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use support::{alone_on, answer, received, ring, tcp_pair};
use uring::{Config, Errno, ListenError, Owner, Readiness, Ring, SetupError, listen};

#[test]
fn a_filter_that_answers_eperm_is_told_as_a_container_profile_with_its_cure() {
    if switched_off_here() {
        return;
    }
    let error = setup_error_behind(libc::SYS_io_uring_setup, None, Errno::EPERM);
    assert!(matches!(error, SetupError::Blocked(Errno::EPERM)), "{error:?}");
    let message = error.to_string();
    for part in ["EPERM", "seccomp", "docker run --security-opt seccomp=unconfined"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn a_security_module_that_answers_eacces_is_told_as_blocked() {
    if switched_off_here() {
        return;
    }
    let error = setup_error_behind(libc::SYS_io_uring_setup, None, Errno::EACCES);
    assert!(matches!(error, SetupError::Blocked(Errno::EACCES)), "{error:?}");
}

#[test]
fn a_kernel_without_io_uring_is_told_from_a_profile_that_says_there_is_none() {
    let error = setup_error_behind(libc::SYS_io_uring_setup, None, Errno::ENOSYS);
    // A kernel that has it and can switch it off, from Linux 6.6 on.
    if Path::new("/proc/sys/kernel/io_uring_disabled").exists() {
        assert!(matches!(error, SetupError::Blocked(Errno::ENOSYS)), "{error:?}");
        return;
    }
    assert!(matches!(error, SetupError::Missing(_)), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("Linux 6.1 or later"), "{message}");
    assert!(message.contains(&uring::kernel_release()), "{message}");
}

#[test]
fn a_kernel_that_knows_no_flag_of_ours_is_told_as_too_old() {
    let error = setup_error_behind(libc::SYS_io_uring_setup, None, Errno::EINVAL);
    assert!(matches!(error, SetupError::TooOld { .. }), "{error:?}");
    assert!(error.to_string().contains("DEFER_TASKRUN"), "{error}");
}

#[test]
fn a_kernel_without_buffer_rings_is_told_as_too_old_and_the_ring_is_taken_down() {
    if ring().is_none() {
        return;
    }
    let forbidden = Some(IORING_REGISTER_PBUF_RING);
    let error = setup_error_behind(libc::SYS_io_uring_register, forbidden, Errno::EINVAL);
    let SetupError::TooOld { what, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*what, "IORING_REGISTER_PBUF_RING");
}

#[test]
fn running_out_of_descriptors_is_a_lack_of_resources_and_names_the_limit() {
    let error = setup_error_behind(libc::SYS_io_uring_setup, None, Errno::EMFILE);
    assert!(matches!(error, SetupError::Resources(_)), "{error:?}");
    assert!(error.to_string().contains("ulimit -n"), "{error}");
}

#[test]
fn the_self_test_meets_the_same_error_as_a_ring() {
    if switched_off_here() {
        return;
    }
    let error = behind(libc::SYS_io_uring_setup, None, Errno::EPERM, || uring::self_test().err());
    assert!(matches!(error, Some(SetupError::Blocked(Errno::EPERM))), "{error:?}");
}

#[test]
fn a_filter_that_lets_only_the_setup_pass_is_told_as_a_container_profile_too() {
    if ring().is_none() {
        return;
    }
    for syscall in [libc::SYS_io_uring_register, libc::SYS_io_uring_enter] {
        for errno in [Errno::EPERM, Errno::EACCES, Errno::ENOSYS] {
            let error = behind(syscall, None, errno, || uring::self_test().err());
            let Some(SetupError::Blocked(told)) = error else { panic!("{syscall}: {error:?}") };
            assert_eq!(told, errno);
        }
    }
}

#[test]
fn only_a_host_without_io_uring_is_told_from_one_that_ran_short() {
    for (errno, none) in [
        (Errno::EPERM, true),
        (Errno::EACCES, true),
        (Errno::ENOSYS, true),
        (Errno::EINVAL, true),
        (Errno::ENOMEM, false),
        (Errno::EMFILE, false),
    ] {
        let error = setup_error_behind(libc::SYS_io_uring_setup, None, errno);
        assert_eq!(error.means_no_io_uring(), none, "{errno}: {error}");
    }
}

#[test]
fn a_ring_whose_descriptor_cannot_be_registered_works_without() {
    if ring().is_none() {
        return;
    }
    let forbidden = Some(IORING_REGISTER_RING_FDS);
    behind(libc::SYS_io_uring_register, forbidden, Errno::EINVAL, || {
        let mut ring = Ring::new(&Config::default()).unwrap();
        assert!(!ring.flags().registered_ring);
        let (here, mut there) = tcp_pair();
        there.write_all(b"hello").unwrap();
        ring.recv(&here, Readiness::Unknown, Owner::slot(1));
        let completion = answer(&mut ring);
        assert_eq!(received(&mut ring, &completion), b"hello");
    });
}

#[test]
fn a_low_port_without_privilege_is_named_with_its_cure() {
    let address = (std::net::Ipv4Addr::LOCALHOST, 80).into();
    let how = alone_on(address);
    let error = behind(libc::SYS_bind, None, Errno::EACCES, || listen(&how).unwrap_err());
    assert!(matches!(error, ListenError::NoPermission(_)), "{error:?}");
    assert!(error.to_string().contains("choose a higher one"), "{error}");
}

#[test]
fn the_flags_of_a_ring_are_printed_in_the_kernels_words() {
    let Some(ring) = ring() else { return };
    let (flags, text) = (ring.flags(), ring.flags().to_string());
    assert_eq!(text.contains("NO_SQARRAY"), flags.no_sqarray);
    assert_eq!(text.contains("NO_IOWAIT"), flags.no_iowait);
    assert_eq!(text.contains("RING_FDS"), flags.registered_ring);
}

/// Whether the sysctl has a word to say before any filter has.
fn switched_off_here() -> bool {
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let off = sysctl.is_ok_and(|value| value.trim() != "0");
    if off {
        support::skip("kernel.io_uring_disabled=0");
    }
    off
}

/// The error of [`Ring::new`] on a thread where `syscall` answers `errno`.
fn setup_error_behind(syscall: i64, first_argument: Option<u32>, errno: Errno) -> SetupError {
    behind(syscall, first_argument, errno, || Ring::new(&Config::default()).unwrap_err())
}

/// Runs `test` on a thread where `syscall` answers `errno`, always or only when its operation (the
/// second argument) is `operation`.
fn behind<T: Send>(
    syscall: i64,
    operation: Option<u32>,
    errno: Errno,
    test: impl FnOnce() -> T + Send,
) -> T {
    let filter = filter(syscall, operation, errno);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            seccompiler::apply_filter(&filter).unwrap();
            test()
        });
        thread.join().unwrap()
    })
}

fn filter(syscall: i64, operation: Option<u32>, errno: Errno) -> BpfProgram {
    let rules = operation.map(|operation| {
        let (width, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
        let condition = SeccompCondition::new(1, width, equal, operation.into()).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    });
    let answer = SeccompAction::Errno((errno as i32).unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let rules = [(syscall, rules.into_iter().collect())].into_iter().collect();
    SeccompFilter::new(rules, SeccompAction::Allow, answer, arch).unwrap().try_into().unwrap()
}

// include/uapi/linux/io_uring.h
const IORING_REGISTER_RING_FDS: u32 = 20;
const IORING_REGISTER_PBUF_RING: u32 = 22;

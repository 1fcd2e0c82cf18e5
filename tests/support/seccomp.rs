//! Seccomp filters. One belongs to a thread, cannot be taken off, and goes on to its children, so whatever is
//! behind one is started by a fresh thread.

use nix::errno::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Runs `start` on a thread where `syscall` answers `errno`.
pub(crate) fn behind<T: Send>(syscall: i64, errno: Errno, start: impl FnOnce() -> T + Send) -> T {
    let answer = SeccompAction::Errno((errno as i32).unsigned_abs());
    let rules = [(syscall, Vec::new())].into_iter().collect();
    let arch = std::env::consts::ARCH.try_into().expect("Linux has filters here");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, arch);
    under(&filter.expect("one rule").try_into().expect("one rule"), start)
}

/// Runs `start` on a thread with this filter.
pub(crate) fn under<T: Send>(filter: &BpfProgram, start: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            seccompiler::apply_filter(filter).expect("the kernel takes it");
            start()
        });
        thread.join().expect("it says itself why it failed")
    })
}

// The same numbers on every architecture (include/uapi/asm-generic/unistd.h).
pub(crate) const IO_URING_SETUP: i64 = 425;
pub(crate) const IO_URING_ENTER: i64 = 426;
pub(crate) const IO_URING_REGISTER: i64 = 427;
pub(crate) const EPOLL_PWAIT2: i64 = 441;

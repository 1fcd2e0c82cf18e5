//! Whether there is io_uring, and enough memory for its rings.

use uring::{Errno, SetupError};

use super::super::facts::{Locked, Ring};
use super::super::needs::Needs;
use super::{Finding, Verdict};
use crate::cli::EngineName;

pub(super) fn io_uring(ring: &Ring, wanted: EngineName) -> Finding {
    let (name, why) =
        ("io_uring", "with it a shard asks and is answered in fewer system calls than with epoll");
    let filter = if ring.filtered { "; a seccomp filter is on" } else { "" };
    let error = match &ring.tried {
        _ if wanted == EngineName::Epoll => {
            return Finding::ok(name, "not asked for (--engine epoll)", why);
        }
        Ok(flags) => return Finding::ok(name, format!("works{filter}: {flags}"), why),
        Err(error) => error,
    };
    let instead = match wanted {
        EngineName::Auto if error.means_no_io_uring() => "epoll is used",
        _ => "evenkeel will not start",
    };
    let fatal = instead != "epoll is used";
    let finding = Finding::ok(name, format!("{}{filter}: {instead}", short(error)), why);
    let (cure, note) = cure(error);
    finding.but(if fatal { Verdict::Bad } else { Verdict::Warn }, cure).noting(note)
}

/// The limit is one of the user, so it holds for two processes while one takes over from the other.
pub(super) fn locked_memory(locked: Locked, needs: &Needs) -> Finding {
    let (name, why) = (
        "locked memory",
        "the rings of all processes of a user are locked memory, also while one takes over from another; a \
         shard without one does not start",
    );
    if needs.engine == EngineName::Epoll {
        return Finding::ok(name, "not needed (--engine epoll)", why);
    }
    if locked.exempt {
        return Finding::ok(name, "no limit for this user", why);
    }
    let Some(limit) = locked.limit else {
        return Finding::unknown(name, why, "grep 'locked memory' /proc/self/limits");
    };
    if limit == u64::MAX {
        return Finding::ok(name, "no limit", why);
    }
    if !locked.counts_rings {
        return Finding::ok(name, "rings are not counted by this kernel", why);
    }
    let needed = (needs.cpus.len() as u64 + 1) * RING_BYTES;
    let kib = |bytes: u64| bytes / 1024;
    let value = format!("{} KiB, {} KiB for all rings, twice", kib(limit), kib(needed));
    let finding = Finding::ok(name, value, why);
    if limit >= needed * 2 {
        return finding;
    }
    let wanted = kib(needed * 2).max(DEFAULT_KIB);
    let note = format!(
        "as root, in the shell that starts evenkeel; in a systemd unit LimitMEMLOCK={wanted}K; \
         docker run --ulimit memlock={}",
        wanted * 1024
    );
    let verdict = if limit < needed { Verdict::Bad } else { Verdict::Warn };
    finding.but(verdict, format!("ulimit -l {wanted}")).noting(note)
}

fn short(error: &SetupError) -> String {
    match error {
        SetupError::Disabled { value } => format!("kernel.io_uring_disabled is {value}"),
        SetupError::Blocked(errno) => format!("refused ({errno:?})"),
        SetupError::Missing(kernel) => format!("not in this kernel ({kernel})"),
        SetupError::TooOld { kernel, what } => format!("this kernel ({kernel}) lacks {what}"),
        SetupError::Resources(error) => format!("no ring ({error})"),
        SetupError::SelfTest { step, .. } => format!("fails its test at {step}"),
    }
}

/// The line, and what is to be said of it.
fn cure(error: &SetupError) -> (&'static str, String) {
    let docker = "docker run --security-opt seccomp=/usr/share/evenkeel/seccomp.json";
    let unit = "the profile is packaging/seccomp.json in the source; in a systemd unit \
                SystemCallFilter=@system-service io_uring_setup io_uring_enter io_uring_register";
    match error {
        SetupError::Disabled { .. } => (
            "sysctl -w kernel.io_uring_disabled=0",
            "on the host, where this is a container".into(),
        ),
        SetupError::Blocked(_) => (docker, unit.into()),
        SetupError::Missing(_) | SetupError::TooOld { .. } => (
            "--engine epoll",
            "means it without a warning; Linux 6.1 or later has all of it".into(),
        ),
        SetupError::Resources(source) if uring::errno(source) == Errno::ENOMEM => {
            ("ulimit -l unlimited", "or free memory".into())
        }
        SetupError::Resources(_) => ("ulimit -n 4096", "or free memory".into()),
        SetupError::SelfTest { .. } => ("--engine epoll", error.to_string()),
    }
}

/// Of one shard, with its buffers (measured on Linux 6.18: 56 KiB, and 12 KiB for all), and of the control thread.
const RING_BYTES: u64 = 64 * 1024;
/// `MLOCK_LIMIT`, include/uapi/linux/resource.h, from Linux 5.16 on.
const DEFAULT_KIB: u64 = 8192;

#[cfg(test)]
mod tests {
    use super::super::super::needs::testing::needs;
    use super::super::testing::check;
    use super::EngineName::{Auto, Epoll, Uring};
    use super::Verdict::{Bad, Ok as Good, Warn};
    use super::*;

    fn error(which: &str) -> Ring {
        let (kernel, source) = ("5.10".to_owned(), std::io::Error::other("wrong"));
        let error = match which {
            "disabled" => SetupError::Disabled { value: 2 },
            "blocked" => SetupError::Blocked(Errno::EPERM),
            "missing" => SetupError::Missing(kernel),
            "old" => SetupError::TooOld { kernel, what: "IORING_SETUP_DEFER_TASKRUN" },
            "resources" => SetupError::Resources(source),
            "memory" => SetupError::Resources(Errno::ENOMEM.into()),
            _ => SetupError::SelfTest { step: "cancel", source, kernel },
        };
        Ring { tried: Err(error), filtered: which == "blocked" }
    }

    #[test]
    fn without_io_uring_there_is_epoll_unless_somebody_insists() {
        let works = || Ring { tried: Ok("FLAGS".into()), filtered: false };
        for (ring, wanted, verdict, in_cure) in [
            (works(), Auto, Good, ""),
            (works(), Uring, Good, ""),
            (error("disabled"), Epoll, Good, ""),
            (error("disabled"), Auto, Warn, "sysctl -w kernel.io_uring_disabled=0"),
            (error("disabled"), Uring, Bad, "sysctl -w kernel.io_uring_disabled=0"),
            (error("blocked"), Auto, Warn, "docker run --security-opt seccomp="),
            (error("blocked"), Uring, Bad, "docker run --security-opt seccomp="),
            (error("missing"), Auto, Warn, "--engine epoll"),
            (error("old"), Uring, Bad, "--engine epoll"),
            (error("resources"), Auto, Bad, "ulimit -n"),
            (error("memory"), Auto, Bad, "ulimit -l unlimited"),
            (error("broken"), Auto, Bad, "--engine epoll"),
        ] {
            check(&io_uring(&ring, wanted), verdict, in_cure);
        }
    }

    #[test]
    fn what_becomes_of_it_is_told() {
        for (which, wanted, value) in [
            ("blocked", Auto, "refused (EPERM); a seccomp filter is on: epoll is used"),
            ("disabled", Uring, "kernel.io_uring_disabled is 2: evenkeel will not start"),
            ("resources", Auto, "no ring (wrong): evenkeel will not start"),
        ] {
            assert_eq!(io_uring(&error(which), wanted).value, value);
        }
    }

    #[test]
    fn rings_are_locked_memory() {
        let with = |kib: u64| Locked { limit: Some(kib * 1024), exempt: false, counts_rings: true };
        let epoll = || Needs { engine: Epoll, ..needs() };
        for (locked, needs, verdict, in_cure) in [
            (with(8192), needs(), Good, ""),
            (with(384), needs(), Good, ""),
            (with(383), needs(), Warn, "ulimit -l 8192"),
            (with(191), needs(), Bad, "ulimit -l 8192"),
            (with(64), Needs { cpus: vec![0; 99], ..needs() }, Bad, "ulimit -l 12800"),
            (with(0), epoll(), Good, ""),
            (Locked { exempt: true, ..with(0) }, needs(), Good, ""),
            (Locked { counts_rings: false, ..with(0) }, needs(), Good, ""),
            (Locked { limit: Some(u64::MAX), ..with(0) }, needs(), Good, ""),
            (Locked { limit: None, ..with(0) }, needs(), Warn, "/proc/self/limits"),
        ] {
            check(&locked_memory(locked, &needs), verdict, in_cure);
        }
    }
}

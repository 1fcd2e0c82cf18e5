//! How a ring is set up: sizes, flags in grades, and what to tell the operator when it fails.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use io_uring::IoUring;
use io_uring::types::Napi;
use nix::errno::Errno;

/// Sizes of a ring.
#[derive(Clone, Debug)]
pub struct Config {
    /// Submission queue entries. A full queue is submitted early, so this bounds a batch and not
    /// the operations in flight.
    pub entries: u32,
    /// Buffers in all. Each takes memory from its first use on.
    pub buffers: u16,
    /// Buffers that the kernel may fill before the next enter, a power of two up to 32768; when
    /// they are used up, a receive fails with ENOBUFS although others are free.
    pub published: u16,
    /// Bytes in each buffer.
    pub buffer_bytes: u32,
    /// Buffers that stay with the program: [`crate::Ring::take_reserved`] hands them out.
    pub reserved: u16,
    /// How long [`crate::Ring::submit_and_spin`] will be asked to look: the kernel then marks in
    /// shared memory that there is something to run (`IORING_SETUP_TASKRUN_FLAG`), and polls the
    /// NIC's queues for as long before it sleeps, where they can be polled (NAPI).
    pub busy_poll: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            entries: 1024,
            buffers: 4096,
            published: 512,
            buffer_bytes: 16 * 1024,
            reserved: 0,
            busy_poll: None,
        }
    }
}

/// The optional behaviour that this kernel granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetupFlags {
    /// `IORING_SETUP_NO_SQARRAY` (6.6): one indirection less for each submission.
    pub no_sqarray: bool,
    /// `IORING_ENTER_NO_IOWAIT` (6.15): an idle ring is not shown as I/O wait.
    pub no_iowait: bool,
    /// `IORING_REGISTER_RING_FDS` (5.18): no reference is taken on the ring at every enter.
    pub registered_ring: bool,
    /// `IORING_REGISTER_NAPI` (6.9): the NIC is polled before a wait sleeps.
    pub napi: bool,
}

impl fmt::Display for SetupFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SINGLE_ISSUER DEFER_TASKRUN SUBMIT_ALL CLAMP CQSIZE")?;
        let optional = [
            (self.no_sqarray, "NO_SQARRAY"),
            (self.no_iowait, "NO_IOWAIT"),
            (self.registered_ring, "RING_FDS"),
            (self.napi, "NAPI"),
        ];
        for (_, name) in optional.iter().filter(|(granted, _)| *granted) {
            write!(f, " {name}")?;
        }
        Ok(())
    }
}

/// Why there is no ring. Each message says what the likely cause is and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The sysctl forbids it.
    #[error(
        "io_uring is switched off on this host (kernel.io_uring_disabled={value}): \
         try `sysctl -w kernel.io_uring_disabled=0`"
    )]
    Disabled {
        /// 1: for unprivileged processes without the group, 2: for everybody.
        value: u8,
    },
    /// A seccomp filter or a security module forbids it.
    #[error(
        "io_uring is refused ({0}) although the sysctl allows it: a container's seccomp \
         profile is the usual cause; try `docker run --security-opt seccomp=unconfined`, or a \
         profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Blocked(Errno),
    /// The kernel has no io_uring at all, or one before Linux 6.6 is said to have none.
    #[error("this kernel ({0}) has no io_uring: Linux 6.1 or later is needed")]
    Missing(String),
    /// The kernel has io_uring but not what the engine needs.
    #[error("this kernel ({kernel}) lacks {what}: Linux 6.1 or later is needed")]
    TooOld {
        /// The release as uname(2) gives it.
        kernel: String,
        /// The first thing that was missing.
        what: &'static str,
    },
    /// Memory or descriptors ran out.
    #[error(
        "cannot set up a ring: {0}; raise `ulimit -l` (from Linux 6.14 on rings are locked memory), `ulimit -n` \
         and `ulimit -v`, or use fewer shards or buffers"
    )]
    Resources(io::Error),
    /// The self-test of a fresh ring gave a wrong answer.
    #[error(
        "the io_uring self-test failed at {step}: {source}; please report the kernel ({kernel})"
    )]
    SelfTest {
        /// The operation that went wrong.
        step: &'static str,
        /// What it answered.
        source: io::Error,
        /// The release as uname(2) gives it.
        kernel: String,
    },
}

impl SetupError {
    /// Whether this host has no io_uring for us. Then something else has to do; in all other cases that
    /// would only hide what is wrong.
    #[must_use]
    pub const fn means_no_io_uring(&self) -> bool {
        match self {
            Self::Disabled { .. } | Self::Blocked(_) | Self::Missing(_) | Self::TooOld { .. } => {
                true
            }
            Self::Resources(_) | Self::SelfTest { .. } => false,
        }
    }
}

/// Builds the kernel's side: the required flags always, the optional ones where they exist.
pub(crate) fn build(config: &Config) -> Result<(IoUring, bool), SetupError> {
    match builder(config).setup_no_sqarray().build(config.entries) {
        Ok(ring) => Ok((ring, true)),
        // EINVAL is how a kernel before 6.6 answers the flag; asked without it, the answer is final.
        Err(error) if errno(&error) == Errno::EINVAL => {
            builder(config).build(config.entries).map(|ring| (ring, false)).map_err(explain)
        }
        Err(error) => Err(explain(error)),
    }
}

fn builder(config: &Config) -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(config.entries * COMPLETIONS_PER_ENTRY);
    if config.busy_poll.is_some() {
        builder.setup_taskrun_flag();
    }
    builder
}

/// Asks the kernel to poll the NIC before a wait sleeps; whether it will. Without a kernel or a NIC
/// that can, interrupts bring what comes, as ever.
pub(crate) fn register_napi(ring: &IoUring, time: Duration) -> bool {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    let mut napi = Napi::new().set_busy_poll_timeout(micros);
    ring.submitter().register_napi(&mut napi).is_ok()
}

/// Turns the errno of io_uring_setup(2) into something that a person can act on.
fn explain(error: io::Error) -> SetupError {
    let kernel = crate::kernel_release();
    match errno(&error) {
        // A kernel that can switch it off has it: podman's seccomp profile denies so.
        Errno::ENOSYS if Path::new(SYSCTL).exists() => SetupError::Blocked(Errno::ENOSYS),
        Errno::ENOSYS => SetupError::Missing(kernel),
        refused @ (Errno::EPERM | Errno::EACCES) => match sysctl_disabled() {
            0 => SetupError::Blocked(refused),
            value => SetupError::Disabled { value },
        },
        Errno::EINVAL => SetupError::TooOld { kernel, what: "IORING_SETUP_DEFER_TASKRUN" },
        _ => SetupError::Resources(error),
    }
}

/// Whether a call other than io_uring_setup(2) was answered by who guards the kernel, not by io_uring.
pub(crate) const fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS)
}

fn sysctl_disabled() -> u8 {
    std::fs::read_to_string(SYSCTL).unwrap_or_default().trim().parse().unwrap_or(0)
}

/// From Linux 6.6 on.
const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// The errno behind `error`; an unknown one when it did not come from the kernel.
#[must_use]
pub fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// A completion queue that overflows costs an allocation for each entry and an extra enter; eight
/// for each submission leaves room for everything that waits while one batch is worked on.
const COMPLETIONS_PER_ENTRY: u32 = 8;

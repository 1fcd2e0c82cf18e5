//! Where something runs: on which CPUs and in which network namespace.
//!
//! A namespace that is made here has no name: it is gone when the last process in it is, whatever
//! ended it. A thread takes its namespace and its CPUs along to the threads and processes it starts, so
//! what shall run elsewhere is started by a thread that went there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns, unshare};
use nix::unistd::Pid;

/// CPUs and a network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// CPUs that may be used there.
    pub(crate) cpus: Vec<usize>,
    /// The network.
    pub(crate) namespace: Namespace,
}

/// A network namespace, or the one that this program was started in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace(Option<Arc<File>>);

impl Place {
    /// Runs `work` there, on a thread of its own.
    ///
    /// # Errors
    /// When it cannot go there, or with those of `work`.
    pub(crate) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        self.namespace.run(|| {
            let mut set = CpuSet::new();
            for &cpu in &self.cpus {
                set.set(cpu)?;
            }
            sched_setaffinity(Pid::from_raw(0), &set)?;
            work()
        })
    }
}

impl Namespace {
    /// A new one whose loopback is up.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`; when iproute2 is missing.
    pub(crate) fn create() -> io::Result<Self> {
        let made = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        })?;
        let namespace = Self(Some(Arc::new(made)));
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The one that ip-netns(8) knows by this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn named(name: &str) -> io::Result<Self> {
        let path = Path::new("/run/netns").join(name);
        let file = File::open(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("no namespace {}: {error}", path.display()))
        })?;
        Ok(Self(Some(Arc::new(file))))
    }

    /// Whether it is the one that this program was started in.
    #[must_use]
    pub(crate) const fn is_shared(&self) -> bool {
        self.0.is_none()
    }

    /// Runs `work` in it, on a thread of its own.
    ///
    /// # Errors
    /// When it cannot be entered, or with those of `work`.
    pub(crate) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        on_a_thread(|| {
            if let Some(file) = &self.0 {
                setns(file, CloneFlags::CLONE_NEWNET)?;
            }
            work()
        })
    }

    /// ip(8) in it.
    ///
    /// # Errors
    /// With what it says.
    pub(crate) fn ip(&self, arguments: &[&str]) -> io::Result<()> {
        let output = self.run(|| Command::new("ip").args(arguments).output())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("ip {}: {}", arguments.join(" "), said.trim())))
    }

    /// Reads a file under `/proc/sys/net/ipv4`, which shows the reader's own namespace.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn sysctl(&self, name: &str) -> io::Result<String> {
        Ok(self.run(|| fs::read_to_string(sysctl_path(name)))?.trim().to_owned())
    }

    /// Writes one.
    ///
    /// # Errors
    /// When it is not there, or this is not for us to write.
    pub(crate) fn set_sysctl(&self, name: &str, value: &str) -> io::Result<()> {
        self.run(|| fs::write(sysctl_path(name), value))
    }
}

fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys/net/ipv4").join(name)
}

/// What a thread does to itself ends with it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

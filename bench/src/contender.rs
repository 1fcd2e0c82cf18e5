//! The balancers that are compared: how each is started, alike, and what it costs.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A balancer that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// This project's.
    Evenkeel,
    /// `mode tcp`.
    Haproxy,
}

/// A balancer that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its configuration, if that is a file.
    config: Option<PathBuf>,
}

impl Contender {
    /// All, in the order in which the first round runs them.
    pub(crate) const ALL: [Self; 2] = [Self::Evenkeel, Self::Haproxy];

    /// As it is printed.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Evenkeel => "evenkeel",
            Self::Haproxy => "haproxy",
        }
    }

    /// The line that brings it, if it is not here.
    #[must_use]
    pub(crate) const fn install_hint(self) -> &'static str {
        match self {
            Self::Evenkeel => "cargo build --release -p evenkeel",
            Self::Haproxy => "apt-get install haproxy",
        }
    }

    /// Its version, or nothing if it is not here.
    #[must_use]
    pub(crate) fn version(self) -> Option<String> {
        let argument = match self {
            Self::Evenkeel => "--version",
            Self::Haproxy => "-v",
        };
        let output = Command::new(self.program()).arg(argument).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().next().map(|line| line.trim().to_owned())
    }

    /// Starts it in front of `backend` and waits until it takes connections. The calling thread's
    /// CPU affinity is inherited.
    ///
    /// # Errors
    /// When it is not here, or does not listen within five seconds.
    pub(crate) fn start(self, backend: SocketAddr) -> io::Result<Running> {
        let address = free_address()?;
        let (mut command, config) = self.command(address, backend)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let running = Running { child, address, config };
        running.wait_until_it_listens()?;
        Ok(running)
    }

    /// The same for all: one thread, no log, TCP_NODELAY, a backlog of 4096, an hour of idling.
    fn command(
        self,
        address: SocketAddr,
        backend: SocketAddr,
    ) -> io::Result<(Command, Option<PathBuf>)> {
        let mut command = Command::new(self.program());
        match self {
            Self::Evenkeel => {
                command.args(["--host", &address.ip().to_string()]);
                command.args(["--port", &address.port().to_string()]);
                command.args(["--backends", &backend.to_string()]);
                command.args(["--shards", "1", "--log-level", "ERROR"]);
                Ok((command, None))
            }
            Self::Haproxy => {
                let file = format!("evenkeel-bench-{}.cfg", address.port());
                let path = std::env::temp_dir().join(file);
                fs::write(&path, haproxy_config(address, backend))?;
                command.arg("-db").arg("-f").arg(&path).stderr(Stdio::null());
                Ok((command, Some(path)))
            }
        }
    }

    fn program(self) -> PathBuf {
        match self {
            // Built beside this program.
            Self::Evenkeel => std::env::current_exe()
                .ok()
                .and_then(|path| path.parent().map(|folder| folder.join("evenkeel")))
                .unwrap_or_else(|| PathBuf::from("evenkeel")),
            Self::Haproxy => find_haproxy(),
        }
    }
}

impl Running {
    /// CPU time that it has used, user and system, all threads, from the scheduler's nanosecond
    /// account (`/proc/PID/task/TID/schedstat`).
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut ns = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
            ns += on_cpu.ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok(Duration::from_nanos(ns))
    }

    fn wait_until_it_listens(&self) -> io::Result<()> {
        let give_up = Instant::now() + Duration::from_secs(5);
        loop {
            match TcpStream::connect(self.address) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > give_up => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A pid fits: the kernel's limit is 2^22.
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
        if let Some(path) = &self.config {
            let _ = fs::remove_file(path);
        }
    }
}

fn haproxy_config(address: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 9000\n\
         defaults\n  mode tcp\n  timeout connect 3s\n  timeout client 1h\n  timeout server 1h\n\
         listen bench\n  bind {address} backlog 4096\n  server backend {backend}\n"
    )
}

/// Debian keeps it where only root's PATH looks.
fn find_haproxy() -> PathBuf {
    let usual = Path::new("/usr/sbin/haproxy");
    if usual.exists() { usual.to_owned() } else { PathBuf::from("haproxy") }
}

/// A port that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

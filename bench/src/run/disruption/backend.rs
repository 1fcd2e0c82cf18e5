//! Backends that are processes of their own: this program again, in the role `bench backend`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::Command;
use std::thread::{park, sleep};
use std::time::{Duration, Instant};

use clap::Args;
use loadgen::serve::{Backend, Mode};
use nix::sys::signal::Signal;

use crate::contender::listens;
use crate::network::Network;
use crate::process::Process;

/// What `bench backend` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Where it listens
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// What it answers: Hello from NAME
    #[arg(long, value_name = "NAME")]
    name: String,
}

/// Answers lines until a signal ends it.
///
/// # Errors
/// When it cannot listen.
pub(crate) fn run(arguments: &Arguments) -> io::Result<Infallible> {
    let Arguments { listen, name } = arguments.clone();
    let backend = Backend { name: Some(name), address: listen, mode: Mode::Hello };
    let _serving =
        loadgen::serve::start(vec![backend], NonZeroUsize::MIN).map_err(io::Error::other)?;
    loop {
        park();
    }
}

/// Backends that listen, called B1, B2 and so on.
#[derive(Debug)]
pub(super) struct Backends {
    addresses: Vec<SocketAddr>,
    processes: Vec<Process>,
}

impl Backends {
    /// Starts `count` where backends are.
    pub(super) fn start(network: &Network, count: usize) -> io::Result<Self> {
        let mut backends = Self { addresses: Vec::new(), processes: Vec::new() };
        for number in 1..=count {
            let address = network.backend_address()?;
            let process = network.backend.run(|| start(address, number))?;
            backends.addresses.push(address);
            backends.processes.push(process);
        }
        Ok(backends)
    }

    /// In the order of their names.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its end is not its own: the kernel closes what it had, a moment after its end where a ring
    /// was to be taken down first. Returns when nobody listens there any more.
    pub(super) fn kill_first(&mut self, network: &Network) -> io::Result<()> {
        self.processes[0].end_by(Signal::SIGKILL, PATIENCE)?;
        let address = self.addresses[0];
        network.backend.run(|| {
            let give_up = Instant::now() + PATIENCE;
            while listens(address)? {
                if Instant::now() > give_up {
                    return Err(io::Error::other("the killed backend goes on listening"));
                }
                sleep(Duration::from_millis(1));
            }
            Ok(())
        })
    }
}

/// At the place of the calling thread.
fn start(address: SocketAddr, number: usize) -> io::Result<Process> {
    let (listen, name) = (address.to_string(), format!("B{number}"));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["backend", "--listen", &listen, "--name", &name]);
    let mut process = Process::spawn(command, Vec::new())?;
    let give_up = Instant::now() + PATIENCE;
    while !listens(address)? {
        if let Some(status) = process.ended()? {
            return Err(io::Error::other(format!("backend {name} ended at once: {status}")));
        }
        if Instant::now() > give_up {
            return Err(io::Error::other(format!("backend {name} does not listen on {address}")));
        }
        sleep(Duration::from_millis(2));
    }
    Ok(process)
}

const PATIENCE: Duration = Duration::from_secs(5);

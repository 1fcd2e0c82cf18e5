//! One run of one contender in one case: everything is started afresh, measured and ended.

mod bulk;
mod idle;
mod load;
mod writes;

use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use loadgen::serve::{Backend, Mode, Serving};

use crate::case::{Case, Kind};
use crate::contender::Contender;
use crate::figure::Figures;
use crate::network::Network;
use crate::process::Process;
use crate::signals::Stop;

/// What all runs share.
#[derive(Debug)]
pub(crate) struct Bench {
    /// One loopback for everything.
    pub(crate) loopback: Network,
    /// Three namespaces, or why they cannot be had.
    pub(crate) veth: Result<Network, String>,
    /// How long each run is measured, after the warm-up.
    pub(crate) duration: Duration,
    /// Connections of [`Kind::Idle`].
    pub(crate) idle_connections: u32,
    /// Looked at by everything that takes time.
    pub(crate) stop: Stop,
}

/// What a run showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Run {
    /// In the order of the table's columns.
    pub(crate) figures: Figures,
    /// Requests that failed.
    pub(crate) errors: u64,
}

/// A balancer that runs, or the backend itself where there is none.
#[derive(Debug)]
struct UnderTest {
    /// Where the clients go.
    target: SocketAddr,
    process: Option<Process>,
}

impl Bench {
    /// Runs `contender` in `case` once; at `rate` requests a second, if the case is paced.
    ///
    /// # Errors
    /// When something does not start, or nothing is answered.
    pub(crate) fn run(
        &self,
        case: &Case,
        contender: &Contender,
        rate: Option<NonZeroU32>,
    ) -> io::Result<Run> {
        self.stop.check()?;
        match case.kind {
            Kind::Load { workload, connections } => self.run_load(contender, workload, connections),
            Kind::Paced { connections, .. } => {
                let rate = rate.ok_or_else(|| io::Error::other("there is no rate"))?;
                self.run_paced(contender, connections, rate)
            }
            Kind::Bulk { veth, streams, down } => {
                let network = if veth { self.veth()? } else { &self.loopback };
                self.run_bulk(contender, network, streams, down)
            }
            Kind::Writes { bytes } => self.run_writes(contender, bytes),
            Kind::Idle => self.run_idle(contender),
        }
    }

    fn veth(&self) -> io::Result<&Network> {
        self.veth.as_ref().map_err(|why| io::Error::other(why.clone()))
    }

    /// One echo backend, where backends are.
    fn start_echo(&self, network: &Network) -> io::Result<Serving> {
        let address = network.backend_address()?;
        let backend = Backend { name: Some("B1".to_owned()), address, mode: Mode::Echo };
        network.backend.run(|| {
            loadgen::serve::start(vec![backend], NonZeroUsize::MIN).map_err(io::Error::other)
        })
    }
}

impl UnderTest {
    /// Starts `contender` in front of `backend`.
    fn start(contender: &Contender, network: &Network, backend: SocketAddr) -> io::Result<Self> {
        if contender.is_direct() {
            return Ok(Self { target: backend, process: None });
        }
        let target = network.balancer_address()?;
        let process = contender.start(&network.balancer, target, backend)?;
        Ok(Self { target, process: Some(process) })
    }

    /// CPU time so far; nothing where nothing is between clients and backend.
    fn cpu(&self) -> io::Result<Option<Duration>> {
        self.process.as_ref().map(Process::cpu).transpose()
    }
}

/// Load before each measurement: caches are filled, buffers are allocated, TCP windows are open.
const WARM_UP: Duration = Duration::from_millis(500);

//! One run of one contender in one case: everything is started afresh, measured and ended.

mod bulk;
mod disruption;
mod idle;
mod iperf;
mod load;
mod writes;
mod wrk;

pub(crate) use disruption::backend;
pub(crate) use wrk::version as wrk_version;

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
    /// Where clients, balancer and backends are.
    pub(crate) network: Network,
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
            Kind::Wrk { connections } => self.run_wrk(contender, connections),
            Kind::Bulk { streams, down } => self.run_bulk(contender, streams, down),
            Kind::Iperf { streams, down } => self.run_iperf(contender, streams, down),
            Kind::Writes { bytes } => self.run_writes(contender, bytes),
            Kind::Idle => self.run_idle(contender),
            Kind::Disruption(what) => self.run_disruption(contender, what),
        }
    }

    /// One backend, where backends are.
    fn serve(&self, mode: Mode) -> io::Result<Serving> {
        let address = self.network.backend_address()?;
        let backend = Backend { name: Some("B1".to_owned()), address, mode };
        self.network.backend.run(|| {
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
        let process = contender.start(&network.balancer, target, &[backend])?;
        Ok(Self { target, process: Some(process) })
    }

    /// CPU time so far; nothing where nothing is between clients and backend.
    fn cpu(&self) -> io::Result<Option<Duration>> {
        self.process.as_ref().map(Process::cpu).transpose()
    }
}

/// Load before each measurement: caches are filled, buffers are allocated, TCP windows are open.
const WARM_UP: Duration = Duration::from_millis(300);

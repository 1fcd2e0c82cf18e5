//! Whether equals are compared: what each contender was seen to do, beside what it was told.
//!
//! Each is started once, as in a run, and looked at from outside while it carries something: its
//! threads in /proc, its sockets through pidfd_getfd(2) and ss(8), its system calls by strace(1).
//! Nothing of this happens while something is measured.

mod descriptors;
mod deviations;
mod log;
mod peer;
mod print;
mod sockets;
#[cfg(test)]
mod tests;
mod threads;
mod trace;

use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::network::Network;
use crate::process::Process;
use crate::run::Bench;
use deviations::deviations;
use peer::{Held, Peer, transfer};
use sockets::Sockets;
use threads::Threads;
use trace::{Trace, Tracer};

pub(crate) use print::print;

/// What was seen of a contender while it carried connections. What could not be seen is nothing
/// here, and a line in [`Seen::not_seen`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Who.
    pub(crate) contender: String,
    /// Processes, all that it started included.
    pub(crate) processes: usize,
    /// Threads of all of them, those that the kernel gave it (io_uring's workers) included.
    pub(crate) threads: usize,
    /// Those of them that used more than one twentieth of its CPU time while it carried exchanges.
    pub(crate) working_threads: Option<usize>,
    /// Where its threads may run, as the kernel writes it: `0`, `0-3`; `0 and 1` if they differ.
    pub(crate) cpus_allowed: String,
    /// How many connections may wait to be accepted, as the kernel has it.
    pub(crate) backlog: Option<u32>,
    /// A connection that it accepted.
    pub(crate) client_side: Option<Connection>,
    /// A connection that it made to the backend.
    pub(crate) backend_side: Option<Connection>,
    /// How many bytes from client to backend went through a pipe.
    pub(crate) up: Option<DataPath>,
    /// How many from backend to client did.
    pub(crate) down: Option<DataPath>,
    /// What it has open to write to, and whether it wrote.
    pub(crate) log: Option<Log>,
    /// Where it differs from what all shall have, in words.
    pub(crate) deviations: Vec<String>,
    /// What could not be looked at, why, and what helps.
    pub(crate) not_seen: Vec<String>,
}

/// The balancer's socket of an established connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// `TCP_NODELAY`.
    pub(crate) no_delay: bool,
    /// `SO_KEEPALIVE`.
    pub(crate) keepalive: bool,
    /// `TCP_CONGESTION`.
    pub(crate) congestion_control: String,
    /// `SO_SNDBUF`.
    pub(crate) send_buffer: Buffer,
    /// `SO_RCVBUF`.
    pub(crate) receive_buffer: Buffer,
    /// What `ss -tinO` has of it, without the addresses.
    pub(crate) ss: Option<String>,
}

/// The room that a socket has for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Buffer {
    /// As getsockopt(2) says it: twice what was asked for.
    pub(crate) bytes: u64,
    /// Whether the program chose it (`SO_BUF_LOCK`); else the kernel tunes it. Nothing on kernels
    /// before 5.14.
    pub(crate) fixed: Option<bool>,
}

/// How bytes went through a contender, in one direction of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataPath {
    /// That it was sent, and delivered, either way: the transfer, and two thousand bytes beside it.
    pub(crate) carried_bytes: u64,
    /// That went from a socket into a pipe and out of it by splice(2). The rest was copied: by
    /// system calls, or by the ring, whose receives and sends are none.
    pub(crate) spliced_bytes: u64,
    /// The system calls that it made most, the most frequent first.
    pub(crate) calls: Vec<Calls>,
}

/// How often a system call was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// As strace(1) names it.
    pub(crate) name: String,
    /// How often.
    pub(crate) count: u64,
}

/// Where a log could go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    /// What standard output is: `/dev/null`, `a pipe`, `a terminal`, `a file`, `a socket`, `closed`.
    pub(crate) stdout: String,
    /// What standard error is.
    pub(crate) stderr: String,
    /// Other files and datagram sockets (syslog's) that are open to write to.
    pub(crate) others: Vec<String>,
    /// How often it wrote to any of these while it carried bytes; nothing without strace.
    pub(crate) writes: Option<u64>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// From client to backend.
    Up,
    /// From backend to client.
    Down,
}

/// A contender that runs, and where.
#[derive(Debug)]
struct Subject<'a> {
    network: &'a Network,
    process: &'a Process,
    /// Where clients go.
    target: SocketAddr,
    peer: &'a Peer,
    /// Each way.
    transfer_bytes: u64,
}

/// Starts `contender` in front of a backend and looks at it.
///
/// # Errors
/// When it does not start, or does not carry what it is given. What only cannot be seen is no error.
pub(crate) fn look(bench: &Bench, contender: &Contender) -> io::Result<Seen> {
    bench.stop.check()?;
    let start = |address, backend| contender.start(&bench.network.balancer, address, &[backend]);
    look_at(&bench.network, contender.name, TRANSFER_BYTES, start)
}

/// Looks at whom `start` starts at an address in front of a backend.
fn look_at(
    network: &Network,
    name: &str,
    transfer_bytes: u64,
    start: impl FnOnce(SocketAddr, SocketAddr) -> io::Result<Process>,
) -> io::Result<Seen> {
    let address = network.backend_address()?;
    let peer = network.backend.run(|| Peer::serve(address))?;
    let target = network.balancer_address()?;
    let process = start(target, peer.address)?;
    Subject { network, process: &process, target, peer: &peer, transfer_bytes }.look(name)
}

impl Seen {
    /// Of somebody who could not be looked at at all.
    #[must_use]
    pub(crate) fn nothing(contender: &str, why: &io::Error) -> Self {
        let not_seen = vec![format!("anything: {why}")];
        Self { contender: contender.to_owned(), not_seen, ..Self::default() }
    }

    /// Takes a part of the look, or notes why there is none.
    fn note<T>(&mut self, what: &str, part: io::Result<T>) -> Option<T> {
        part.map_err(|error| self.not_seen.push(format!("{what}: {error}"))).ok()
    }
}

impl Subject<'_> {
    fn look(&self, name: &str) -> io::Result<Seen> {
        let processes = self.process.tree();
        let clients = &self.network.client;
        let mut held = clients.run(|| Held::open(self.target, CONNECTIONS))?;
        let before = Threads::of(&processes);
        clients.run(|| held.exchange(ROUNDS))?;
        let threads = Threads::of(&processes);
        let mut seen = Seen {
            contender: name.to_owned(),
            processes: processes.len(),
            threads: threads.count(),
            working_threads: Some(threads.worked_since(&before)),
            cpus_allowed: threads::cpus_allowed(&processes),
            ..Seen::default()
        };
        self.look_at_sockets(&processes, &held, &mut seen)?;
        let mut log_writes = Some(0);
        for direction in [Direction::Up, Direction::Down] {
            let path = self.trace(&processes, &mut held, direction)?;
            let path = seen.note(&format!("bulk {}", direction.name()), path);
            log_writes =
                log_writes.zip(path.as_ref()).map(|(sum, (_, trace))| sum + trace.log_writes);
            let path = path.map(|(carried, trace)| DataPath::of(carried, &trace));
            *(if direction == Direction::Up { &mut seen.up } else { &mut seen.down }) = path;
        }
        seen.log.iter_mut().for_each(|log| log.writes = log_writes);
        seen.deviations = deviations(&seen);
        Ok(seen)
    }

    fn look_at_sockets(&self, processes: &[u32], held: &Held, seen: &mut Seen) -> io::Result<()> {
        let namespace = &self.network.balancer.namespace;
        seen.backlog = seen.note("backlog", sockets::backlog(namespace, self.target));
        let client = held.first()?;
        let sides = [(Some(self.target), client), (None, self.peer.address)];
        let [client, backend] = sides.map(|(local, peer)| {
            let side = if local.is_some() { "client" } else { "backend" };
            let ss = sockets::shown(namespace, local, peer);
            (local, peer, seen.note(&format!("ss -ti, {side}'s side"), ss))
        });
        let Some(sockets) = seen.note("socket options", Sockets::of(processes)) else {
            seen.log = seen.note("log", log::look(processes, 0));
            return Ok(());
        };
        let [client, backend] = [("client's socket", client), ("backend's socket", backend)]
            .map(|(what, (local, peer, ss))| seen.note(what, sockets.connection(local, peer, ss)));
        (seen.client_side, seen.backend_side) = (client, backend);
        seen.log = seen.note("log", log::look(processes, sockets.datagrams()));
        Ok(())
    }

    /// Carries bytes while strace watches, or says why it does not. What it does when a session ends
    /// is watched too: that is where a log is written.
    ///
    /// # Errors
    /// When it does not carry them.
    fn trace(
        &self,
        processes: &[u32],
        held: &mut Held,
        direction: Direction,
    ) -> io::Result<io::Result<(u64, Trace)>> {
        let clients = &self.network.client;
        let tracer = match Tracer::attach(processes, clients) {
            Ok(tracer) => tracer,
            Err(error) => return Ok(Err(error)),
        };
        let carried = clients.run(|| {
            let carried = transfer(self.target, direction, self.transfer_bytes)?;
            self.peer.wait_for_rest(held.count());
            Ok(carried + held.exchange(1)?)
        })?;
        Ok(tracer.detach().map(|trace| (carried, trace)))
    }
}

impl Direction {
    const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl DataPath {
    fn of(carried_bytes: u64, trace: &Trace) -> Self {
        let (spliced_bytes, calls) = (trace.spliced_bytes(), trace.most_frequent(3));
        Self { carried_bytes, spliced_bytes, calls }
    }
}

/// Enough that a contender with two threads that share connections uses both.
const CONNECTIONS: usize = 8;
/// Exchanges on each: some tens of milliseconds of work, beside which idle threads vanish.
const ROUNDS: usize = 500;
/// Each way. A contender that copies 16 KiB at a time makes 4096 calls of it, which take strace
/// less than a second.
const TRANSFER_BYTES: u64 = 32 << 20;

//! Whether equals are compared: what each contender was seen to do, beside what it was told.

use serde::{Deserialize, Serialize};

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
    /// Those of them that used more than one hundredth of its CPU time while it carried exchanges.
    pub(crate) working_threads: Option<usize>,
    /// Where its threads may run, as the kernel writes it: `0`, `0-3`; several if they differ.
    pub(crate) cpus_allowed: String,
    /// How many connections may wait to be accepted, as the kernel has it.
    pub(crate) backlog: Option<u32>,
    /// A connection that it accepted.
    pub(crate) client_side: Option<Connection>,
    /// The connection to the backend that belongs to it.
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
    /// That it was sent, and delivered.
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

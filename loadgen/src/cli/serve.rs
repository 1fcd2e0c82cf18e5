//! `loadgen serve`: the forms in which backends can be named, and the lines that say they listen.

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use loadgen::python_address;
use loadgen::serve::{Backend, GRAMMAR, Injection, Mode, Settings, UnixBackend, start_with};
use uring::CpuList;

use super::signals::EndSignals;
use super::{Failure, print_now};

/// What `serve` takes.
#[derive(Debug, Args)]
#[command(after_long_help = format!("Faults (--inject SPEC):\n{GRAMMAR}"))]
pub(super) struct Arguments {
    /// Ports of backends that are called after them (Server 9001)
    #[arg(value_name = "PORT")]
    bare_ports: Vec<u16>,
    /// Name of a backend; repeat it with --port for several
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Port of a backend; 0 lets the kernel choose
    #[arg(short, long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// File of a backend that listens in the file system; repeat it. Names go to ports first
    #[arg(long, value_name = "PATH")]
    unix: Vec<PathBuf>,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    host: String,
    /// What the backends answer
    #[arg(long, value_enum, default_value_t = ModeName::Hello)]
    mode: ModeName,
    /// A fault to have; repeat it for several. See the end of --help for the forms
    #[arg(long, value_name = "SPEC")]
    inject: Vec<Injection>,
    /// What random delays are made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads, each with a ring of its own
    #[arg(short, long, default_value = "1")]
    threads: NonZeroUsize,
    /// Processors to keep the threads on, for example 0,2-3
    #[arg(long, value_name = "LIST")]
    cpus: Option<CpuList>,
    /// Tell connections on standard error, which is the default on a terminal
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    /// Each message gets `Hello from NAME`, or a line of N bytes where it begins with `reply=N `
    Hello,
    /// Every byte comes back
    Echo,
    /// HTTP/1.1, with /bytes/N, /health and /status
    Http,
    /// Everything is read and dropped
    Discard,
    /// Bytes are sent without end
    Source,
    /// The client's first line decides: up (discard), down (source), bidir (both) or echo
    Stream,
}

/// Serves until a signal comes.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let signals = EndSignals::block().map_err(Failure::run)?;
    let (backends, unix) = backends(&arguments)?;
    // Where it cannot be raised, accepts pause when descriptors run out.
    let _ = uring::raise_nofile_limit();
    let settings = Settings {
        threads: arguments.threads,
        cpus: arguments.cpus.map(|CpuList(cpus)| cpus).unwrap_or_default(),
        log_connections: arguments.verbose || std::io::stderr().is_terminal(),
        unix,
        inject: arguments.inject,
        seed: arguments.seed,
    };
    let serving = start_with(backends, &settings).map_err(Failure::run)?;
    let addresses = serving.addresses().iter().map(|address| python_address(*address));
    let places = addresses.chain(serving.paths().map(|path| path.display().to_string()));
    for (name, address) in serving.names().iter().zip(places) {
        print_now(&format!("Backend server '{name}' listening on {address}\n"));
    }
    signals.wait();
    serving.stop();
    Ok(ExitCode::SUCCESS)
}

fn backends(arguments: &Arguments) -> Result<(Vec<Backend>, Vec<UnixBackend>), Failure> {
    let Arguments { bare_ports, names, ports, unix, host, .. } = arguments;
    let ports: Vec<u16> = ports.iter().chain(bare_ports).copied().collect();
    let places = ports.len() + unix.len();
    if places == 0 {
        return Err(Failure::Usage(
            "no port was given: try `--name B1 --port 8881`, or bare ports such as `9001 9002`"
                .into(),
        ));
    }
    if !names.is_empty() && names.len() != places {
        return Err(Failure::Usage(format!(
            "{} names for {places} ports and paths: give each --name its --port or --unix",
            names.len(),
        )));
    }
    let ip = host_ip(host)?;
    let mode = arguments.mode.into();
    let backend = |(index, &port): (usize, &u16)| {
        let name = names.get(index).cloned();
        Backend { name, address: SocketAddr::new(ip, port), mode }
    };
    let unix_backend = |(index, path): (usize, &PathBuf)| {
        let name = names.get(ports.len() + index).cloned();
        UnixBackend { name, path: path.clone(), mode }
    };
    let backends = ports.iter().enumerate().map(backend).collect();
    Ok((backends, unix.iter().enumerate().map(unix_backend).collect()))
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Hello => Self::Hello,
            ModeName::Echo => Self::Echo,
            ModeName::Http => Self::Http,
            ModeName::Discard => Self::Discard,
            ModeName::Source => Self::Source,
            ModeName::Stream => Self::Stream,
        }
    }
}

fn host_ip(host: &str) -> Result<IpAddr, Failure> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let resolved = (bare, 0).to_socket_addrs().ok().and_then(|mut all| all.next());
    let unknown = || {
        Failure::Usage(format!("--host {host} is not an address or name: try 0.0.0.0 or 127.0.0.1"))
    };
    resolved.map(|address| address.ip()).ok_or_else(unknown)
}

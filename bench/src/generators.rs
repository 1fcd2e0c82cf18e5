//! loadgen beside the generators that people know, each on the same target: wrk for HTTP, iperf3 for
//! bulk; and what only loadgen can be asked: a rate that is held, connections that are held.

mod tools;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::contender::listens;
use crate::host::Host;
use crate::place::{Namespace, Place};
use crate::process::Process;
use crate::signals::Stop;
use crate::stats::{Spread, ratios};
use tools::{Brought, Tool};

/// Options of `bench generators`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs of each tool in each case, their order reversed from one to the next
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long one run takes, in whole seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Only the cases whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
}

/// What is written to the results folder.
#[derive(Debug, Serialize)]
struct Results<'a> {
    schema: &'static str,
    host: &'a Host,
    namespace: bool,
    rounds: u32,
    seconds: u64,
    versions: Vec<String>,
    rows: Vec<Row>,
}

/// One tool in one case.
#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    tool: String,
    command: String,
    rounds: Vec<Brought>,
}

/// Tools on one target.
struct Case {
    name: &'static str,
    /// Whether the target is on the generator's CPU.
    one_core: bool,
    tools: &'static [Tool],
}

const CASES: &[Case] = &[
    Case {
        name: "http, 1 connection, a core for each side",
        one_core: false,
        tools: &[Tool::WrkOne, Tool::HttpOne],
    },
    Case {
        name: "http, 64 connections, a core for each side",
        one_core: false,
        tools: &[Tool::Wrk, Tool::Http],
    },
    Case {
        name: "http and TCP ping-pong, 64 connections, both sides on one core",
        one_core: true,
        tools: &[Tool::Wrk, Tool::Http, Tool::Ping, Tool::Pipelined],
    },
    Case {
        name: "one stream up, a core for each side",
        one_core: false,
        tools: &[Tool::IperfUp, Tool::StreamUp],
    },
    Case {
        name: "one stream down, a core for each side",
        one_core: false,
        tools: &[Tool::IperfDown, Tool::StreamDown],
    },
    Case {
        name: "50 000 requests/s held, 64 connections, a core for each side",
        one_core: false,
        tools: &[Tool::Rate],
    },
    Case { name: "15 000 connections held", one_core: false, tools: &[Tool::Hold] },
];

/// Measures, prints and writes.
///
/// # Errors
/// When a tool fails, or the file cannot be written.
pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let stop = Stop::on_signals()?;
    build_loadgen()?;
    let host = Host::read();
    println!("{host}");
    let namespace = own_network();
    let mut rows = Vec::new();
    for case in CASES.iter().filter(|case| case.name.contains(&arguments.only)) {
        println!("\n{}", case.name);
        let measured = case.measure(arguments, &namespace, stop)?;
        print(&measured);
        rows.extend(measured);
    }
    let Arguments { rounds, seconds, ref out, .. } = *arguments;
    let results = Results {
        schema: "evenkeel-bench-generators-1",
        host: &host,
        namespace: !namespace.is_shared(),
        rounds,
        seconds,
        versions: tools::versions(),
        rows,
    };
    write(&results, out)
}

/// A network namespace with cubic, so that BBR's pacing is not what is measured; without root the
/// network that there is.
fn own_network() -> Namespace {
    let made = Namespace::create().and_then(|namespace| {
        namespace.set_sysctl("tcp_congestion_control", "cubic")?;
        Ok(namespace)
    });
    made.unwrap_or_else(|error| {
        println!("in the host's own network: {error}");
        Namespace::default()
    })
}

impl Case {
    fn measure(
        &self,
        arguments: &Arguments,
        namespace: &Namespace,
        stop: Stop,
    ) -> io::Result<Vec<Row>> {
        let cpus = uring::allowed_cpus()?;
        let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
        let place = |cpu| Place { cpus: vec![cpu], namespace: namespace.clone() };
        let there = place(if self.one_core { last } else { first });
        let here = place(last);
        let tools: Vec<Tool> = self.tools.iter().copied().filter(|tool| tool.is_here()).collect();
        let mut rows: Vec<Row> = tools.iter().map(|tool| Row::new(self.name, *tool)).collect();
        for round in 0..arguments.rounds {
            let mut order: Vec<usize> = (0..tools.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                stop.check()?;
                let target = there.run(|| Target::start(tools[index]))?;
                let seconds = arguments.seconds;
                let brought = here.run(|| tools[index].run(target.address, seconds))?;
                rows[index].rounds.push(brought);
            }
        }
        Ok(rows)
    }
}

/// Who is loaded.
struct Target {
    address: SocketAddr,
    _process: Process,
}

impl Target {
    /// Starts what `tool` loads, at the place of the calling thread.
    fn start(tool: Tool) -> io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], PORT));
        let mut command = tool.server(address);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(command, Vec::new())?;
        let give_up = Instant::now() + Duration::from_secs(5);
        while !listens(address)? {
            if Instant::now() > give_up {
                return Err(io::Error::other(format!("nobody listens on {address}")));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(Self { address, _process: process })
    }
}

impl Row {
    fn new(case: &'static str, tool: Tool) -> Self {
        let command = tool.command(SocketAddr::from(([127, 0, 0, 1], PORT)), 3);
        let words = command.get_args().map(|word| word.to_string_lossy());
        let program = Path::new(command.get_program()).file_name().unwrap_or_default();
        let program = program.to_string_lossy();
        let command: Vec<_> = std::iter::once(program).chain(words).collect();
        let command = command.join(" ");
        Self { case, tool: tool.name().to_owned(), command, rounds: Vec::new() }
    }
}

/// A line for each tool and figure, and the ratio to the first tool, round by round.
fn print(rows: &[Row]) {
    for row in rows {
        for (name, value) in figures(row) {
            let spread = Spread::of(&value);
            let Spread { median, min, max } = spread;
            let to_first = figures(&rows[0]).into_iter().find(|(first, _)| *first == name);
            let ratio = to_first.filter(|_| !std::ptr::eq(row, &rows[0])).map(|(_, first)| {
                let Spread { median, min, max } = Spread::of(&ratios(&value, &first));
                format!("  {median:.2} ({min:.2}–{max:.2}) of {}", rows[0].tool)
            });
            let ratio = ratio.unwrap_or_default();
            println!("  {:<22} {name:<22} {median:>10.2} ({min:.2}–{max:.2}){ratio}", row.tool);
        }
    }
}

/// The figures of a row that every round has.
fn figures(row: &Row) -> Vec<(&'static str, Vec<f64>)> {
    let Some(first) = row.rounds.first() else { return Vec::new() };
    let values = |name: &str| {
        let value = |brought: &Brought| Some(brought.iter().find(|(one, _)| *one == name)?.1);
        row.rounds.iter().map(value).collect::<Option<Vec<f64>>>()
    };
    first.iter().filter_map(|(name, _)| Some((*name, values(name)?))).collect()
}

fn build_loadgen() -> io::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--release", "-p", "loadgen"]).status()?;
    if built.success() { Ok(()) } else { Err(io::Error::other("loadgen does not build")) }
}

fn write(results: &Results<'_>, out: &Path) -> io::Result<()> {
    let path = out.join(format!("generators-{}.json", results.host.date()));
    std::fs::create_dir_all(out)?;
    std::fs::write(&path, serde_json::to_string_pretty(results)? + "\n")?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

/// In a network of our own; without root it has to be free.
const PORT: u16 = 18_080;

//! What a scrape of hundreds of backends does to the data path: requests at a fixed rate, with somebody
//! who scrapes now and then and without, in turn, and their latency.
//!
//! The whole balancer has one CPU, the hardest case: a shard, and the control thread that collects and
//! writes the metrics, take it from each other. Every backend has served before, so that all
//! histograms are full.

mod scraper;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use loadgen::load::{Plan, Rate, Workload};
use loadgen::serve::{Backend, Mode, Serving};
use serde::Serialize;

use crate::contender::listens;
use crate::host::{self, Host};
use crate::network::{Cpus, Network};
use crate::process::Process;
use crate::signals::Stop;
use crate::stats::{Difference, Spread, ratios};
use scraper::{Scrape, Scraper};

/// Options of `bench scrape`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs with and without scrapes, their order reversed from one to the next
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long one run takes, in whole seconds
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: u64,
    /// Backends of the one pool
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1000))]
    backends: u16,
    /// Connections that stay
    #[arg(long, default_value_t = NonZeroU32::new(64).expect("64 is not 0"))]
    connections: NonZeroU32,
    /// Requests a second, over all of them
    #[arg(long, default_value_t = NonZeroU32::new(10_000).expect("10000 is not 0"))]
    rate: NonZeroU32,
    /// Milliseconds from one scrape to the next
    #[arg(long, default_value_t = 1000)]
    every_ms: u64,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
}

/// What is written to the results folder.
#[derive(Debug, Serialize)]
struct Results<'a> {
    schema: &'static str,
    host: &'a Host,
    command: &'a str,
    backends: u16,
    connections: u32,
    rate: u32,
    every_ms: u64,
    seconds: u64,
    without: &'a [Run],
    with: &'a [Run],
    figures: Vec<Row>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
struct Run {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    achieved_per_s: f64,
    errors: u64,
    /// Processor time of the balancer for each request, the scrapes included.
    cpu_us_a_request: f64,
    scrapes: Vec<Scrape>,
}

/// A figure of all runs.
#[derive(Debug, Serialize)]
struct Row {
    figure: &'static str,
    without: Spread,
    with: Spread,
    /// With over without, round by round.
    ratio: Spread,
    difference: &'static str,
}

/// Measures, prints and writes.
///
/// # Errors
/// When something does not run, or the file cannot be written.
pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let stop = Stop::on_signals()?;
    host::build_evenkeel()?;
    let host = Host::read();
    println!("{host}");
    let network = Network::loopback(&Cpus::deal()?)?;
    let scene = Scene::start(&network, arguments)?;
    println!("{}", scene.shown);
    scene.fill_histograms(arguments)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        for scraped in [round % 2 == 1, round % 2 == 0] {
            stop.check()?;
            let run = scene.measure(arguments, scraped, stop)?;
            if scraped { with.push(run) } else { without.push(run) }
        }
    }
    let figures = rows(&without, &with);
    print(&figures, &with);
    let Arguments { backends, connections, rate, every_ms, seconds, ref out, .. } = *arguments;
    let results = Results {
        schema: "evenkeel-bench-scrape-1",
        host: &host,
        command: &scene.shown,
        backends,
        connections: connections.get(),
        rate: rate.get(),
        every_ms,
        seconds,
        without: &without,
        with: &with,
        figures,
    };
    write(&results, out)
}

/// The balancer before its backends.
struct Scene<'a> {
    network: &'a Network,
    address: SocketAddr,
    balancer: Process,
    socket: PathBuf,
    /// Its command line, shortened.
    shown: String,
    _backends: Serving,
}

impl<'a> Scene<'a> {
    fn start(network: &'a Network, arguments: &Arguments) -> io::Result<Self> {
        let port = network.backend_address()?.port();
        // One server on every loopback address is as many backends as there are such addresses.
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let backend = Backend { name: Some("B1".to_owned()), address, mode: Mode::Echo };
        let serve = || loadgen::serve::start(vec![backend], NonZeroUsize::MIN);
        let backends = network.backend.run(|| serve().map_err(io::Error::other))?;
        let target = network.balancer_address()?;
        let socket = std::env::temp_dir().join(format!("evenkeel-scrape-{}", std::process::id()));
        let options = format!(
            "--host {} --port {} --shards 1 --log-level ERROR --health-check-interval 0 \
             --algorithm round-robin",
            target.ip(),
            target.port()
        );
        let shown =
            format!("evenkeel {options} --admin unix:… --backends {} of them", arguments.backends);
        let mut command = Command::new(beside_this_program("evenkeel"));
        command.args(options.split_ascii_whitespace());
        command.args(["--admin", &format!("unix:{}", socket.display())]);
        command.args(["--backends", &addresses(arguments.backends, port)]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let files = vec![socket.clone()];
        let balancer = network.balancer.run(|| Process::spawn(command, files))?;
        let give_up = Instant::now() + Duration::from_secs(10);
        while !network.balancer.run(|| listens(target))? {
            if Instant::now() > give_up {
                return Err(io::Error::other("evenkeel does not listen"));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(Self { network, address: target, balancer, socket, shown, _backends: backends })
    }

    /// Each backend serves a few sessions.
    fn fill_histograms(&self, arguments: &Arguments) -> io::Result<()> {
        let requests = NonZeroU64::new(u64::from(arguments.backends) * 4);
        let plan = Plan { requests, ..Plan::new(self.address, Workload::Conn) };
        let load = || loadgen::load::run(&plan, &mut |_| (), &NEVER).map_err(io::Error::other);
        self.network.client.run(load).map(drop)
    }

    fn measure(&self, arguments: &Arguments, scraped: bool, stop: Stop) -> io::Result<Run> {
        let plan = Plan {
            connections: arguments.connections,
            rate: Some(Rate::constant(arguments.rate.get().into())),
            warm_up: WARM_UP,
            duration: Duration::from_secs(arguments.seconds),
            ..Plan::new(self.address, Workload::Ping)
        };
        let every = Duration::from_millis(arguments.every_ms);
        // Beside the clients, on a CPU that is not the balancer's.
        let scraper = scraped
            .then(|| self.network.client.run(|| Ok(Scraper::start(self.socket.clone(), every))))
            .transpose()?;
        let before = self.balancer.cpu()?;
        let load = || loadgen::load::run(&plan, &mut |_| (), stop.flag()).map_err(io::Error::other);
        let report = self.network.client.run(load)?;
        let cpu = self.balancer.cpu()?.saturating_sub(before);
        let scrapes = scraper.map_or(Ok(Vec::new()), Scraper::stop)?;
        stop.check()?;
        let latency = &report.latency.response.0;
        let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        // The warm-up is in the account and has as many requests a second.
        let served = report.totals.ok as f64
            * (1.0 + WARM_UP.as_secs_f64() / Duration::from_secs(arguments.seconds).as_secs_f64());
        Ok(Run {
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: us(1.0),
            achieved_per_s: report.totals.goodput_per_s,
            errors: report.totals.errors,
            cpu_us_a_request: cpu.as_secs_f64() * 1e6 / served,
            scrapes,
        })
    }
}

/// As many addresses of the loopback.
fn addresses(count: u16, port: u16) -> String {
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        format!("127.0.{high}.{low}:{port}")
    };
    (1..=count).map(address).collect::<Vec<_>>().join(",")
}

fn beside_this_program(name: &str) -> PathBuf {
    let here = std::env::current_exe().ok();
    let beside = here.and_then(|path| path.parent().map(|folder| folder.join(name)));
    beside.unwrap_or_else(|| PathBuf::from(name))
}

fn rows(without: &[Run], with: &[Run]) -> Vec<Row> {
    FIGURES
        .iter()
        .map(|&(figure, of)| {
            let [without, with]: [Vec<f64>; 2] =
                [without, with].map(|runs| runs.iter().map(of).collect());
            let ratios = ratios(&with, &without);
            Row {
                figure,
                without: Spread::of(&without),
                with: Spread::of(&with),
                ratio: Spread::of(&ratios),
                difference: match Difference::of(&ratios, true) {
                    Difference::Ahead => "lower in every round",
                    Difference::Behind => "HIGHER in every round",
                    told => told.text(),
                },
            }
        })
        .collect()
}

/// What is compared.
type Figure = (&'static str, fn(&Run) -> f64);

const FIGURES: [Figure; 5] = [
    ("p50 µs", |run| run.p50_us),
    ("p99 µs", |run| run.p99_us),
    ("p99.9 µs", |run| run.p999_us),
    ("longest µs", |run| run.max_us),
    ("CPU µs/request", |run| run.cpu_us_a_request),
];

fn print(rows: &[Row], with: &[Run]) {
    let show = |Spread { median, min, max }: &Spread| format!("{median:.1} ({min:.1}–{max:.1})");
    println!("\n{:<15} {:<28} {:<28} with / without", "", "without scrapes", "with scrapes");
    for Row { figure, without, with, ratio, difference } in rows {
        let Spread { median, min, max } = ratio;
        println!(
            "{figure:<15} {:<28} {:<28} {median:.2} ({min:.2}–{max:.2}), {difference}",
            show(without),
            show(with)
        );
    }
    let scrapes: Vec<&Scrape> = with.iter().flat_map(|run| &run.scrapes).collect();
    let ms: Vec<f64> = scrapes.iter().map(|scrape| scrape.ms).collect();
    if let Some(last) = scrapes.last() {
        let Spread { median, min, max } = Spread::of(&ms);
        println!(
            "{} scrapes of {:.1} MB each took {median:.0} ms ({min:.0}–{max:.0})",
            scrapes.len(),
            last.bytes as f64 / 1e6
        );
    }
    let errors: u64 = with.iter().map(|run| run.errors).sum();
    println!("requests that failed while it was scraped: {errors}");
}

fn write(results: &Results<'_>, out: &Path) -> io::Result<()> {
    let path = out.join(format!("scrape-{}.json", results.host.date()));
    std::fs::create_dir_all(out)?;
    std::fs::write(&path, serde_json::to_string_pretty(results)? + "\n")?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

/// Not counted.
const WARM_UP: Duration = Duration::from_millis(500);

static NEVER: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundreds_of_addresses_are_all_different_and_of_the_loopback() {
        let addresses = addresses(500, 9000);
        let parsed: std::collections::HashSet<SocketAddr> =
            addresses.split(',').map(|text| text.parse().expect("an address")).collect();
        assert_eq!(parsed.len(), 500);
        assert!(parsed.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_figure_that_is_higher_in_every_round_is_said_to_be() {
        let run = |p99_us| Run {
            p50_us: 1.0,
            p99_us,
            p999_us: 1.0,
            max_us: 1.0,
            achieved_per_s: 1.0,
            errors: 0,
            cpu_us_a_request: 1.0,
            scrapes: Vec::new(),
        };
        let runs = |of: fn(f64) -> f64| -> Vec<Run> {
            (1..=5).map(|round| run(of(f64::from(round)))).collect()
        };
        let rows = rows(&runs(|p99| p99), &runs(|p99| 2.0 * p99));
        assert_eq!((rows[1].figure, rows[1].difference), ("p99 µs", "HIGHER in every round"));
        assert_eq!(rows[0].difference, "no difference seen");
        assert_eq!(rows[1].ratio, Spread { median: 2.0, min: 2.0, max: 2.0 });
    }
}

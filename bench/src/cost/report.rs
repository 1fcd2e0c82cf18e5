//! What a comparison brought: the table for people, the file for programs.

use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Serialize;

use super::options::Options;
use crate::case::Case;
use crate::contender::{Contender, Known};
use crate::host::Host;
use crate::iperf;
use crate::network::{Cpus, Network};
use crate::run::Bench;
use crate::table::print_table;
use crate::verdict::{Comparison, Row};

/// Everything that is known so far; the file is written anew after each case.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    /// One short round, which shows nothing but that everything works.
    quick: bool,
    /// Whether all cases that were asked for are in it.
    complete: bool,
    host: Host,
    networks: Vec<NetworkUsed>,
    balancer_cpu: usize,
    other_cpus: Vec<usize>,
    rounds: u32,
    seconds_a_run: f64,
    idle_connections: u32,
    iperf3: Option<String>,
    contenders: Vec<Known>,
    cases: Vec<CaseResult>,
    not_ahead: Vec<String>,
    #[serde(skip)]
    path: PathBuf,
}

/// What the streams met.
#[derive(Debug, Serialize)]
struct NetworkUsed {
    name: &'static str,
    congestion_control: Option<String>,
    notes: Vec<String>,
}

/// What a case showed.
#[derive(Debug, Serialize)]
pub(super) struct CaseResult {
    #[serde(flatten)]
    pub(super) case: &'static Case,
    /// Requests a second, if the case is paced.
    #[serde(rename = "rate_per_s")]
    pub(super) rate: Option<NonZeroU32>,
    pub(super) rows: Vec<Row>,
    pub(super) comparisons: Vec<Comparison>,
    pub(super) failed: Vec<Failed>,
}

/// Who did not come to the end of a case.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    pub(super) contender: &'static str,
    pub(super) why: String,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        host: Host,
        cpus: &Cpus,
        bench: &Bench,
        contenders: Vec<Known>,
    ) -> Self {
        let path = options.out.join(options.file_name(host.date()));
        Self {
            schema: "evenkeel-bench-cost-2",
            quick: options.quick,
            complete: false,
            host,
            networks: vec![
                NetworkUsed::from(&bench.loopback),
                bench
                    .veth
                    .as_ref()
                    .map_or_else(|why| NetworkUsed::absent("veth", why), NetworkUsed::from),
            ],
            balancer_cpu: cpus.balancer,
            other_cpus: cpus.others.clone(),
            rounds: options.rounds().get(),
            seconds_a_run: bench.duration.as_secs_f64(),
            idle_connections: bench.idle_connections,
            iperf3: iperf::version(),
            contenders,
            cases: Vec::new(),
            not_ahead: Vec::new(),
            path,
        }
    }

    /// Who is here.
    pub(super) fn present(&self) -> Vec<&'static Contender> {
        let here = self.contenders.iter().filter(|known| known.absent.is_none());
        here.filter_map(|known| Contender::named(known.name)).collect()
    }

    /// The machine, and who takes part with which configuration.
    pub(super) fn print_head(&self) {
        if self.quick {
            println!("QUICK: one short round, which shows that everything works and no more");
        }
        println!("{}", self.host);
        for NetworkUsed { name, congestion_control, notes } in &self.networks {
            let congestion = congestion_control.as_deref().unwrap_or("absent");
            println!("{name}: {}", [&[congestion.to_owned()], &notes[..]].concat().join("; "));
        }
        let (cpu, others) = (self.balancer_cpu, &self.other_cpus);
        println!("balancer on CPU {cpu}, everything else on {others:?}");
        println!("{} rounds of {} s for each contender and case", self.rounds, self.seconds_a_run);
        println!(
            "{}\n",
            self.iperf3.as_deref().unwrap_or("iperf3 is not here: apt-get install iperf3")
        );
        self.contenders.iter().for_each(print_known);
        println!();
    }

    /// Takes a case in, and writes what there is.
    pub(super) fn add(&mut self, result: CaseResult) -> io::Result<()> {
        let not_ahead = result.comparisons.iter().filter(|one| one.is_not_ahead());
        let key = result.case.key;
        self.not_ahead.extend(not_ahead.map(|one| format!("{key}: {}", one.text())));
        self.cases.push(result);
        self.write()
    }

    /// The end of the output.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.complete = true;
        self.write()?;
        println!("\nwhere evenkeel is not ahead, or misses a target:");
        match self.not_ahead.as_slice() {
            [] => println!("  nowhere"),
            lines => lines.iter().for_each(|line| println!("  {line}")),
        }
        println!("\nwritten to {}", self.path.display());
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&self.path, serde_json::to_string_pretty(self)? + "\n")
    }
}

impl NetworkUsed {
    fn absent(name: &'static str, why: &str) -> Self {
        Self { name, congestion_control: None, notes: vec![why.to_owned()] }
    }
}

impl From<&Network> for NetworkUsed {
    fn from(network: &Network) -> Self {
        let Network { name, congestion_control, notes, .. } = network;
        let congestion_control = Some(congestion_control.clone());
        Self { name, congestion_control, notes: notes.clone() }
    }
}

impl CaseResult {
    /// The table, and what it says.
    pub(super) fn print(&self) {
        println!("\n{}: {}", self.case.key, self.case.title);
        self.rate.iter().for_each(|rate| println!("  {rate} requests/s are sent"));
        print_table(&self.rows);
        for Failed { contender, why } in &self.failed {
            println!("  {contender} FAILED: {why}");
        }
        for comparison in &self.comparisons {
            println!("  -> {}", comparison.text());
        }
    }
}

fn print_known(known: &Known) {
    let Known { name, version, absent, command, config } = known;
    if let Some(why) = absent {
        println!("{name} does not take part: {why}");
        return;
    }
    println!("{name}: {}\n  {command}", version.as_deref().unwrap_or("no version"));
    for line in config.iter().flat_map(|text| text.lines()) {
        println!("  | {line}");
    }
}

//! What a comparison brought: on the terminal, and in a file that is written anew after each case.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::options::Options;
use crate::audit::{self, Seen};
use crate::contender::{Contender, Known, Setup};
use crate::document::{Absent, CaseResult, Document, NetworkUsed, SCHEMA};
use crate::host::Host;
use crate::iperf;
use crate::network::{Cpus, Network};
use crate::run::{Bench, wrk_version};
use crate::table::print_table;

/// Everything that is known so far.
#[derive(Debug)]
pub(super) struct Report {
    document: Document,
    path: PathBuf,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        host: Host,
        cpus: &Cpus,
        bench: &Bench,
        contenders: Vec<Known>,
    ) -> Self {
        let path = options.out.join(options.file_name(&host));
        let document = Document {
            schema: SCHEMA.to_owned(),
            quick: options.quick,
            complete: false,
            host,
            network: NetworkUsed::from(&bench.network),
            balancer_cpu: cpus.balancer,
            other_cpus: cpus.others.clone(),
            rounds: options.rounds().get(),
            seconds_a_run: bench.duration.as_secs_f64(),
            idle_connections: bench.idle_connections,
            witnesses: witnesses(),
            contenders,
            seen: Vec::new(),
            cases: Vec::new(),
            not_ahead: Vec::new(),
        };
        Self { document, path }
    }

    /// Who is here.
    pub(super) fn present(&self) -> Vec<&'static Contender> {
        let here = self.document.contenders.iter().filter(|known| known.absent.is_none());
        here.filter_map(|known| Contender::named(&known.name)).collect()
    }

    /// The machine, and who takes part with which configuration.
    pub(super) fn print_head(&self) {
        let Document { quick, host, network, balancer_cpu, other_cpus, .. } = &self.document;
        if *quick {
            println!("QUICK: one short round, which shows that everything works and no more");
        }
        println!("{host}");
        let congestion = [network.congestion_control.clone()];
        println!(
            "{}: {}",
            network.name,
            [&congestion, network.notes.as_slice()].concat().join("; ")
        );
        println!("balancer on CPU {balancer_cpu}, everything else on {other_cpus:?}");
        let Document { rounds, seconds_a_run, .. } = self.document;
        println!("{rounds} rounds of {seconds_a_run} s for each contender and case");
        println!("witnesses: {}\n", self.document.witnesses.join("; "));
        self.document.contenders.iter().for_each(print_known);
        println!();
    }

    /// Whether equals are compared. Who cannot be looked at takes part nevertheless.
    pub(super) fn look_at(&mut self, contenders: &[&Contender], bench: &Bench) -> io::Result<()> {
        for one in contenders.iter().filter(|one| !one.is_direct()) {
            eprintln!("  looking at {}", one.name);
            let seen = audit::look(bench, one);
            bench.stop.check()?;
            self.document.seen.push(seen.unwrap_or_else(|why| Seen::nothing(one.name, &why)));
        }
        audit::print(&self.document.seen);
        self.write()
    }

    /// Takes a case in, and writes what there is.
    pub(super) fn add(&mut self, result: CaseResult) -> io::Result<()> {
        let not_ahead = result.comparisons.iter().filter(|one| one.is_not_ahead());
        let key = &result.key;
        self.document.not_ahead.extend(not_ahead.map(|one| format!("{key}: {}", one.text())));
        self.document.cases.push(result);
        self.write()
    }

    /// The end of the output.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.document.complete = true;
        self.write()?;
        println!("\nwhere evenkeel is not ahead, or misses a target:");
        match self.document.not_ahead.as_slice() {
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
        fs::write(&self.path, serde_json::to_string_pretty(&self.document)? + "\n")
    }
}

impl From<&Network> for NetworkUsed {
    fn from(network: &Network) -> Self {
        Self {
            name: network.name.to_owned(),
            congestion_control: network.congestion_control.clone(),
            notes: network.notes.clone(),
        }
    }
}

impl CaseResult {
    /// The table, and what it says.
    pub(super) fn print(&self) {
        println!("\n{}: {}", self.key, self.title);
        self.rate_per_s.iter().for_each(|rate| println!("  {rate} requests/s are sent"));
        print_table(&self.rows);
        for Absent { contender, why } in &self.failed {
            println!("  {contender} FAILED: {why}");
        }
        for comparison in &self.comparisons {
            println!("  -> {}", comparison.text());
        }
    }
}

/// Generators that we did not write.
fn witnesses() -> Vec<String> {
    let wrk = wrk_version().unwrap_or_else(|| "wrk is not here: apt-get install wrk".to_owned());
    let iperf = iperf::version();
    let iperf = iperf.unwrap_or_else(|| "iperf3 is not here: apt-get install iperf3".to_owned());
    vec![wrk, iperf]
}

fn print_known(known: &Known) {
    let Known { name, version, absent, command, config, disruption } = known;
    if let Some(why) = absent {
        println!("{name} does not take part: {why}");
        return;
    }
    println!("{name}: {}\n  {command}", version.as_deref().unwrap_or("no version"));
    print_config(config.as_deref());
    if let Some(Setup { command, config }) = disruption {
        println!("  where something happens to it or to a backend:\n  {command}");
        print_config(config.as_deref());
    }
}

fn print_config(text: Option<&str>) {
    text.into_iter().flat_map(str::lines).for_each(|line| println!("  | {line}"));
}

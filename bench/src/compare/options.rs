//! What `bench compare` is asked for.

use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::case::{self, Case};
use crate::contender::{self, Contender};
use crate::host::Host;

/// Options of `bench compare`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Runs of each contender in each case; fewer than 5 show no difference
    #[arg(long, default_value = "5", value_name = "N")]
    rounds: NonZeroU32,
    /// How long each run is measured, after the warm-up; iperf3 and wrk know whole seconds only
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Cases, by key or its beginning: ping-64,conn,bulk [default: all]
    #[arg(long, value_name = "CASES", value_delimiter = ',')]
    only: Vec<String>,
    /// Contenders, by name [default: all that are here]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    contenders: Vec<String>,
    /// Connections of the case `idle`
    #[arg(long, value_name = "N", default_value_t = 9000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=9000))]
    idle: u32,
    /// In a LAN of several hosts that is made for it (scripts/lab.sh), not on loopback; needs root
    #[arg(long)]
    pub(super) lab: bool,
    /// Beside an earlier run of the same day, not in place of it: whether they agree
    #[arg(long)]
    again: bool,
    /// Folder for the results
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    pub(super) out: PathBuf,
    /// One short round: shows that everything works, and no more
    #[arg(long)]
    pub(super) quick: bool,
}

impl Options {
    /// The cases that are asked for.
    pub(super) fn cases(&self) -> io::Result<Vec<&'static Case>> {
        let keys = || case::ALL.iter().map(|case| case.key).collect::<Vec<_>>().join(", ");
        for wanted in &self.only {
            if !case::ALL.iter().any(|case| case.is_asked_for_by(wanted)) {
                let said = format!("there is no case {wanted}; there are {}", keys());
                return Err(io::Error::other(said));
            }
        }
        let asked = |case: &&Case| {
            self.only.is_empty() || self.only.iter().any(|wanted| case.is_asked_for_by(wanted))
        };
        let here = |case: &&Case| !self.lab || case.is_of_the_network();
        Ok(case::ALL.iter().filter(asked).filter(here).collect())
    }

    /// The contenders that are asked for, in the order of the first round.
    pub(super) fn contenders(&self) -> io::Result<Vec<&'static Contender>> {
        let names = || contender::ALL.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
        if let Some(unknown) = self.contenders.iter().find(|name| Contender::named(name).is_none())
        {
            let said = format!("there is no contender {unknown}; there are {}", names());
            return Err(io::Error::other(said));
        }
        let asked = |one: &&Contender| {
            self.contenders.is_empty() || self.contenders.iter().any(|name| name == one.name)
        };
        Ok(contender::ALL.iter().filter(asked).collect())
    }

    pub(super) fn rounds(&self) -> NonZeroU32 {
        if self.quick { NonZeroU32::MIN } else { self.rounds }
    }

    pub(super) fn duration(&self) -> Duration {
        if self.quick { QUICK } else { self.duration.max(SHORTEST) }
    }

    pub(super) fn idle_connections(&self) -> u32 {
        self.idle
    }

    /// `2026-11-21-amd-epyc-2-cpus-lab-ping-conn-quick.json`.
    pub(super) fn file_name(&self, host: &Host) -> String {
        let network = if self.lab { "lab" } else { "loopback" };
        let chosen = self.only.iter().chain(&self.contenders).map(String::as_str);
        let marks = [self.quick.then_some("quick"), self.again.then_some("again")];
        let (date, kind) = (host.date(), host.kind());
        let parts =
            [date, &kind, network].into_iter().chain(chosen).chain(marks.into_iter().flatten());
        parts.collect::<Vec<_>>().join("-") + ".json"
    }
}

const QUICK: Duration = Duration::from_millis(500);
/// What is shorter says nothing.
const SHORTEST: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        let arguments = ["compare"].iter().chain(arguments);
        Cli::try_parse_from(arguments).expect("right arguments").options
    }

    fn host() -> Host {
        let [cpu, kernel, date] = ["AMD EPYC", "6.18.44", "2026-11-21"].map(str::to_owned);
        Host { cpu, cpus: 2, kernel, date }
    }

    #[test]
    fn a_second_run_has_a_file_of_its_own() {
        let name = options(&["--again"]).file_name(&host());
        assert_eq!(name, "2026-11-21-amd-epyc-2-cpus-loopback-again.json");
    }

    #[test]
    fn in_the_lab_everything_is_run_that_depends_on_the_network() {
        let keys: Vec<&str> =
            options(&["--lab"]).cases().expect("most").iter().map(|case| case.key).collect();
        assert!(keys.contains(&"ping-64") && !keys.contains(&"idle"));
    }

    #[test]
    fn without_options_everything_is_run() {
        let options = options(&[]);
        assert_eq!(options.cases().expect("all").len(), case::ALL.len());
        assert_eq!(options.contenders().expect("all").len(), contender::ALL.len());
        assert_eq!(options.file_name(&host()), "2026-11-21-amd-epyc-2-cpus-loopback.json");
        assert_eq!((options.rounds().get(), options.duration().as_secs()), (5, 1));
    }

    #[test]
    fn a_part_is_named_in_the_file() {
        let options = options(&[
            "--only",
            "ping-64,conn",
            "--contenders",
            "nginx,evenkeel",
            "--quick",
            "--lab",
        ]);
        let keys: Vec<&str> = options.cases().expect("two").iter().map(|case| case.key).collect();
        assert_eq!(keys, ["ping-64", "conn"]);
        let names: Vec<&str> =
            options.contenders().expect("two").iter().map(|one| one.name).collect();
        assert_eq!(names, ["evenkeel", "nginx"]);
        assert_eq!(
            options.file_name(&host()),
            "2026-11-21-amd-epyc-2-cpus-lab-ping-64-conn-nginx-evenkeel-quick.json"
        );
        assert_eq!(options.rounds().get(), 1);
    }

    #[test]
    fn what_does_not_exist_is_said_with_what_does() {
        let said = options(&["--only", "pong"]).cases().expect_err("no case").to_string();
        assert!(said.starts_with("there is no case pong; there are ping-1, ping-64"), "{said}");
        let said = options(&["--contenders", "x"]).contenders().expect_err("no one").to_string();
        assert!(said.starts_with("there is no contender x; there are evenkeel,"), "{said}");
    }
}

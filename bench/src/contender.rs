//! The balancers that are compared. All get the same: one thread, no log, TCP_NODELAY, a backlog
//! of 4096, an hour of idling; and beyond that their defaults, or what their name says.
//!
//! Another one is a line in [`ALL`]; another program is also an arm of [`Program`] and of the
//! matches over it, which the compiler names one by one.

mod config;
mod launch;
mod start;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

pub(crate) use start::listens;

use crate::case::{self, Case, Disruption, Group, Kind};

/// A balancer that can be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// As it is printed and asked for.
    pub(crate) name: &'static str,
    program: Program,
    /// Beyond what all get.
    arguments: &'static [&'static str],
    /// Where it has something to show.
    part: Part,
}

/// Where a contender has something to show that others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Everything,
    /// Small requests.
    Requests,
    /// Many bytes one way.
    Bulk,
    /// The latency of a single connection.
    OneConnection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    /// This project's balancer; built beside this program, in a file of this name.
    Evenkeel { file: &'static str },
    /// `mode tcp`; with these options.
    Haproxy { options: &'static [&'static str] },
    /// Its stream module.
    Nginx,
    /// The Python version (`bench/python`).
    Python,
    /// A relay on tokio-uring, from this program.
    Relay,
    /// The least that a relay can do, from this program.
    Floor,
    /// No balancer at all: clients and backend by themselves.
    Nothing,
}

/// Everyone who may take part, in the order in which the first round runs them.
pub(crate) const ALL: &[Contender] = &[
    evenkeel("evenkeel", &[], Part::Everything),
    evenkeel("evenkeel-epoll", &["--engine", "epoll"], Part::Everything),
    evenkeel("evenkeel-copy", &["--splice", "off"], Part::Bulk),
    evenkeel("evenkeel-splice", &["--splice", "always"], Part::Bulk),
    evenkeel("evenkeel-busy", &["--busy-poll", "50us"], Part::OneConnection),
    other("haproxy", Program::Haproxy { options: &[] }),
    Contender {
        part: Part::Bulk,
        ..other(
            "haproxy-splice",
            Program::Haproxy { options: &["splice-request", "splice-response"] },
        )
    },
    other("nginx", Program::Nginx),
    other("python", Program::Python),
    other("tokio-uring", Program::Relay),
    floor("floor-epoll", &["--engine", "epoll"], Part::Requests),
    floor("floor-ring", &["--engine", "ring"], Part::Requests),
    floor("floor-splice", &["--splice"], Part::Bulk),
    other("direct", Program::Nothing),
];

/// evenkeel with everything on that lets one see what it does ([`crate::observe`]).
pub(crate) const OBSERVED: Contender = evenkeel(
    "evenkeel-observed",
    &["--admin", "unix:{own}.sock", "--session-log", "{own}.log", "--session-log-format", "json"],
    Part::Everything,
);

/// evenkeel with all of that off, by default or by saying so.
pub(crate) const UNOBSERVED: Contender =
    evenkeel("evenkeel-unobserved", &["--tcp-info", "off"], Part::Everything);

/// Another build of evenkeel, of an earlier commit, say, as it comes.
pub(crate) const BEFORE: Contender =
    other("evenkeel-before", Program::Evenkeel { file: "evenkeel-before" });

/// What is known of a contender on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Who.
    pub(crate) name: String,
    /// What it calls itself, if it is here.
    pub(crate) version: Option<String>,
    /// Why it does not take part, and what brings it.
    pub(crate) absent: Option<String>,
    /// How it is started, with example addresses.
    pub(crate) command: String,
    /// Its configuration file.
    pub(crate) config: Option<String>,
    /// How it is started where something happens to it or to a backend, if it has a part in that.
    #[serde(default)]
    pub(crate) disruption: Option<Setup>,
}

/// A command line and a configuration file, with example addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The command line.
    pub(crate) command: String,
    /// The file that it names.
    pub(crate) config: Option<String>,
}

/// What a contender is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One backend, no checks: what carrying bytes costs.
    Speed,
    /// Several backends that are looked after, and changed while it runs.
    Disruption,
}

const fn evenkeel(name: &'static str, arguments: &'static [&'static str], part: Part) -> Contender {
    Contender { name, program: Program::Evenkeel { file: "evenkeel" }, arguments, part }
}

const fn floor(name: &'static str, arguments: &'static [&'static str], part: Part) -> Contender {
    Contender { name, program: Program::Floor, arguments, part }
}

const fn other(name: &'static str, program: Program) -> Contender {
    Contender { name, program, arguments: &[], part: Part::Everything }
}

impl Contender {
    /// The one of this name.
    #[must_use]
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|one| one.name == name)
    }

    /// Whether it is one that people would choose from, as it comes.
    fn is_chief(&self) -> bool {
        match self.program {
            Program::Evenkeel { .. } => self.arguments.is_empty(),
            Program::Floor | Program::Relay => false,
            _ => true,
        }
    }

    /// Whether there is nothing between clients and backend.
    #[must_use]
    pub(crate) fn is_direct(&self) -> bool {
        self.program == Program::Nothing
    }

    /// Why it has no part in `case`, if it has none.
    #[must_use]
    pub(crate) fn stays_out_of(&self, case: &Case) -> Option<&'static str> {
        match (self.program, self.part, case.group()) {
            (Program::Nothing, _, Group::Idle) => Some("there is no balancer to weigh"),
            (Program::Nothing, _, Group::Disruption) => Some("there is no balancer to cope"),
            (Program::Floor | Program::Relay, _, Group::Disruption) => {
                Some("it knows one backend only")
            }
            (_, Part::Requests, Group::Bulk) => Some("bulk has a floor of its own, floor-splice"),
            (_, Part::Bulk, Group::Requests | Group::Idle | Group::Disruption) => {
                Some("it differs in bulk only")
            }
            (_, Part::OneConnection, _) if !case.is_one_connection() => {
                Some("it differs in how it waits, which one connection shows")
            }
            _ if case.has_a_witness() && !self.is_chief() => {
                Some("the witnesses are asked about the chief contenders")
            }
            (Program::Python, ..) if case.kind == Kind::Disruption(Disruption::Reload) => {
                Some("it cannot read its configuration anew")
            }
            _ => None,
        }
    }

    /// Looks for it, and notes how it would be started.
    #[must_use]
    pub(crate) fn look(&self) -> Known {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (target, backends) = (address(18_000), [18_001, 18_002].map(address));
        let launch = self.launch(target, &backends[..1], Purpose::Speed);
        let copes = case::ALL.iter().filter(|case| case.group() == Group::Disruption);
        let copes = copes.clone().any(|case| self.stays_out_of(case).is_none());
        let disruption = copes.then(|| self.launch(target, &backends, Purpose::Disruption));
        let version = self.version();
        let absent = match &version {
            None => Some(self.install_hint().to_owned()),
            Some(_) => self.missing_part(),
        };
        Known {
            name: self.name.to_owned(),
            version,
            absent,
            command: if self.is_direct() { "none".to_owned() } else { launch.text() },
            config: launch.config.map(|(_, text)| text),
            disruption: disruption.map(|launch| Setup {
                command: launch.text(),
                config: launch.config.map(|(_, text)| text),
            }),
        }
    }

    /// Its version, or nothing if it is not here.
    fn version(&self) -> Option<String> {
        let program = self.program();
        let output = match self.program {
            Program::Evenkeel { .. } => Command::new(program).arg("--version").output(),
            Program::Haproxy { .. } | Program::Nginx => Command::new(program).arg("-v").output(),
            Program::Python => Command::new(program).arg("--version").output(),
            Program::Floor => Command::new(program).args(["floor", "--help"]).output(),
            Program::Relay => Command::new(program).args(["relay", "--help"]).output(),
            Program::Nothing => return Some("clients and backend by themselves".to_owned()),
        };
        let output = output.ok().filter(|output| output.status.success())?;
        if matches!(self.program, Program::Floor | Program::Relay) {
            return Some(concat!("bench ", env!("CARGO_PKG_VERSION")).to_owned());
        }
        // nginx tells it on standard error.
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(|line| line.trim().to_owned())
    }

    /// The line that brings it, if it is not here.
    const fn install_hint(&self) -> &'static str {
        match self.program {
            Program::Evenkeel { .. } => "cargo build --release -p evenkeel",
            Program::Haproxy { .. } => "apt-get install haproxy",
            Program::Nginx => "apt-get install nginx-light libnginx-mod-stream",
            Program::Python => "apt-get install python3",
            Program::Floor => "this program has no `bench floor`",
            Program::Relay => "this program has no `bench relay`",
            Program::Nothing => "always here",
        }
    }

    /// What an installed program lacks of what this contender needs.
    fn missing_part(&self) -> Option<String> {
        match self.program {
            Program::Nginx => match config::stream_module(&self.program()) {
                config::StreamModule::Absent => Some(self.install_hint().to_owned()),
                config::StreamModule::BuiltIn | config::StreamModule::File(_) => None,
            },
            Program::Evenkeel { .. } | Program::Floor => self.missing_option(),
            Program::Haproxy { .. } | Program::Python | Program::Relay | Program::Nothing => None,
        }
    }

    fn missing_option(&self) -> Option<String> {
        let subcommand = (self.program == Program::Floor).then_some("floor");
        let help = Command::new(self.program()).args(subcommand).arg("--help").output().ok()?;
        let help = String::from_utf8_lossy(&help.stdout);
        let options = self.arguments.iter().filter(|argument| argument.starts_with("--"));
        let missing = options.copied().find(|option| !help.contains(option))?;
        Some(format!("this build has no {missing}"))
    }

    fn program(&self) -> PathBuf {
        let this = || std::env::current_exe().unwrap_or_else(|_| PathBuf::from("bench"));
        match self.program {
            // Built beside this program, of which a test lies a folder deeper.
            Program::Evenkeel { file } => {
                let folder = this().parent().map(Path::to_owned).unwrap_or_default();
                let folder =
                    folder.parent().filter(|_| folder.ends_with("deps")).unwrap_or(&folder);
                folder.join(file)
            }
            Program::Haproxy { .. } => usual("/usr/sbin/haproxy"),
            Program::Nginx => usual("/usr/sbin/nginx"),
            // The distribution's, which is the same one for everybody.
            Program::Python => usual("/usr/bin/python3"),
            Program::Floor | Program::Relay => this(),
            Program::Nothing => PathBuf::new(),
        }
    }

    /// Processes that do the work or lead it.
    const fn processes(&self, purpose: Purpose) -> usize {
        match (self.program, purpose) {
            // A master and its worker.
            (Program::Nginx, _) | (Program::Haproxy { .. }, Purpose::Disruption) => 2,
            _ => 1,
        }
    }
}

/// What `{own}` in an argument stands for: the beginning of the path of files that one run of this
/// program has for its contenders.
pub(crate) fn own_files() -> String {
    let name = format!("evenkeel-bench-{}", std::process::id());
    std::env::temp_dir().join(name).display().to_string()
}

/// Of this project, wherever it is built.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/balancer.py");

/// Where Debian has it, even if PATH does not look there or finds another one first; else whatever
/// PATH finds.
fn usual(place: &str) -> PathBuf {
    let place = Path::new(place);
    let name = place.file_name().unwrap_or_default();
    if place.exists() { place.to_owned() } else { PathBuf::from(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_of(name: &str) -> String {
        Contender::named(name).expect("it is one of them").look().command
    }

    #[test]
    fn names_are_all_different() {
        for one in ALL {
            assert_eq!(Contender::named(one.name), Some(one));
        }
    }

    #[test]
    fn contenders_differ_in_what_their_names_say() {
        let plain = command_of("evenkeel");
        assert!(plain.ends_with(
            "evenkeel --host 127.0.0.1 --port 18000 --backends 127.0.0.1:18001 --shards 1 --log-level ERROR \
             --health-check-interval 0"
        ));
        assert_eq!(command_of("evenkeel-splice"), format!("{plain} --splice always"));
        assert!(
            command_of("floor-ring").ends_with(
                "floor --listen 127.0.0.1:18000 --backend 127.0.0.1:18001 --engine ring"
            )
        );
    }

    #[test]
    fn direct_is_always_here() {
        let known = Contender::named("direct").expect("it is one of them").look();
        assert!(known.absent.is_none() && known.version.is_some());
    }
}

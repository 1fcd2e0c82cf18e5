//! How each contender is started: its command line, and the file that it names.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Contender, PYTHON, Program, Purpose, config, own_files};

/// A command line, and the file that it names.
#[derive(Debug)]
pub(super) struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Where it has to be before the start, and its text.
    pub(super) config: Option<(PathBuf, String)>,
    /// Whether it tells of every start and end on standard error.
    talks: bool,
}

impl Contender {
    pub(super) fn launch(
        &self,
        address: SocketAddr,
        backends: &[SocketAddr],
        purpose: Purpose,
    ) -> Launch {
        let file = |end: &str| {
            // In networks of their own two may have the same port.
            let (process, port) = (std::process::id(), address.port());
            let name = format!("evenkeel-bench-{process}-{}-{port}.{end}", self.name);
            std::env::temp_dir().join(name)
        };
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let address_text = address.to_string();
        let backends_text = backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let copes = purpose == Purpose::Disruption;
        let (own, config): (Vec<OsString>, _) = match self.program {
            // What is read anew is a file.
            Program::Evenkeel { .. } if copes => {
                let (path, text) = (file("toml"), config::evenkeel(address, backends));
                (vec!["--config".into(), path.clone().into()], Some((path, text)))
            }
            Program::Evenkeel { .. } => {
                let to = ["--host", &ip, "--port", &port, "--backends", &backends_text];
                // As the others: one thread, no log, no health checks.
                let alike =
                    ["--shards", "1", "--log-level", "ERROR", "--health-check-interval", "0"];
                (to.into_iter().chain(alike).map(OsString::from).collect(), None)
            }
            Program::Haproxy { options } => {
                let text = match purpose {
                    Purpose::Speed => config::haproxy(address, backends, options),
                    Purpose::Disruption => config::haproxy_that_copes(address, backends),
                };
                let path = file("cfg");
                // A master and a worker, as distributions run it: it is the master that reloads.
                let master = copes.then(|| "-W".into());
                let own = ["-db".into(), "-f".into(), path.clone().into()];
                (master.into_iter().chain(own).collect(), Some((path, text)))
            }
            Program::Nginx => {
                let module = config::stream_module(&self.program());
                let (path, pid) = (file("conf"), file("pid"));
                let text = config::nginx(address, backends, &module, &pid, purpose);
                let own = ["-e", "/dev/null", "-c"].map(OsString::from);
                (own.into_iter().chain([path.clone().into()]).collect(), Some((path, text)))
            }
            Program::Python => {
                let to = ["--host", &ip, "--port", &port, "--backends", &backends_text];
                let interval = if copes { "1" } else { "0" };
                let alike = ["--log-level", "ERROR", "--health-check-interval", interval];
                let own = to.into_iter().chain(alike).map(OsString::from);
                (std::iter::once(PYTHON.into()).chain(own).collect(), None)
            }
            Program::Floor | Program::Relay => {
                let form = if self.program == Program::Floor { "floor" } else { "relay" };
                let own = [form, "--listen", &address_text, "--backend", &backends_text];
                (own.map(OsString::from).to_vec(), None)
            }
            Program::Nothing => (Vec::new(), None),
        };
        let written = |argument: &&str| OsString::from(argument.replace("{own}", &own_files()));
        let arguments = own.into_iter().chain(self.arguments.iter().map(written));
        let talks = matches!(self.program, Program::Haproxy { .. } | Program::Nginx);
        Launch { program: self.program(), arguments: arguments.collect(), config, talks }
    }
}

impl Launch {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdout(Stdio::null());
        if self.talks {
            command.stderr(Stdio::null());
        }
        command
    }

    /// As it is printed. By name: where a program lies is of no interest to who reads the results
    /// elsewhere.
    pub(super) fn text(&self) -> String {
        let program = self.program.file_name().map(OsString::from);
        let words = program.iter().chain(&self.arguments);
        let plain = |word: &OsString| {
            word.to_string_lossy().replace(concat!(env!("CARGO_MANIFEST_DIR"), "/"), "bench/")
        };
        words.map(plain).collect::<Vec<_>>().join(" ")
    }
}

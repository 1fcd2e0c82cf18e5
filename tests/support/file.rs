//! Configuration files of running balancers, which read them again on SIGHUP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use super::{Balancer, EVENKEEL, eventually};

/// A configuration file in a folder of its own; both are gone when it is dropped.
pub(crate) struct ConfigFile {
    folder: PathBuf,
    path: PathBuf,
}

impl ConfigFile {
    pub(crate) fn new(text: &str) -> Self {
        // Each test file that is a module of one program counts for itself.
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let folder = loop {
            let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
            let name = format!("evenkeel-file-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            match std::fs::create_dir(&folder) {
                Ok(()) => break folder,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", folder.display()),
            }
        };
        let file = Self { path: folder.join("evenkeel.toml"), folder };
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: &str) {
        // In one step, as editors do it: it may be read at any moment.
        let new = self.folder.join("new");
        std::fs::write(&new, text).expect("our own folder");
        std::fs::rename(&new, &self.path).expect("our own folder");
    }

    pub(crate) fn name(&self) -> &str {
        self.path.to_str().expect("a folder for temporary files with a usual name")
    }

    /// Where its neighbours are: sockets.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A balancer that goes by it.
    pub(crate) fn balancer(&self, options: &str) -> Balancer {
        let mut command = Command::new(EVENKEEL);
        command.args(["--config", self.name()]).args(options.split_whitespace());
        Balancer::started(&mut command)
    }

    /// Writes another text and has it read; what the balancer says about it.
    pub(crate) fn reload(&self, balancer: &Balancer, text: &str) -> String {
        self.write(text);
        balancer.reload()
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Balancer {
    /// Has the file read again, and waits until that is done; what is said about it.
    pub(crate) fn reload(&self) -> String {
        let before = self.reloads();
        self.signal(Signal::SIGHUP);
        eventually(|| self.reloads() > before, || format!("no reload: {}", self.log()));
        reloads_in(&self.log()).last().expect("it was counted").to_owned()
    }

    /// How often a file was read again, with success or without.
    pub(crate) fn reloads(&self) -> usize {
        reloads_in(&self.log()).count()
    }
}

/// What is said once of each reload, in one line or several.
fn reloads_in(log: &str) -> impl Iterator<Item = &str> {
    log.split(" SIGHUP: ").skip(1).filter(|said| !said.starts_with("to be changed by a restart"))
}

/// What is quick and quiet: nobody is checked, held or waited for.
pub(crate) const QUIET_FILE: &str = "[process]\ndrain_timeout = \"1s\"\n[defaults]\n\
    wait_for_backend_timeout = \"0s\"\nalgorithm = \"round-robin\"\n[defaults.health]\ntype = \"off\"\n";

/// A listener, and the pool that serves it.
pub(crate) fn listener(listen: &str, pool: &str) -> String {
    format!("[[listener]]\nlisten = \"{listen}\"\npool = \"{pool}\"\n")
}

/// A pool of backends, with more keys.
pub(crate) fn pool(name: &str, backends: &[std::net::SocketAddr], keys: &str) -> String {
    let backends: Vec<String> = backends.iter().map(|one| format!("\"{one}\"")).collect();
    format!("[pool.{name}]\nbackends = [{}]\n{keys}\n", backends.join(", "))
}

//! SIGUSR2 when nothing can come of it: the process goes on, and says why.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::service::succession::{ENGINES, Succession, copy_program};
use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener, pool};
use crate::support::{Balancer, EVENKEEL, eventually};

#[test]
fn a_new_configuration_that_is_wrong_is_named_and_the_old_process_goes_on() {
    let backend = Backend::echo();
    let good = listener("127.0.0.1:0", "web") + &pool("web", &[backend.address], "");
    let good = format!("{QUIET_FILE}{good}");
    let file = ConfigFile::new(&good);
    let mut line = Succession::of(file.balancer(""));
    let mut client = line.first.connect();
    file.write("[[listener]]\nlisten = \"nonsense\"\n");
    line.signal(Signal::SIGUSR2);
    let goes_on = "this process goes on, because nobody has taken over: process ";
    eventually(|| line.log().contains(goes_on), || line.log());
    assert!(line.log().contains("could not start: "), "{}", line.log());
    assert!(line.log().contains("evenkeel.toml:2:10: `listen`"), "{}", line.log());
    echo(&mut client);
    echo(&mut line.first.connect());
    // And the next time it is better.
    file.write(&good);
    line.hand_over();
    echo(&mut client);
    echo(&mut line.first.connect());
    drop(client);
    line.end();
}

#[test]
fn one_that_fails_with_the_sockets_in_its_hands_leaves_all_of_them_as_they_were() {
    let backend = Backend::echo();
    for engine in ENGINES {
        let file = ConfigFile::new("");
        let [web, admin] = ["web.sock", "admin.sock"].map(|name| file.folder().join(name));
        let text = |more: &str| {
            let process = format!("[process]\nadmin = \"unix:{}\"\n", admin.display());
            format!(
                "{}[[listener]]\nlisten = [\"127.0.0.1:0\", \"unix:{}\"{more}]\n{}",
                QUIET_FILE.replacen("[process]\n", &process, 1),
                web.display(),
                pool("web", &[backend.address], "")
            )
        };
        file.write(&text(""));
        let balancer = file.balancer(&format!("--shards 2 {engine}"));
        // An address of documentation (RFC 5737), which no host has.
        file.write(&text(", \"198.51.100.1:0\""));
        balancer.signal(Signal::SIGUSR2);
        let goes_on = "this process goes on, because nobody has taken over";
        eventually(|| balancer.log().contains(goes_on), || balancer.log());
        assert!(balancer.log().contains("198.51.100.1"), "{}", balancer.log());
        echo(&mut balancer.connect());
        for path in [&web, &admin] {
            UnixStream::connect(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        }
        file.write(&text(""));
        let mut line = Succession::of(balancer);
        line.hand_over();
        assert_eq!(line.first.wait_alone().code(), Some(0), "{}", line.log());
        assert!(web.exists() && admin.exists());
        line.end();
        assert!(!web.exists() && !admin.exists());
    }
}

#[test]
fn nobody_has_to_read_what_a_new_process_prints() {
    let backend = Backend::echo();
    let options = format!("--host 127.0.0.1 --port 0 --backends {}", backend.address);
    let mut full = Command::new("sh");
    full.args(["-c", "exec \"$0\" \"$@\" > /dev/full", EVENKEEL]).args(options.split_whitespace());
    let mut running = full.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut log = std::io::BufReader::new(running.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("cannot be told on standard output") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut log, &mut line).unwrap() > 0, "it has ended");
    }
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn a_program_that_cannot_be_started_or_ends_at_once_is_named() {
    let backend = Backend::echo();
    let program = Replaced::running(&backend);
    std::fs::remove_file(&program.path).unwrap();
    program.balancer.signal(Signal::SIGUSR2);
    program.wait_for("cannot be started: No such file");
    program.write("exit 3");
    program.balancer.signal(Signal::SIGUSR2);
    program.wait_for("ended before it was ready: exit status: 3");
    echo(&mut program.balancer.connect());
    let report = program.balancer.end();
    assert_eq!(report.lines_with("this process goes on"), 2);
}

#[test]
fn while_one_hand_over_is_under_way_there_is_no_second_and_no_reload_but_an_end() {
    let backend = Backend::echo();
    let mut program = Replaced::running(&backend);
    let mark = program.file.folder().join("started");
    program.write(&format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", mark.display()));
    program.balancer.signal(Signal::SIGUSR2);
    eventually(|| mark.exists(), || program.balancer.log());
    program.balancer.signal(Signal::SIGUSR2);
    program.wait_for("a hand-over is under way already");
    program.balancer.signal(Signal::SIGHUP);
    program.wait_for("nothing is read again while handing over");
    echo(&mut program.balancer.connect());
    program.balancer.signal(Signal::SIGTERM);
    assert_eq!(program.balancer.wait().code(), Some(0), "{}", program.balancer.log());
    program.wait_for("the hand-over that was under way is given up");
    let pid = std::fs::read_to_string(&mark).unwrap();
    let gone = || !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists();
    eventually(gone, || format!("process {pid} is still there"));
}

#[test]
fn nothing_is_handed_over_by_who_is_stopping() {
    let backend = Backend::echo();
    let options = "--drain-timeout 10m";
    let mut balancer = Balancer::before(&[backend.address], options);
    let mut client = balancer.connect();
    echo(&mut client);
    balancer.signal(Signal::SIGTERM);
    eventually(|| balancer.log().contains(": stopping; "), || balancer.log());
    balancer.signal(Signal::SIGUSR2);
    let refused = "SIGUSR2: nothing is handed over while stopping";
    eventually(|| balancer.log().contains(refused), || balancer.log());
    drop(client);
    assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
}

/// A balancer whose program file has become another.
struct Replaced {
    balancer: Balancer,
    path: std::path::PathBuf,
    file: ConfigFile,
}

impl Replaced {
    fn running(backend: &Backend) -> Self {
        let file = ConfigFile::new("");
        let path = file.folder().join("evenkeel");
        copy_program(EVENKEEL.as_ref(), &path);
        let options = format!("--host 127.0.0.1 --port 0 --backends {}", backend.address);
        let balancer = Balancer::started(Command::new(&path).args(options.split_whitespace()));
        Self { balancer, path, file }
    }

    /// A script takes its place.
    fn write(&self, script: &str) {
        let (text, new) = (self.path.with_extension("txt"), self.path.with_extension("new"));
        std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        copy_program(&text, &new);
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &self.path).unwrap();
    }

    fn wait_for(&self, said: &str) {
        eventually(|| self.balancer.log().contains(said), || self.balancer.log());
    }
}

fn echo(client: &mut std::net::TcpStream) {
    let mut answer = [0; 4];
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

//! The processes of a soak: the balancer, and clients and backends in one each, so that every one
//! has a limit of descriptors of its own.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program whose lines are read. It is ended when this value is dropped.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    lines: Receiver<String>,
    end: End,
}

/// How a program is asked to end.
#[derive(Debug)]
enum End {
    /// By closing its standard input, so that it also ends when this process dies.
    Input(Option<ChildStdin>),
    Signal,
}

/// The balancer and what it said at its start.
#[derive(Debug)]
pub(super) struct Evenkeel {
    program: Program,
    /// Every effective setting.
    pub(super) settings: Vec<String>,
    /// Where clients connect.
    pub(super) address: SocketAddr,
    log: PathBuf,
}

impl Evenkeel {
    /// Starts the balancer that was built beside this program.
    ///
    /// # Errors
    /// When it does not listen within ten seconds.
    pub(super) fn start(
        backends: &str,
        shards: u16,
        engine: Option<&'static str>,
    ) -> io::Result<Self> {
        let log = std::env::temp_dir().join(format!("evenkeel-soak-{}.log", std::process::id()));
        let mut command = Command::new(evenkeel());
        command.args(["--host", "127.0.0.1", "--port", "0", "--backends", backends]);
        command.args(["--shards", &shards.to_string(), "--log-level", "INFO"]);
        // What comes to the backends are the clients of the soak; and who is left at the end is cut.
        command.args(["--health-check-interval", "0", "--drain-timeout", "1s"]);
        command.args(engine.into_iter().flat_map(|engine| ["--engine", engine]));
        command.stdin(Stdio::null()).stderr(File::create(&log)?);
        let program = Program::start(command, End::Signal)?;
        let mut settings = Vec::new();
        loop {
            let line = program.line(START)?;
            if let Some(address) = line.strip_prefix("listening on ") {
                let address = address.parse().map_err(io::Error::other)?;
                return Ok(Self { program, settings, address, log });
            }
            settings.push(line.trim().to_owned());
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.program.child.id()
    }

    /// A setting by the word that its line begins with.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        let of =
            |line: &'_ String| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
        self.settings.iter().find(|line| of(line)).map(|line| line[name.len()..].trim())
    }

    /// Stops it; what it wrote to its log in the end, counters among it.
    pub(super) fn stop(mut self) -> Vec<String> {
        self.program.end();
        let log = self.take_log();
        let from = log.iter().rposition(|line| line.contains("SIGTERM")).unwrap_or(0);
        log[from..].iter().take(LAST_LINES).cloned().collect()
    }

    fn take_log(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let _ = fs::remove_file(&self.log);
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Evenkeel {
    fn drop(&mut self) {
        let ended_by_itself = !self.program.runs();
        // Empty if it was stopped in order.
        let log = self.take_log();
        if ended_by_itself {
            let last = &log[log.len().saturating_sub(LAST_LINES)..];
            last.iter().for_each(|line| eprintln!("evenkeel said: {line}"));
        }
    }
}

/// Whether it has the option, and what it is called in the help.
pub(super) fn knows(option: &str) -> bool {
    let help = Command::new(evenkeel()).arg("--help").output();
    help.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(option))
}

fn evenkeel() -> PathBuf {
    let here = std::env::current_exe().ok();
    let beside = here.and_then(|path| path.parent().map(|folder| folder.join("evenkeel")));
    beside.unwrap_or_else(|| PathBuf::from("evenkeel"))
}

impl Program {
    /// This program again, in another part.
    pub(super) fn part(arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("soak").args(arguments).stdin(Stdio::piped());
        Self::start(command, End::Input(None))
    }

    fn start(mut command: Command, mut end: End) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        if let End::Input(input) = &mut end {
            *input = child.stdin.take();
        }
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            // Until the program ends, or nobody wants its lines any more.
            let mut read = BufReader::new(output).lines().map_while(Result::ok);
            while read.next().is_some_and(|line| sender.send(line).is_ok()) {}
        });
        Ok(Self { child, lines, end })
    }

    /// The next line.
    ///
    /// # Errors
    /// When it says nothing for so long, or has ended.
    pub(super) fn line(&self, patience: Duration) -> io::Result<String> {
        self.lines.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
            RecvTimeoutError::Disconnected => io::Error::other("it ended: see what it wrote above"),
        })
    }

    /// The last line that it has written since this was asked.
    pub(super) fn newest_line(&self) -> Option<String> {
        self.lines.try_iter().last()
    }

    /// Asks it to end, without waiting.
    pub(super) fn ask_to_end(&mut self) {
        match &mut self.end {
            End::Input(input) => drop(input.take()),
            End::Signal => {
                // A pid fits: the kernel's limit is 2^22.
                let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
                let _ = kill(pid, Signal::SIGTERM);
            }
        }
    }

    /// Whether it still runs.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it, by force if it takes too long.
    fn end(&mut self) {
        if !self.runs() {
            return;
        }
        self.ask_to_end();
        let give_up = Instant::now() + END;
        while self.runs() {
            if Instant::now() > give_up {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(10);
/// What evenkeel says from the signal on: sessions, backends, counters.
const LAST_LINES: usize = 20;

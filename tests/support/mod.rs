//! What the black-box tests share: the running balancer, its observation through /proc, and bytes
//! that show it when one is lost. Scripted backends are in [`backend`], what the balancer says when it
//! ends in [`report`], files in [`file`], backends with health in [`scene`], a look at its
//! descriptors in [`look`], HAProxy and nginx in [`peers`], other users in [`user`], networks of one's own in
//! [`network`], and system calls that are refused in [`seccomp`].

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod backend;
pub(crate) mod file;
pub(crate) mod look;
pub(crate) mod network;
pub(crate) mod peers;
pub(crate) mod puppet;
pub(crate) mod report;
pub(crate) mod scene;
pub(crate) mod seccomp;
pub(crate) mod user;

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::SockRef;

/// After this long a test fails with a message instead of hanging. It judges nothing: what is
/// slower than this is stuck.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(40);

/// The binary under test.
pub(crate) const EVENKEEL: &str = env!("CARGO_BIN_EXE_evenkeel");

/// A running balancer, killed when it is dropped.
pub(crate) struct Balancer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it printed before it listened, the line about listening included.
    pub(crate) settings: Vec<String>,
    running: Running,
}

impl Balancer {
    /// In front of `backends`, on a port of the kernel's choice, with more `options`.
    pub(crate) fn before(backends: &[SocketAddr], options: &str) -> Self {
        let backends = backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Self::with(&format!("--host 127.0.0.1 --port 0 --backends {backends} {options}"))
    }

    /// With exactly these options, separated by spaces.
    pub(crate) fn with(options: &str) -> Self {
        Self::started(Command::new(EVENKEEL).args(options.split_whitespace()))
    }

    /// By a command of one's own, which must end in the balancer's options, and in the balancer under
    /// the same process id.
    pub(crate) fn started(command: &mut Command) -> Self {
        Self::started_with(command, Stdio::null())
    }

    /// The same with something to read.
    pub(crate) fn started_with(command: &mut Command, stdin: Stdio) -> Self {
        let mut running = Running::new(with_extra_arguments(command).stdin(stdin));
        let mut settings: Vec<String> = Vec::new();
        loop {
            match running.next_line() {
                Ok(line) => settings.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("not listening: {}", running.log()),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = running.wait();
                    panic!("ended at start with {status}: {}", running.log());
                }
            }
            let said = settings.last().and_then(|line| line.strip_prefix("listening on "));
            if let Some(address) = said {
                // A socket in the file system has none.
                let address = match address.starts_with("unix:") {
                    true => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    false => address.parse().expect("an address after `listening on`"),
                };
                return Self { address, settings, running };
            }
        }
    }

    /// The value of one of the settings that it printed.
    pub(crate) fn setting(&self, name: &str) -> &str {
        let value = self.settings.iter().find_map(|line| line.trim().strip_prefix(name));
        value.unwrap_or_else(|| panic!("no {name} in {:?}", self.settings)).trim()
    }

    /// Where the kernel lets one of its threads run.
    pub(crate) fn cpus_of_thread(&self, name: &str) -> String {
        self.status_of_thread(name, "Cpus_allowed_list:")
    }

    /// The number of one of its threads.
    pub(crate) fn thread(&self, name: &str) -> String {
        self.status_of_thread(name, "Pid:")
    }

    /// What proc(5) says of one of its threads.
    fn status_of_thread(&self, name: &str, what: &str) -> String {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.running.pid()));
        let status = threads.expect("it runs").find_map(|thread| {
            let status = std::fs::read_to_string(thread.expect("proc(5)").path().join("status"));
            status.ok().filter(|status| status.starts_with(&format!("Name:\t{name}\n")))
        });
        let status = status.unwrap_or_else(|| panic!("no thread {name}"));
        let value = status.lines().find_map(|line| line.strip_prefix(what));
        value.expect("proc(5)").trim().to_owned()
    }

    /// A client that fails, rather than hangs, when the watchdog's time is over.
    pub(crate) fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(self.address).expect("the balancer listens"))
    }

    /// All that is sent to a client which says nothing.
    pub(crate) fn ask(&self) -> String {
        let mut said = String::new();
        self.connect().read_to_string(&mut said).expect("a backend's answer");
        said
    }

    /// Standard error so far.
    pub(crate) fn log(&self) -> String {
        self.running.log()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.running.pid(), signal).expect("it runs");
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.running.wait()
    }

    /// The same where a process that it has started goes on and may write to the log.
    pub(crate) fn wait_alone(&mut self) -> ExitStatus {
        self.running.wait_alone()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        self.running.pid()
    }

    /// The next line that it, or a process that it has started, prints.
    pub(crate) fn next_line(&self) -> String {
        let line = self.running.next_line();
        line.unwrap_or_else(|_| panic!("nothing more is printed: {}", self.log()))
    }

    /// How many descriptors it has open; not counting pipes, of which it keeps a few for the next
    /// bulk transfer, nor what it reads in /proc of its own threads, now and then.
    pub(crate) fn descriptors(&self) -> usize {
        let lasts = |what: &&String| !what.starts_with("pipe:") && !what.starts_with("/proc/");
        self.opened().iter().filter(lasts).count()
    }

    /// What its descriptors stand for, as proc(5) writes it.
    pub(crate) fn opened(&self) -> Vec<String> {
        let path = format!("/proc/{}/fd", self.running.pid());
        let open = std::fs::read_dir(path).expect("it runs").flatten();
        // One may be closed while this looks at it.
        let open = open.filter_map(|one| std::fs::read_link(one.path()).ok());
        open.map(|what| what.to_string_lossy().into_owned()).collect()
    }

    /// Waits until it has only so many descriptors open, idle pipes apart.
    pub(crate) fn wait_for_descriptors(&self, few: usize) {
        let what = || format!("descriptors: {} and not {few}", self.descriptors());
        eventually(|| self.descriptors() <= few, what);
    }

    /// CPU time that it has used, user and system, in ticks of a hundredth of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.running.pid()));
        let stat = stat.expect("it runs");
        // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("proc(5)");
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks.map(|ticks| ticks.parse::<u64>().expect("proc(5)")).sum()
    }

    /// Waits until it has nothing more to do: what can be filled is full.
    pub(crate) fn settle(&self) {
        let mut ticks = u64::MAX;
        let still = || {
            std::thread::sleep(Duration::from_millis(100));
            std::mem::replace(&mut ticks, self.cpu_ticks()) == ticks
        };
        eventually(still, || format!("it works on without an end: {}", self.log()));
    }

    /// At most one tick of CPU time is used meanwhile; how long that is on the wall does not matter.
    /// On a crowded machine it may still be at work in the first of a few such whiles.
    pub(crate) fn assert_idle(&self, meanwhile: Duration) {
        let mut used = (0..4).map(|_| {
            let before = self.cpu_ticks();
            std::thread::sleep(meanwhile);
            self.cpu_ticks() - before
        });
        assert!(used.any(|ticks| ticks <= 1), "CPU time is used with nothing to do");
    }

    /// It stands still `meanwhile`, and then meets at once all that happened.
    pub(crate) fn standing_still<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        self.signal(Signal::SIGSTOP);
        eventually(|| self.threads_all_stopped(), || "it cannot be stopped".to_owned());
        let done = meanwhile();
        self.signal(Signal::SIGCONT);
        done
    }

    fn threads_all_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.running.pid()));
        threads.expect("it runs").all(|thread| {
            let stat = std::fs::read_to_string(thread.expect("proc(5)").path().join("stat"));
            stat.is_ok_and(|stat| {
                stat.rsplit_once(')').is_some_and(|(_, state)| state.starts_with(" T"))
            })
        })
    }

    /// Lowers the limit of its descriptors while it runs, so that `more` than it has now fit; false
    /// where no `prlimit` is installed.
    pub(crate) fn limit_descriptors(&self, more: usize) -> bool {
        let limit = self.opened().len() + more;
        let mut prlimit = Command::new("prlimit");
        prlimit.arg(format!("--pid={}", self.running.pid()));
        let done = prlimit.arg(format!("--nofile={limit}:{limit}")).status();
        done.is_ok_and(|status| status.success())
    }
}

/// Adds [`extra_arguments`] to those that do not say themselves what these are about.
fn with_extra_arguments(command: &mut Command) -> &mut Command {
    let from_file = command.get_args().any(|argument| argument == "--config");
    // A file says itself how its pools behave, and options for that are refused beside it.
    let quiet = if from_file { &[][..] } else { QUIET };
    for (name, value) in extra_arguments().iter().chain(quiet) {
        let said = |argument: &OsStr| {
            argument == *name || (argument == "-c" && *name == "--health-check-interval")
        };
        if !command.get_args().any(said) {
            command.args([name, value]);
        }
    }
    command
}

/// Backends under test see their clients only, no checks; clients that cannot be served are told at
/// once; and nobody waits half a minute for sessions that a test has left open.
const QUIET: &[(&str, &str)] = &[
    ("--health-check-interval", "0"),
    ("--wait-for-backend-timeout", "0"),
    ("--drain-timeout", "1s"),
];

/// What every balancer of this test program is started with. A program that has other files as its
/// modules repeats their tests with it.
fn extra_arguments() -> &'static [(&'static str, &'static str)] {
    match module_path!().split("::").next() {
        Some("always") => &[("--engine", "uring"), ("--splice", "always")],
        Some("epoll") => &[("--engine", "epoll")],
        _ => &[("--engine", "uring")],
    }
}

/// A process, its output as lines, killed when it is dropped.
struct Running {
    child: Child,
    /// A lock only because test threads share the whole.
    stdout: Mutex<Receiver<String>>,
    stderr: Arc<Mutex<String>>,
    stderr_thread: Option<JoinHandle<()>>,
}

impl Running {
    fn new(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is there");
        let (lines, stdout) = channel();
        let stderr = Arc::new(Mutex::new(String::new()));
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let log = Arc::clone(&stderr);
        let stderr_thread = std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, stdout: Mutex::new(stdout), stderr, stderr_thread: Some(stderr_thread) }
    }

    fn next_line(&self) -> Result<String, RecvTimeoutError> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(WATCHDOG)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid is positive"))
    }

    fn log(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait(&mut self) -> ExitStatus {
        let status = self.wait_alone();
        // Its last words may still be in the pipe.
        self.stderr_thread.take().map(JoinHandle::join);
        status
    }

    fn wait_alone(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            assert!(started.elapsed() < WATCHDOG, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // By its process id; no harm if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the balancer's log:\n{}", self.log());
        }
        assert!(!self.log().contains("panicked"), "the balancer panicked: {}", self.log());
    }
}

/// What a run that ends by itself left.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, if it was no signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program until it ends by itself.
pub(crate) fn run(options: &[&str]) -> Ended {
    run_command(with_extra_arguments(Command::new(EVENKEEL).args(options)))
}

/// The engine under test. `tests/epoll.rs` runs the other files once more as its modules, and there
/// it is epoll.
pub(crate) fn engine() -> &'static str {
    if module_path!().starts_with("epoll::") { "epoll" } else { "uring" }
}

/// Runs any command until it ends by itself.
pub(crate) fn run_command(command: &mut Command) -> Ended {
    let mut running = Running::new(command.stdin(Stdio::null()));
    let code = running.wait().code();
    let stdout = std::iter::from_fn(|| running.next_line().ok()).map(|line| line + "\n").collect();
    Ended { code, stdout, stderr: running.log() }
}

/// Says what is missing; where nothing may be missing (`EVENKEEL_NO_SKIP`), fails.
pub(crate) fn skip(needs: &str) {
    assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs {needs}");
    eprintln!("SKIPPED: needs {needs}");
}

/// Waits until `reached`; fails with `what` when the watchdog's time is over.
pub(crate) fn eventually(mut reached: impl FnMut() -> bool, what: impl FnOnce() -> String) {
    let started = Instant::now();
    while !reached() {
        if started.elapsed() > WATCHDOG {
            panic!("{}", what());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A stream whose reads and writes fail, rather than hang, when the watchdog's time is over.
pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_write_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// A client whose kernel holds only a few bytes that it has not read.
pub(crate) fn with_little_room(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    // Before it connects: the window that it offers then follows from it.
    socket.set_recv_buffer_size(4096).expect("any size will do");
    socket.connect(&address.into()).expect("the balancer listens");
    patient(socket.into())
}

/// Ends a connection so that the peer sees a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    drop(stream);
}

/// How a connection ended, with what came before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer finished writing, after so many bytes.
    Finished(usize),
    /// The peer reset the connection, after so many bytes.
    Reset(usize),
}

/// Reads until the end, whatever it is.
pub(crate) fn read_to_the_end(mut stream: &TcpStream) -> End {
    let (mut chunk, mut count) = ([0; 16 * 1024], 0);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return End::Finished(count),
            Ok(bytes) => count += bytes,
            Err(error) if is_reset(&error) => return End::Reset(count),
            Err(error) => panic!("neither finished nor reset: {error}"),
        }
    }
}

/// Writes until it fails, which it must by a reset; at most so many bytes.
pub(crate) fn write_until_reset(mut stream: &TcpStream, limit: usize) {
    let chunk = [7; 16 * 1024];
    for _ in 0..limit / chunk.len() {
        match stream.write_all(&chunk) {
            Ok(()) => {}
            Err(error) if is_reset(&error) => return,
            Err(error) => panic!("no reset: {error}"),
        }
    }
    panic!("{limit} bytes were taken by a peer that is gone");
}

fn is_reset(error: &io::Error) -> bool {
    // The second of two failures of one reset is a broken pipe (tcp_sendmsg, net/ipv4/tcp.c).
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// An address where nobody listens and nobody else will: its port stays bound.
pub(crate) struct Nobody {
    pub(crate) address: SocketAddr,
    _bound: socket2::Socket,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let bound = bound.expect("a socket");
        bound.bind(&any_port.into()).expect("a free port");
        let address = bound.local_addr().expect("bound").as_socket().expect("an IPv4 address");
        Self { address, _bound: bound }
    }
}

/// A port that was free a moment ago, for what cannot take port 0.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Bytes without a period, so that one that is lost, doubled or moved shows.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Compares long byte strings and says where they part, not what they are.
pub(crate) fn assert_same_bytes(got: &[u8], sent: &[u8], what: &str) {
    if got == sent {
        return;
    }
    let parted = got.iter().zip(sent).position(|(got, sent)| got != sent);
    panic!("{what}: {} bytes of {}, different from offset {parted:?}", got.len(), sent.len());
}

/// How many bytes came, and which: what a sink answers.
pub(crate) fn receipt(bytes: &[u8]) -> String {
    // FNV-1a.
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} bytes, hash {hash:016x}", bytes.len())
}

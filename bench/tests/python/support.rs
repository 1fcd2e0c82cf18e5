//! The Python balancer as a process, and peers for it: those of the balancer's own tests.

#[path = "../../../tests/support/backend.rs"]
pub(crate) mod backend;

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, SockRef, Socket, Type};

/// After this long a test fails with a message instead of hanging. It judges nothing.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(30);

const BALANCER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/balancer.py");

/// A running balancer, killed when it is dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Arc<Mutex<String>>,
    stderr_thread: Option<JoinHandle<()>>,
}

/// An interpreter, or nothing where there is none and that is allowed. `EVENKEEL_PYTHON` names
/// another one than `python3`.
pub(crate) fn python() -> Option<OsString> {
    let program = std::env::var_os("EVENKEEL_PYTHON").unwrap_or_else(|| "python3".into());
    let there = Command::new(&program).arg("--version").output();
    if there.is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    skip("python3 (apt-get install python3)");
    None
}

/// What runs the balancer with these options, separated by spaces.
pub(crate) fn command(python: &OsString, options: &str) -> Command {
    let mut command = Command::new(python);
    // -B: a test leaves no compiled file behind.
    command.arg("-B").arg(BALANCER).args(options.split_whitespace());
    command
}

impl Balancer {
    /// In front of `backends`, without health checks and logs unless `options` say otherwise;
    /// nothing where there is no Python.
    pub(crate) fn before(backends: &[SocketAddr], options: &str) -> Option<Self> {
        let backends: Vec<_> = backends.iter().map(ToString::to_string).collect();
        // The last one of two options of a name counts.
        let options = format!("{QUIET} --backends {} {options}", backends.join(","));
        Some(Self::started(&mut command(&python()?, &options)))
    }

    /// The same, with room for so many descriptors.
    pub(crate) fn with_descriptors(most: usize, backend: SocketAddr) -> Option<Self> {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {most}; exec \"$0\" -B \"$@\"");
        shell.args(["-c", &script]).arg(python()?).arg(BALANCER);
        shell.args(format!("{QUIET} --backends {backend}").split_whitespace());
        Some(Self::started(&mut shell))
    }

    fn started(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let said = BufReader::new(child.stderr.take().expect("piped"));
        let stderr = Arc::new(Mutex::new(String::new()));
        let log = Arc::clone(&stderr);
        let stderr_thread = std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut balancer =
            Self { address, child, stdout, stderr, stderr_thread: Some(stderr_thread) };
        let mut line = String::new();
        balancer.stdout.read_line(&mut line).expect("text");
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("{line:?}: {}", balancer.log()));
        balancer.address = address.parse().expect("an address after `listening on`");
        balancer
    }

    /// A client that fails, rather than hangs, when the watchdog's time is over.
    pub(crate) fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(self.address).expect("the balancer listens"))
    }

    /// The same from an address of loopback that ends in `last`.
    pub(crate) fn connect_from(&self, last: u8) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        socket.bind(&from.into()).expect("all of 127/8 is ours");
        socket.connect(&self.address.into()).expect("the balancer listens");
        patient(socket.into())
    }

    /// All that is sent to a client which says nothing.
    pub(crate) fn ask(&self) -> String {
        all_from(self.connect())
    }

    /// Standard error so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until standard error has `words` so often.
    pub(crate) fn wait_for_log(&self, words: &str, times: usize) {
        let what = || format!("{words:?} is not {times} times in: {}", self.log());
        eventually(|| self.log().matches(words).count() >= times, what);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid is positive");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits until it has ended; its status and the rest of its standard output.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let mut ended = None;
        let mut has_ended = || {
            ended = self.child.try_wait().expect("our child");
            ended.is_some()
        };
        eventually(&mut has_ended, || "it does not end".to_owned());
        self.stderr_thread.take().map(JoinHandle::join);
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        (ended.expect("it has"), rest)
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.expect("it runs").count()
    }

    /// Lets it open only so many more while it runs, until it is let open others.
    pub(crate) fn limit_descriptors(&self, more: usize) {
        let folder = format!("/proc/{}/fd", self.child.id());
        let open = std::fs::read_dir(folder).expect("it runs").flatten();
        let open: Vec<usize> =
            open.filter_map(|one| one.file_name().to_str()?.parse().ok()).collect();
        // The limit is one of numbers, and there may be gaps.
        let free = (0..).filter(|number| !open.contains(number)).nth(more);
        let most = free.expect("there is no last number");
        let mut prlimit = Command::new("prlimit");
        // The colon leaves the hard limit as it is.
        prlimit.arg(format!("--pid={}", self.child.id())).arg(format!("--nofile={most}:"));
        assert!(prlimit.status().expect("a part of util-linux").success());
    }

    /// Waits until it has only so many.
    pub(crate) fn wait_for_descriptors(&self, few: usize) {
        let what = || format!("descriptors: {}, not {few}: {}", self.descriptors(), self.log());
        eventually(|| self.descriptors() <= few, what);
    }

    /// Waits until it has nothing more to do.
    pub(crate) fn settle(&self) {
        let ticks = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
            let stat = stat.expect("it runs");
            // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
            let (_, fields) = stat.rsplit_once(')').expect("proc(5)");
            let used = fields.split_whitespace().skip(11).take(2);
            used.map(|ticks| ticks.parse::<u64>().expect("proc(5)")).sum::<u64>()
        };
        let mut before = u64::MAX;
        let still = || {
            sleep(Duration::from_millis(100));
            std::mem::replace(&mut before, ticks()) == ticks()
        };
        eventually(still, || "it works on without an end".to_owned());
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // By its process id; no harm if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the balancer's log:\n{}", self.log());
        } else {
            assert!(!self.log().contains("Traceback"), "{}", self.log());
        }
    }
}

/// Says what is missing; where nothing may be missing (`EVENKEEL_NO_SKIP`), fails.
fn skip(needs: &str) {
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
        sleep(Duration::from_millis(5));
    }
}

/// A stream whose reads and writes fail, rather than hang, when the watchdog's time is over.
pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_write_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// All that comes until the end of the stream.
pub(crate) fn all_from(mut stream: TcpStream) -> String {
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an end of stream");
    said
}

/// The first two bytes, which is what backends of these tests are called.
pub(crate) fn name_from(mut stream: &TcpStream) -> String {
    let mut name = [0; 2];
    stream.read_exact(&mut name).expect("a name");
    String::from_utf8_lossy(&name).into_owned()
}

/// Ends a connection so that the peer sees a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    drop(stream);
}

/// How many bytes come until the connection is reset, which it must be.
pub(crate) fn bytes_until_reset(mut stream: &TcpStream) -> usize {
    let (mut chunk, mut count) = ([0; 16 * 1024], 0);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => panic!("an end of stream after {count} bytes, and no reset"),
            Ok(bytes) => count += bytes,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return count,
            Err(error) => panic!("not reset: {error}"),
        }
    }
}

/// An address that is taken, and where nobody listens.
pub(crate) struct Nobody {
    pub(crate) address: SocketAddr,
    bound: Socket,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        bound.bind(&any_port.into()).expect("a free port");
        let address = bound.local_addr().expect("bound").as_socket().expect("an IPv4 address");
        Self { address, bound }
    }

    /// Somebody listens there from now on, with room for so many that are not accepted.
    pub(crate) fn listen(self, backlog: i32) -> TcpListener {
        self.bound.listen(backlog).expect("nobody else has it");
        self.bound.into()
    }
}

/// A backend that answers no connect: its queue is full and nobody accepts.
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl Silent {
    pub(crate) fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        listener.listen(0).expect("it is bound");
        let address = listener.local_addr().expect("bound").as_socket().expect("IPv4");
        let mut queued = Vec::new();
        let mut is_full = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let connected = socket.connect_timeout(&address.into(), Duration::from_millis(300));
            queued.push(socket);
            connected.is_err()
        };
        eventually(&mut is_full, || "the queue is never full".to_owned());
        Self { address, _listener: listener, _queued: queued }
    }
}

/// Accepts one connection and says a name to it, which a health check may not wait for.
pub(crate) fn greet_one(listener: &TcpListener, name: &str) {
    let (mut client, _) = listener.accept().expect("a connection");
    let _ = client.write_all(name.as_bytes());
}

/// Bytes without a period, so that one that is lost, doubled or moved shows.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Compares long byte strings and says where they part, not what they are.
pub(crate) fn assert_same_bytes(got: &[u8], sent: &[u8]) {
    if got != sent {
        let parted = got.iter().zip(sent).position(|(got, sent)| got != sent);
        panic!("{} bytes of {}, different from offset {parted:?}", got.len(), sent.len());
    }
}

/// How many bytes came, and which: what a sink answers.
pub(crate) fn receipt(bytes: &[u8]) -> String {
    // FNV-1a.
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} bytes, hash {hash:016x}", bytes.len())
}

/// No checks, no log, and who cannot be served is told at once.
const QUIET: &str = "--host 127.0.0.1 --port 0 --health-check-interval 0 \
                     --wait-for-backend-timeout 0 --log-level ERROR";

//! `scripts/lab.sh`: what a lab has, what it does to packets, and that nothing of it is left.
//!
//! Each test has a lab of its own name. Hosts are entered through the script, as a person would, and
//! by threads that exchange real bytes there.
#![allow(clippy::unwrap_used, reason = "a test may fail here")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use socket2::SockRef;

#[test]
fn hosts_reach_each_other_by_name_in_segments_of_1500_bytes_with_cubic() {
    let Some(lab) = Lab::up(&["--backends", "1"]) else { return };
    for host in ["switch", "balancer", "backend1", "client1"] {
        let file = "/proc/sys/net/ipv4/tcp_congestion_control";
        assert_eq!(lab.says(host, &["cat", file]), "cubic", "{host}");
    }
    for (host, address) in
        [("balancer", "10.77.0.1/24"), ("backend1", "10.77.0.11/24"), ("client1", "10.77.0.101/24")]
    {
        let link = lab.says(host, &["ip", "-oneline", "addr", "show", "eth0"]);
        assert!(link.contains(address), "{link}");
        assert!(lab.says(host, &["ip", "link", "show", "eth0"]).contains(" mtu 1500 "));
        assert!(lab.says(host, &["ip", "link", "show", "lo"]).contains(",UP"));
        let ports = lab.says(host, &["cat", "/proc/sys/net/ipv4/ip_local_port_range"]);
        assert_eq!(ports.split_whitespace().collect::<Vec<_>>(), ["20000", "60999"]);
    }
    for (from, to) in [("client1", "balancer"), ("balancer", "backend1"), ("client1", "backend1")] {
        let listener = lab.on(to, || TcpListener::bind("0.0.0.0:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        let client = lab.spawn(
            from,
            &["bash", "-c", &format!("exec 3<>/dev/tcp/{to}/{port}; echo from {from} >&3")],
        );
        let (mut stream, _) = accept(&listener);
        // 1500 less the headers of IPv4 and TCP, and a timestamp with its padding.
        assert_eq!(SockRef::from(&stream).tcp_mss().unwrap(), 1448);
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, format!("from {from}\n"));
        assert!(client.wait_with_output().unwrap().status.success());
    }
}

#[test]
fn a_packet_is_one_segment_on_its_way_and_is_merged_where_it_arrives() {
    let Some(lab) = Lab::up(&["--backends", "1"]) else { return };
    let listener = lab.on("backend1", || TcpListener::bind("0.0.0.0:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let to = format!("head -c 8000000 /dev/zero >/dev/tcp/backend1/{port}");
    let client = lab.spawn("client1", &["bash", "-c", &to]);
    let (mut stream, _) = accept(&listener);
    let received = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    assert_eq!(received, 8_000_000);
    assert!(client.wait_with_output().unwrap().status.success());
    // Of the interface: eight numbers of what came, then bytes and packets of what was sent.
    let devices = lab.says("client1", &["cat", "/proc/net/dev"]);
    let sent = devices.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
    let sent: Vec<u64> = sent.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let (bytes, packets) = (sent[8], sent[9]);
    assert!(bytes > 8_000_000 && bytes / packets <= 1514, "{bytes} bytes in {packets} packets");
    let segments = counter(&lab, "netstat", "IpExt:", "InNoECTPkts");
    let merged = counter(&lab, "snmp", "Ip:", "InReceives");
    assert!(segments > 5000 && merged < segments, "{segments} segments in {merged} packets");
}

/// A number of `backend1`'s network stack, from the table of that kind in `/proc/net`: a line of
/// names, and one of numbers.
fn counter(lab: &Lab, file: &str, kind: &str, name: &str) -> u64 {
    let text = lab.says("backend1", &["cat", &format!("/proc/net/{file}")]);
    let mut lines = text.lines().filter(|line| line.starts_with(kind)).map(words);
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let column = names.iter().position(|one| *one == name).unwrap();
    numbers[column].parse().unwrap()
}

#[test]
fn exec_has_the_exit_code_of_its_command_and_knows_who_is_there() {
    let Some(lab) = Lab::up(&["--backends", "1"]) else { return };
    let ended = lab.exec("client1", &["sh", "-c", "exit 7"]);
    assert_eq!(ended.status.code(), Some(7));
    let nobody = lab.exec("backend2", &["true"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("no host 'backend2'; it has: backend1 balancer client1"));
}

#[test]
fn status_says_who_is_there_and_what_happens_to_packets() {
    let Some(lab) = Lab::up(&["--backends", "2", "--clients", "2", "--mtu", "1400"]) else {
        return;
    };
    let mut sleeper = lab.spawn("client2", &["sleep", "1000"]);
    eventually("a process is counted", || {
        rows(&lab.status()).contains(&words("client2 10.77.0.102 1400 cubic 1"))
    });
    let status = lab.status();
    for row in [
        "balancer 10.77.0.1 1400 cubic 0",
        "backend1 10.77.0.11 1400 cubic 0",
        "backend2 10.77.0.12 1400 cubic 0",
        "client1 10.77.0.101 1400 cubic 0",
        "MTU: 1400; one segment a packet (TSO off), merged where they arrive (GRO)",
        "loss: none",
        "rate: none",
    ] {
        assert!(rows(&status).contains(&words(row)), "{row} in {status}");
    }
    let netem = status.lines().find(|line| line.starts_with("  delay: none")).unwrap();
    assert_eq!(netem.contains("no netem"), !has_netem(), "{netem}");
    lab.down();
    assert!(sleeper.wait().is_ok());
    let gone = lab.run("status", &[]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("is not up: scripts/lab.sh up --name"), "{}", stderr(&gone));
}

#[test]
fn loss_loses_packets_one_by_one() {
    let Some(lab) = Lab::up(&["--backends", "1", "--loss", "30"]) else { return };
    assert!(lab.status().contains("  loss: 30"), "{}", lab.status());
    let arrived = datagrams_that_arrive(&lab, DATAGRAMS);
    // The standard deviation is 14; these bounds are six of them away.
    let bounds = DATAGRAMS * 6 / 10..DATAGRAMS * 8 / 10;
    assert!(bounds.contains(&arrived), "{arrived} of {DATAGRAMS}");
}

#[test]
fn without_loss_every_packet_arrives() {
    let Some(lab) = Lab::up(&["--backends", "1"]) else { return };
    assert_eq!(datagrams_that_arrive(&lab, DATAGRAMS), DATAGRAMS);
}

#[test]
fn a_queue_is_before_each_link() {
    let Some(lab) = Lab::up(&["--backends", "1"]) else { return };
    for (namespace, device) in [("switch", "balancer"), ("balancer", "eth0"), ("client1", "eth0")] {
        let qdisc = lab.says(namespace, &["tc", "qdisc", "show", "dev", device]);
        assert!(qdisc.starts_with("qdisc pfifo ") && qdisc.contains(" limit 10000p"), "{qdisc}");
    }
    assert!(lab.status().contains("  queue: 10000p before each link"), "{}", lab.status());
}

#[test]
fn rate_is_a_token_bucket_at_the_port_of_every_host() {
    let Some(lab) = Lab::up(&["--backends", "1", "--rate", "50mbit"]) else { return };
    assert!(lab.status().contains("  rate: 50Mbit to each host, by tbf"), "{}", lab.status());
    for host in ["balancer", "backend1", "client1"] {
        let qdisc = lab.says("switch", &["tc", "qdisc", "show", "dev", host]);
        assert!(qdisc.starts_with("qdisc tbf ") && qdisc.contains(" rate 50Mbit "), "{qdisc}");
    }
    assert_eq!(datagrams_that_arrive(&lab, 10), 10);
}

#[test]
fn delay_is_netems_and_refused_without_it() {
    let Some(lab) = Lab::named() else { return };
    let up = lab.run("up", &["--delay", "5ms"]);
    if has_netem() {
        assert!(up.status.success(), "{}", stderr(&up));
        assert!(
            lab.status().contains("  delay: 5ms for each packet, by netem"),
            "{}",
            lab.status()
        );
    } else {
        assert_eq!(up.status.code(), Some(1));
        assert!(stderr(&up).contains("no netem"), "{}", stderr(&up));
        assert_eq!(lab.left(), [""; 0]);
    }
}

#[test]
fn netem_is_asked_for_delay_and_loss_where_the_kernel_has_it() {
    let Some(lab) = Lab::named() else { return };
    // This one has it by word of a tc that agrees to all that is said of netem, and writes it down.
    let fakes = Fakes::new(&lab);
    let said = fakes.folder.join("said");
    fakes.add("tc", &format!("*netem*) echo \"$*\" >>{}; exit 0 ;;", said.display()));
    let options = ["--backends", "1", "--delay", "5ms", "--loss", "0.5"];
    let up = lab.command("up", &options).env("PATH", fakes.path()).output().unwrap();
    assert!(up.status.success(), "{}", stderr(&up));
    let said = fs::read_to_string(said).unwrap();
    for host in ["balancer", "backend1", "client1"] {
        let wanted = format!("dev {host} root handle 1: netem limit 10000 delay 5ms loss 0.5%");
        assert!(said.contains(&wanted), "{said}");
    }
    let rules = lab.exec("switch", &["nft", "list", "ruleset"]);
    assert!(rules.stdout.is_empty(), "once is enough");
}

#[test]
fn nothing_is_left_when_a_lab_is_down() {
    let Some(lab) = Lab::named() else { return };
    let (links, allowed) = (links(), allowed_algorithms());
    assert!(lab.run("up", &["--backends", "1"]).status.success());
    let mut left = ["balancer", "backend1", "client1", "switch"].map(|it| lab.namespace(it));
    left.sort();
    assert_eq!(lab.left(), left);
    // One ends when it is asked, one only when it is killed, and one is no process of the lab.
    let mut sleeper = lab.spawn("backend1", &["sleep", "1000"]);
    let mut deaf = lab.spawn("client1", &["sh", "-c", "trap '' TERM; echo deaf; sleep 1000"]);
    deaf.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    eventually("it is there", || {
        rows(&lab.status()).contains(&words("backend1 10.77.0.11 1500 cubic 1"))
    });

    lab.down();
    assert_eq!(lab.left(), [""; 0]);
    assert!(links.is_superset(&self::links()), "{links:?}");
    assert_eq!(allowed_algorithms(), allowed);
    for (child, signal) in [(&mut sleeper, "15 (SIGTERM)"), (&mut deaf, "9 (SIGKILL)")] {
        eventually(signal, || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().to_string(), format!("signal: {signal}"));
    }
    assert!(other.try_wait().unwrap().is_none(), "it lives elsewhere");
    other.kill().unwrap();
    other.wait().unwrap();
    // There is nothing to take away, and that is no error.
    lab.down();
}

#[test]
fn a_second_up_is_refused_and_the_first_lab_stays_whole() {
    let Some(lab) = Lab::up(&["--backends", "1"]) else { return };
    let again = lab.run("up", &["--backends", "2"]);
    assert_eq!(again.status.code(), Some(1));
    let cure = format!("take it away first: scripts/lab.sh down --name {}", lab.name);
    assert!(stderr(&again).contains(&cure), "{}", stderr(&again));
    assert_eq!(lab.left().len(), 4);
    assert_eq!(datagrams_that_arrive(&lab, 10), 10);
}

#[test]
fn an_up_that_fails_half_way_leaves_nothing() {
    let Some(lab) = Lab::named() else { return };
    let links = links();
    let fakes = Fakes::new(&lab);
    fakes.add("ip", "*10.77.0.101/24*) echo no such luck >&2; exit 1 ;;");
    let up = lab.command("up", &[]).env("PATH", fakes.path()).output().unwrap();
    assert_eq!(up.status.code(), Some(1));
    let said = stderr(&up);
    assert!(said.contains("no such luck") && said.contains("is taken away"), "{said}");
    assert_eq!(lab.left(), [""; 0]);
    assert!(links.is_superset(&self::links()), "{links:?}");
}

#[test]
fn down_is_refused_from_within() {
    let Some(lab) = Lab::up(&["--backends", "1"]) else { return };
    let script = script();
    let down = [script.to_str().unwrap(), "down", "--name", &lab.name];
    let refused = lab.exec("client1", &down);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("leave it first"), "{}", stderr(&refused));
    assert_eq!(lab.left().len(), 4);
}

#[test]
fn a_wrong_command_line_says_what_is_wrong() {
    for (line, says) in [
        ("", "up, down, exec or status"),
        ("left", "no such command: left"),
        ("down --backends 2", "down has no option --backends"),
        ("up --backends", "--backends needs a value"),
        ("up --backends 0", "--backends is a number from 1 to 80, not '0'"),
        ("up --clients 101", "--clients is a number from 1 to 100, not '101'"),
        ("up --mtu 0100", "--mtu is a number from 576 to 65535, not '0100'"),
        ("up --delay 5", "--delay '5'"),
        ("up --loss 101", "--loss '101'"),
        ("up --rate fast", "--rate 'fast'"),
        ("up --name a/b", "--name 'a/b'"),
        ("up now", "up takes no 'now'"),
        ("exec client1", "exec takes a host and a command"),
    ] {
        let ended = Command::new(script()).args(line.split_whitespace()).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{line}");
        assert!(stderr(&ended).contains(says), "{line}: {}", stderr(&ended));
    }
    let help = Command::new(script()).arg("--help").output().unwrap();
    assert!(help.status.success() && stdout(&help).contains("Usage: scripts/lab.sh up"));
}

#[test]
fn without_root_one_line_says_so() {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--clear-groups", "bash"]);
        command
    } else {
        Command::new("bash")
    };
    // Whoever it is may not be allowed to read the script.
    let ended = command.args(["-s", "up"]).stdin(File::open(script()).unwrap()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(stderr(&ended), "lab.sh: network namespaces need root: run it with sudo\n");
}

/// A name for a lab, and its end.
struct Lab {
    name: String,
}

impl Lab {
    /// A name for one that is not there yet; `None` where there can be none.
    fn named() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if let Err(needs) = can_have_labs() {
            assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs {needs}");
            eprintln!("SKIPPED: needs {needs}");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Some(Self { name: format!("labtest-{}-{number}", Pid::this()) })
    }

    fn up(options: &[&str]) -> Option<Self> {
        let lab = Self::named()?;
        let up = lab.run("up", options);
        assert!(up.status.success(), "{}", stderr(&up));
        Some(lab)
    }

    fn down(&self) {
        let down = self.run("down", &[]);
        assert!(down.status.success(), "{}", stderr(&down));
    }

    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut script = Command::new(script());
        script.arg(command).args(["--name", &self.name]).args(arguments);
        script
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        self.command(command, arguments).output().unwrap()
    }

    fn exec(&self, host: &str, command: &[&str]) -> Output {
        self.run("exec", &[&[host], command].concat())
    }

    fn spawn(&self, host: &str, command: &[&str]) -> std::process::Child {
        let mut script = self.command("exec", &[&[host], command].concat());
        script.stdout(Stdio::piped()).spawn().unwrap()
    }

    /// What a command in a host prints.
    fn says(&self, host: &str, command: &[&str]) -> String {
        let output = self.exec(host, command);
        assert!(output.status.success(), "{command:?}: {}", stderr(&output));
        stdout(&output).trim().to_owned()
    }

    fn status(&self) -> String {
        let status = self.run("status", &[]);
        assert!(status.status.success(), "{}", stderr(&status));
        stdout(&status)
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    /// Does something in a host, on a thread of its own.
    fn on<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(self.namespace(host))).unwrap();
        std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            there.join().unwrap()
        })
    }

    /// Names of its namespaces that are there, and of those that have a hosts file only.
    fn left(&self) -> Vec<String> {
        let folders = ["/run/netns", "/etc/netns"];
        let entries = folders.iter().flat_map(fs::read_dir).flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let ours = names.filter(|name| name.starts_with(&format!("{}-", self.name)));
        ours.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.run("down", &[]);
    }
}

/// Programs that stand before the real ones in PATH.
struct Fakes {
    folder: PathBuf,
}

impl Fakes {
    fn new(lab: &Lab) -> Self {
        let folder = std::env::temp_dir().join(&lab.name);
        fs::create_dir(&folder).unwrap();
        Self { folder }
    }

    /// `case` is an arm of a shell's `case` over the arguments; what it does not end goes on to the
    /// real program.
    fn add(&self, program: &str, case: &str) {
        let path = self.folder.join(program);
        let real = format!("PATH=${{PATH#*:}}; exec {program} \"$@\"");
        fs::write(&path, format!("#!/bin/sh\ncase $* in {case} esac\n{real}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self) -> String {
        format!("{}:{}", self.folder.display(), std::env::var("PATH").unwrap())
    }
}

impl Drop for Fakes {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Sends so many datagrams from client1 to backend1; an end mark that is repeated until it arrives says
/// when to count.
fn datagrams_that_arrive(lab: &Lab, count: usize) -> usize {
    let receiver = lab.on("backend1", || UdpSocket::bind("0.0.0.0:0").unwrap());
    // Nothing is lost for want of room.
    setsockopt(&receiver, sockopt::RcvBufForce, &(8 << 20)).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let target = ("10.77.0.11", receiver.local_addr().unwrap().port());
    let sender = lab.on("client1", || UdpSocket::bind("0.0.0.0:0").unwrap());
    // First, the address is resolved.
    let mut byte = [0];
    eventually("a datagram arrives", || {
        sender.send_to(b"?", target).unwrap();
        receiver.recv(&mut byte).is_ok()
    });
    (0..count).for_each(|_| assert_eq!(sender.send_to(b"!", target).unwrap(), 1));
    let mut counted = 0;
    eventually("the end arrives", || {
        sender.send_to(b".", target).unwrap();
        while receiver.recv(&mut byte).is_ok() {
            match &byte {
                b"!" => counted += 1,
                b"." => return true,
                _ => {}
            }
        }
        false
    });
    counted
}

fn accept(listener: &TcpListener) -> (TcpStream, std::net::SocketAddr) {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    eventually("a connection arrives", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, peer) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    (stream, peer)
}

fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < WATCHDOG, "not within {WATCHDOG:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn can_have_labs() -> Result<(), &'static str> {
    if !is_root() {
        return Err("root");
    }
    let there = |program: &str| {
        Command::new(program).arg("-V").output().is_ok_and(|output| output.status.success())
    };
    if !there("ip") {
        return Err("ip: apt-get install iproute2");
    }
    if !Command::new("ethtool").arg("--version").output().is_ok_and(|it| it.status.success()) {
        return Err("ethtool: apt-get install ethtool");
    }
    if !there("nft") {
        return Err("nft: apt-get install nftables");
    }
    let tried = Command::new("unshare").args(["--net", "true"]).output();
    tried.is_ok_and(|tried| tried.status.success()).then_some(()).ok_or("network namespaces")
}

fn has_netem() -> bool {
    let try_it = ["--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"];
    Command::new("unshare").args(try_it).output().unwrap().status.success()
}

/// Names of the links of the namespace that the tests run in.
fn links() -> BTreeSet<String> {
    let output = Command::new("ip").args(["-brief", "link"]).output().unwrap();
    let names = stdout(&output);
    names.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// What the first namespace allows, read when no lab is being made.
fn allowed_algorithms() -> String {
    let file = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
    stdout(&Command::new("flock").args(["/run", "cat", file]).output().unwrap())
}

fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(words).collect()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn script() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/lab.sh").into()
}

/// Fewer than the backlog of a CPU holds (`net.core.netdev_max_backlog`, 1000).
const DATAGRAMS: usize = 900;
const WATCHDOG: Duration = Duration::from_secs(30);

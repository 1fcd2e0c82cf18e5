//! Who is the bottleneck, where the answer is known: each peer holds the traffic up in turn.
//!
//! On a crowded machine others hold it up now and then; what is waited for is that the right one is
//! named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

#[allow(dead_code, reason = "what is changed is tested elsewhere")]
#[path = "admin/client.rs"]
mod client;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use client::Scene;
use evenkeel::api;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};
use support::backend::Backend;
use support::network::in_own_network;
use support::{Balancer, eventually, patient, skip};

#[test]
fn clients_that_read_slowly_are_the_bottleneck() {
    let backend = Backend::running(pour);
    let scene = watched(&[backend.address], "");
    let _clients = Clients::several(&scene, 4, |client, stopped| {
        let mut chunk = [0; 4096];
        while !stopped() && client.read(&mut chunk).is_ok() {
            std::thread::sleep(STEP);
        }
    });
    let tcp = expect(&scene, "client", None, "their receive windows are full");
    assert!(tcp[0].waited_ms.client > 0 && tcp[0].client_rtt_us.is_some(), "{tcp:?}");
}

#[test]
fn a_backend_that_reads_slowly_is_the_bottleneck() {
    let backend = Backend::running(|mut client| {
        let mut chunk = [0; 4096];
        while client.read(&mut chunk).is_ok_and(|bytes| bytes > 0) {
            std::thread::sleep(STEP);
        }
    });
    let scene = watched(&[backend.address], "");
    let _clients =
        Clients::several(
            &scene,
            4,
            |client, stopped| {
                while !stopped() && client.write_all(&[7; 65_536]).is_ok() {}
            },
        );
    let tcp = expect(&scene, "backend", Some(&backend), "its receive windows are full");
    assert!(tcp[0].waited_ms.backend > 0 && tcp[0].backend_rtt_us.is_some(), "{tcp:?}");
}

#[test]
fn a_backend_that_thinks_is_the_bottleneck_and_not_the_one_that_does_not() {
    let quick = Backend::echo();
    let slow = Backend::running(|client| answer(client, 20 * STEP));
    let scene = watched(&[quick.address, slow.address], "algorithm = 'round-robin'\n");
    // They think too, so that both backends are waited for a little.
    let _clients = Clients::several(&scene, 4, |client, stopped| ask(client, stopped, STEP));
    let words = "sessions wait for its answers (the others: ";
    let tcp = expect(&scene, "backend", Some(&slow), words);
    assert!(tcp[1].waited_ms.backend > tcp[0].waited_ms.backend, "{tcp:?}");
}

#[test]
fn a_backend_that_sends_little_by_little_is_the_bottleneck() {
    let backend = Backend::running(|mut client| {
        while client.write_all(&[7; 1000]).is_ok() {
            std::thread::sleep(STEP);
        }
    });
    let scene = watched(&[backend.address], "");
    let _clients = Clients::several(&scene, 4, |client, _| {
        let _ = std::io::copy(client, &mut std::io::sink());
    });
    expect(&scene, "backend", Some(&backend), "sessions wait for its answers");
}

#[test]
fn a_client_that_sends_little_by_little_is_the_bottleneck() {
    let backend = Backend::sink();
    let scene = watched(&[backend.address], "");
    let _clients = Clients::several(&scene, 4, |client, stopped| {
        while !stopped() && client.write_all(&[7; 1000]).is_ok() {
            std::thread::sleep(STEP);
        }
    });
    expect(&scene, "client", None, "wait for more of what they are sending");
}

#[test]
fn clients_that_think_hold_nobody_up() {
    let backend = Backend::echo();
    let scene = watched(&[backend.address], "");
    let _clients = Clients::several(&scene, 4, |client, stopped| ask(client, stopped, 20 * STEP));
    expect(&scene, "nobody", None, "sessions wait for their clients to say something");
}

#[test]
fn a_network_that_loses_segments_is_the_bottleneck() {
    if !in_own_network() {
        return skip("root and `ip`, to have a network of its own");
    }
    let backend = Backend::running(|mut client| {
        let _ = std::io::copy(&mut client, &mut std::io::sink());
    });
    let lost = format!("tcp dport {} numgen random mod 100 < 5", backend.address.port());
    let rules = format!(
        "add table inet lossy; \
         add chain inet lossy input {{ type filter hook input priority 0; }}; \
         add rule inet lossy input {lost} drop"
    );
    if !Command::new("nft").arg(rules).status().is_ok_and(|done| done.success()) {
        return skip("`nft`, to lose packets");
    }
    let scene = watched(&[backend.address], "");
    let _clients =
        Clients::several(
            &scene,
            2,
            |client, stopped| {
                while !stopped() && client.write_all(&[7; 65_536]).is_ok() {}
            },
        );
    let tcp = expect(&scene, "network", Some(&backend), "loses segments: ");
    assert!(tcp[0].backend_retransmits > 0 && tcp[0].client_retransmits == 0, "{tcp:?}");
    assert!(tcp[0].waited_ms.backend_network > 0, "{tcp:?}");
    Command::new("nft").arg("delete table inet lossy").status().unwrap();
}

#[test]
fn a_shard_that_does_not_get_its_cpu_is_the_bottleneck() {
    let backend = Backend::echo();
    let scene = watched(&[backend.address], "");
    let balancer = &scene.balancer;
    let cpu: usize = balancer.cpus_of_thread("shard-0").parse().unwrap();
    // Whoever else wants this CPU gets it first.
    let mut chrt = Command::new("chrt");
    chrt.args(["--idle", "--pid", "0", &balancer.thread("shard-0")]);
    if !chrt.status().is_ok_and(|done| done.success()) {
        return skip("`chrt`");
    }
    let _load = Load::on(cpu);
    let _clients =
        Clients::several(&scene, 4, |client, stopped| ask(client, stopped, Duration::ZERO));
    expect(&scene, "balancer", None, "shard 0 has to wait for its CPU");
}

#[test]
fn a_session_that_rests_is_looked_at_no_more() {
    let backend = Backend::echo();
    let scene = watched(&[backend.address], "");
    let mut client = scene.balancer.connect();
    exchange(&mut client);
    expect(&scene, "nobody", None, "sessions wait for their clients to say something");
    expect(&scene, "nobody", None, "hardly a byte has moved");
    scene.balancer.assert_idle(Duration::from_millis(500));
    // Three seconds of rest, and at least 75 ms between two looks.
    let looks = scene.status().counters["watched"];
    assert!((1..=45).contains(&looks), "{looks} looks");
}

#[test]
fn without_tcp_info_nobody_is_looked_at() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "--tcp-info off");
    assert_eq!(scene.balancer.setting("tcp info"), "off");
    exchange(&mut scene.balancer.connect());
    expect(&scene, "nobody", None, "--tcp-info is off");
    assert_eq!(scene.status().counters.get("watched"), None);
}

#[test]
fn the_log_says_it_as_often_as_it_is_to() {
    let backend = Backend::running(|client| answer(client, 20 * STEP));
    let options = "--report-interval 1s";
    let balancer = Balancer::before(&[backend.address], options);
    let mut client = balancer.connect();
    let name = format!("Backend default/{} is the bottleneck: ", backend.address);
    let said = || {
        exchange(&mut client);
        balancer.log().contains(&name)
    };
    eventually(said, || format!("it is not said: {}", balancer.log()));
}

fn exchange(client: &mut TcpStream) {
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
}

/// A balancer of one shard, whose pool has these keys.
fn watched(backends: &[SocketAddr], keys: &str) -> Scene {
    Scene::before(backends, keys, "--shards 1")
}

/// Waits until it is said that it is this one, in these words; what is known of the backends then.
fn expect(scene: &Scene, who: &str, backend: Option<&Backend>, words: &str) -> Vec<api::Tcp> {
    let backend = backend.map(|backend| format!("web/{}", backend.address));
    let mut status = scene.status();
    let said = || {
        std::thread::sleep(Duration::from_millis(100));
        status = scene.status();
        let said = &status.bottleneck;
        said.who == who && said.backend == backend && said.sentence.contains(words)
    };
    // The borrow of what was said last ends before it is told.
    let log = || format!("{who} {backend:?}, {words}: {:?}", scene.status().bottleneck);
    eventually(said, log);
    eprintln!("{} ({})", status.bottleneck.sentence, status.bottleneck.evidence);
    status.backends.iter().map(|backend| backend.tcp).collect()
}

/// Sends as much as is taken, as long as it is.
fn pour(mut client: TcpStream) {
    while client.write_all(&[7; 65_536]).is_ok() {}
}

/// Sends back what it gets, each time after a while.
fn answer(mut client: TcpStream, after: Duration) {
    let mut word = [0; 64];
    while let Ok(bytes @ 1..) = client.read(&mut word) {
        std::thread::sleep(after);
        if client.write_all(&word[..bytes]).is_err() {
            break;
        }
    }
}

/// Says something, waits for the answer, thinks, again and again.
fn ask(client: &mut TcpStream, stopped: &dyn Fn() -> bool, thinks: Duration) {
    let mut word = *b"hello";
    while !stopped() && client.write_all(&word).is_ok() && client.read_exact(&mut word).is_ok() {
        std::thread::sleep(thinks);
    }
}

/// Clients that do something until they are dropped.
struct Clients {
    stopping: Arc<AtomicBool>,
    threads: Vec<(TcpStream, JoinHandle<()>)>,
}

impl Clients {
    fn several(scene: &Scene, many: usize, script: fn(&mut TcpStream, &dyn Fn() -> bool)) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let mut client = small_buffers(scene.balancer.address);
            let (kept, stopping) = (client.try_clone().unwrap(), Arc::clone(&stopping));
            let stopped = move || stopping.load(Ordering::Relaxed);
            (kept, std::thread::spawn(move || script(&mut client, &stopped)))
        };
        let threads = (0..many).map(client).collect();
        Self { stopping, threads }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        for (client, thread) in self.threads.drain(..) {
            let _ = client.shutdown(std::net::Shutdown::Both);
            let _ = thread.join();
        }
    }
}

/// A client whose receive window is full soon.
fn small_buffers(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(65_536).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.connect(&address.into()).unwrap();
    patient(socket.into())
}

/// A thread that keeps a CPU busy until it is dropped.
struct Load {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn on(cpu: usize) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            let mut here = CpuSet::new();
            here.set(cpu).unwrap();
            sched_setaffinity(Pid::from_raw(0), &here).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self { stopping, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Long for a peer on the loopback, short for a test.
const STEP: Duration = Duration::from_millis(5);

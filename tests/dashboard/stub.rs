//! A server that shows what a balancer seldom is: sixty backends, every state at once, names of somebody who
//! means harm. It serves the same page with the same policy, and figures that move.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use evenkeel::api::{Backend, Banner, Bottleneck, Event, Latency, Listener, Pool, Shard, Status};
use evenkeel::control::page;

use crate::support::patient;

/// Answers until it is dropped.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    told: Arc<Told>,
}

struct Told {
    status: Mutex<Status>,
    silent: AtomicBool,
    ended: AtomicBool,
}

impl Stub {
    pub(crate) fn of(status: Status) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (silent, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let told = Arc::new(Told { status: Mutex::new(status), silent, ended });
        let tell = Arc::clone(&told);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if tell.ended.load(Ordering::SeqCst) {
                    break;
                }
                let tell = Arc::clone(&tell);
                std::thread::spawn(move || answer(&patient(client), &tell));
            }
        });
        Self { address, told }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// It says something else from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.told.status.lock().expect("no test fails in here"));
    }

    /// Whether it closes connections without an answer from now on.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.told.silent.store(silent, Ordering::SeqCst);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.told.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(mut client: &TcpStream, told: &Told) {
    let mut lines = BufReader::new(client.take(64 * 1024)).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    while lines.next().is_some_and(|line| !line.is_empty()) {}
    if told.silent.load(Ordering::SeqCst) {
        return;
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let (code, kind, body) = match path {
        "/" => ("200 OK", "text/html; charset=utf-8", page::html().to_owned()),
        "/api/status" => ("200 OK", "application/json", json(&told.next_status())),
        "/api/events" => ("200 OK", "application/json", NO_EVENTS.to_owned()),
        _ => ("404 Not Found", "application/json", r#"{"error":"not here"}"#.to_owned()),
    };
    let _ = write!(
        client,
        "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Content-Security-Policy: {}\r\n\r\n{body}",
        body.len(),
        page::content_security_policy(),
    );
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain values")
}

impl Told {
    /// A second's worth of work later.
    fn next_status(&self) -> Status {
        let mut status = self.status.lock().expect("no test fails in here");
        status.time_ms = now_ms();
        for shard in &mut status.shards {
            shard.accepted += 100;
            shard.cpu_ms += 200;
            shard.to_clients.copied += 1 << 20;
        }
        let active = status.backends.iter_mut().filter(|backend| backend.active);
        for backend in active {
            backend.connected += 10;
            for latency in [&mut backend.connect, &mut backend.first_byte, &mut backend.response] {
                latency.count += 10;
                latency.buckets[2] += 9;
                latency.buckets[if backend.name.starts_with("slow") { 5 } else { 4 }] += 1;
            }
        }
        status.clone()
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("for long")
}

/// So many backends in two pools, in every state there is, and every banner.
pub(crate) fn everything(backends: usize) -> Status {
    let states = ["up", "drain", "maint", "down", "ejected", "full", "backup"];
    let named = |at: usize| {
        let state = if at < 2 * states.len() { states[at % states.len()] } else { "up" };
        backend(if at % 3 == 2 { "db" } else { "web" }, &format!("b{at}"), state)
    };
    let kinds = ["fail-open", "no-backend", "fallback-engine", "drift", "stopping", "log-dropped"];
    let text = |kind: &str| match kind {
        "log-dropped" => "3 lines of the session log were dropped in the last minute.",
        _ => "It is so.",
    };
    let banner = |kind: &&str| Banner { kind: (*kind).to_owned(), text: text(kind).to_owned() };
    Status { banners: kinds.iter().map(banner).collect(), ..with((0..backends).map(named)) }
}

/// What somebody who means harm would call a backend.
pub(crate) const HOSTILE: [&str; 6] = [
    "<img src=x onerror=pwned=1>",
    "\"><script>pwned=1</script>",
    "' onclick='pwned=1",
    "\u{202e}gnp.exe",
    "unbreakableunbreakableunbreakableunbreakableunbreakableunbreakableunbreakableunbreakable",
    "${pwned=1}{{pwned=1}}javascript:pwned=1",
];

/// Backends of such names, in a pool of such a name, with such evidence.
pub(crate) fn hostile() -> Status {
    let named = |name: &&str| backend(HOSTILE[0], name, "down");
    let mut status = with(HOSTILE.iter().map(named));
    status.bottleneck.sentence = HOSTILE[1].to_owned();
    status.banners = vec![Banner { kind: HOSTILE[0].to_owned(), text: HOSTILE[1].to_owned() }];
    status.ended.insert(HOSTILE[0].to_owned(), 1);
    status.counters.insert(HOSTILE[1].to_owned(), 1);
    status.listeners[0].name = HOSTILE[1].to_owned();
    status
}

fn backend(pool: &str, name: &str, state: &str) -> Backend {
    let admin = if ["drain", "maint"].contains(&state) { state } else { "ready" };
    let health = if ["down", "ejected"].contains(&state) { state } else { "up" };
    let none = Latency { buckets: vec![0; BOUNDS_US.len() + 1], ..Latency::default() };
    Backend {
        host: "192.0.2.1".to_owned(),
        port: 80,
        active: state == "up",
        connections: 3,
        pool: pool.to_owned(),
        name: name.to_owned(),
        state: state.to_owned(),
        admin: admin.to_owned(),
        health: health.to_owned(),
        since_ms: Some(1),
        evidence: Some(format!("{name}: connection refused (ECONNREFUSED)")),
        weight: 1,
        warmth: 256,
        origin: "config".to_owned(),
        connect: none.clone(),
        first_byte: none.clone(),
        response: none,
        ..Backend::default()
    }
}

fn with(backends: impl Iterator<Item = Backend>) -> Status {
    let backends: Vec<_> = backends.collect();
    let mut names: Vec<_> = backends.iter().map(|backend| backend.pool.clone()).collect();
    names.sort();
    names.dedup();
    let pool = |name: String| Pool {
        algorithm: "p2c".to_owned(),
        sticky_key: "ip".to_owned(),
        name,
        ..Pool::default()
    };
    let shard = |index| Shard { index, cpu: index, alive: true, sessions: 5, ..Shard::default() };
    let sentence = "Nobody holds the traffic up.".to_owned();
    Status {
        total_backends: backends.len(),
        active_backends: backends.iter().filter(|backend| backend.active).count(),
        backends,
        uptime_seconds: 4000,
        schema: "evenkeel-status-1".to_owned(),
        version: "0.0.0".to_owned(),
        pid: 1,
        engine: "uring".to_owned(),
        state: "running".to_owned(),
        bottleneck: Bottleneck { who: "nobody".to_owned(), sentence, ..Bottleneck::default() },
        sessions: 10,
        sessions_max: 1000,
        listeners: vec![Listener {
            name: "front".to_owned(),
            address: "0.0.0.0:80".to_owned(),
            pool: names[0].clone(),
            ..Listener::default()
        }],
        pools: names.into_iter().map(pool).collect(),
        shards: (0..2).map(shard).collect(),
        bounds_us: BOUNDS_US.to_vec(),
        events: events(),
        ..Status::default()
    }
}

const BOUNDS_US: [u64; 5] = [10, 100, 1000, 10_000, 100_000];

/// One of each level.
fn events() -> Vec<Event> {
    let levels = ["INFO", "WARNING", "ERROR"].iter().zip(1..);
    let event = |(level, seq): (&&str, u64)| Event {
        seq,
        time: "2026-01-01T00:00:00.000Z".to_owned(),
        level: (*level).to_owned(),
        message: HOSTILE[0].to_owned(),
        time_ms: 1_767_225_600_000 + seq,
        kind: "log".to_owned(),
        subject: "web/b1".to_owned(),
        evidence: HOSTILE[1].to_owned(),
    };
    levels.map(event).collect()
}

/// Nothing has happened since.
const NO_EVENTS: &str = r#"{"events":[],"next":3}"#;

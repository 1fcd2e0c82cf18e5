//! A stub of the admin API: canned answers by method and path, and a list of what was asked for.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel::api::{
    Backend, Bytes, Event, Events, Latency, Listener, Pool, Session, Sessions, Shard, Status,
};
use serde::Serialize;

use crate::support::EVENKEEL;

/// Answers until the test program ends.
pub(crate) struct Stub {
    /// `unix:PATH` or `HOST:PORT`.
    pub(crate) address: String,
    folder: Option<PathBuf>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    answers: HashMap<String, (u16, String)>,
    asked: Vec<Asked>,
}

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// `GET /api/status?x=y`
    pub(crate) line: String,
    /// Of the Authorization header.
    pub(crate) token: Option<String>,
    pub(crate) body: String,
}

impl Stub {
    /// On a unix socket, with the balancer of [`status`].
    pub(crate) fn new() -> Self {
        let folder = own_folder();
        let path = folder.join("admin.sock");
        let listener = UnixListener::bind(&path).expect("a path of our own");
        let stub = Self::of(format!("unix:{}", path.display()), Some(folder));
        let shared = Arc::clone(&stub.shared);
        std::thread::spawn(move || {
            listener.incoming().map_while(Result::ok).for_each(|stream| serve(stream, &shared));
        });
        stub
    }

    /// On TCP.
    pub(crate) fn on_tcp() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let stub = Self::of(address.to_string(), None);
        let shared = Arc::clone(&stub.shared);
        std::thread::spawn(move || {
            listener.incoming().map_while(Result::ok).for_each(|stream| serve(stream, &shared));
        });
        stub
    }

    fn of(address: String, folder: Option<PathBuf>) -> Self {
        let stub = Self { address, folder, shared: Arc::default() };
        stub.answer("GET /api/status", 200, &status());
        stub.answer("GET /api/backends", 200, &status().backends);
        for backend in &status().backends {
            let path = format!("/api/pools/{}/backends/{}", backend.pool, backend.name);
            stub.answer(&format!("GET {path}"), 200, backend);
            stub.answer(&format!("PATCH {path}"), 200, backend);
            stub.say(&format!("DELETE {path}"), 204, "");
        }
        stub.answer("GET /api/sessions", 200, &sessions());
        stub.answer("GET /api/events", 200, &events());
        stub
    }

    /// What is answered to a method and a path, whatever the query is, unless there is an answer to just
    /// this query.
    pub(crate) fn answer(&self, line: &str, status: u16, value: &impl Serialize) {
        self.say(line, status, &serde_json::to_string(value).expect("a value of the API"));
    }

    /// The same as text.
    pub(crate) fn say(&self, line: &str, status: u16, body: &str) {
        self.lock().answers.insert(line.to_owned(), (status, body.to_owned()));
    }

    /// What was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.lock().asked.clone()
    }

    /// How many sessions there are that fit just this query.
    pub(crate) fn count_sessions(&self, query: &str, matched: u64) {
        let sessions = Sessions { matched, total: 9, ..Sessions::default() };
        self.answer(&format!("GET /api/sessions?{query}&limit=1"), 200, &sessions);
    }

    /// The last thing that was asked for, as `GET /path?query`.
    pub(crate) fn last(&self) -> String {
        self.asked().pop().unwrap_or_default().line
    }

    /// `evenkeel ctl` with these words, asking here.
    pub(crate) fn ctl(&self, words: &str) -> Done {
        let mut command = evenkeel("ctl");
        command.args(words.split_whitespace()).env("EVENKEEL_ADMIN", &self.address);
        done(&mut command)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.folder.as_ref().map(std::fs::remove_dir_all);
    }
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program with a first word, in an environment that says nothing.
pub(crate) fn evenkeel(word: &str) -> Command {
    let mut command = Command::new(EVENKEEL);
    command.arg(word).env_remove("COLUMNS");
    command.env_remove("EVENKEEL_ADMIN").env_remove("EVENKEEL_ADMIN_TOKEN_FILE");
    command
}

/// Runs it to its end.
pub(crate) fn done(command: &mut Command) -> Done {
    let Output { status, stdout, stderr } = command.output().expect("the program is there");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Done { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// A folder for a socket.
pub(crate) fn own_folder() -> PathBuf {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("evenkeel-ctl-{}-{number}", std::process::id()));
    // What an earlier process with this id may have left.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder
}

/// A path that nobody listens at.
pub(crate) fn nobody(folder: &Path) -> String {
    format!("unix:{}", folder.join("nobody.sock").display())
}

/// A pool `web` of three: one up, one down, one on a unix socket; a second pool `db` of one.
pub(crate) fn status() -> Status {
    let backend = |pool: &str, name: &str, state: &str| Backend {
        host: "10.0.0.1".to_owned(),
        port: 80,
        active: state == "up",
        connections: 3,
        pool: pool.to_owned(),
        name: name.to_owned(),
        state: state.to_owned(),
        admin: "ready".to_owned(),
        health: state.to_owned(),
        weight: 1,
        warmth: 256,
        connected: 1234,
        to_clients: Bytes { copied: 1_000_000, spliced: 3_000_000 },
        response: Latency { p50_us: Some(120), p99_us: Some(1500), ..Latency::default() },
        ..Backend::default()
    };
    let mut down = backend("web", "b", "down");
    down.evidence = Some("3 checks in a row: connection refused".to_owned());
    Status {
        schema: "evenkeel-status-1".to_owned(),
        version: "0.1.0".to_owned(),
        state: "running".to_owned(),
        engine: "uring".to_owned(),
        pid: 7,
        uptime_seconds: 3700,
        sessions: 9,
        backends: vec![
            backend("web", "a", "up"),
            down,
            backend("db", "a", "up"),
            backend("db", "c", "up"),
        ],
        pools: vec![
            Pool { name: "web".to_owned(), backends: 2, active: 1, ..Pool::default() },
            Pool { name: "db".to_owned(), backends: 2, active: 2, ..Pool::default() },
        ],
        listeners: vec![Listener {
            name: "main".to_owned(),
            address: "0.0.0.0:8080".to_owned(),
            pool: "web".to_owned(),
            ..Listener::default()
        }],
        shards: vec![Shard { alive: true, sessions: 9, ..Shard::default() }],
        ..Status::default()
    }
}

fn sessions() -> Sessions {
    let session = |number: u32| Session {
        id: format!("0-{number}-1"),
        client: Some(format!("10.1.0.1:{number}")),
        listener: "main".to_owned(),
        pool: "web".to_owned(),
        backend: Some("a".to_owned()),
        state: "relaying".to_owned(),
        by: Some("round-robin".to_owned()),
        age_ms: 61_000,
        ..Session::default()
    };
    let sessions: Vec<Session> = (1..=9).map(session).collect();
    Sessions { matched: 9, total: 9, incomplete: false, sessions }
}

fn events() -> Events {
    let event = |seq: u64| Event {
        seq,
        time: "2026-11-30T12:00:00.000Z".to_owned(),
        level: "WARNING".to_owned(),
        message: format!("happening {seq}"),
        evidence: format!("reason {seq}"),
        ..Event::default()
    };
    Events { events: (1..=5).map(event).collect(), next: 5 }
}

/// One request, one answer.
fn serve(mut stream: impl Read + Write, shared: &Mutex<Shared>) {
    let Some(asked) = request(&mut stream) else { return };
    let mut words = asked.line.split(['?', ' ']);
    let key = [words.next(), words.next()].map(Option::unwrap_or_default).join(" ");
    let answer = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = shared.answers.get(&asked.line).or_else(|| shared.answers.get(&key)).cloned();
        shared.asked.push(asked);
        answer
    };
    let (status, body) =
        answer.unwrap_or((404, r#"{"error":"the stub knows no such path"}"#.to_owned()));
    let _ = write!(
        stream,
        "HTTP/1.1 {status} So\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

fn request(stream: &mut impl Read) -> Option<Asked> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(name))?;
        Some(line[name.len()..].trim().to_owned())
    };
    let length = header("content-length:").map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let line = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let body = String::from_utf8(body).ok()?;
    Some(Asked { line, token: header("authorization:"), body })
}

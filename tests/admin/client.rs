//! A client of the admin API that says exactly what it is told to say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use evenkeel::api::{Backend, Event, Status};
use serde::de::DeserializeOwned;

use crate::support::file::ConfigFile;
use crate::support::{Balancer, WATCHDOG, patient};

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In small letters, a line each.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body as one of the API's values.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// What is wrong, said as it should be.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        self.json::<evenkeel::api::Problem>().error
    }
}

/// A balancer with an admin API in the file system, beside its configuration file.
pub(crate) struct Scene {
    pub(crate) file: ConfigFile,
    pub(crate) balancer: Balancer,
    pub(crate) socket: PathBuf,
}

impl Scene {
    /// With this configuration and these options.
    pub(crate) fn new(text: &str, options: &str) -> Self {
        let file = ConfigFile::new(text);
        let socket = file.folder().join("admin.sock");
        let balancer = start(&file, options);
        Self { file, balancer, socket }
    }

    /// One pool `web`, quiet, of these backends.
    pub(crate) fn before(backends: &[SocketAddr], keys: &str, options: &str) -> Self {
        Self::new(&web(backends, keys), options)
    }

    /// Ends it and starts it again with the same file.
    pub(crate) fn restart(mut self, options: &str) -> Self {
        self.balancer.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(self.balancer.wait().success(), "{}", self.balancer.log());
        let balancer = start(&self.file, options);
        Self { balancer, ..self }
    }

    /// Says this and nothing else, and hears all of the answer.
    pub(crate) fn say(&self, words: &[u8]) -> Answer {
        exchange(UnixStream::connect(&self.socket).unwrap(), words).expect("an answer")
    }

    /// A request without a body.
    pub(crate) fn ask(&self, line: &str) -> Answer {
        self.say(request(line, "", "").as_bytes())
    }

    /// A request with a body of JSON.
    pub(crate) fn tell(&self, line: &str, body: &str) -> Answer {
        self.say(request(line, "Content-Type: application/json\r\n", body).as_bytes())
    }

    pub(crate) fn status(&self) -> Status {
        let answer = self.ask("GET /api/status");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub(crate) fn backend(&self, name: &str) -> Backend {
        let backends = self.status().backends;
        let found = backends.into_iter().find(|backend| backend.name == name);
        found.unwrap_or_else(|| panic!("no backend {name}"))
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.ask("GET /api/events").json::<evenkeel::api::Events>().events
    }

    /// All that a stranger could want to change.
    pub(crate) fn in_force(&self) -> Vec<(String, u16, String)> {
        let backends = self.status().backends.into_iter();
        backends.map(|one| (format!("{}/{}", one.pool, one.name), one.weight, one.admin)).collect()
    }
}

/// One pool `web`, quiet, of these backends.
pub(crate) fn web(backends: &[SocketAddr], keys: &str) -> String {
    use crate::support::file::{QUIET_FILE, listener, pool};
    let (listener, pool) = (listener("127.0.0.1:0", "web"), pool("web", backends, keys));
    format!("{QUIET_FILE}{listener}{pool}")
}

fn start(file: &ConfigFile, options: &str) -> Balancer {
    let socket = file.folder().join("admin.sock");
    file.balancer(&format!("--admin unix:{} {options}", socket.display()))
}

/// Where a balancer's admin API is on the network.
pub(crate) fn on_network(balancer: &Balancer) -> SocketAddr {
    let lines = balancer.settings.iter().filter_map(|line| line.trim().strip_prefix("admin "));
    let mut addresses = lines.filter_map(|line| line.trim().split(',').next()?.parse().ok());
    addresses.next().unwrap_or_else(|| panic!("not on the network: {:?}", balancer.settings))
}

/// A well-formed request; `headers` end in CRLF each.
pub(crate) fn request(line: &str, headers: &str, body: &str) -> String {
    let length = match body {
        "" => String::new(),
        body => format!("Content-Length: {}\r\n", body.len()),
    };
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}{length}\r\n{body}"
    )
}

/// Says something over the network and hears all of the answer; nothing if there is none.
pub(crate) fn say_to(address: SocketAddr, words: &[u8]) -> Option<Answer> {
    exchange(patient(TcpStream::connect(address).unwrap()), words)
}

fn exchange(mut stream: impl Read + Write + Timed, words: &[u8]) -> Option<Answer> {
    stream.be_patient();
    // Who is refused early may be cut while it still speaks; what was answered counts.
    let _ = stream.write_all(words);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    parse(&said)
}

fn parse(said: &[u8]) -> Option<Answer> {
    let said = String::from_utf8_lossy(said).into_owned();
    let (head, body) = said.split_once("\r\n\r\n")?;
    let (line, head) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let head = head.lines().map(|line| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_lowercase()),
        None => format!("{line}\n"),
    });
    let head: String = head.collect();
    let body = match head.contains("transfer-encoding: chunked") {
        true => unchunked(body)?,
        false => body.to_owned(),
    };
    Some(Answer { status, head, body })
}

fn unchunked(mut text: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..size)?);
        text = rest.get(size + 2..)?;
    }
}

trait Timed {
    /// Fails rather than hangs.
    fn be_patient(&self);
}

impl Timed for UnixStream {
    fn be_patient(&self) {
        self.set_read_timeout(Some(WATCHDOG)).unwrap();
        self.set_write_timeout(Some(WATCHDOG)).unwrap();
    }
}

impl Timed for TcpStream {
    fn be_patient(&self) {}
}

//! The real program with its page, three backends, and clients that come and go.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use serde_json::Value;

use crate::support::Balancer;
use crate::support::backend::Backend;
use crate::support::patient;
use crate::support::scene::{ConfigFile, UNCHECKED, one_pool};
use crate::support::seccomp::{IO_URING_SETUP, behind};

/// What changes something has to know it.
pub(crate) const TOKEN: &str = "a-token-of-thirty-two-characters";

/// The third backend's name is what somebody who means harm would choose.
pub(crate) const NAMES: [&str; 3] = ["b1", "b2", "<img src=x onerror=pwned=1>"];

pub(crate) struct Scene {
    /// They leave before the balancer does.
    clients: Option<Clients>,
    pub(crate) balancer: Balancer,
    address: SocketAddr,
    token: PathBuf,
    pub(crate) file: ConfigFile,
    _backends: Vec<Backend>,
}

impl Scene {
    /// Everybody may look, and changes need the token.
    pub(crate) fn public() -> Self {
        Self::with("--admin-public-read")
    }

    /// Nobody may look without the token.
    pub(crate) fn private() -> Self {
        Self::with("")
    }

    /// io_uring is refused, and there is nobody where the two backends should be: it fails open.
    pub(crate) fn in_trouble() -> Self {
        let nobody = [Backend::echo(), Backend::echo()].map(|backend| backend.address);
        let named = [(nobody[0], "name = \"b1\""), (nobody[1], "name = \"b2\"")];
        let lines = format!("eject_after = 1\neject_time = \"1h\"\n{UNCHECKED}");
        let file = ConfigFile::new(&one_pool(&lines, &named));
        behind(IO_URING_SETUP, Errno::EPERM, || {
            Self::before(Vec::new(), file, "--admin-public-read --engine auto")
        })
    }

    fn with(options: &str) -> Self {
        let backends: Vec<_> = NAMES.iter().map(|_| Backend::echo()).collect();
        let lines = NAMES.map(|name| format!("name = \"{name}\""));
        let named = backends.iter().zip(&lines);
        let named: Vec<_> = named.map(|(backend, line)| (backend.address, line.as_str())).collect();
        let file = ConfigFile::new(&one_pool("algorithm = \"round-robin\"", &named));
        Self::before(backends, file, options)
    }

    fn before(backends: Vec<Backend>, file: ConfigFile, options: &str) -> Self {
        let token = token_file();
        let path = token.display();
        let balancer =
            file.start(&format!("--admin 127.0.0.1:0 --admin-token-file {path} {options}"));
        let address = balancer.setting("admin").split(',').next().expect("the first part");
        let address = address.parse().expect("an address and what it asks for");
        Self { clients: None, balancer, address, token, file, _backends: backends }
    }

    /// Clients come and go from now on.
    pub(crate) fn bring_clients(&mut self) {
        self.clients = Some(Clients::of(self.balancer.address));
    }

    pub(crate) fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// One backend of the only pool, as the API tells it; nothing if there is none of that name.
    pub(crate) fn backend(&self, name: &str) -> Value {
        let status = self.status();
        let mut backends = status["backends"].as_array().expect("a list").iter();
        backends.find(|backend| backend["name"] == name).cloned().unwrap_or_default()
    }

    /// `GET /api/status`
    pub(crate) fn status(&self) -> Value {
        let mut server = patient(TcpStream::connect(self.address).expect("it listens"));
        let head = "GET /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close";
        write!(server, "{head}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        server.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        serde_json::from_str(body).expect("JSON, in one piece")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.token);
    }
}

/// Only its owner can read it, as is asked for.
fn token_file() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("dashboard-{}-{number}.token", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, format!("{TOKEN}\n")).expect("a directory of tests");
    let only_us = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, only_us).expect("it is ours");
    path
}

/// One after the other, until this is dropped: a connection, a few words and their echo.
struct Clients {
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clients {
    fn of(address: SocketAddr) -> Self {
        let leaving = Arc::new(AtomicBool::new(false));
        let left = Arc::clone(&leaving);
        let thread = std::thread::spawn(move || {
            while !left.load(Ordering::Relaxed) {
                let mut client = patient(TcpStream::connect(address).expect("it listens"));
                for _ in 0..3 {
                    client.write_all(b"hello").expect("it is connected");
                    client.read_exact(&mut [0; 5]).expect("an echo");
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { leaving, thread: Some(thread) }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
        let thread = self.thread.take().map(JoinHandle::join);
        assert!(
            thread.is_none_or(|end| end.is_ok()) || std::thread::panicking(),
            "a client failed"
        );
    }
}

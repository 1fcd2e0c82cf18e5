//! HAProxy and nginx beside the balancer: programs that speak the PROXY protocol and that others
//! wrote. Each runs in the foreground, alone, from a configuration of its own.

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{eventually, free_port, skip};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Haproxy,
    Nginx,
}

/// A program that runs until this is dropped.
pub(crate) struct Peer {
    child: Child,
    folder: PathBuf,
}

/// Where a peer listens or connects to.
#[derive(Clone, Debug)]
pub(crate) enum At {
    Inet(SocketAddr),
    Unix(PathBuf),
}

impl At {
    /// A port that was free a moment ago.
    pub(crate) fn port_of(ip: IpAddr) -> Self {
        let port = TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr());
        Self::Inet(port.expect("a free port"))
    }

    /// A path that nobody uses.
    pub(crate) fn new_path() -> Self {
        Self::Unix(new_name("sock"))
    }

    /// Whether somebody listens there, if it is a path. HAProxy binds sockets in the file system after
    /// those on the network, and by another name first, which the kernel remembers.
    fn is_listened_to(&self) -> bool {
        let Self::Unix(path) = self else { return true };
        let sockets = std::fs::read_to_string("/proc/net/unix").expect("proc(5)");
        let (name, first_name) = (path.display().to_string(), format!("{}.", path.display()));
        let named = |line: &str| line.ends_with(&name) || line.contains(&first_name);
        path.exists() && sockets.lines().any(|line| line.contains(LISTENS) && named(line))
    }

    pub(crate) fn inet(&self) -> SocketAddr {
        match self {
            Self::Inet(address) => *address,
            Self::Unix(path) => panic!("{path:?} is no IP address"),
        }
    }
}

/// As HAProxy and nginx write it; the balancer too.
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Program {
    /// Passes what comes to `from` on to `to`, with a header of the version; with a checksum too
    /// where that is known. `None`, and a word about it, where the program is not installed.
    pub(crate) fn sending(self, version: Header, from: &At, to: SocketAddr) -> Option<Peer> {
        let text = match self {
            Self::Haproxy => {
                let option = match version {
                    Header::V1 => "send-proxy",
                    Header::V2 => "send-proxy-v2",
                    Header::V2WithSum => "send-proxy-v2 proxy-v2-options crc32c",
                };
                let (from, to) = (haproxy_at(from), haproxy_at(&At::Inet(to)));
                format!("listen sender\n mode tcp\n bind {from}\n server one {to} {option}\n")
            }
            Self::Nginx => {
                assert_eq!(version, Header::V1, "nginx sends version 1 only");
                format!("server {{ listen {from}; proxy_pass {to}; proxy_protocol on; }}\n")
            }
        };
        self.started(&text, from)
    }

    /// Expects a header from who comes to `at`, and answers with the addresses that it knows:
    /// HAProxy to [`QUESTION`], nginx before anything is said.
    pub(crate) fn receiving(self, at: &At) -> Option<Peer> {
        let text = match self {
            Self::Haproxy => {
                let at = haproxy_at(at);
                let answer = "%[src] %[src_port] %[dst] %[dst_port]";
                format!(
                    "frontend receiver\n mode http\n bind {at} accept-proxy\n http-request return \
                     status 200 content-type text/plain lf-string \"{answer}\"\n"
                )
            }
            Self::Nginx => {
                let answer = "$proxy_protocol_addr $proxy_protocol_port \
                              $proxy_protocol_server_addr $proxy_protocol_server_port";
                format!("server {{ listen {at} proxy_protocol; return \"{answer}\"; }}\n")
            }
        };
        self.started(&text, at)
    }

    /// HAProxy tells its metrics to who asks at `at`, by its own exporter for Prometheus.
    pub(crate) fn exporting(at: &At) -> Option<Peer> {
        let (at_text, other) = (haproxy_at(at), At::port_of([127, 0, 0, 1].into()));
        let text = format!(
            "frontend metrics\n mode http\n bind {at_text}\n http-request use-service \
             prometheus-exporter\nfrontend in\n mode tcp\n bind {}\n default_backend pool\n\
             backend pool\n mode tcp\n server one 127.0.0.1:1 maxconn 9\n",
            haproxy_at(&other)
        );
        Self::Haproxy.started(&text, at)
    }

    /// What it answers to who has sent it a header.
    pub(crate) fn answer(self, peer: &mut (impl Read + Write)) -> String {
        if self == Self::Haproxy {
            peer.write_all(QUESTION.as_bytes()).expect("it reads");
        }
        let mut answer = String::new();
        peer.read_to_string(&mut answer).expect("it answers");
        match self {
            Self::Nginx => answer,
            Self::Haproxy => {
                let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                body.unwrap_or_else(|| panic!("HTTP: {answer:?}"))
            }
        }
    }

    fn started(self, text: &str, at: &At) -> Option<Peer> {
        let name = match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        };
        // Not on everybody's path.
        let path = Path::new("/usr/sbin").join(name);
        let program = if path.exists() { path } else { name.into() };
        let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
        let there = Command::new(&program).arg("-v").output().is_ok();
        if !there || (self == Self::Nginx && !module.exists()) {
            skip("haproxy, and nginx with its stream module (scripts/install-test-packages)");
            return None;
        }
        // The last one that is bound; HAProxy binds one family after the other.
        let loopback: IpAddr = match at {
            At::Inet(address) if address.is_ipv6() => Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        let ready = SocketAddr::from((loopback, free_port()));
        let folder = new_name("peer");
        std::fs::create_dir(&folder).expect("a folder for temporary files");
        let (file, pid) = (folder.join("configuration"), folder.join("pid"));
        let text = match self {
            Self::Haproxy => format!(
                "defaults\n timeout connect 9s\n timeout client 60s\n timeout server 60s\n{text}\
                 listen ready\n mode tcp\n bind {ready}\n tcp-request connection reject\n"
            ),
            Self::Nginx => format!(
                "load_module {};\ndaemon off;\nmaster_process off;\npid {};\n\
                 error_log stderr;\nevents {{ }}\nstream {{\n{text}\
                 server {{ listen {ready}; return ready; }}\n}}\n",
                module.display(),
                pid.display(),
            ),
        };
        std::fs::write(&file, text).expect("a new file");
        let mut command = Command::new(&program);
        match self {
            Self::Haproxy => command.arg("-db").arg("-f").arg(&file),
            Self::Nginx => command.args(["-e", "stderr", "-c"]).arg(&file),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut peer = Peer { child: command.spawn().expect("it is there"), folder };
        let mut listens = || {
            let ended = peer.child.try_wait().expect("our child");
            assert!(ended.is_none(), "{name} does not like its configuration; see above");
            TcpStream::connect(ready).is_ok() && at.is_listened_to()
        };
        eventually(&mut listens, || format!("{name} does not listen"));
        Some(peer)
    }
}

/// What a sender writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    V1,
    V2,
    V2WithSum,
}

fn haproxy_at(at: &At) -> String {
    match at {
        At::Inet(address) => address.to_string(),
        At::Unix(path) => format!("unix@{}", path.display()),
    }
}

/// Nothing of this name exists.
fn new_name(kind: &str) -> PathBuf {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    let name = NAMES.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("evenkeel-{kind}-{}-{name}", std::process::id()))
}

impl Drop for Peer {
    fn drop(&mut self) {
        // By its process id; no harm if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Drop for At {
    fn drop(&mut self) {
        if let Self::Unix(path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// HAProxy can answer by itself in HTTP only.
const QUESTION: &str = "GET / HTTP/1.0\r\n\r\n";

/// `__SO_ACCEPTCON` in the flags of a unix socket (include/linux/net.h).
const LISTENS: &str = " 00010000 ";

//! What the batteries about balancing share: configuration files, loopback addresses of one's own for
//! clients and backends, and backends that tell checks what a test wants them to tell.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use socket2::{Domain, Socket, Type};

use super::backend::Backend;
pub(crate) use super::file::ConfigFile;
use super::{Balancer, eventually, patient};

impl ConfigFile {
    /// A balancer that goes by it, and drains no longer than a second.
    pub(crate) fn start(&self, options: &str) -> Balancer {
        match options.contains("--drain-timeout") {
            true => self.balancer(options),
            false => self.balancer(&format!("{options} --drain-timeout 1s")),
        }
    }
}

/// The file of one listener and one pool, which has these lines, and backends with their own.
pub(crate) fn one_pool(lines: &str, backends: &[(SocketAddr, &str)]) -> String {
    let mut text = format!("[[listener]]\nlisten = \"127.0.0.1:0\"\n[pool.web]\n{lines}\n");
    for (address, more) in backends {
        text.push_str(&format!("[[pool.web.backend]]\naddress = \"{address}\"\n{more}\n"));
    }
    text
}

/// A balancer of [`one_pool`].
pub(crate) fn before_pool(lines: &str, backends: &[(SocketAddr, &str)], options: &str) -> Balancer {
    ConfigFile::new(&one_pool(lines, backends)).start(options)
}

/// Health checks are off.
pub(crate) const UNCHECKED: &str = "[pool.web.health]\ntype = \"off\"";

/// An address that nobody else uses, where a backend can listen, leave, and listen again. The next
/// higher port is its own, too.
pub(crate) fn own_address() -> SocketAddr {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let process = std::process::id();
    // The kernel gives ports below 32768 to nobody.
    let port = 10_000 + 2 * u16::try_from(process / 100 % 10_000).expect("less than 10000");
    let group = u8::try_from(128 + process % 100).expect("less than 228");
    loop {
        let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, group, high, low.max(1)), port));
        // Where files are modules of one program each has a count of its own. As long as the program
        // runs, a datagram socket says that the address is taken.
        if let Ok(taken) = UdpSocket::bind(address) {
            std::mem::forget(taken);
            return address;
        }
    }
}

impl Balancer {
    /// A client from 127.1.0.`last`.
    pub(crate) fn connect_from(&self, last: u8) -> TcpStream {
        self.connect_from_port(last, 0)
    }

    /// The same from a port of its own; it may have been used a moment ago.
    pub(crate) fn connect_from_port(&self, last: u8, port: u16) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("a TCP socket");
        let from = SocketAddr::from((Ipv4Addr::new(127, 1, 0, last), port));
        socket.bind(&from.into()).expect("all of 127.0.0.0/8 is this host");
        socket.connect(&self.address.into()).expect("the balancer listens");
        patient(socket.into())
    }

    /// All that is sent to a client from there which says nothing.
    pub(crate) fn ask_from(&self, last: u8) -> String {
        let mut said = String::new();
        self.connect_from(last).read_to_string(&mut said).expect("a backend's answer");
        said
    }

    /// A client and the two letters that name who serves it.
    pub(crate) fn connect_and_hear(&self) -> (String, TcpStream) {
        let client = self.connect();
        (name_of(&client), client)
    }

    /// Waits until the log has so many lines with these words.
    pub(crate) fn wait_for_lines(&self, words: &str, many: usize) {
        let what = || format!("not {many} lines with `{words}` in:\n{}", self.log());
        eventually(|| self.lines_with(words) >= many, what);
    }

    /// Lines of the log with these words.
    pub(crate) fn lines_with(&self, words: &str) -> usize {
        self.log().lines().filter(|line| line.contains(words)).count()
    }
}

/// The two letters that name who serves a client.
pub(crate) fn name_of(mut client: &TcpStream) -> String {
    let mut name = [0; 2];
    client.read_exact(&mut name).expect("a backend says its name");
    String::from_utf8_lossy(&name).into_owned()
}

/// One byte there and back.
pub(crate) fn is_echoed(mut client: &TcpStream, byte: u8) -> bool {
    let mut back = [0];
    client.write_all(&[byte]).is_ok() && client.read_exact(&mut back).is_ok() && back == [byte]
}

/// A backend that says its name to who speaks, and sends back what comes then; to `GET /health` it
/// answers with the status that it was told.
pub(crate) struct Checked {
    backend: Backend,
    told: Arc<Told>,
}

#[derive(Debug)]
struct Told {
    status: AtomicU16,
    silent: AtomicBool,
    checks: AtomicUsize,
    clients: AtomicUsize,
}

impl Checked {
    pub(crate) fn new(name: &'static str) -> Self {
        Self::on(own_address(), name)
    }

    /// The same at an address of one's own.
    pub(crate) fn on(address: SocketAddr, name: &'static str) -> Self {
        let told = Arc::new(Told {
            status: AtomicU16::new(200),
            silent: AtomicBool::new(false),
            checks: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
        });
        let tell = Arc::clone(&told);
        let backend = Backend::on(address, move |client| serve(client, name, &tell));
        Self { backend, told }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.backend.address
    }

    /// What it answers to checks from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.told.status.store(status, Ordering::SeqCst);
    }

    /// Whether it says nothing to checks from now on.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.told.silent.store(silent, Ordering::SeqCst);
    }

    /// Checks that have come.
    pub(crate) fn checks(&self) -> usize {
        self.told.checks.load(Ordering::SeqCst)
    }

    /// Clients that have spoken.
    pub(crate) fn clients(&self) -> usize {
        self.told.clients.load(Ordering::SeqCst)
    }

    /// Waits for so many more checks.
    pub(crate) fn wait_for_checks(&self, more: usize) {
        let until = self.checks() + more;
        eventually(|| self.checks() >= until, || format!("{} checks, not {until}", self.checks()));
    }
}

fn serve(mut client: TcpStream, name: &str, told: &Told) {
    let mut chunk = [0; 4096];
    let Ok(first @ 1..) = client.read(&mut chunk) else { return };
    if !chunk[..first].starts_with(b"GET /health") {
        told.clients.fetch_add(1, Ordering::SeqCst);
        let _ = client.write_all(name.as_bytes());
        while let Ok(bytes @ 1..) = client.read(&mut chunk) {
            if client.write_all(&chunk[..bytes]).is_err() {
                break;
            }
        }
        return;
    }
    told.checks.fetch_add(1, Ordering::SeqCst);
    if !told.silent.load(Ordering::SeqCst) {
        let status = told.status.load(Ordering::SeqCst);
        let _ = write!(client, "HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
        let _ = client.shutdown(Shutdown::Write);
    }
    let _ = std::io::copy(&mut client, &mut std::io::sink());
}

/// A client that has spoken to a [`Checked`], and the name of that.
pub(crate) fn speak(balancer: &Balancer) -> (String, TcpStream) {
    let mut client = balancer.connect();
    client.write_all(b"?").expect("it is connected");
    (name_of(&client), client)
}

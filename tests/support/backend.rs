//! Backends that follow a script, one thread for each connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{eventually, patient, pattern, receipt, reset};

/// A backend that listens until it is dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Runs `script` for each connection, on a thread of its own.
    pub(crate) fn running(script: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// The same at an address of one's own.
    pub(crate) fn on(
        address: SocketAddr,
        script: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let script = Arc::new(script);
        Self::accepting(address, move |client| {
            let script = Arc::clone(&script);
            // Thousands may be open at a time, and none calls deeply.
            let thread = std::thread::Builder::new().stack_size(128 * 1024);
            thread.spawn(move || script(client)).expect("a thread");
        })
    }

    /// Takes connections and keeps them open, without a word or a thread, until it is dropped.
    pub(crate) fn silent() -> Self {
        let kept = Mutex::new(Vec::new());
        Self::accepting((Ipv4Addr::LOCALHOST, 0).into(), move |client| {
            kept.lock().expect("no test fails in here").push(client);
        })
    }

    /// Says its name and closes.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::named_on((Ipv4Addr::LOCALHOST, 0).into(), name)
    }

    /// The same at an address of one's own.
    pub(crate) fn named_on(address: SocketAddr, name: &'static str) -> Self {
        Self::on(address, move |mut client| {
            let _ = client.write_all(name.as_bytes());
        })
    }

    /// Says its name, then waits until the client has left.
    pub(crate) fn named_and_held(name: &'static str) -> Self {
        Self::running(move |mut client| {
            let _ = client.write_all(name.as_bytes());
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        })
    }

    /// Sends back what it gets, and ends when the client has.
    pub(crate) fn echo() -> Self {
        Self::running(|mut client| {
            let mut chunk = [0; 16 * 1024];
            while let Ok(bytes @ 1..) = client.read(&mut chunk) {
                if client.write_all(&chunk[..bytes]).is_err() {
                    break;
                }
            }
        })
    }

    /// Reads everything, then answers with a [`receipt`].
    pub(crate) fn sink() -> Self {
        Self::running(|mut client| {
            let mut bytes = Vec::new();
            if client.read_to_end(&mut bytes).is_ok() {
                let _ = client.write_all(receipt(&bytes).as_bytes());
            }
        })
    }

    /// Reads a [`request`] and sends what it asks for, then closes.
    pub(crate) fn source() -> Self {
        Self::running(|mut client| {
            let mut asked = [0; 16];
            if client.read_exact(&mut asked).is_err() {
                return;
            }
            let (seed, len) = asked.split_at(8);
            let seed = u64::from_le_bytes(seed.try_into().expect("8 bytes"));
            let len = u64::from_le_bytes(len.try_into().expect("8 bytes"));
            let _ = client.write_all(&pattern(seed, usize::try_from(len).expect("64 bits")));
        })
    }

    /// Sends so many bytes, reads so many, then resets the connection.
    pub(crate) fn resetting_after(sent: usize, read: usize) -> Self {
        Self::running(move |mut client| {
            let _ = client.write_all(&vec![7; sent]);
            let _ = client.read_exact(&mut vec![0; read]);
            reset(client);
        })
    }

    /// Sends one byte at a time, with a rest after each, then closes.
    pub(crate) fn dribbling(bytes: Vec<u8>, rest: Duration) -> Self {
        Self::running(move |mut client| {
            for byte in &bytes {
                let _ = client.write_all(&[*byte]);
                std::thread::sleep(rest);
            }
            let _ = client.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        })
    }

    /// How many connections it has taken.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Waits until it has taken so many.
    pub(crate) fn wait_for_accepted(&self, many: usize) {
        let what = || format!("{} connections came, not {many}", self.accepted());
        eventually(|| self.accepted() >= many, what);
    }

    fn accepting(address: SocketAddr, take: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        // 128, as `std` sets it, is few for a burst; listening again only changes the backlog.
        socket2::SockRef::from(&listener).listen(4096).expect("it listens already");
        let address = listener.local_addr().expect("bound");
        let (accepted, stopping) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (Arc::<AtomicUsize>::clone(&accepted), Arc::clone(&stopping));
        let thread = std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                count.fetch_add(1, Ordering::Relaxed);
                take(patient(client));
            }
        });
        Self { address, accepted, stopping, thread: Some(thread) }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // A last connection wakes the accept; when it returns, the port is free.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// What [`Backend::source`] understands: so many bytes of [`pattern`].
pub(crate) fn request(seed: u64, len: usize) -> [u8; 16] {
    let mut asked = [0; 16];
    asked[..8].copy_from_slice(&seed.to_le_bytes());
    asked[8..].copy_from_slice(&(len as u64).to_le_bytes());
    asked
}

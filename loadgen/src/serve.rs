//! Backends with names, for trying a balancer: many in one process, each on its own address.
//!
//! [`start`] listens, starts the threads and returns; [`Serving`] stops them. Every thread has its
//! own ring and its own listener for each backend (`SO_REUSEPORT` when there are several threads),
//! so threads share nothing but the stop flag.

mod accepts;
mod chunked;
mod connection_log;
mod counters;
mod echo;
mod held;
mod hello;
mod http;
mod inject;
mod listening;
mod output;
mod relay;
mod replies;
mod rules;
mod service;
mod status;
mod stream;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use uring::{ListenError, SetupError, SocketFile, UnixListenError, WakeSource, Waker};

use listening::Listening;
use service::Personality;
use worker::{Post, Worker};

use crate::pin::{PinError, pin};

pub use counters::Counts;
pub use inject::{Delay, Fault, GRAMMAR, Injection, InjectionError, Share, Windows};

/// What a backend does with the bytes of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Answers each message with `Hello from NAME`; a message that ends in a newline with a line, of
    /// N bytes where it begins with `reply=N `.
    #[default]
    Hello,
    /// Sends every byte back.
    Echo,
    /// Speaks HTTP/1.1: the greeting for every path, N bytes of filler for `/bytes/N`, `OK` for
    /// `/health`, and JSON for `/status`.
    Http,
    /// Reads and drops everything.
    Discard,
    /// Sends without end: the byte at each place is the remainder of the place by 251.
    Source,
    /// Does what the client's first line says: `up` discards, `down` and `bidir` send and discard,
    /// `echo` sends back. Whoever begins otherwise is answered as by [`Mode::Hello`].
    Stream,
}

impl Mode {
    /// Whether connections carry bulk.
    fn is_bulk(self) -> bool {
        match self {
            Self::Hello | Self::Echo | Self::Http => false,
            Self::Discard | Self::Source | Self::Stream => true,
        }
    }
}

/// One backend to be started.
#[derive(Clone, Debug)]
pub struct Backend {
    /// What it calls itself; without a name it is called after its port (`Server 9001`).
    pub name: Option<String>,
    /// Where it listens; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// What it answers.
    pub mode: Mode,
}

/// One backend to be started that listens in the file system.
#[derive(Clone, Debug)]
pub struct UnixBackend {
    /// What it calls itself; without a name it is called after its file.
    pub name: Option<String>,
    /// The file, which is made, and removed at the end.
    pub path: PathBuf,
    /// What it answers.
    pub mode: Mode,
}

/// How backends are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads, each with a ring of its own.
    pub threads: NonZeroUsize,
    /// Processors to keep the threads on, in turn; empty leaves it to the kernel.
    pub cpus: Vec<usize>,
    /// Whether connections are told on standard error, at most ten a second.
    pub log_connections: bool,
    /// Backends in the file system, beside the others and after them.
    pub unix: Vec<UnixBackend>,
    /// Faults that backends shall have.
    pub inject: Vec<Injection>,
    /// What random delays are made from.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: NonZeroUsize::MIN,
            cpus: Vec::new(),
            log_connections: false,
            unix: Vec::new(),
            inject: Vec::new(),
            seed: 1,
        }
    }
}

/// Why backends could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A name that would not fit a line or a header.
    #[error("a backend's name has 1 to {NAME_BYTES_MAX} bytes and no control characters: {0:?}")]
    Name(String),
    /// A fault for somebody who is not there.
    #[error("no backend is called {name:?}, which --inject names; there are {known}")]
    UnknownBackend {
        /// As it was named.
        name: String,
        /// Who there is.
        known: String,
    },
    /// A fault that a backend cannot have.
    #[error("`{fault}` cannot be injected at {name}: {why}")]
    NoSuchFault {
        /// The word that asks for it.
        fault: &'static str,
        /// The backend.
        name: String,
        /// What stands against it, and what to do instead.
        why: &'static str,
    },
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A path cannot be listened on.
    #[error(transparent)]
    ListenUnix(#[from] UnixListenError),
    /// A thread got no ring.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// A thread could not be kept on the processor that was asked for.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Threads or descriptors ran out.
    #[error("cannot start a thread: {0}; raise `ulimit -u` or `ulimit -n`")]
    Thread(io::Error),
}

/// Backends that run, until [`Serving::stop`] or until this value is dropped.
#[derive(Debug)]
pub struct Serving {
    personalities: Vec<Arc<Personality>>,
    names: Vec<String>,
    addresses: Vec<SocketAddr>,
    /// Removed with this value.
    files: Vec<SocketFile>,
    stop: Arc<AtomicBool>,
    threads: Vec<(Waker, JoinHandle<()>)>,
}

/// Starts `backends` on `threads` threads.
///
/// # Errors
/// A [`ServeError`] that names the cause and the cure.
pub fn start(backends: Vec<Backend>, threads: NonZeroUsize) -> Result<Serving, ServeError> {
    start_with(backends, &Settings { threads, ..Settings::default() })
}

/// Starts `backends` as `settings` say.
///
/// # Errors
/// A [`ServeError`] that names the cause and the cure.
pub fn start_with(backends: Vec<Backend>, settings: &Settings) -> Result<Serving, ServeError> {
    let threads = settings.threads.get();
    let mut listening = Vec::with_capacity(backends.len() + settings.unix.len());
    let (mut addresses, mut files) = (Vec::new(), Vec::new());
    for backend in backends {
        let (one, address) = Listening::open(&backend, settings)?;
        listening.push(one);
        addresses.push(address);
    }
    for backend in &settings.unix {
        let (one, file) = Listening::open_unix(backend, settings)?;
        listening.push(one);
        files.push(file);
    }
    listening::check_names(&settings.inject, &listening)?;
    let personalities: Vec<_> = listening.iter().map(|one| Arc::clone(&one.personality)).collect();
    let mut serving = Serving {
        names: personalities.iter().map(|one| one.name.clone()).collect(),
        personalities,
        addresses,
        files,
        stop: Arc::default(),
        threads: Vec::with_capacity(threads),
    };
    for (index, posts) in shares(listening, threads).into_iter().enumerate() {
        // An error drops `serving`, which stops the threads that run already.
        serving.start_thread(index, posts, settings)?;
    }
    Ok(serving)
}

impl Serving {
    /// Where the backends listen, in the order in which they were given, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The files of [`Settings::unix`], in their order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(SocketFile::path)
    }

    /// What the backends have seen so far, in the order of [`Serving::names`].
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        self.personalities.iter().map(|one| one.counts()).collect()
    }

    /// What the backends call themselves, in the same order; those in the file system come last.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Closes listeners and connections, and waits for the threads.
    pub fn stop(self) {
        drop(self);
    }

    fn start_thread(
        &mut self,
        index: usize,
        posts: Vec<Post>,
        settings: &Settings,
    ) -> Result<(), ServeError> {
        let (waker, wake) = uring::wake_pair().map_err(ServeError::Thread)?;
        let (report, started) = mpsc::sync_channel(1);
        let stop = Arc::clone(&self.stop);
        let settings = settings.clone();
        let run = move || match prepare(index, posts, wake, &settings) {
            Ok(worker) => {
                // The starter waits for this message, so it is there to take it.
                let _ = report.send(Ok(()));
                worker.run(&stop);
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        };
        let builder = std::thread::Builder::new().name(format!("serve-{index}"));
        self.threads.push((waker, builder.spawn(run).map_err(ServeError::Thread)?));
        started.recv().expect("the thread reports before it does anything else")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.threads.iter().for_each(|(waker, _)| waker.wake());
        for (_, thread) in self.threads.drain(..) {
            // A panic has been printed by the thread itself.
            let _ = thread.join();
        }
    }
}

fn prepare(
    index: usize,
    posts: Vec<Post>,
    wake: WakeSource,
    settings: &Settings,
) -> Result<Worker, ServeError> {
    pin(index, &settings.cpus)?;
    if !settings.inject.is_empty() {
        // Delays shall be as long as they are said to be, not 50 µs more (PR_SET_TIMERSLACK,
        // prctl(2)); where a sandbox forbids it they are a bit late.
        let _ = nix::sys::prctl::set_timerslack(1);
    }
    Ok(Worker::new(index, posts, wake, settings.log_connections)?)
}

/// Deals the listeners out: each thread gets one of every backend.
fn shares(listening: Vec<Listening>, threads: usize) -> Vec<Vec<Post>> {
    let mut shares: Vec<Vec<Post>> = (0..threads).map(|_| Vec::new()).collect();
    for Listening { personality, listeners } in listening {
        for (share, listener) in shares.iter_mut().zip(listeners) {
            share.push(Post { listener, personality: Arc::clone(&personality) });
        }
    }
    shares
}

/// A greeting must fit a buffer, and a reader's patience.
const NAME_BYTES_MAX: usize = 255;
/// The kernel cuts it to `net.core.somaxconn`; a full backlog costs the client a second.
const BACKLOG: u16 = 65_535;

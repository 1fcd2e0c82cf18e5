//! Somebody who scrapes now and then, as Prometheus does.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

/// One scrape.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Scrape {
    /// From the connection to the last byte.
    pub(super) ms: f64,
    /// Head and body.
    pub(super) bytes: usize,
}

/// Scrapes on a thread of its own until it is stopped.
#[derive(Debug)]
pub(super) struct Scraper {
    thread: JoinHandle<io::Result<Vec<Scrape>>>,
    stop: Sender<()>,
}

impl Scraper {
    /// The thread stays where the calling thread is, and gives way to it: what scrapes is on another host
    /// elsewhere, and its work is not what is measured.
    pub(super) fn start(socket: PathBuf, every: Duration) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            uring::give_way(Duration::from_millis(100))?;
            let (mut scrapes, mut answer) = (Vec::new(), Vec::new());
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                answer.clear();
                scrapes.push(scrape(&socket, &mut answer)?);
            }
            Ok(scrapes)
        });
        Self { thread, stop }
    }

    /// What it got.
    ///
    /// # Errors
    /// When a scrape failed.
    pub(super) fn stop(self) -> io::Result<Vec<Scrape>> {
        let Self { thread, stop } = self;
        drop(stop);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn scrape(socket: &Path, answer: &mut Vec<u8>) -> io::Result<Scrape> {
    let began = Instant::now();
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    stream.read_to_end(answer)?;
    if !answer.starts_with(b"HTTP/1.0 200 ") || !answer.ends_with(b"# EOF\n") {
        let head = String::from_utf8_lossy(&answer[..answer.len().min(200)]);
        return Err(io::Error::other(format!("a scrape was answered: {head}")));
    }
    Ok(Scrape { ms: began.elapsed().as_secs_f64() * 1e3, bytes: answer.len() })
}

const REQUEST: &[u8] = b"GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

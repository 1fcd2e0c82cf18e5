//! From a listening socket to requests: HTTP/1.1 on the control thread, with a bound for everything
//! that a stranger decides: connections, the time and the size of a head and of a body, and how long
//! an answer may lie about unread.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tracing::{debug, warn};

use crate::config::admin::{AdminEndpoint, CONNECTIONS_AN_ENDPOINT};

use super::answer::Answering;
use super::auth::Peer;
use super::doors::Door;
use super::guests::{Admitted, Guests, Place};
use super::stream::{Stream, Wire};

/// What has happened at the endpoints.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Those of them that made way for others.
    pub made_way: AtomicU64,
    /// Those that were turned away, because all places were busy.
    pub turned_away: AtomicU64,
    /// Connections that could not be accepted.
    pub accept_failed: AtomicU64,
    /// Connections that ended because nothing came, or was taken, in time.
    pub timed_out: AtomicU64,
    /// Requests that were no HTTP, or too large.
    pub malformed: AtomicU64,
    /// Requests, whatever was answered.
    pub requests: AtomicU64,
    /// Requests that were answered 401 or 403.
    pub refused: AtomicU64,
}

impl Tally {
    /// By the names that counters have elsewhere.
    #[must_use]
    pub fn list(&self) -> [(&'static str, u64); 8] {
        [
            ("admin_connections", &self.connections),
            ("admin_made_way", &self.made_way),
            ("admin_turned_away", &self.turned_away),
            ("admin_accept_failed", &self.accept_failed),
            ("admin_timed_out", &self.timed_out),
            ("admin_malformed", &self.malformed),
            ("admin_requests", &self.requests),
            ("admin_refused", &self.refused),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Serves one endpoint for as long as the control thread runs. To be called on it.
pub(super) async fn serve(door: Door, answering: Answering) {
    let name = door.endpoint.to_string();
    let listening = match Listening::new(&door.endpoint, door.socket) {
        Ok(listening) => listening,
        Err(error) => return warn!("the admin API cannot be served on {name}: {error}"),
    };
    let (guests, tally) = (Guests::new(CONNECTIONS_AN_ENDPOINT), Arc::clone(answering.tally()));
    let warned = Cell::new(false);
    loop {
        let (wire, peer) = match listening.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                count(&tally.accept_failed);
                if !warned.replace(true) {
                    warn!("the admin API on {name} cannot accept: {error}; trying on");
                }
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        count(&tally.connections);
        let place = match guests.admit() {
            Admitted::Yes(place) => place,
            Admitted::InsteadOf(place) => {
                count(&tally.made_way);
                place
            }
            Admitted::No => {
                count(&tally.turned_away);
                wire.say_at_once(TURNED_AWAY);
                continue;
            }
        };
        let number = place.number();
        let task = tokio::task::spawn_local(converse(wire, peer, place, answering.clone()));
        Place::held_by(&guests, number, task.abort_handle());
    }
}

/// One connection, until either side ends it.
async fn converse(wire: Wire, peer: Peer, place: Place, answering: Answering) {
    let (place, tally) = (Rc::new(place), Arc::clone(answering.tally()));
    let stream = TokioIo::new(Stream::new(wire, PATIENCE));
    let service = service_fn(|request: Request<Incoming>| {
        let (place, answering, peer) = (Rc::clone(&place), answering.clone(), peer.clone());
        async move {
            place.is_answered(true);
            let response = answering.answer(peer, request).await;
            place.is_answered(false);
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    // Who has shut his side after the request (`nc -N`, socat) still listens. That he has gone altogether is seen
    // when the answer is written, and after it nothing more is waited for.
    http.half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_header_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES);
    if let Err(error) = http.serve_connection(stream, service).await {
        let in_time = !error.is_timeout() && !timed_out(&error);
        match (in_time, error.is_parse()) {
            (false, _) => count(&tally.timed_out),
            (true, true) => count(&tally.malformed),
            (true, false) => {}
        }
        debug!("a connection of {peer} to the admin API ended: {error}");
    }
}

fn timed_out(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
}

impl Listening {
    fn new(endpoint: &AdminEndpoint, socket: OwnedFd) -> io::Result<Self> {
        Ok(match endpoint {
            AdminEndpoint::Unix { .. } => Self::Unix(UnixListener::from_std(socket.into())?),
            AdminEndpoint::Tcp { .. } => Self::Tcp(TcpListener::from_std(socket.into())?),
        })
    }

    async fn accept(&self) -> io::Result<(Wire, Peer)> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let whose = stream.peer_cred()?;
                let peer = Peer::Unix { uid: whose.uid(), pid: whose.pid().unwrap_or(0) };
                Ok((Wire::Unix(stream), peer))
            }
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Wire::Tcp(stream), Peer::Tcp(address)))
            }
        }
    }
}

/// How long a head may take, a connection be silent between two requests, and an answer wait for
/// somebody to read it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What a browser sends fits several times.
const HEAD_BYTES: usize = 16 << 10;

/// The same.
const HEADERS: usize = 64;

/// Descriptors ran out; the sessions of clients are no reason to spin.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 57\r\nConnection: close\r\n\r\n{\"error\":\"too many requests at once; try again shortly\"}\n";

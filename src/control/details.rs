//! What backends say of themselves: `GET /status` at a port of their own, where that is asked for. It
//! is shown and nothing goes by it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use axum::http::header::HOST;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::config::plan::Address;
use crate::shard::backend::Backend;

/// The last answer of each backend, by its uid.
#[derive(Debug, Default)]
pub struct Details {
    known: Mutex<HashMap<u32, Value>>,
}

/// A backend that is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Itself.
    pub backend: Arc<Backend>,
    /// How much higher the port is at which it is asked.
    pub offset: u16,
    /// How often.
    pub interval: Duration,
}

/// The tasks that ask, on the control thread.
#[derive(Debug)]
pub struct Curious {
    details: Arc<Details>,
    tasks: HashMap<u32, Task>,
}

#[derive(Debug)]
struct Task {
    offset: u16,
    interval: Duration,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Details {
    /// What a backend said last; nothing if that was nothing.
    #[must_use]
    pub fn of(&self, uid: u32) -> Option<Value> {
        self.lock().get(&uid).cloned()
    }

    fn set(&self, uid: u32, said: Option<Value>) {
        let mut known = self.lock();
        match said {
            Some(said) => known.insert(uid, said),
            None => known.remove(&uid),
        };
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Value>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Curious {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(details: Arc<Details>) -> Self {
        Self { details, tasks: HashMap::new() }
    }

    /// These are asked from now on, and no others. Has to be called inside a `LocalSet`.
    pub fn set(&mut self, wanted: Vec<Asked>) {
        let mut before = std::mem::take(&mut self.tasks);
        for asked in wanted {
            let (uid, offset, interval) = (asked.backend.uid, asked.offset, asked.interval);
            let same = before.remove(&uid).filter(|task| {
                (task.offset, task.interval) == (offset, interval) && !task.handle.is_finished()
            });
            let task = same.unwrap_or_else(|| {
                let ask = ask_again_and_again(asked, Arc::clone(&self.details));
                Task { offset, interval, handle: tokio::task::spawn_local(ask) }
            });
            self.tasks.insert(uid, task);
        }
        before.keys().for_each(|&uid| self.details.set(uid, None));
    }
}

async fn ask_again_and_again(asked: Asked, details: Arc<Details>) {
    let Asked { backend, offset, interval } = asked;
    loop {
        let said = match place(&backend, offset) {
            Some(address) => timeout(PATIENCE, ask(address)).await.ok().flatten(),
            None => None,
        };
        details.set(backend.uid, said);
        sleep(interval).await;
    }
}

/// Its first address that has a port so much higher.
fn place(backend: &Backend, offset: u16) -> Option<SocketAddr> {
    backend.addresses().into_iter().find_map(|address| match address {
        Address::Inet(address) => {
            let port = address.port().checked_add(offset)?;
            Some(SocketAddr::new(address.ip(), port))
        }
        Address::Unix(_) => None,
    })
}

async fn ask(address: SocketAddr) -> Option<Value> {
    let stream = TokioIo::new(TcpStream::connect(address).await.ok()?);
    let (mut sender, connection) = http1::handshake(stream).await.ok()?;
    let request = Request::get("/status").header(HOST, address.to_string());
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let answer = async {
        let answer = sender.send_request(request).await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await.ok()?;
        serde_json::from_slice(&body.to_bytes()).ok()
    };
    tokio::select! {
        biased;
        said = answer => said,
        _ = connection => None,
    }
}

/// As a health check has it.
const PATIENCE: Duration = Duration::from_secs(1);

/// A page of numbers is smaller.
const LARGEST: usize = 16 << 10;

//! The clients of a disruption, the same for everyone.
//!
//! Those that **come and go** connect, send 64 bytes, read the answer and close, 500 times a second
//! whatever comes back: each has a thread of its own, so that one that waits delays no other. Those
//! that **stay** ask on one connection, every 10 ms or as soon as the last one is answered if that is
//! later; who lost the connection makes one for the next request, and when that fails the request has
//! failed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, Builder, Scope, ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

/// Who asks, and whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Where they go.
    pub(super) target: SocketAddr,
    /// How many clients stay, beside those that come and go.
    pub(super) staying: u32,
}

/// What became of all requests.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The first request was due.
    pub(super) from: Instant,
    /// The last one was.
    pub(super) to: Instant,
    /// How many were sent, or tried to.
    pub(super) intended: u64,
    /// Of those that come and go.
    pub(super) coming: Vec<Outcome>,
    /// Of those that stay.
    pub(super) staying: Vec<Outcome>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// When it began, with its connect.
    pub(super) begun: Instant,
    /// When it was clear.
    pub(super) done: Instant,
    /// Who answered rightly, or why nobody did.
    pub(super) result: Result<usize, Failure>,
}

/// What clients notice of a request that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// The connect.
    Refused,
    /// By who had accepted it.
    Reset,
    /// An end in order, before the answer was complete.
    ClosedEarly,
    /// [`TIMEOUT`] after the request began.
    TimedOut,
    /// Not what a backend says.
    WrongAnswer,
    /// No route, no port, and the like.
    Other,
}

impl Record {
    /// Of both kinds.
    pub(super) fn all(&self) -> impl Iterator<Item = &Outcome> {
        self.coming.iter().chain(&self.staying)
    }
}

impl Load {
    /// Asks until `ended`, at the place of the calling thread, and waits for all answers.
    ///
    /// # Errors
    /// When there are no threads left.
    pub(super) fn run(&self, ended: &AtomicBool) -> io::Result<Record> {
        let target = self.target;
        thread::scope(|scope| {
            let from = Instant::now();
            let stay = |_| start(scope, move || stay(target, ended));
            let stayers = (0..self.staying).map(stay).collect::<io::Result<Vec<_>>>();
            let (sender, receiver) = mpsc::channel();
            let (mut due, mut intended) = (from, 0);
            let mut result = stayers.as_ref().map(|_| ()).map_err(|error| error.kind().into());
            while result.is_ok() && !ended.load(Ordering::Relaxed) {
                let sender = sender.clone();
                let come = move || {
                    // The receiver outlives all of them.
                    let _ = sender.send(come(target));
                };
                result = start(scope, come).map(drop);
                intended += 1;
                due += INTERVAL;
                sleep(due.saturating_duration_since(Instant::now()));
            }
            // Also when there are no threads left: the others wait for it.
            ended.store(true, Ordering::Relaxed);
            result?;
            let to = Instant::now();
            drop(sender);
            let coming = receiver.into_iter().collect();
            let mut staying = Vec::new();
            for stayer in stayers? {
                let (sent, outcomes) = stayer.join().map_err(|_| ErrorKind::BrokenPipe)?;
                intended += sent;
                staying.extend(outcomes);
            }
            Ok(Record { from, to, intended, coming, staying })
        })
    }
}

/// There may be many at a time, and they need little.
fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)
}

/// One request on a connection of its own.
fn come(target: SocketAddr) -> Outcome {
    let begun = Instant::now();
    let result = connect(target).and_then(|mut connection| ask(&mut connection, begun + TIMEOUT));
    Outcome { begun, done: Instant::now(), result }
}

/// One request after the other on the same one; how many were sent, and what became of them.
fn stay(target: SocketAddr, ended: &AtomicBool) -> (u64, Vec<Outcome>) {
    let (mut sent, mut outcomes) = (0, Vec::new());
    let mut connection = None;
    let mut due = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        sent += 1;
        let begun = Instant::now();
        let kept = connection.take().map_or_else(|| connect(target), Ok);
        let result = kept.and_then(|mut kept| {
            let by = ask(&mut kept, begun + TIMEOUT)?;
            connection = Some(kept);
            Ok(by)
        });
        outcomes.push(Outcome { begun, done: Instant::now(), result });
        due = (due + PAUSE).max(Instant::now());
        sleep(due.saturating_duration_since(Instant::now()));
    }
    (sent, outcomes)
}

fn connect(target: SocketAddr) -> Result<TcpStream, Failure> {
    let connection = TcpStream::connect_timeout(&target, TIMEOUT)?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// Sends a request, and says who answered it rightly.
fn ask(connection: &mut TcpStream, deadline: Instant) -> Result<usize, Failure> {
    connection.write_all(REQUEST)?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    while answer.last() != Some(&b'\n') && answer.len() < ANSWER_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        connection.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut piece = [0; ANSWER_BYTES_MAX];
        match connection.read(&mut piece)? {
            0 => return Err(Failure::ClosedEarly),
            len => answer.extend_from_slice(&piece[..len]),
        }
    }
    said_by(&answer).ok_or(Failure::WrongAnswer)
}

/// The number of the backend that says this.
fn said_by(answer: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(answer).ok()?;
    text.strip_prefix("Hello from B")?.strip_suffix('\n')?.parse().ok()
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Self::Reset
            }
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::TimedOut,
            _ => Self::Other,
        }
    }
}

const REQUEST: &[u8; 64] = b"a line of 64 bytes, which each of the backends answers by name.\n";
/// No backend says more.
const ANSWER_BYTES_MAX: usize = 64;
/// Of those that come: 500 a second.
const INTERVAL: Duration = Duration::from_millis(2);
/// Of those that stay, from one request to the next.
const PAUSE: Duration = Duration::from_millis(10);
/// Of a request, with its connect.
const TIMEOUT: Duration = Duration::from_secs(2);
const STACK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_answer_is_right_when_a_backend_says_it_and_nothing_else() {
        assert_eq!(said_by(b"Hello from B2\n"), Some(2));
        for wrong in ["Hello from B2", "Hello from B\n", "Hello from B2\nHello", "", "B2\n"] {
            assert_eq!(said_by(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    /// What a client sees of somebody who does this with its connection.
    fn seen(behave: impl FnOnce(TcpStream) + Send) -> Result<usize, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::scope(|scope| {
            scope.spawn(|| behave(listener.accept().expect("somebody comes").0));
            come(address).result
        })
    }

    #[test]
    fn each_way_to_fail_is_told_from_the_others() {
        let read = |mut connection: &TcpStream| {
            connection.read_exact(&mut [0; REQUEST.len()]).expect("a request");
        };
        let say = |text: &'static str| {
            move |mut connection: TcpStream| {
                read(&connection);
                connection.write_all(text.as_bytes()).expect("it is there");
            }
        };
        assert_eq!(seen(say("Hello from B7\n")), Ok(7));
        assert_eq!(seen(say("Hello from")), Err(Failure::ClosedEarly));
        assert_eq!(seen(say("Good bye\n")), Err(Failure::WrongAnswer));
        // Closed with bytes that nobody has read.
        let reset = |connection: TcpStream| {
            connection.peek(&mut [0]).expect("a request");
        };
        assert_eq!(seen(reset), Err(Failure::Reset));
        let silent = |mut connection: TcpStream| drop(connection.read_to_end(&mut Vec::new()));
        assert_eq!(seen(silent), Err(Failure::TimedOut));
        let nobody = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("it is bound")
        };
        assert_eq!(come(nobody).result, Err(Failure::Refused));
    }
}

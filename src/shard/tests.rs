//! What every driver of real sockets does alike, on the real kernel.

mod header;
mod listeners;
mod unix;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockAddr;
use uring::{ConnectOptions, Errno, Op, Owner, SetupError, Token};

use crate::core::relay::Held;

use super::driver::{BATCH, Completion, Driver, ListenerNumber, Outcome, Readiness, Wiring};
use super::epoll::{EpollConfig, EpollDriver};
use super::post::Post;
use super::uring::UringDriver;

/// Makes a test for each driver out of each function.
macro_rules! on_every_driver {
    ($($name:ident),* $(,)?) => {
        mod on_epoll {
            $(#[test]
            fn $name() {
                super::$name(crate::shard::tests::Rig::epoll());
            })*
        }
        mod on_uring {
            $(#[test]
            fn $name() {
                let Some(rig) = crate::shard::tests::Rig::uring() else { return };
                super::$name(rig);
            })*
        }
    };
}
use on_every_driver;

/// A driver with one listener, and what its peers need.
struct Rig<D: Driver> {
    driver: D,
    listener: ListenerNumber,
    address: SocketAddr,
}

impl Rig<EpollDriver> {
    fn epoll() -> Self {
        let (buffers, buffer_bytes) = (BUFFERS, BUFFER_BYTES);
        let config = EpollConfig { sessions: 4, buffers, buffer_bytes, busy_poll: None };
        Self::of(EpollDriver::new(&config, wiring()).expect("descriptors"))
    }
}

impl Rig<UringDriver> {
    /// Nothing and a loud word where this kernel or its sandbox has no ring.
    fn uring() -> Option<Self> {
        let (buffers, buffer_bytes) = (BUFFERS, BUFFER_BYTES);
        let defaults = uring::Config { entries: 16, ..uring::Config::default() };
        let config = uring::Config { buffers, published: BUFFERS, buffer_bytes, ..defaults };
        match UringDriver::new(&config, wiring()) {
            Ok(driver) => Some(Self::of(driver)),
            Err(error @ SetupError::Resources(_)) => panic!("{error}"),
            Err(error) => {
                assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs io_uring: {error}");
                eprintln!("SKIPPED: needs io_uring: {error}");
                None
            }
        }
    }
}

fn wiring() -> Wiring {
    let (waker, wake) = uring::wake_pair().expect("descriptors");
    Wiring { wake, post: Arc::new(Post::new([waker])), shard: 0 }
}

impl<D: Driver<Listener = OwnedFd>> Rig<D> {
    fn of(mut driver: D) -> Self {
        let (listener, address) = tcp_listener();
        let listener = driver.listen(listener).expect("it can be waited for");
        Self { driver, listener, address }
    }

    fn connect(&mut self, address: &SockAddr, options: ConnectOptions, by: Owner) -> D::Socket {
        self.driver.connect(address, &options, by).unwrap_or_else(|errno| panic!("{errno}"))
    }

    /// A connection that the driver accepted, and its client.
    fn pair(&mut self) -> (D::Socket, TcpStream) {
        let there = client(self.address);
        self.driver.accept(self.listener, owner(99));
        (self.accepted(owner(99)), there)
    }

    /// What an accept brings.
    fn accepted(&mut self, by: Owner) -> D::Socket {
        let completion = self.answer();
        assert_eq!(completion.token, Token { op: Op::Accept, owner: by });
        match completion.outcome {
            Outcome::Accepted(socket) => socket,
            other => panic!("no connection but {}", name(&other)),
        }
    }

    /// What a receive brings.
    fn received(&mut self, socket: &D::Socket) -> Held {
        self.driver.recv(socket, false, owner(1));
        let completion = self.answer();
        assert_eq!(completion.token, Token { op: Op::Recv, owner: owner(1) });
        match completion.outcome {
            Outcome::Received(held) => held,
            other => panic!("no bytes but {}", name(&other)),
        }
    }

    /// The next answer must be this.
    fn assert_done(&mut self, op: Op, by: Owner) {
        let completion = self.answer();
        assert_eq!(completion.token, Token { op, owner: by });
        let outcome = completion.outcome;
        assert!(matches!(outcome, Outcome::Done(_)), "{}", name(&outcome));
    }

    fn assert_failed(&mut self, op: Op, by: Owner, expected: Errno) {
        let completion = self.answer();
        assert_eq!(completion.token, Token { op, owner: by });
        let outcome = completion.outcome;
        let as_expected = matches!(outcome, Outcome::Failed(errno) if errno == expected);
        assert!(as_expected, "{} instead of {expected}", name(&outcome));
    }

    fn answer(&mut self) -> Completion<D::Socket> {
        let started = Instant::now();
        let mut out = Vec::with_capacity(1);
        while out.is_empty() {
            self.driver.wait(Some(WATCHDOG), &mut out).expect("it works");
            // Also for an answer that was there and did not end the wait.
            assert!(started.elapsed() < WATCHDOG, "no answer came");
        }
        assert_eq!(out.len(), 1, "more than was asked for");
        out.remove(0)
    }

    /// Looks whether anything comes; nothing should.
    fn assert_silent(&mut self) {
        let mut out = Vec::with_capacity(BATCH);
        let until = Instant::now() + Duration::from_millis(20);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.driver.wait(Some(left), &mut out).expect("it works");
            let came: Vec<_> = out.iter().map(|one| (one.token, name(&one.outcome))).collect();
            assert!(came.is_empty(), "nothing was due, but: {came:?}");
        }
    }

    fn close(&mut self, socket: D::Socket) {
        self.driver.close(socket, false);
    }

    fn count(&self, name: &str) -> u64 {
        let counts = self.driver.counters();
        counts.iter().find(|(counter, _)| *counter == name).map_or(0, |&(_, count)| count)
    }
}

/// Sockets have no name of their own.
fn name<S>(outcome: &Outcome<S>) -> String {
    match outcome {
        Outcome::Accepted(_) => "a connection".into(),
        Outcome::HandedOver(..) => "a connection from another shard".into(),
        Outcome::Received(held) => format!("{held:?}"),
        Outcome::EndOfStream => "the end of the stream".into(),
        Outcome::NoBuffer => "no buffer".into(),
        Outcome::Done(value) => format!("done: {value}"),
        Outcome::Failed(errno) => errno.to_string(),
    }
}

fn tcp_listener() -> (OwnedFd, SocketAddr) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = uring::ListenOptions::default();
    let how = uring::Listen { address, backlog: 16, shared: false, options };
    let listener = uring::listen(&how).expect("a free port");
    let address = uring::local_address(&listener).expect("bound");
    (listener, address)
}

fn owner(slot: u32) -> Owner {
    Owner { slot, generation: 7, tag: 0 }
}

fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the driver listens");
    stream.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_write_timeout(Some(WATCHDOG)).expect("not zero");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

const BUFFERS: u16 = 4;
const BUFFER_BYTES: u32 = 4096;

/// Nothing here takes a second; after this long a test fails with a message instead of hanging.
const WATCHDOG: Duration = Duration::from_secs(30);

//! Both ends of the connections that a contender carries while it is looked at: clients that know
//! how much they send, and a backend that sends exactly what it is asked for.
//!
//! loadgen's streams end by time and are cut off; what was spliced of them would be a share of an
//! unknown number. Here every byte that enters the contender leaves it.
//!
//! A connection begins with nine bytes: what it is for, and how many bytes follow it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::Direction;

/// A backend in threads of this program, which end with their connections.
#[derive(Debug)]
pub(super) struct Peer {
    /// Where it listens.
    pub(super) address: SocketAddr,
    listener: TcpListener,
    open: Arc<AtomicUsize>,
}

/// Connections through the contender that stay open.
#[derive(Debug)]
pub(super) struct Held(Vec<TcpStream>);

impl Peer {
    /// Serves at `address`, with the CPUs and the network of the calling thread, until it is dropped.
    pub(super) fn serve(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let (address, open) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let (accepting, counted) = (listener.try_clone()?, Arc::clone(&open));
        thread::spawn(move || {
            for connection in accepting.incoming().map_while(Result::ok) {
                let open = Arc::clone(&counted);
                open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    // Whoever is at the other end notices when this fails.
                    let _ = answer(connection);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { address, listener, open })
    }

    /// Waits until no more than `count` connections are open, for a while.
    pub(super) fn wait_for_rest(&self, count: usize) {
        let give_up = Instant::now() + PATIENCE;
        while self.open.load(Ordering::SeqCst) > count && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Peer {
    /// Wakes who waits in accept(2).
    fn drop(&mut self) {
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

/// The backend's end of a connection.
fn answer(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut head = [0; HEAD_BYTES];
    connection.read_exact(&mut head)?;
    let [kind, count @ ..] = head;
    let count = u64::from_be_bytes(count);
    match kind {
        UP => {
            drain(&mut connection, count)?;
            connection.write_all(&[UP])?;
        }
        DOWN => fill(&mut connection, count)?,
        _ => {
            let mut message = [0; MESSAGE_BYTES];
            loop {
                connection.read_exact(&mut message)?;
                connection.write_all(&message)?;
            }
        }
    }
    // The client closes first.
    io::copy(&mut connection, &mut io::sink()).map(|_| ())
}

impl Held {
    /// Opens `count` connections; each has done an exchange.
    pub(super) fn open(target: SocketAddr, count: usize) -> io::Result<Self> {
        let open = |_| begin(target, ECHO, 0);
        let mut held = Self((0..count).map(open).collect::<io::Result<_>>()?);
        held.exchange(1)?;
        Ok(held)
    }

    /// How many they are.
    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    /// The client's address of the first one.
    pub(super) fn first(&self) -> io::Result<SocketAddr> {
        self.0.first().ok_or(ErrorKind::NotConnected)?.local_addr()
    }

    /// Sends a message on all of them and waits for the echoes, `rounds` times; says how many bytes
    /// that are, both ways.
    pub(super) fn exchange(&mut self, rounds: usize) -> io::Result<u64> {
        let mut message = [b'm'; MESSAGE_BYTES];
        for _ in 0..rounds {
            for connection in &mut self.0 {
                connection.write_all(&message)?;
            }
            for connection in &mut self.0 {
                connection.read_exact(&mut message)?;
            }
        }
        Ok((rounds * self.count() * 2 * MESSAGE_BYTES) as u64)
    }
}

/// Sends `bytes` through a connection of its own, and says how many it carried with all that was
/// said about them, either way.
pub(super) fn transfer(target: SocketAddr, direction: Direction, bytes: u64) -> io::Result<u64> {
    let said = match direction {
        Direction::Up => {
            let mut connection = begin(target, UP, bytes)?;
            fill(&mut connection, bytes)?;
            connection.read_exact(&mut [0])?;
            HEAD_BYTES + 1
        }
        Direction::Down => {
            let mut connection = begin(target, DOWN, bytes)?;
            drain(&mut connection, bytes)?;
            HEAD_BYTES
        }
    };
    Ok(bytes + said as u64)
}

fn begin(target: SocketAddr, kind: u8, count: u64) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect_timeout(&target, PATIENCE)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut head = [0; HEAD_BYTES];
    head[0] = kind;
    head[1..].copy_from_slice(&count.to_be_bytes());
    connection.write_all(&head)?;
    Ok(connection)
}

fn fill(connection: &mut TcpStream, count: u64) -> io::Result<()> {
    copy(&mut io::repeat(b'b').take(count), connection, count)
}

fn drain(connection: &mut TcpStream, count: u64) -> io::Result<()> {
    copy(&mut connection.take(count), &mut io::sink(), count)
}

/// In blocks that make a bulk stream.
fn copy(from: &mut dyn Read, to: &mut dyn Write, count: u64) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut left = count;
    while left > 0 {
        let len = from.read(&mut block)?;
        if len == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&block[..len])?;
        left -= len as u64;
    }
    Ok(())
}

const UP: u8 = b'u';
const DOWN: u8 = b'd';
const ECHO: u8 = b'e';
/// What it is for, and a number.
const HEAD_BYTES: usize = 1 + size_of::<u64>();
/// As in the case `ping-64`.
const MESSAGE_BYTES: usize = 64;
const BLOCK_BYTES: usize = 128 * 1024;
/// A contender that is traced is slow.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree_on_what_was_carried() {
        let peer = Peer::serve("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let mut held = Held::open(peer.address, 3).expect("it listens");
        assert_eq!(held.exchange(2).expect("echoes"), 2 * 3 * 2 * 64);
        let up = transfer(peer.address, Direction::Up, 1 << 20).expect("it reads");
        let down = transfer(peer.address, Direction::Down, 1 << 20).expect("it sends");
        assert_eq!((up, down), ((1 << 20) + 10, (1 << 20) + 9));
        peer.wait_for_rest(3);
        assert_eq!(peer.open.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn bytes_that_do_not_arrive_are_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let target = listener.local_addr().expect("it is bound");
        let closes = thread::spawn(move || drop(listener.accept()));
        transfer(target, Direction::Down, 1).expect_err("nothing comes");
        closes.join().expect("no panic");
    }
}

//! The clients of a soak: threads that each play one role, with sockets that block, since few of
//! them are busy at a time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::peer::{Close, Peer, Trouble};
use super::tally::Tally;

/// How many connections each role has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    /// Held open, with an exchange now and then.
    pub(super) held: u32,
    /// Connect, one request, close.
    pub(super) short: u32,
    /// Some MiB in one direction, then silence.
    pub(super) streams: u32,
    /// One side finishes writing before the other.
    pub(super) half_closed: u32,
    /// Read a little, stall, read the rest or leave.
    pub(super) slow: u32,
}

impl Mix {
    /// The mix of so many connections.
    pub(super) fn of(connections: u32) -> Self {
        let (short, streams, half_closed) = (4, 4, 2);
        let slow = (connections / 250).clamp(2, 40);
        let busy = short + streams + half_closed + slow;
        Self { held: connections.saturating_sub(busy), short, streams, half_closed, slow }
    }
}

/// Clients that run until they are told to leave.
#[derive(Debug)]
pub(super) struct Clients {
    world: Arc<World>,
    threads: Vec<JoinHandle<()>>,
}

/// What all threads share.
#[derive(Debug)]
struct World {
    target: SocketAddr,
    leave: AtomicBool,
    tally: Mutex<Tally>,
    open: AtomicU64,
    /// Threads that have not opened all of their held connections yet.
    opening: AtomicU32,
}

/// A thread of one role.
struct Player {
    role: &'static str,
    world: Arc<World>,
    rng: fastrand::Rng,
    /// Sessions that it has made.
    made: u64,
}

/// A connection that is counted as open as long as it lives.
#[derive(Debug)]
struct Counted {
    peer: Option<Peer>,
    world: Arc<World>,
}

impl Clients {
    /// Starts the threads.
    pub(super) fn start(target: SocketAddr, mix: Mix) -> io::Result<Self> {
        let world = Arc::new(World {
            target,
            leave: AtomicBool::new(false),
            tally: Mutex::default(),
            open: AtomicU64::new(0),
            opening: AtomicU32::new(HOLDERS),
        });
        let mut clients = Self { world, threads: Vec::new() };
        for index in 0..HOLDERS {
            let share = mix.held / HOLDERS + u32::from(index < mix.held % HOLDERS);
            clients.spawn("held", move |player| player.hold(share))?;
        }
        for _ in 0..mix.short {
            clients.spawn("short", Player::short)?;
        }
        for _ in 0..mix.streams {
            clients.spawn("stream", Player::stream)?;
        }
        for _ in 0..mix.half_closed {
            clients.spawn("half-closed", Player::half_close)?;
        }
        for _ in 0..mix.slow {
            clients.spawn("slow", Player::read_slowly)?;
        }
        Ok(clients)
    }

    fn spawn(
        &mut self,
        role: &'static str,
        play: impl FnOnce(&mut Player) + Send + 'static,
    ) -> io::Result<()> {
        let seed = self.threads.len() as u64 + 1;
        let (world, rng) = (Arc::clone(&self.world), fastrand::Rng::with_seed(seed));
        let mut player = Player { role, world, rng, made: 0 };
        let builder = thread::Builder::new().name(format!("{role}-{seed}"));
        self.threads.push(builder.spawn(move || play(&mut player))?);
        Ok(())
    }

    /// What they did so far.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.world.tally().clone();
        tally.open = self.world.open.load(Ordering::Relaxed);
        tally.ready = self.world.opening.load(Ordering::Relaxed) == 0;
        tally
    }

    /// Asks all to finish what they are at, and to leave.
    pub(super) fn leave(&self) {
        self.world.leave.store(true, Ordering::Relaxed);
    }

    /// Whether all have left.
    pub(super) fn have_left(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

impl World {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        // A panic is printed by its thread; what was counted stands.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaves(&self) -> bool {
        self.leave.load(Ordering::Relaxed)
    }
}

impl Player {
    /// Opens `count` connections, then visits one after the other, and replaces some.
    fn hold(&mut self, count: u32) {
        let mut held: Vec<Option<Counted>> = Vec::new();
        for _ in 0..count {
            if !self.world.leaves() {
                held.push(self.try_connect());
            }
        }
        self.world.opening.fetch_sub(1, Ordering::Relaxed);
        let mut pace = Pace::new(VISITS_EVERY / count.max(1));
        for index in (0..held.len()).cycle() {
            self.wait(&mut pace);
            if self.world.leaves() {
                break;
            }
            let place = &mut held[index];
            if self.rng.u32(..REPLACED_ONE_IN) == 0
                && let Some(conn) = place.take()
            {
                self.close(conn);
            }
            let Some(mut conn) = place.take().or_else(|| self.try_connect()) else { continue };
            let len = self.rng.u32(16..2048);
            if self.ask(&mut conn, len, Peer::echo) {
                *place = Some(conn);
            }
        }
        held.into_iter().flatten().for_each(|conn| self.close(conn));
    }

    fn short(&mut self) {
        let mut pace = Pace::new(SHORT_EVERY);
        while !self.world.leaves() {
            self.wait(&mut pace);
            let len = self.rng.u32(16..1024);
            let Some(mut conn) = self.try_connect() else { continue };
            if self.ask(&mut conn, len, Peer::echo) {
                self.close(conn);
            }
        }
    }

    /// One direction of a session is busy for a while; then it is silent, so that what it was given
    /// for the stream can go back.
    fn stream(&mut self) {
        while !self.world.leaves() {
            let Some(mut conn) = self.try_connect() else { continue };
            let len = self.rng.u32(2 << 20..8 << 20);
            let went = match self.made % 2 {
                0 => self.ask(&mut conn, len, Peer::upload),
                _ => self.ask(&mut conn, len, |peer, seed, len| {
                    peer.ask_for_stream(seed, len)?;
                    peer.read_stream(seed, 0..len)
                }),
            };
            self.rest(200..2000);
            if went && self.ask(&mut conn, 100, Peer::echo) {
                self.close(conn);
            }
        }
    }

    fn half_close(&mut self) {
        while !self.world.leaves() {
            let Some(mut conn) = self.try_connect() else { continue };
            let went = match self.made % 2 {
                0 => self.ask(&mut conn, 32 << 10, Peer::echo_half_closed),
                _ => {
                    self.ask(&mut conn, 256 << 10, Peer::download_to_the_end) && {
                        self.rest(50..200);
                        self.ask(&mut conn, 64 << 10, Peer::upload_unanswered)
                    }
                }
            };
            // With a FIN always: a reset would drop what is still on its way.
            if went {
                self.close_by(conn, Close::Fin);
            }
            self.rest(50..200);
        }
    }

    /// Every second one leaves without reading the rest, with a reset.
    fn read_slowly(&mut self) {
        while !self.world.leaves() {
            let Some(mut conn) = self.try_connect_with(Some(SLOW_RECEIVE_BUFFER)) else { continue };
            let seed = self.rng.u32(..);
            let begin = |peer: &mut Peer, _, first| {
                peer.ask_for_stream(seed, SLOW_BYTES)?;
                peer.read_stream(seed, 0..first)
            };
            if !self.ask(&mut conn, SLOW_FIRST, begin) {
                continue;
            }
            self.rest(1000..5000);
            let rest = |peer: &mut Peer, _, _| peer.read_stream(seed, SLOW_FIRST..SLOW_BYTES);
            match self.made % 2 {
                0 => self.close_by(conn, Close::Rst),
                _ if self.ask(&mut conn, SLOW_BYTES - SLOW_FIRST, rest) => self.close(conn),
                _ => {}
            }
        }
    }

    fn try_connect(&mut self) -> Option<Counted> {
        self.try_connect_with(None)
    }

    fn try_connect_with(&mut self, receive_buffer: Option<usize>) -> Option<Counted> {
        let source = Ipv4Addr::new(127, 0, 0, self.rng.u8(SOURCES));
        match Peer::connect(self.world.target, source, receive_buffer) {
            Ok(peer) => {
                self.made += 1;
                *self.world.tally().sessions.entry(self.role.to_owned()).or_default() += 1;
                self.world.open.fetch_add(1, Ordering::Relaxed);
                Some(Counted { peer: Some(peer), world: Arc::clone(&self.world) })
            }
            Err(trouble) => {
                self.count(&trouble);
                // A balancer that refuses is not to be hammered.
                thread::sleep(Duration::from_millis(100));
                None
            }
        }
    }

    /// Does one thing with a connection; whether it went well. If not, the connection is of no
    /// more use.
    fn ask(
        &mut self,
        conn: &mut Counted,
        len: u32,
        what: impl FnOnce(&mut Peer, u32, u32) -> Result<(), Trouble>,
    ) -> bool {
        let Some(peer) = &mut conn.peer else { return false };
        match what(peer, self.rng.u32(..), len) {
            Ok(()) => {
                let mut tally = self.world.tally();
                tally.answered += 1;
                tally.bytes += u64::from(len);
                true
            }
            Err(trouble) => {
                self.count(&trouble);
                false
            }
        }
    }

    fn close(&mut self, conn: Counted) {
        let how = match self.rng.u32(..3) {
            0 => Close::Fin,
            1 => Close::Rst,
            _ => Close::ByBackend,
        };
        self.close_by(conn, how);
    }

    fn close_by(&self, mut conn: Counted, how: Close) {
        if let Some(Err(trouble)) = conn.peer.take().map(|peer| peer.close(how)) {
            self.count(&trouble);
        }
    }

    fn count(&self, trouble: &Trouble) {
        let mut tally = self.world.tally();
        match trouble {
            Trouble::WrongBytes => tally.wrong += 1,
            Trouble::Failed(..) => {
                *tally.errors.entry(format!("{} {}", self.role, trouble.label())).or_default() += 1;
            }
        }
    }

    fn rest(&mut self, milliseconds: std::ops::Range<u64>) {
        let until = Instant::now() + Duration::from_millis(self.rng.u64(milliseconds));
        self.sleep_until(until);
    }

    fn wait(&self, pace: &mut Pace) {
        let until = pace.next();
        self.sleep_until(until);
    }

    /// Not longer than until all leave.
    fn sleep_until(&self, until: Instant) {
        while let left = until.saturating_duration_since(Instant::now())
            && !left.is_zero()
            && !self.world.leaves()
        {
            thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.peer = None;
        self.world.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A steady rate; what was missed for more than a moment is not made up for.
struct Pace {
    period: Duration,
    next: Instant,
}

impl Pace {
    fn new(period: Duration) -> Self {
        Self { period, next: Instant::now() }
    }

    fn next(&mut self) -> Instant {
        let due = self.next.max(Instant::now() - Duration::from_millis(200));
        self.next = due + self.period;
        due
    }
}

const HOLDERS: u32 = 2;
/// Each held connection has an exchange so often, far below the balancer's idle timeout.
const VISITS_EVERY: Duration = Duration::from_secs(15);
/// A held connection lives for about so many visits.
const REPLACED_ONE_IN: u32 = 8;
/// Of each of the four threads: 1600 connections a second together, so that ten minutes hold as
/// many as an hour at 270 a second.
const SHORT_EVERY: Duration = Duration::from_micros(2500);
/// The last byte of the clients' addresses: 28 232 ports each, and a port stays in TIME_WAIT for a
/// minute.
const SOURCES: std::ops::Range<u8> = 2..18;
/// Small enough that most of a slow reader's stream waits in the balancer and before it.
const SLOW_RECEIVE_BUFFER: usize = 64 << 10;
const SLOW_FIRST: u32 = 16 << 10;
const SLOW_BYTES: u32 = 12 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_all_roles_and_no_more_connections_than_asked() {
        for connections in [100, 1000, 8905, 10_000] {
            let Mix { held, short, streams, half_closed, slow } = Mix::of(connections);
            assert_eq!(held + short + streams + half_closed + slow, connections);
            assert!(short > 0 && streams > 0 && half_closed > 0 && slow > 0);
        }
    }
}

//! One worker: its streams, driven over one ring.
//!
//! A stream has at most one send and one receive in flight. Streams that only send receive too, so
//! that a peer which ends the connection is noticed; what such a peer sends is dropped and counted.

mod streams;

use std::os::fd::OwnedFd;
use std::time::Duration;

use uring::{BufferId, Config, Owner, Readiness, Ring};

use super::pattern::Pattern;
use super::plan::{Direction, StreamPlan};
use super::result::{StreamTally, Tally};
use crate::crew::{self, Close, Connects, Pass, RunError, WAITING_TURN_NS, Window};

/// Everything that one worker owns. The ring comes first: it must be gone, and with it every
/// operation, before the sockets are closed.
pub(super) struct Worker<'a> {
    ring: Ring,
    streams: Vec<Stream>,
    plan: &'a StreamPlan,
    pass: Pass<'a>,
    connects: Connects,
    window: Option<Window>,
    /// The first lines of all directions, and the pattern; every send reads one of them.
    lines: BufferId,
    block: BufferId,
    send_bytes: u32,
    pattern: Pattern,
    /// Streams that found no buffer, which come first in the next turn, and the others that receive
    /// in it: were they queued as they come, the last of too many would never find one.
    hungry: Vec<u32>,
    to_receive: Vec<(u32, Readiness)>,
    now_ns: u64,
    /// Streams that have not ended.
    open: u32,
    interval_ns: u64,
    /// What this thread had used when the measurement began.
    cpu_before_ns: Option<u64>,
    tally: Tally,
}

/// One connection.
#[derive(Debug)]
struct Stream {
    socket: Option<OwnedFd>,
    direction: Direction,
    state: State,
    sending: bool,
    receiving: bool,
    /// How far the line is sent, or where in the pattern the next send begins.
    sent_to: u32,
    /// How many bytes of the pattern have come.
    offset: u64,
    tally: StreamTally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not opened, or the connect is in flight.
    Connecting,
    /// It waits for the others.
    Connected,
    /// The first line is on its way.
    Asking,
    Running,
    /// It broke, or could not be connected; freed when nothing is in flight.
    Ended,
}

impl<'a> Worker<'a> {
    /// A worker that has not begun; must be called on the thread that runs it.
    pub(super) fn new(
        plan: &'a StreamPlan,
        pass: Pass<'a>,
        index: usize,
    ) -> Result<Self, RunError> {
        let part = plan.part(index);
        let mut ring = Ring::new(&ring_config(plan, part.len()))?;
        let pattern = Pattern::new(plan.buffer_bytes() as usize);
        let lines = ring.take_reserved().expect("two buffers are reserved");
        ring.bytes_mut(lines)[..LINES.len()].copy_from_slice(LINES.as_bytes());
        let block = ring.take_reserved().expect("two buffers are reserved");
        let buffer_bytes = plan.buffer_bytes() as usize;
        ring.bytes_mut(block)[..buffer_bytes].copy_from_slice(pattern.at(0, buffer_bytes));
        let now_ns = uring::monotonic_ns();
        let streams: Vec<Stream> = part.into_iter().map(Stream::new).collect();
        let open = u32::try_from(streams.len()).expect("a plan counts in u32");
        Ok(Self {
            ring,
            connects: Connects::new(plan.how(), open, now_ns),
            streams,
            plan,
            pass,
            window: None,
            lines,
            block,
            send_bytes: plan.send_bytes(),
            pattern,
            hungry: Vec::new(),
            to_receive: Vec::new(),
            now_ns,
            open,
            interval_ns: crew::nanoseconds(crew::interval_length(plan.duration)),
            cpu_before_ns: None,
            tally: Tally::default(),
        })
    }

    /// Runs the plan to its end.
    pub(super) fn run(mut self) -> Result<Tally, RunError> {
        let mut completions = Vec::with_capacity(COMPLETIONS_PER_TURN);
        while !self.is_done() {
            self.open_some();
            self.receive_all();
            let turn_ns = uring::monotonic_ns() - self.now_ns;
            if self.window.is_some_and(|window| window.measures(self.now_ns)) {
                self.tally.turn.record_ns(turn_ns);
            }
            let timeout_ns = self.wake_ns().saturating_sub(self.now_ns + turn_ns);
            self.ring.submit_and_wait(1, Some(Duration::from_nanos(timeout_ns)))?;
            self.now_ns = uring::monotonic_ns();
            self.ring.completions(&mut completions);
            for completion in completions.drain(..) {
                self.on_completion(completion);
            }
            self.on_time();
        }
        Ok(self.finish())
    }

    fn is_done(&self) -> bool {
        let over = self.window.is_some_and(|window| window.is_over(self.now_ns));
        over || self.open == 0 || self.pass.stopped()
    }

    fn wake_ns(&self) -> u64 {
        let look_ns = self.now_ns + WAITING_TURN_NS;
        match self.window {
            None => look_ns.min(self.connects.wake_ns()),
            // Whether somebody says stop has to be looked for.
            Some(window) => {
                let boundary_ns = match self.cpu_before_ns {
                    None => window.measure_from_ns,
                    Some(_) => window.until_ns,
                };
                boundary_ns.min(self.now_ns + STOP_TURN_NS)
            }
        }
    }

    fn open_some(&mut self) {
        while let Some(index) = self.connects.next(self.now_ns) {
            match self.connects.open(&mut self.ring, index, self.now_ns) {
                Ok(socket) => {
                    let stream = &mut self.streams[index as usize];
                    stream.socket = Some(socket);
                    stream.tally.asked_ns = self.now_ns;
                    // The connect: nothing may be closed before it has ended.
                    stream.sending = true;
                }
                Err(failure) => self.fail(index, failure),
            }
        }
    }

    fn on_time(&mut self) {
        let Self { connects, ring, streams, .. } = self;
        connects.cancel_overdue(ring, self.now_ns, |index| {
            streams[index as usize].state == State::Connecting
        });
        if self.window.is_none() {
            self.meet();
        }
        if let Some(window) = self.window
            && self.cpu_before_ns.is_none()
            && self.now_ns >= window.measure_from_ns
        {
            self.cpu_before_ns = Some(crew::thread_cpu_ns());
        }
        self.tell();
    }

    /// Arrives when all are connected, and begins when everybody does.
    fn meet(&mut self) {
        if self.connects.is_settled(self.now_ns) {
            self.pass.arrive();
        }
        let Some(start_ns) = self.pass.start_ns().filter(|&start_ns| self.now_ns >= start_ns)
        else {
            return;
        };
        self.window = Some(Window::new(start_ns, self.plan.warm_up, self.plan.duration));
        for index in (0..).take(self.streams.len()) {
            if self.streams[index as usize].state == State::Connected {
                self.begin(index);
            }
        }
    }

    fn begin(&mut self, index: u32) {
        let stream = &mut self.streams[index as usize];
        stream.state = if self.plan.raw { State::Running } else { State::Asking };
        if stream.state == State::Asking || stream.direction.sends() {
            self.send(index);
        }
        self.to_receive.push((index, Readiness::Empty));
    }

    /// Sends what comes next: the rest of the line, or a block of the pattern.
    fn send(&mut self, index: u32) {
        let stream = &mut self.streams[index as usize];
        let Some(socket) = &stream.socket else { return };
        let (buffer, range) = match stream.state {
            State::Asking => {
                let line = line_range(stream.direction);
                (self.lines, line.start + stream.sent_to..line.end)
            }
            _ => (self.block, stream.sent_to..stream.sent_to + self.send_bytes),
        };
        // A send that is repeated by the kernel saves one that would find no room.
        self.ring.send_whole(socket, buffer, range, Owner::slot(index));
        stream.sending = true;
    }

    fn receive_all(&mut self) {
        // Taken and given back, for the memory that they have.
        let mut hungry = std::mem::take(&mut self.hungry);
        hungry.drain(..).for_each(|index| self.receive(index, Readiness::Unknown));
        self.hungry = hungry;
        let mut others = std::mem::take(&mut self.to_receive);
        others.drain(..).for_each(|(index, readiness)| self.receive(index, readiness));
        self.to_receive = others;
    }

    fn receive(&mut self, index: u32, readiness: Readiness) {
        let stream = &mut self.streams[index as usize];
        let Some(socket) = stream.socket.as_ref().filter(|_| stream.state != State::Ended) else {
            return;
        };
        let owner = Owner::slot(index);
        if self.plan.skip_copy {
            self.ring.discard(socket, self.plan.buffer_bytes(), readiness, owner);
        } else {
            self.ring.recv(socket, readiness, owner);
        }
        stream.receiving = true;
    }

    fn tell(&self) {
        use std::sync::atomic::Ordering::Relaxed;
        let counts = self.pass.counts();
        let sum = self.tally.intervals.iter().fold([0; 2], |[a, b], one| [a + one[0], b + one[1]]);
        counts.connected.store(self.connects.established().into(), Relaxed);
        counts.errors.store(self.tally.errors, Relaxed);
        counts.bytes_in.store(sum[0], Relaxed);
        counts.bytes_out.store(sum[1], Relaxed);
    }

    fn finish(mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        if let Some(window) = self.window {
            tally.started = true;
            let ended_ns = self.now_ns.min(window.until_ns);
            tally.elapsed_ns = ended_ns.saturating_sub(window.measure_from_ns);
            let cpu_ns = crew::thread_cpu_ns();
            tally.cpu_ns = self.cpu_before_ns.map_or(0, |before_ns| cpu_ns - before_ns);
        }
        tally.established = self.connects.established();
        tally.connect_failure = self.connects.last_failure();
        let Self { ring, streams, plan, .. } = self;
        // Nothing may be in flight on what is closed.
        drop(ring);
        for stream in streams {
            tally.streams.push((stream.direction, stream.tally));
            match (stream.socket, plan.close) {
                (Some(socket), Close::Rst) => uring::close_with_reset(socket),
                (socket, _) => drop(socket),
            }
        }
        tally
    }
}

impl Stream {
    const fn new(direction: Direction) -> Self {
        Self {
            socket: None,
            direction,
            state: State::Connecting,
            sending: false,
            receiving: false,
            sent_to: 0,
            offset: 0,
            tally: StreamTally::NONE,
        }
    }
}

/// Where the line of a direction lies in [`LINES`].
fn line_range(direction: Direction) -> std::ops::Range<u32> {
    let line = direction.line();
    let start = match direction {
        Direction::Up => 0,
        Direction::Down => 3,
        Direction::Bidir => 8,
    };
    start..start + u32::try_from(line.len()).expect("a short line")
}

fn ring_config(plan: &StreamPlan, streams: usize) -> Config {
    let published = streams.next_power_of_two().clamp(BUFFERS_MIN, BUFFERS_MAX);
    let published = u16::try_from(published).expect("small");
    Config {
        entries: 256,
        buffers: published + 2,
        published,
        buffer_bytes: plan.buffer_bytes(),
        reserved: 2,
        busy_poll: None,
    }
}

const LINES: &str = "up\ndown\nbidir\n";
const COMPLETIONS_PER_TURN: usize = 256;
/// The kernel fills published buffers in turn. So few stay in a processor's own cache; a receive that
/// finds none comes again in the next turn.
const BUFFERS_MIN: usize = 2;
const BUFFERS_MAX: usize = 4;
const STOP_TURN_NS: u64 = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_each_direction_is_found() {
        for direction in [Direction::Up, Direction::Down, Direction::Bidir] {
            let range = line_range(direction);
            assert_eq!(&LINES[range.start as usize..range.end as usize], direction.line());
        }
    }
}

//! Many small writes, one way: each a segment of its own, since the writer has TCP_NODELAY; the
//! sink reads as much as there is.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Bench, Run, UnderTest, WARM_UP};
use crate::contender::Contender;
use crate::figure::{Figure, Figures};

/// Both ends of the stream look at it, and the sink counts in it.
#[derive(Debug, Default)]
struct Stream {
    ended: AtomicBool,
    bytes: AtomicU64,
}

/// Ends the stream however the measurement ends: the scope waits for both threads.
struct EndOnDrop<'a>(&'a Stream);

impl Bench {
    pub(super) fn run_writes(&self, contender: &Contender, bytes: usize) -> io::Result<Run> {
        let network = &self.network;
        let backend = network.backend_address()?;
        let listener = network.backend.run(|| TcpListener::bind(backend))?;
        let under_test = UnderTest::start(contender, network, backend)?;
        let stream = Stream::default();
        std::thread::scope(|scope| {
            let _end = EndOnDrop(&stream);
            let sink = scope.spawn(|| network.backend.run(|| stream.drain(&listener)));
            let writer =
                scope.spawn(|| network.client.run(|| stream.write(under_test.target, bytes)));
            let run = self.measure(&under_test, &stream);
            stream.ended.store(true, Ordering::Relaxed);
            for end in [writer, sink] {
                end.join().map_err(|_| io::Error::from(ErrorKind::BrokenPipe))??;
            }
            run
        })
    }

    fn measure(&self, under_test: &UnderTest, stream: &Stream) -> io::Result<Run> {
        let look = || Ok::<_, io::Error>((under_test.cpu()?, stream.bytes.load(Ordering::Relaxed)));
        sleep(WARM_UP);
        let (started, (cpu_before, bytes_before)) = (Instant::now(), look()?);
        let until = started + self.duration;
        while Instant::now() < until && !stream.ended.load(Ordering::Relaxed) {
            self.stop.check()?;
            sleep(Duration::from_millis(50).min(until.saturating_duration_since(Instant::now())));
        }
        let (elapsed, (cpu_after, bytes_after)) = (started.elapsed(), look()?);
        let bytes = (bytes_after - bytes_before) as f64;
        if bytes == 0.0 {
            return Err(io::Error::other("nothing arrived"));
        }
        let mut figures = Figures::new();
        let cpu = cpu_before.zip(cpu_after).map(|(before, after)| after.saturating_sub(before));
        figures.extend(cpu.map(|cpu| (Figure::CpuSPerGb, cpu.as_secs_f64() / (bytes / 1e9))));
        figures.push((Figure::MbPerS, bytes / 1e6 / elapsed.as_secs_f64()));
        Ok(Run { figures, errors: 0 })
    }
}

impl Stream {
    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Writes until it has ended.
    fn write(&self, target: SocketAddr, bytes: usize) -> io::Result<()> {
        let _end = EndOnDrop(self);
        let mut socket = TcpStream::connect_timeout(&target, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let text = vec![b'x'; bytes];
        while !self.has_ended() {
            socket.write_all(&text)?;
        }
        Ok(())
    }

    /// Takes one connection and counts what comes, to its end.
    fn drain(&self, listener: &TcpListener) -> io::Result<()> {
        let _end = EndOnDrop(self);
        let mut socket = self.accept(listener)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match socket.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => self.bytes.fetch_add(len as u64, Ordering::Relaxed),
                // Nobody writes any more, and the balancer keeps the connection.
                Err(_) if self.has_ended() => return Ok(()),
                Err(error) => return Err(error),
            };
        }
    }

    fn accept(&self, listener: &TcpListener) -> io::Result<TcpStream> {
        listener.set_nonblocking(true)?;
        let give_up = Instant::now() + PATIENCE;
        loop {
            match listener.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(false)?;
                    return Ok(socket);
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(error) if Instant::now() > give_up => return Err(error),
                Err(_) => sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// Nothing on one machine takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_counted_and_both_ends_end() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stream = Stream::default();
        std::thread::scope(|scope| {
            let sink = scope.spawn(|| stream.drain(&listener));
            let writer = scope.spawn(|| stream.write(address, 32));
            while stream.bytes.load(Ordering::Relaxed) < 32_000 {
                sleep(Duration::from_millis(1));
            }
            stream.ended.store(true, Ordering::Relaxed);
            for end in [writer, sink] {
                end.join().expect("no panic").expect("no error");
            }
        });
        assert_eq!(stream.bytes.load(Ordering::Relaxed) % 32, 0);
    }
}

//! Starting a contender, and knowing when it is ready.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Contender, Program, Purpose};
use crate::place::Place;
use crate::process::Process;

impl Contender {
    /// Starts it at `place` in front of `backends` and waits until it listens. No connection is made
    /// to find that out: it would go through to the backend.
    ///
    /// # Errors
    /// When it is not here, ends at once, or does not listen within five seconds.
    pub(crate) fn start(
        &self,
        place: &Place,
        address: SocketAddr,
        backends: &[SocketAddr],
    ) -> io::Result<Process> {
        self.start_for(Purpose::Speed, place, address, backends)
    }

    /// The same, set up for a purpose.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_for(
        &self,
        purpose: Purpose,
        place: &Place,
        address: SocketAddr,
        backends: &[SocketAddr],
    ) -> io::Result<Process> {
        let launch = self.launch(address, backends, purpose);
        if let Some((path, text)) = &launch.config {
            fs::write(path, text)?;
        }
        let files = launch.config.iter().map(|(path, _)| path.clone()).collect();
        place.run(move || {
            let mut process = Process::spawn(launch.command(), files)?;
            self.wait_until_ready(&mut process, address, self.processes(purpose))?;
            Ok(process)
        })
    }

    /// Has it read its configuration anew, with other backends, as its operator would.
    ///
    /// # Errors
    /// When it cannot do that, or the file cannot be written.
    pub(crate) fn reload(
        &self,
        process: &Process,
        address: SocketAddr,
        backends: &[SocketAddr],
    ) -> io::Result<()> {
        let signal = match self.program {
            Program::Evenkeel { .. } | Program::Nginx => Signal::SIGHUP,
            Program::Haproxy { .. } => Signal::SIGUSR2,
            Program::Python | Program::Floor | Program::Relay | Program::Nothing => {
                let said = format!("{} cannot read its configuration anew", self.name);
                return Err(io::Error::other(said));
            }
        };
        if let Some((path, text)) = self.launch(address, backends, Purpose::Disruption).config {
            fs::write(path, text)?;
        }
        process.signal(signal)
    }

    fn wait_until_ready(
        &self,
        process: &mut Process,
        address: SocketAddr,
        processes: usize,
    ) -> io::Result<()> {
        let give_up = Instant::now() + Duration::from_secs(5);
        while !listens(address)? || process.count() < processes {
            if let Some(status) = process.ended()? {
                return Err(io::Error::other(format!("{} ended at once: {status}", self.name)));
            }
            if Instant::now() > give_up {
                return Err(io::Error::other(format!("{} does not listen", self.name)));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Whether somebody listens there, in the network namespace of the calling thread.
///
/// # Errors
/// When /proc cannot be read.
pub(crate) fn listens(address: SocketAddr) -> io::Result<bool> {
    is_listed(BufReader::new(File::open("/proc/thread-self/net/tcp")?), address)
}

/// `/proc/net/tcp` has the address as the number that its bytes are in memory, and 0A for LISTEN.
/// Those who listen come first (tcp_ipv4.c, `tcp_get_idx`), and no more is read than they are: all
/// connections of a machine that is under load take seconds.
fn is_listed(table: impl BufRead, address: SocketAddr) -> io::Result<bool> {
    let IpAddr::V4(ip) = address.ip() else { return Ok(false) };
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    for line in table.lines().skip(1) {
        let line = line?;
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        if state != Some("0A") {
            return Ok(false);
        }
        if local == Some(&wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_read_from_the_kernels_table() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        assert!(listens(address).expect("/proc is there"));
        drop(listener);
        // A program that another test starts at this moment has it until its exec.
        let give_up = Instant::now() + Duration::from_secs(30);
        while listens(address).expect("/proc is there") {
            assert!(Instant::now() < give_up, "nobody has {address} any more");
            sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn who_listens_comes_before_all_connections() {
        let line = |index, port: u16, state| {
            format!("{index}: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000\n")
        };
        let table = ["head\n".to_owned(), line(0, 80, "0A"), line(1, 81, "0A"), line(2, 82, "01")];
        let table = table.concat() + &line(3, 83, "0A");
        let listed = |port| {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            is_listed(table.as_bytes(), address).expect("it is in memory")
        };
        assert_eq!([80, 81, 82, 83].map(listed), [true, true, false, false]);
    }
}

//! Connections that rest: what each of them keeps in memory, and what all of them cost.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use loadgen::serve::Mode;

use super::{Bench, Run, UnderTest};
use crate::contender::Contender;
use crate::figure::Figure;

impl Bench {
    pub(super) fn run_idle(&self, contender: &Contender) -> io::Result<Run> {
        let backend = self.serve(Mode::Echo)?;
        let under_test = UnderTest::start(contender, &self.network, backend.addresses()[0])?;
        let process = under_test.process.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
        let before = process.resident_bytes()?;
        let connections = self.network.client.run(|| self.open_all(under_test.target))?;
        // What the last exchange left behind is worked off.
        sleep(Duration::from_millis(200));
        let after = process.resident_bytes()?;
        let cpu_before = process.cpu()?;
        sleep(REST);
        self.stop.check()?;
        let at_rest = process.cpu()?.saturating_sub(cpu_before);
        let grown = after as f64 - before as f64;
        let figures = vec![
            (Figure::BytesPerConn, grown / connections.len() as f64),
            (Figure::RestUsPerS, at_rest.as_secs_f64() * 1e6 / REST.as_secs_f64()),
        ];
        Ok(Run { figures, errors: 0 })
    }

    /// One after the other: each has done its exchange when the next one comes.
    fn open_all(&self, target: SocketAddr) -> io::Result<Vec<TcpStream>> {
        let open = |_| {
            self.stop.check()?;
            exchange(target)
        };
        (0..self.idle_connections).map(open).collect()
    }
}

/// A connection that has sent 64 bytes and got them back.
fn exchange(target: SocketAddr) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect_timeout(&target, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut message = *b"resident memory of a connection that has done one exchange only\n";
    connection.write_all(&message)?;
    connection.read_exact(&mut message)?;
    Ok(connection)
}

const REST: Duration = Duration::from_secs(1);
/// Nothing on one machine takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

//! iperf3: its server, its client, and what its report says.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::contender::listens;
use crate::process::Process;
use crate::signals::Stop;

/// What a client moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moved {
    /// Bytes that arrived.
    pub(crate) bytes: f64,
    /// Bits of them in a second.
    pub(crate) bits_per_s: f64,
}

/// What a client shall do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// Where to.
    pub(crate) target: SocketAddr,
    /// How many at the same time.
    pub(crate) count: u32,
    /// From the server to the client.
    pub(crate) down: bool,
    /// Whole seconds, at least one.
    pub(crate) duration: Duration,
}

/// Whether it is here.
#[must_use]
pub(crate) fn version() -> Option<String> {
    let output = Command::new("iperf3").arg("--version").output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// A server for one test, at the place of the calling thread.
///
/// # Errors
/// When it does not listen within five seconds.
pub(crate) fn serve(address: SocketAddr) -> io::Result<Process> {
    let mut command = Command::new("iperf3");
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    command.args(["-s", "-1", "-B", &ip, "-p", &port]);
    // It tells that it was ended, which is how it ends when a run fails.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let server = Process::spawn(command, Vec::new())?;
    let give_up = Instant::now() + Duration::from_secs(5);
    while !listens(address)? {
        if Instant::now() > give_up {
            return Err(io::Error::other("iperf3 -s does not listen"));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(server)
}

/// Runs a client at the place of the calling thread, to its end.
///
/// # Errors
/// With what iperf3 says, or when it takes ten seconds longer than it shall.
pub(crate) fn stream(streams: Streams, stop: Stop) -> io::Result<Moved> {
    let Streams { target, count, down, duration } = streams;
    let mut command = Command::new("iperf3");
    let (ip, port) = (target.ip().to_string(), target.port().to_string());
    let seconds = duration.as_secs().max(1);
    command.args(["-J", "-c", &ip, "-p", &port, "-t", &seconds.to_string()]);
    command.args(["-P", &count.to_string()]).args(down.then_some("-R")).stdout(Stdio::piped());
    let mut client = Process::spawn(command, Vec::new())?;
    let mut report = client.stdout().ok_or(io::ErrorKind::BrokenPipe)?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        report.read_to_string(&mut text).map(|_| text)
    });
    let give_up = Instant::now() + Duration::from_secs(seconds + 10);
    while client.ended()?.is_none() {
        stop.check()?;
        if Instant::now() > give_up {
            return Err(io::Error::other("iperf3 does not come to an end"));
        }
        sleep(Duration::from_millis(20));
    }
    let text = reader.join().map_err(|_| io::ErrorKind::BrokenPipe)??;
    moved(&text)
}

/// Reads the report: what the receiver counted, of all streams and the whole time.
fn moved(text: &str) -> io::Result<Moved> {
    let report: Value = serde_json::from_str(text)?;
    if let Some(error) = report["error"].as_str() {
        return Err(io::Error::other(format!("iperf3: {error}")));
    }
    let received = &report["end"]["sum_received"];
    match (received["bytes"].as_f64(), received["bits_per_second"].as_f64()) {
        (Some(bytes), Some(bits_per_s)) if bytes > 0.0 => Ok(Moved { bytes, bits_per_s }),
        _ => Err(io::Error::other("iperf3 moved nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_receiver_counted_is_taken() {
        let text = r#"{"start": {}, "end": {
            "sum_sent": {"bytes": 9000, "bits_per_second": 72000.5},
            "sum_received": {"bytes": 8000, "bits_per_second": 64000.5}}}"#;
        assert_eq!(moved(text).expect("a report"), Moved { bytes: 8000.0, bits_per_s: 64000.5 });
    }

    #[test]
    fn what_went_wrong_is_said() {
        let said = |text: &str| moved(text).expect_err("no report").to_string();
        assert_eq!(
            said(r#"{"end": {}, "error": "unable to connect to server"}"#),
            "iperf3: unable to connect to server"
        );
        assert_eq!(said(r#"{"end": {}}"#), "iperf3 moved nothing");
        assert!(!said("").is_empty());
    }
}

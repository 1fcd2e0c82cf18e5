//! One question to one address of a backend, and what came of it.
//!
//! A probe ends within its time, whatever the other side does, and reads a bounded number of bytes.
//! Its socket is closed by a reset, unless the backend has closed it by then, so it never stays in
//! TIME-WAIT: with a probe a second to each of many backends these would be thousands.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::config::plan::{Address, Check};

/// Why a backend did not pass; the texts follow "backend X is down: ".
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody listens there.
    #[error("refused")]
    Refused,
    /// The connection was not accepted or refused in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    NoConnection(Duration),
    /// The connection was accepted, and then nothing came that decides.
    #[error("connected, but no answer within {}", humantime::format_duration(*.0))]
    NoAnswer(Duration),
    /// The network or the host says no.
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    /// The probe could not be made, and nothing is known of the backend.
    #[error("this host cannot make a probe: {0}; raise `ulimit -n`, or free memory or ports")]
    NotMade(io::Error),
    /// It closed or reset the connection.
    #[error("the connection ended before {0} came")]
    Ended(&'static str),
    /// What came is not what was expected.
    #[error("what was expected is not in the first {LIMIT} bytes of its answer")]
    Unexpected,
    /// Not a status line.
    #[error("its answer is not HTTP: {0:?}")]
    NotHttp(String),
    /// Another status.
    #[error("status {status}, expected {expected}")]
    Status {
        /// What it said.
        status: u16,
        /// As it was configured.
        expected: Expected,
    },
}

/// Status codes that are good, as a person writes them: `200-399,401`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(Vec<(u16, u16)>);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (from, to)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match from == to {
                true => write!(f, "{from}")?,
                false => write!(f, "{from}-{to}")?,
            }
        }
        Ok(())
    }
}

impl ProbeError {
    /// Whether it says something of the backend: one that was not made does not.
    #[must_use]
    pub const fn is_an_answer(&self) -> bool {
        !matches!(self, Self::NotMade(_))
    }
}

/// Asks once. `host` is the `Host` header if the check does not name one.
///
/// # Errors
/// Why the backend does not pass; within `timeout` in any case.
pub async fn probe(
    check: &Check,
    address: &Address,
    host: &str,
    timeout: Duration,
) -> Result<(), ProbeError> {
    let connected = Cell::new(false);
    let probe = async {
        match address {
            Address::Inet(address) => {
                let stream = connect(*address).await?;
                connected.set(true);
                ask(check, stream, host).await
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(not_connected)?;
                connected.set(true);
                ask(check, stream, host).await
            }
        }
    };
    tokio::time::timeout(timeout, probe).await.unwrap_or_else(|_| {
        Err(match connected.get() {
            true => ProbeError::NoAnswer(timeout),
            false => ProbeError::NoConnection(timeout),
        })
    })
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(not_connected)?;
    socket.set_zero_linger().map_err(ProbeError::NotMade)?;
    let stream = socket.connect(address).await.map_err(not_connected)?;
    // Where nobody listens, the port that the kernel picks may be the one that is asked for, and the
    // socket is connected to itself (simultaneous open, RFC 9293, 3.5).
    match stream.local_addr().is_ok_and(|own| own == address) {
        true => Err(ProbeError::Refused),
        false => Ok(stream),
    }
}

fn not_connected(error: io::Error) -> ProbeError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => ProbeError::Refused,
        // Descriptors, memory or local ports ran out here.
        Some(
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EADDRNOTAVAIL,
        ) => ProbeError::NotMade(error),
        _ => ProbeError::Unreachable(error),
    }
}

async fn ask<S>(check: &Check, mut stream: S, host: &str) -> Result<(), ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match check {
        Check::Tcp => Ok(()),
        Check::SendExpect { send, expect } => {
            say(&mut stream, send).await?;
            expected(&mut stream, expect).await
        }
        Check::Http { path, host: named, status: good } => {
            let host = named.as_deref().unwrap_or(host);
            say(&mut stream, request(path, host).as_bytes()).await?;
            let mut answer = BufReader::new(stream.take(LIMIT as u64));
            let status = status(&mut answer).await?;
            if !good.iter().any(|&(from, to)| (from..=to).contains(&status)) {
                return Err(ProbeError::Status { status, expected: Expected(good.clone()) });
            }
            if let_it_finish(&mut answer).await {
                let _ = answer.get_mut().get_mut().shutdown().await;
            }
            Ok(())
        }
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), words: &[u8]) -> Result<(), ProbeError> {
    stream.write_all(words).await.map_err(|_| ProbeError::Ended("the question"))
}

fn request(path: &str, host: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: evenkeel\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    )
}

async fn expected(stream: &mut (impl AsyncRead + Unpin), expect: &[u8]) -> Result<(), ProbeError> {
    let mut answer = Vec::with_capacity(LIMIT);
    let mut stream = stream.take(LIMIT as u64);
    while !expect.is_empty() {
        let known = answer.len();
        let read = stream.read_buf(&mut answer).await.unwrap_or(0);
        // It may have begun before this read.
        let from = known.saturating_sub(expect.len() - 1);
        if answer[from..].windows(expect.len()).any(|window| window == expect) {
            return Ok(());
        }
        match (read, answer.len()) {
            (_, LIMIT) => return Err(ProbeError::Unexpected),
            (0, _) => return Err(ProbeError::Ended("what was expected")),
            _ => {}
        }
    }
    Ok(())
}

/// The first status that is not interim (100 Continue and its like; 101 is final).
async fn status(answer: &mut (impl AsyncBufRead + Unpin)) -> Result<u16, ProbeError> {
    loop {
        let text = line(answer).await?;
        let status = parse_status(&text).ok_or_else(|| not_http(&text))?;
        if !(100..200).contains(&status) || status == 101 {
            return Ok(status);
        }
        while !matches!(line(answer).await?.as_slice(), b"\n" | b"\r\n") {}
    }
}

/// A whole line. One that is longer than the limit ends there, without a line feed.
async fn line(answer: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, ProbeError> {
    let mut line = Vec::new();
    let _ = answer.read_until(b'\n', &mut line).await;
    match line.last() {
        Some(b'\n') => Ok(line),
        Some(_) if line.len() == LIMIT => Err(not_http(&line)),
        _ => Err(ProbeError::Ended("a status line")),
    }
}

/// `HTTP/1.1 200 OK`, with or without a reason.
fn parse_status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let ([b'0' | b'1', b' ', a, b, c], rest) = rest.split_first_chunk()? else { return None };
    let digits = [a, b, c];
    let whole = digits.iter().all(|digit| digit.is_ascii_digit())
        && matches!(rest.first(), Some(b' ' | b'\r' | b'\n'));
    whole.then(|| digits.iter().fold(0, |number, &digit| number * 10 + u16::from(digit - b'0')))
}

fn not_http(line: &[u8]) -> ProbeError {
    let shown = &line[..line.len().min(SHOWN)];
    ProbeError::NotHttp(String::from_utf8_lossy(shown).trim_end().to_owned())
}

/// The answer is known; a server that has more to say may say it and close, which spares it the
/// reset, but not for long. Whether it did.
async fn let_it_finish(answer: &mut (impl AsyncBufRead + Unpin)) -> bool {
    let rest = async {
        loop {
            match answer.fill_buf().await {
                Ok([]) => return true,
                Ok(piece) => {
                    let bytes = piece.len();
                    answer.consume(bytes);
                }
                Err(_) => return false,
            }
        }
    };
    tokio::time::timeout(FINISH_TIME, rest).await.unwrap_or(false)
}

/// Bytes of an answer that are looked at. A status page is shorter, and 100 probes at a time take
/// less than 2 MiB.
const LIMIT: usize = 16 << 10;

/// Bytes of a line that is not HTTP that a log shows.
const SHOWN: usize = 60;

/// A server on the same network that closes at all does so in a millisecond.
const FINISH_TIME: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;

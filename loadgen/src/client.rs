//! The client for people: one message and its answer, or a conversation line by line.
//!
//! It does one thing at a time on one connection, so it waits in plain reads and writes and needs
//! no ring.

use std::io::{self, BufRead, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::target::Target;

/// Whether the person is asked for the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Somebody types: `> ` comes before each line, and a hint before the first.
    Shown,
    /// Lines come from a file or a pipe.
    Hidden,
}

/// Why a conversation ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error("cannot connect to {target}: {source}; is it running? see `ss -ltn`")]
    Connect {
        /// Where to.
        target: Target,
        /// What the kernel or the resolver said.
        source: io::Error,
    },
    /// The server ended the connection instead of answering.
    #[error("the server closed the connection without an answer")]
    ServerClosed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The terminal or file that is talked through failed.
    #[error("cannot read the next line or print: {0}")]
    Terminal(io::Error),
}

/// Sends `message` and prints the answer to `out`.
///
/// # Errors
/// A [`ClientError`] in one clear line.
pub fn send_one(target: &Target, message: &str, out: &mut impl Write) -> Result<(), ClientError> {
    let mut conversation = Conversation::open(target, out)?;
    let answered = conversation.say(message);
    conversation.close(answered)
}

/// Reads messages from `input`, one a line, and prints the answers to `out`, until `quit`, `exit`
/// or the end of `input`. Input that ends before anything was sent sends the usual greeting.
///
/// # Errors
/// A [`ClientError`] in one clear line.
pub fn converse(
    target: &Target,
    input: &mut impl BufRead,
    out: &mut impl Write,
    prompt: Prompt,
) -> Result<(), ClientError> {
    let mut conversation = Conversation::open(target, out)?;
    let talked = talk(&mut conversation, input, prompt);
    conversation.close(talked)
}

fn talk(
    conversation: &mut Conversation<'_, impl Write>,
    input: &mut impl BufRead,
    prompt: Prompt,
) -> Result<(), ClientError> {
    let mut said_something = false;
    if prompt == Prompt::Shown {
        conversation.print("One message a line; an empty line says hello, `quit` ends.\n")?;
    }
    loop {
        if prompt == Prompt::Shown {
            conversation.print("> ")?;
        }
        let mut line = String::new();
        let read = input.read_line(&mut line).map_err(ClientError::Terminal)?;
        match line.trim_end_matches(['\r', '\n']) {
            _ if read == 0 && said_something => return Ok(()),
            _ if read == 0 => return conversation.say(GREETING),
            "quit" | "exit" => return Ok(()),
            "" => conversation.say(GREETING)?,
            message => conversation.say(message)?,
        }
        said_something = true;
    }
}

/// A connection and where it is told about.
struct Conversation<'a, W> {
    stream: TcpStream,
    out: &'a mut W,
}

impl<'a, W: Write> Conversation<'a, W> {
    fn open(target: &Target, out: &'a mut W) -> Result<Self, ClientError> {
        let text = format!("Connecting to {target}...\n");
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(ClientError::Terminal)?;
        let connect = |source| ClientError::Connect { target: target.clone(), source };
        Ok(Self { stream: connect_to(target).map_err(connect)?, out })
    }

    fn say(&mut self, message: &str) -> Result<(), ClientError> {
        self.print(&format!("Sending: '{message}'\n"))?;
        self.stream.write_all(message.as_bytes()).map_err(broken)?;
        let answer = self.hear()?;
        let answer = String::from_utf8_lossy(&answer);
        self.print(&format!("Received: '{}'\n", answer.trim_end_matches(['\r', '\n'])))
    }

    /// What arrives together is one answer.
    fn hear(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        match self.stream.read(&mut answer).map_err(broken)? {
            0 => Err(ClientError::ServerClosed),
            len => {
                answer.truncate(len);
                Ok(answer)
            }
        }
    }

    fn close(mut self, result: Result<(), ClientError>) -> Result<(), ClientError> {
        match result {
            // Nobody is there to be told.
            Err(ClientError::Terminal(_)) => result,
            Ok(()) | Err(_) => self.print("Closing the connection.\n").and(result),
        }
    }

    fn print(&mut self, text: &str) -> Result<(), ClientError> {
        let printed = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        printed.map_err(ClientError::Terminal)
    }
}

fn connect_to(target: &Target) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn broken(error: io::Error) -> ClientError {
    match error.kind() {
        // A server that closes while we write answers with a reset.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ClientError::ServerClosed,
        _ => ClientError::Broken(error),
    }
}

const GREETING: &str = "Hello from Client";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

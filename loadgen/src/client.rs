//! The client for people: one message and its answer, or a conversation line by line.
//!
//! While a person thinks, it listens to both sides: late bytes are shown, and a server that closes is
//! told at once.

mod lines;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use uring::SetupError;

use self::lines::{Line, Lines};
use crate::connection::{Connection, Event, OpenError};
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
    /// There is no ring to connect with.
    #[error(transparent)]
    Ring(SetupError),
    /// The server ended the connection when nothing was asked.
    #[error("the server closed the connection")]
    ServerLeft,
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
/// `input` must not read ahead: what it had in a buffer of its own would never be noticed.
///
/// # Errors
/// A [`ClientError`] in one clear line.
pub fn converse(
    target: &Target,
    input: &mut (impl Read + AsFd),
    out: &mut impl Write,
    prompt: Prompt,
) -> Result<(), ClientError> {
    let mut conversation = Conversation::open(target, out)?;
    let talked = conversation.talk(&mut Lines::new(input), prompt);
    conversation.close(talked)
}

/// A connection and where it is told about.
struct Conversation<'a, W> {
    connection: Connection,
    out: &'a mut W,
}

impl<'a, W: Write> Conversation<'a, W> {
    fn open(target: &Target, out: &'a mut W) -> Result<Self, ClientError> {
        print(out, &format!("Connecting to {target}...\n"))?;
        let unconnected = |source| ClientError::Connect { target: target.clone(), source };
        let addresses = target.addresses().map_err(unconnected)?;
        match Connection::open(&addresses, CONNECT_TIMEOUT) {
            Ok(connection) => Ok(Self { connection, out }),
            Err(OpenError::Ring(error)) => Err(ClientError::Ring(error)),
            Err(OpenError::Connect(error)) => Err(unconnected(error)),
        }
    }

    fn talk(
        &mut self,
        lines: &mut Lines<'_, impl Read + AsFd>,
        prompt: Prompt,
    ) -> Result<(), ClientError> {
        let mut said_something = false;
        if prompt == Prompt::Shown {
            self.print("One message a line; an empty line says hello, `quit` ends.\n")?;
        }
        loop {
            match self.next_line(lines, prompt)? {
                Line::End if said_something => return Ok(()),
                Line::End => return self.say(GREETING),
                Line::Text(text) => match text.as_str() {
                    "quit" | "exit" => return Ok(()),
                    "" => self.say(GREETING)?,
                    message => self.say(message)?,
                },
            }
            said_something = true;
        }
    }

    /// Asks for a line, and tells what the server does until it is there.
    fn next_line(
        &mut self,
        lines: &mut Lines<'_, impl Read + AsFd>,
        prompt: Prompt,
    ) -> Result<Line, ClientError> {
        self.print(prompt.text())?;
        loop {
            if let Some(line) = lines.take().map_err(ClientError::Terminal)? {
                return Ok(line);
            }
            let event = self.connection.receive_beside(lines.input());
            if let Ok(Event::InputReadable) = event {
                lines.read().map_err(ClientError::Terminal)?;
                continue;
            }
            self.print(prompt.line_end())?;
            match event.map_err(broken) {
                Ok(Event::Received(bytes)) if !bytes.is_empty() => {
                    self.show(&bytes)?;
                    self.print(prompt.text())?;
                }
                Ok(_) | Err(ClientError::ServerClosed) => return Err(ClientError::ServerLeft),
                Err(error) => return Err(error),
            }
        }
    }

    fn say(&mut self, message: &str) -> Result<(), ClientError> {
        self.print(&format!("Sending: '{message}'\n"))?;
        self.connection.send(message.as_bytes()).map_err(broken)?;
        // What arrives together is one answer.
        let answer = self.connection.receive().map_err(broken)?;
        if answer.is_empty() {
            return Err(ClientError::ServerClosed);
        }
        self.show(&answer)
    }

    fn show(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let text = String::from_utf8_lossy(bytes);
        self.print(&format!("Received: '{}'\n", text.trim_end_matches(['\r', '\n'])))
    }

    fn close(mut self, result: Result<(), ClientError>) -> Result<(), ClientError> {
        match result {
            // Nobody is there to be told.
            Err(ClientError::Terminal(_)) => result,
            Ok(()) | Err(_) => self.print("Closing the connection.\n").and(result),
        }
    }

    fn print(&mut self, text: &str) -> Result<(), ClientError> {
        print(self.out, text)
    }
}

impl Prompt {
    /// What stands before a line that is typed.
    fn text(self) -> &'static str {
        match self {
            Self::Shown => "> ",
            Self::Hidden => "",
        }
    }

    /// Ends the line that the prompt stands on.
    fn line_end(self) -> &'static str {
        match self {
            Self::Shown => "\n",
            Self::Hidden => "",
        }
    }
}

fn print(out: &mut impl Write, text: &str) -> Result<(), ClientError> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(ClientError::Terminal)
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

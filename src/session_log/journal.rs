//! A session that has ended, for systemd's journal: one datagram in its native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>), so that `journalctl EVENKEEL_POOL=web
//! EVENKEEL_END=SC` finds it. Fields that have nothing to say are left out.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;

use crate::core::session::EndReason;
use crate::shard::record::Record;

use super::json::{end_and_reason, id};
use super::name::Name;
use super::text::total_us;
use super::wall::Times;
use super::{Format, json, text};

/// The journal's socket.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    connected: bool,
}

impl Journal {
    /// Finds it.
    ///
    /// # Errors
    /// When there is no journal here.
    pub(super) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let mut journal = Self { socket, connected: false };
        journal.connect()?;
        Ok(journal)
    }

    /// Sends one entry, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when the journal is behind; `FileTooLarge` for an entry that is; anything else when it is gone.
    pub(super) fn send(&mut self, entry: &[u8]) -> io::Result<()> {
        self.connect()?;
        match self.socket.send(entry) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => {
                Err(ErrorKind::FileTooLarge.into())
            }
            Err(error) => {
                // It may be back at the same path.
                self.connected = false;
                Err(error)
            }
        }
    }

    fn connect(&mut self) -> io::Result<()> {
        if !self.connected {
            self.socket.connect(SOCKET)?;
            self.connected = true;
        }
        Ok(())
    }
}

/// Appends the entry. The message is the line, without its time unless it is JSON.
pub(super) fn entry(into: &mut Vec<u8>, record: &Record, format: Format, times: &mut Times) {
    into.extend_from_slice(b"MESSAGE=");
    match format {
        Format::Text => {
            text::message(into, record);
            into.push(b'\n');
        }
        Format::Json => json::line(into, record, times),
    }
    let some = |into: &mut Vec<u8>, name: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            field(into, name, value);
        }
    };
    let (end, reason) = end_and_reason(record);
    field(into, "PRIORITY", &priority(record.reason));
    field(into, "SYSLOG_IDENTIFIER", &"evenkeel");
    some(into, "EVENKEEL_ID", id(record).as_ref().map(|id| id as _));
    field(into, "EVENKEEL_SHARD", &record.shard);
    some(into, "EVENKEEL_CLIENT", record.client.as_ref().map(|client| client as _));
    field(into, "EVENKEEL_LISTENER", &Name(&record.listener.name));
    field(into, "EVENKEEL_POOL", &Name(&record.pool.name));
    let backend = record.backend.as_ref().map(|backend| Name(&backend.name));
    some(into, "EVENKEEL_BACKEND", backend.as_ref().map(|backend| backend as _));
    some(into, "EVENKEEL_DESTINATION", record.destination.as_ref().map(|place| place as _));
    some(into, "EVENKEEL_BY", record.by.as_ref().map(|by| by as _));
    some(into, "EVENKEEL_QUEUE_US", record.queue_us.as_ref().map(|us| us as _));
    some(into, "EVENKEEL_CONNECT_US", record.connect_us.as_ref().map(|us| us as _));
    some(into, "EVENKEEL_FIRST_BYTE_US", record.first_byte_us.as_ref().map(|us| us as _));
    field(into, "EVENKEEL_TOTAL_US", &total_us(record));
    field(into, "EVENKEEL_TO_BACKEND_COPIED", &record.to_backend.copied);
    field(into, "EVENKEEL_TO_BACKEND_SPLICED", &record.to_backend.spliced);
    field(into, "EVENKEEL_TO_CLIENT_COPIED", &record.to_client.copied);
    field(into, "EVENKEEL_TO_CLIENT_SPLICED", &record.to_client.spliced);
    field(into, "EVENKEEL_END", &end);
    field(into, "EVENKEEL_REASON", &reason);
    field(into, "EVENKEEL_RETRIES", &record.retries);
    field(into, "EVENKEEL_MOVES", &record.moves);
}

/// No value has a line feed: names are escaped. So the simple form will do.
fn field(into: &mut Vec<u8>, name: &str, value: &(impl Display + ?Sized)) {
    writeln!(into, "{name}={value}").expect("memory takes it all");
}

/// As syslog has them: 4 is a warning, 6 informs.
const fn priority(reason: EndReason) -> u8 {
    match reason {
        // A client was not served, and that is for the operator to mend.
        EndReason::BackendUnreachable | EndReason::QueueTimeout | EndReason::QueueFull => 4,
        EndReason::Finished
        | EndReason::ClientGone
        | EndReason::BackendGone
        | EndReason::BadGreeting
        | EndReason::Denied
        | EndReason::IdleTimeout
        | EndReason::HalfClosedTimeout
        | EndReason::MaxAge
        | EndReason::BackendDown
        | EndReason::Cut
        | EndReason::Killed => 6,
    }
}

/// Where systemd-journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

#[cfg(test)]
mod tests {
    use super::super::example::{Example, NOON};
    use super::*;

    fn written(record: &Record, format: Format) -> String {
        let mut bytes = Vec::new();
        entry(&mut bytes, record, format, &mut Times::new(NOON));
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn an_entry_has_a_message_and_a_field_for_everything() {
        assert_eq!(
            written(&Example::new().record, Format::Text),
            "MESSAGE=10.0.0.7:51234 front -> web/B1 (round-robin) queue 0.104ms connect 0.311ms \
             first-byte 1.20ms total 5.10s to-backend 1234 B (copied) to-client 4512345 B \
             (98 % spliced) -- finished retries 0 moves 0\n\
             PRIORITY=6\nSYSLOG_IDENTIFIER=evenkeel\nEVENKEEL_ID=0-17-3\nEVENKEEL_SHARD=0\n\
             EVENKEEL_CLIENT=10.0.0.7:51234\nEVENKEEL_LISTENER=front\nEVENKEEL_POOL=web\n\
             EVENKEEL_BACKEND=B1\nEVENKEEL_BY=round-robin\nEVENKEEL_QUEUE_US=104\n\
             EVENKEEL_CONNECT_US=311\nEVENKEEL_FIRST_BYTE_US=1200\nEVENKEEL_TOTAL_US=5100000\n\
             EVENKEEL_TO_BACKEND_COPIED=1234\nEVENKEEL_TO_BACKEND_SPLICED=0\n\
             EVENKEEL_TO_CLIENT_COPIED=82345\nEVENKEEL_TO_CLIENT_SPLICED=4430000\n\
             EVENKEEL_END=--\nEVENKEEL_REASON=finished\nEVENKEEL_RETRIES=0\nEVENKEEL_MOVES=0\n"
        );
    }

    #[test]
    fn what_never_was_is_left_out_and_who_was_not_served_is_a_warning() {
        let mut record = Example::new().record;
        (record.backend, record.connect_us) = (None, None);
        record.reason = EndReason::BackendUnreachable;
        let entry = written(&record, Format::Text);
        assert!(!entry.contains("EVENKEEL_BACKEND=") && !entry.contains("CONNECT_US"), "{entry}");
        assert!(
            entry.contains("\nPRIORITY=4\n") && entry.contains("\nEVENKEEL_END=SC\n"),
            "{entry}"
        );
    }

    #[test]
    fn hostile_names_add_no_field_in_either_format() {
        let evil = Example::named("x\nPRIORITY=0\nEVENKEEL_END=").record;
        for format in [Format::Text, Format::Json] {
            let fields = written(&Example::new().record, format).lines().count();
            assert_eq!(written(&evil, format).lines().count(), fields);
        }
    }

    #[test]
    fn the_message_may_be_json() {
        let entry = written(&Example::new().record, Format::Json);
        let message = entry.lines().next().expect("a line").strip_prefix("MESSAGE=");
        let line: serde_json::Value = serde_json::from_str(message.expect("it")).expect("JSON");
        assert_eq!(line["reason"], "finished");
    }
}

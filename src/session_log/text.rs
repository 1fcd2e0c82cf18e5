//! A session that has ended, as a line that a person reads and `awk` can:
//!
//! ```text
//! 2026-11-30T07:45:01.123Z 10.0.0.7:51234 web -> web/B1 (round-robin) queue 0.104ms connect 0.311ms
//!   first-byte 1.20ms total 5.10s to-backend 1234 B (copied) to-client 4512345 B (98 % spliced)
//!   -- finished retries 0 moves 0
//! ```
//!
//! in one line. Every field is always there, `-` where there is nothing to say:
//!
//! | field | what |
//! |---|---|
//! | time | when the session was over, in UTC |
//! | client | its address and port, or what a trusted proxy said of it; `unix` by a unix socket |
//! | listener | its name |
//! | pool/backend | who served it, or was tried last; with `original-dst` where the client wanted to go |
//! | (why) | why that backend: the algorithm, `sticky`, `last-resort` |
//! | queue | from the accepted client to the first connect |
//! | connect | from the last connect to the connection |
//! | first-byte | from the first connection to the backend's first byte |
//! | total | from the accepted client to the end |
//! | to-backend, to-client | bytes that were delivered, and how: copied, spliced, or the part that was spliced |
//! | `--` and a word | why it ended ([`EndReason`](crate::core::session::EndReason)) |
//! | retries | connects beyond the first, those after a move not counted |
//! | moves | how often it went on with another backend |

use std::fmt;
use std::io::Write as _;

use crate::config::plan::Address;
use crate::shard::commands::Moved;
use crate::shard::record::Record;

use super::name::Name;
use super::wall::Times;

/// The line with its time.
pub(super) fn line(into: &mut Vec<u8>, record: &Record, times: &mut Times) {
    times.ended(into, record);
    writeln!(into, " {}", Message(record)).expect("memory takes it all");
}

/// The line without its time, for a log that keeps one itself.
#[derive(Debug)]
pub(super) struct Message<'a>(pub(super) &'a Record);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(record) = self;
        let (listener, pool) = (Name(&record.listener.name), Name(&record.pool.name));
        write!(f, "{} {listener} -> {pool}/", Client(record))?;
        match (record.destination, &record.backend) {
            (Some(destination), _) => destination.fmt(f)?,
            (None, Some(backend)) => Name(&backend.name).fmt(f)?,
            (None, None) => f.write_str("-")?,
        }
        match record.by {
            Some(by) => write!(f, " ({by})")?,
            None => f.write_str(" (-)")?,
        }
        let lengths = [record.queue_us, record.connect_us, record.first_byte_us];
        for (name, us) in ["queue", "connect", "first-byte"].iter().zip(lengths) {
            write!(f, " {name} {}", Length(us.map(u64::from)))?;
        }
        write!(f, " total {}", Length(Some(total_us(record))))?;
        write!(f, " to-backend {}", Delivered(record.to_backend))?;
        write!(f, " to-client {}", Delivered(record.to_client))?;
        let Record { retries, moves, .. } = record;
        write!(f, " {} retries {retries} moves {moves}", record.reason.label())
    }
}

/// From the accepted client to the end, in microseconds.
pub(super) fn total_us(record: &Record) -> u64 {
    u64::try_from(record.ended.since(record.began).as_micros()).unwrap_or(u64::MAX)
}

/// Who it was.
struct Client<'a>(&'a Record);

impl fmt::Display for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.client, &self.0.listener.address) {
            (Some(client), _) => client.fmt(f),
            (None, Address::Unix(_)) => f.write_str("unix"),
            (None, Address::Inet(_)) => f.write_str("-"),
        }
    }
}

/// Microseconds as a person reads them: three figures, and never less than the microsecond.
struct Length(Option<u64>);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(us) = self.0 else { return f.write_str("-") };
        // Cut, not rounded: 999.9 ms are not a second.
        let (unit, in_unit, word) = match us {
            0..1_000_000 => (1_000, us, "ms"),
            _ => (1_000_000, us, "s"),
        };
        let (whole, part) = (in_unit / unit, in_unit % unit);
        match whole {
            0 => write!(f, "0.{part:03}{word}"),
            1..10 => write!(f, "{whole}.{:02}{word}", part * 100 / unit),
            10..100 => write!(f, "{whole}.{}{word}", part * 10 / unit),
            _ => write!(f, "{whole}{word}"),
        }
    }
}

/// Bytes and their path.
struct Delivered(Moved);

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moved { copied, spliced } = self.0;
        let total = self.0.total();
        match (copied, spliced) {
            (0, 0) => f.write_str("0 B (-)"),
            (_, 0) => write!(f, "{total} B (copied)"),
            (0, _) => write!(f, "{total} B (spliced)"),
            // Neither all nor nothing.
            _ => {
                let percent = u128::from(spliced) * 100 / u128::from(total);
                write!(f, "{total} B ({} % spliced)", percent.max(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{Example, NOON};
    use super::*;
    use crate::core::balance::{Algorithm, By};
    use crate::core::session::EndReason;

    fn written(record: &Record) -> String {
        let mut bytes = Vec::new();
        line(&mut bytes, record, &mut Times::new(NOON));
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_session_is_a_line() {
        assert_eq!(
            written(&Example::new().record),
            "1970-01-01T12:00:05.100Z 10.0.0.7:51234 front -> web/B1 (round-robin) queue 0.104ms \
             connect 0.311ms first-byte 1.20ms total 5.10s to-backend 1234 B (copied) to-client \
             4512345 B (98 % spliced) -- finished retries 0 moves 0\n"
        );
    }

    #[test]
    fn what_never_was_is_a_dash() {
        let mut record = Example::new().record;
        (record.backend, record.by, record.client) = (None, None, None);
        (record.queue_us, record.connect_us, record.first_byte_us) = (None, None, None);
        (record.to_backend, record.to_client) = (Moved::default(), Moved::default());
        record.reason = EndReason::QueueTimeout;
        assert_eq!(
            written(&record),
            "1970-01-01T12:00:05.100Z - front -> web/- (-) queue - connect - first-byte - \
             total 5.10s to-backend 0 B (-) to-client 0 B (-) sQ queue-timeout retries 0 moves 0\n"
        );
    }

    #[test]
    fn an_original_destination_is_named_instead_of_its_stand_in() {
        let mut record = Example::new().record;
        record.destination = Some(([10, 1, 1, 1], 443).into());
        assert!(written(&record).contains(" -> web/10.1.1.1:443 ("), "{}", written(&record));
    }

    #[test]
    fn a_client_of_a_unix_socket_and_one_of_the_sixth_version_are_told() {
        let mut record = Example::listening_on(Address::Unix("/run/x.sock".into())).record;
        record.client = None;
        assert!(written(&record).contains("Z unix front -> "), "{}", written(&record));
        record.client = Some("[fd00::7]:5".parse().expect("an address"));
        assert!(written(&record).contains("Z [fd00::7]:5 front -> "), "{}", written(&record));
    }

    #[test]
    fn every_reason_and_every_rule_has_its_words() {
        let mut record = Example::new().record;
        for reason in EndReason::ALL {
            record.reason = reason;
            assert!(written(&record).contains(&format!(" {} retries", reason.label())));
        }
        for (by, word) in [
            (By::Sticky, "(sticky)"),
            (By::LastResort, "(last-resort)"),
            (By::Algorithm(Algorithm::LeastConnections), "(least-connections)"),
        ] {
            record.by = Some(by);
            assert!(written(&record).contains(word), "{word}");
        }
    }

    #[test]
    fn hostile_names_stay_in_their_field() {
        let evil = "x\n1970-01-01T12:00:05.100Z 1.2.3.4:5 front -> web/B1";
        let record = Example::named(evil).record;
        let line = written(&record);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let fields = written(&Example::new().record).split(' ').count();
        assert_eq!(line.split(' ').count(), fields, "{line}");
    }

    #[test]
    fn lengths_have_three_figures() {
        for (us, shown) in [
            (0, "0.000ms"),
            (7, "0.007ms"),
            (999, "0.999ms"),
            (1_000, "1.00ms"),
            (9_999, "9.99ms"),
            (10_000, "10.0ms"),
            (99_999, "99.9ms"),
            (100_000, "100ms"),
            (999_999, "999ms"),
            (1_000_000, "1.00s"),
            (59_999_999, "59.9s"),
            (3_600_000_000, "3600s"),
        ] {
            assert_eq!(Length(Some(us)).to_string(), shown);
        }
    }

    #[test]
    fn bytes_of_both_paths_are_a_part_and_never_all() {
        for (copied, spliced, shown) in [
            (5, 0, "5 B (copied)"),
            (0, 5, "5 B (spliced)"),
            (1, 1, "2 B (50 % spliced)"),
            (1_000_000, 1, "1000001 B (1 % spliced)"),
            (1, 1_000_000, "1000001 B (99 % spliced)"),
            (1, u64::MAX - 1, "18446744073709551615 B (99 % spliced)"),
        ] {
            assert_eq!(Delivered(Moved { copied, spliced }).to_string(), shown);
        }
    }

    #[test]
    fn the_longest_line_goes_through_a_pipe_in_one_piece() {
        let mut record = Example::named(&"\u{1}".repeat(1000)).record;
        record.client =
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().expect("one"));
        record.to_client = Moved { copied: 1, spliced: u64::MAX - 1 };
        record.reason = EndReason::HalfClosedTimeout;
        assert!(written(&record).len() < 4096, "{}", written(&record).len());
    }
}

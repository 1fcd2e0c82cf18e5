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

use crate::config::plan::Address;
use crate::core::balance::By;
use crate::shard::commands::Moved;
use crate::shard::record::Record;

use super::append;
use super::wall::Times;

/// The line with its time.
pub(super) fn line(into: &mut Vec<u8>, record: &Record, times: &mut Times) {
    times.ended(into, record);
    into.push(b' ');
    message(into, record);
    into.push(b'\n');
}

/// The line without its time, for a log that keeps one itself.
pub(super) fn message(into: &mut Vec<u8>, record: &Record) {
    client(into, record);
    into.push(b' ');
    append::name(into, &record.listener.name);
    into.extend_from_slice(b" -> ");
    append::name(into, &record.pool.name);
    into.push(b'/');
    match (&record.destination, &record.backend) {
        (Some(destination), _) => append::address(into, destination),
        (None, Some(backend)) => append::name(into, &backend.name),
        (None, None) => into.push(b'-'),
    }
    into.extend_from_slice(b" (");
    into.extend_from_slice(record.by.map_or("-", By::word).as_bytes());
    into.extend_from_slice(b") queue ");
    length(into, record.queue_us.map(u64::from));
    into.extend_from_slice(b" connect ");
    length(into, record.connect_us.map(u64::from));
    into.extend_from_slice(b" first-byte ");
    length(into, record.first_byte_us.map(u64::from));
    into.extend_from_slice(b" total ");
    length(into, Some(total_us(record)));
    into.extend_from_slice(b" to-backend ");
    delivered(into, record.to_backend);
    into.extend_from_slice(b" to-client ");
    delivered(into, record.to_client);
    into.push(b' ');
    into.extend_from_slice(record.reason.label().as_bytes());
    into.extend_from_slice(b" retries ");
    append::digits(into, record.retries);
    into.extend_from_slice(b" moves ");
    append::digits(into, record.moves);
}

/// From the accepted client to the end, in microseconds.
pub(super) fn total_us(record: &Record) -> u64 {
    u64::try_from(record.ended.since(record.began).as_micros()).unwrap_or(u64::MAX)
}

/// Who it was.
fn client(into: &mut Vec<u8>, record: &Record) {
    match (&record.client, &record.listener.address) {
        (Some(client), _) => append::address(into, client),
        (None, Address::Unix(_)) => into.extend_from_slice(b"unix"),
        (None, Address::Inet(_)) => into.push(b'-'),
    }
}

/// Microseconds as a person reads them: three figures, and never less than the microsecond.
fn length(into: &mut Vec<u8>, us: Option<u64>) {
    let Some(us) = us else { return into.push(b'-') };
    // Cut, not rounded: 999.9 ms are not a second.
    let (unit, word) = if us < 1_000_000 { (1_000, "ms") } else { (1_000_000, "s") };
    let (whole, part) = (us / unit, us % unit);
    append::digits(into, whole);
    let figures = match whole {
        0 => 3,
        1..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    if figures > 0 {
        into.push(b'.');
        append::padded(into, part * 10_u64.pow(figures) / unit, figures as usize);
    }
    into.extend_from_slice(word.as_bytes());
}

/// Bytes and their path.
fn delivered(into: &mut Vec<u8>, moved: Moved) {
    let Moved { copied, spliced } = moved;
    let total = moved.total();
    append::digits(into, total);
    let how: &[u8] = match (copied, spliced) {
        (0, 0) => b" B (-)",
        (_, 0) => b" B (copied)",
        (0, _) => b" B (spliced)",
        // Neither all nor nothing.
        _ => {
            into.extend_from_slice(b" B (");
            append::digits(into, (u128::from(spliced) * 100 / u128::from(total)).max(1));
            b" % spliced)"
        }
    };
    into.extend_from_slice(how);
}

#[cfg(test)]
mod tests {
    use super::super::example::{Example, NOON};
    use super::*;
    use crate::core::balance::Algorithm;
    use crate::core::session::EndReason;

    fn written(record: &Record) -> String {
        appended(|into| line(into, record, &mut Times::new(NOON)))
    }

    fn appended(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = Vec::new();
        append(&mut bytes);
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
            assert_eq!(appended(|into| length(into, Some(us))), shown);
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
            assert_eq!(appended(|into| delivered(into, Moved { copied, spliced })), shown);
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

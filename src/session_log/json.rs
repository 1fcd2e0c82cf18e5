//! A session that has ended, as a line of JSON. Its keys and what they mean are in
//! `docs/session-log.schema.json`; they stay as they are, others may come. Every key is always there,
//! `null` where there is nothing to say. The words are those of the admin API.

use std::fmt;
use std::net::SocketAddr;

use crate::core::balance::By;
use crate::shard::record::Record;

use super::append;
use super::name::Name;
use super::text::total_us;
use super::wall::Times;

/// Appends the line. Keys are written as they stand here, and what needs no escape goes past the serializer:
/// `docs/operating.md` has what a line costs.
pub(super) fn line(into: &mut Vec<u8>, record: &Record, times: &mut Times) {
    let (end, reason) = end_and_reason(record);
    into.extend_from_slice(br#"{"time":""#);
    times.ended(into, record);
    into.extend_from_slice(br#"","began":""#);
    times.began(into, record);
    let mut line = Line { into };
    line.field(r#"","id":"#, id(record));
    line.field(r#","shard":"#, record.shard);
    line.field(r#","client":"#, record.client);
    line.field(r#","listener":"#, Name(&record.listener.name));
    line.field(r#","pool":"#, Name(&record.pool.name));
    line.field(r#","backend":"#, record.backend.as_ref().map(|backend| Name(&backend.name)));
    line.field(r#","destination":"#, record.destination);
    line.field(r#","by":"#, record.by.map(By::word));
    line.field(r#","queue_us":"#, record.queue_us);
    line.field(r#","connect_us":"#, record.connect_us);
    line.field(r#","first_byte_us":"#, record.first_byte_us);
    line.field(r#","total_us":"#, total_us(record));
    line.field(r#","to_backend":{"copied":"#, record.to_backend.copied);
    line.field(r#","spliced":"#, record.to_backend.spliced);
    line.field(r#"},"to_client":{"copied":"#, record.to_client.copied);
    line.field(r#","spliced":"#, record.to_client.spliced);
    line.field(r#"},"end":"#, end);
    line.field(r#","reason":"#, reason);
    line.field(r#","retries":"#, record.retries);
    line.field(r#","moves":"#, record.moves);
    into.extend_from_slice(b"}\n");
}

/// What has been written of a line.
struct Line<'a> {
    into: &'a mut Vec<u8>,
}

impl Line<'_> {
    /// A key with what stands before it, and its value.
    fn field(&mut self, key: &'static str, value: impl Value) {
        self.into.extend_from_slice(key.as_bytes());
        value.append(self.into);
    }
}

/// What can stand after a key.
trait Value {
    fn append(&self, into: &mut Vec<u8>);
}

impl<V: Value> Value for Option<V> {
    fn append(&self, into: &mut Vec<u8>) {
        match self {
            Some(value) => value.append(into),
            None => into.extend_from_slice(b"null"),
        }
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn append(&self, into: &mut Vec<u8>) {
                append::digits(into, *self);
            }
        }
    )*};
}

numbers!(u8, u32, u64, usize);

impl Value for &'static str {
    /// A word of ours: nothing in it has to be escaped.
    fn append(&self, into: &mut Vec<u8>) {
        quoted(into, |into| into.extend_from_slice(self.as_bytes()));
    }
}

impl Value for Name<'_> {
    fn append(&self, into: &mut Vec<u8>) {
        match self.plain() {
            Some(plain) => quoted(into, |into| into.extend_from_slice(plain.as_bytes())),
            None => serde_json::to_writer(into, self).expect("memory takes it all"),
        }
    }
}

impl Value for SocketAddr {
    fn append(&self, into: &mut Vec<u8>) {
        quoted(into, |into| append::address(into, self));
    }
}

impl Value for Id {
    fn append(&self, into: &mut Vec<u8>) {
        quoted(into, |into| append::id(into, *self));
    }
}

/// What needs no escape.
fn quoted(into: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) {
    into.push(b'"');
    append(into);
    into.push(b'"');
}

/// Two letters, and a word.
pub(super) fn end_and_reason(record: &Record) -> (&'static str, &'static str) {
    record.reason.label().split_once(' ').expect("two letters and a word")
}

/// What the session was called while it was open.
pub(super) fn id(record: &Record) -> Option<Id> {
    record.owner.map(|owner| Id { shard: record.shard, owner })
}

/// As `evenkeel ctl sessions` and the admin API write it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id {
    pub(super) shard: usize,
    pub(super) owner: uring::Owner,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, owner } = self;
        write!(f, "{shard}-{}-{}", owner.slot, owner.generation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::example::{Example, NOON};
    use super::*;

    fn written(record: &Record) -> String {
        let mut bytes = Vec::new();
        line(&mut bytes, record, &mut Times::new(NOON));
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_session_is_a_line_of_json() {
        assert_eq!(
            written(&Example::new().record),
            concat!(
                r#"{"time":"1970-01-01T12:00:05.100Z","began":"1970-01-01T12:00:00.000Z","id":"0-17-3","#,
                r#""shard":0,"client":"10.0.0.7:51234","listener":"front","pool":"web","backend":"B1","#,
                r#""destination":null,"by":"round-robin","queue_us":104,"connect_us":311,"#,
                r#""first_byte_us":1200,"total_us":5100000,"to_backend":{"copied":1234,"spliced":0},"#,
                r#""to_client":{"copied":82345,"spliced":4430000},"end":"--","reason":"finished","#,
                r#""retries":0,"moves":0}"#,
                "\n"
            )
        );
    }

    #[test]
    fn what_never_was_is_null() {
        let mut record = Example::new().record;
        (record.backend, record.by, record.client, record.owner) = (None, None, None, None);
        (record.queue_us, record.connect_us, record.first_byte_us) = (None, None, None);
        let line: Value = serde_json::from_str(&written(&record)).expect("JSON");
        for key in ["backend", "by", "client", "id", "queue_us", "connect_us", "first_byte_us"] {
            assert_eq!(line[key], Value::Null, "{key}");
        }
    }

    #[test]
    fn names_come_back_as_they_are_in_one_line() {
        let evil = "a\"b\\c\nd\u{2028}\u{1b}[2J";
        let text = written(&Example::named(evil).record);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).expect("JSON");
        for key in ["listener", "pool", "backend"] {
            assert_eq!(line[key], evil, "{key}");
        }
    }

    #[test]
    fn the_longest_line_goes_through_a_pipe_in_one_piece() {
        let record = Example::named(&"\u{1}".repeat(1000)).record;
        assert!(written(&record).len() < 4096, "{}", written(&record).len());
    }

    #[test]
    fn the_schema_says_exactly_what_is_written() {
        let schema = include_str!("../../docs/session-log.schema.json");
        let schema: Value = serde_json::from_str(schema).expect("JSON");
        let line: Value = serde_json::from_str(&written(&Example::new().record)).expect("JSON");
        let keys = |value: &Value| -> BTreeSet<String> {
            value.as_object().expect("an object").keys().cloned().collect()
        };
        let required = schema["required"].as_array().expect("a list").iter();
        let required: BTreeSet<_> =
            required.map(|key| key.as_str().expect("a key").to_owned()).collect();
        assert_eq!(keys(&schema["properties"]), keys(&line));
        assert_eq!(required, keys(&line));
        let reasons = schema["properties"]["reason"]["enum"].as_array().expect("a list");
        for reason in crate::core::session::EndReason::ALL {
            let (_, word) = reason.label().split_once(' ').expect("two letters and a word");
            assert!(reasons.iter().any(|known| known == word), "{word} is not in the schema");
        }
    }
}

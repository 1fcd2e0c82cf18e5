//! What a probe is answered: a greeting, or the probe itself.

use std::collections::{BTreeMap, HashMap};

/// The line that every probe is.
pub(super) const PROBE: &str = "hold\n";

/// Replies of all connections of a worker; nearly always one comes in one piece, and only one that
/// does not takes memory.
#[derive(Debug, Default)]
pub(super) struct Replies {
    partial: HashMap<u32, Vec<u8>>,
    /// Answers by who gave them.
    pub(super) names: BTreeMap<String, u64>,
}

/// How far a reply is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progressed {
    /// It goes on.
    Part,
    /// It is whole: who answered, if it says so.
    Whole(Option<String>),
    /// It is no answer to a probe.
    Wrong,
}

impl Replies {
    /// Bytes came on the connection of this index.
    pub(super) fn on_bytes(&mut self, index: u32, bytes: &[u8], verify: bool) -> Progressed {
        let Some(mut line) = self.partial.remove(&index) else {
            return self.on_line(index, bytes, verify);
        };
        line.extend_from_slice(bytes);
        self.on_line(index, &line, verify)
    }

    fn on_line(&mut self, index: u32, line: &[u8], verify: bool) -> Progressed {
        match line.iter().position(|&byte| byte == b'\n') {
            Some(end) if end + 1 == line.len() => match who(line) {
                None if verify => Progressed::Wrong,
                name => Progressed::Whole(name),
            },
            None if line.len() <= REPLY_BYTES_MAX => {
                self.partial.insert(index, line.to_vec());
                Progressed::Part
            }
            // More than was asked for.
            Some(_) | None => Progressed::Wrong,
        }
    }

    /// The connection has ended.
    pub(super) fn forget(&mut self, index: u32) {
        self.partial.remove(&index);
    }

    /// Counts an answer.
    pub(super) fn count(&mut self, name: Option<String>) {
        *self.names.entry(name.unwrap_or_else(|| "unknown".to_owned())).or_default() += 1;
    }
}

/// Who answers like this.
fn who(line: &[u8]) -> Option<String> {
    if line == PROBE.as_bytes() {
        return Some("echo".to_owned());
    }
    let name = std::str::from_utf8(line).ok()?.strip_prefix("Hello from ")?.trim_end();
    (!name.is_empty()).then(|| name.to_owned())
}

const REPLY_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[&str], verify: bool, expected: &Progressed) {
        let mut replies = Replies::default();
        let mut last = Progressed::Part;
        for part in parts {
            assert_eq!(last, Progressed::Part, "{parts:?}");
            last = replies.on_bytes(7, part.as_bytes(), verify);
        }
        assert_eq!(last, *expected, "{parts:?}");
        assert!(replies.partial.is_empty() || last == Progressed::Part, "{parts:?}");
    }

    #[test]
    fn an_answer_is_a_greeting_or_the_probe_itself_however_it_is_cut() {
        let whole = |name: &str| Progressed::Whole(Some(name.to_owned()));
        check(&["Hello from B1\n"], true, &whole("B1"));
        check(&["Hello fr", "om B1", "\r\n"], true, &whole("B1"));
        check(&["hold\n"], true, &whole("echo"));
        check(&["ho", "ld\n"], true, &whole("echo"));
        check(&["hold"], true, &Progressed::Part);
    }

    #[test]
    fn what_is_no_answer_is_wrong() {
        for reply in ["holt\n", "Hello from \n", "HTTP/1.1 400 Bad Request\r\n", "hold\nhold\n"] {
            check(&[reply], true, &Progressed::Wrong);
        }
        let endless = "x".repeat(REPLY_BYTES_MAX + 1);
        check(&[&endless], false, &Progressed::Wrong);
        check(&["+PONG\n"], false, &Progressed::Whole(None));
    }
}

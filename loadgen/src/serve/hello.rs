//! The hello service: what is one message, and how it is answered.
//!
//! Two kinds of clients are served. The Python clients send text without an end mark: what arrives
//! together is one message, answered without a newline. Line clients end each message with a
//! newline and get a line for each, however the lines were cut on their way.

use super::service::{Answer, Personality};

/// One connection's messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    open: Open,
}

/// The message that has begun and has no end yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    None,
    /// It began behind a newline, so it ends with the next one.
    Line,
    /// It has had no newline, and the socket held more of it.
    Chunk,
}

impl Hello {
    /// Answers the messages that end in `bytes`; `more` follow at once, so the last may go on.
    pub(super) fn on_bytes(
        &mut self,
        who: &Personality,
        bytes: &[u8],
        more: bool,
        out: &mut Vec<u8>,
    ) -> Answer {
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        for _ in 0..lines {
            out.extend_from_slice(who.greeting.as_bytes());
            out.push(b'\n');
        }
        let ended = bytes.last().is_none_or(|&byte| byte == b'\n');
        self.open = match (lines, self.open) {
            (1.., _) if ended => Open::None,
            (1.., _) | (0, Open::Line) => Open::Line,
            (0, Open::None | Open::Chunk) if more => Open::Chunk,
            (0, Open::None | Open::Chunk) => {
                out.extend_from_slice(who.greeting.as_bytes());
                Open::None
            }
        };
        Answer::Written
    }

    /// Whether a message has begun that has no end yet: the end of the stream is its end.
    pub(super) fn is_mid_message(&self) -> bool {
        self.open != Open::None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::*;

    fn check(chunks: &[(&str, bool)], replies: &[&str], owed_at_end: bool) {
        let who =
            Personality { name: "B1".into(), greeting: "Hello from B1".into(), mode: Mode::Hello };
        let mut hello = Hello::default();
        for ((chunk, more), reply) in chunks.iter().zip(replies) {
            let mut out = Vec::new();
            hello.on_bytes(&who, chunk.as_bytes(), *more, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), *reply, "{chunks:?}");
        }
        assert_eq!(hello.is_mid_message(), owed_at_end, "{chunks:?}");
    }

    const LINE: &str = "Hello from B1\n";
    const BARE: &str = "Hello from B1";

    #[test]
    fn a_chunk_without_a_newline_is_one_message() {
        check(&[("Hello from Client", false), ("again", false)], &[BARE, BARE], false);
    }

    #[test]
    fn each_line_gets_a_line() {
        check(&[("a\n", false)], &[LINE], false);
        check(&[("a\nb\n\n", false)], &["Hello from B1\nHello from B1\nHello from B1\n"], false);
        check(&[("\n", false), ("bare", false)], &[LINE, BARE], false);
    }

    #[test]
    fn a_part_after_a_newline_waits_for_its_newline() {
        check(&[("a\nb", false), ("c", false), ("d\n", false)], &[LINE, "", LINE], false);
        check(
            &[("a\nb", false), ("c", false), ("d\n", false), ("x", false)],
            &[LINE, "", LINE, BARE],
            false,
        );
    }

    #[test]
    fn a_chunk_that_goes_on_is_not_a_message_yet() {
        check(&[("long", true), ("er\n", false)], &["", LINE], false);
        check(&[("long", true), ("er", true), ("est", false)], &["", "", BARE], false);
        check(&[("a\n", true)], &[LINE], false);
    }

    #[test]
    fn what_is_open_at_the_end_is_owed_an_answer() {
        check(&[("a\nb", false)], &[LINE], true);
        check(&[("long", true)], &[""], true);
        check(&[("a", false)], &[BARE], false);
    }
}

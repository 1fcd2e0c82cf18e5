//! The hello service: what is one message, and how it is answered.
//!
//! Two kinds of clients are served. The Python clients send text without an end mark: what arrives
//! together is one message, answered without a newline. Line clients end each message with a
//! newline and get a line for each, however the lines were cut on their way. A line that begins with
//! `reply=N ` says how long its answer shall be.

use super::replies::{Act, Replies};
use super::service::{Answer, Personality};

/// One connection's messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    open: Open,
    /// How the message that is open began, as far as it matters.
    start: Start,
}

/// The message that has begun and has no end yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    None,
    /// It began behind a newline, or asks for a size: so it ends with the next newline.
    Line,
    /// It has had no newline, and the socket held more of it.
    Chunk,
}

/// The first bytes of a message, enough of them to hold `reply=N `.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Start {
    bytes: [u8; START_BYTES],
    len: usize,
}

impl Hello {
    /// Answers the messages that end in `bytes`; `more` follow at once, so the last may go on.
    pub(super) fn on_bytes(
        &mut self,
        who: &Personality,
        mut bytes: &[u8],
        more: bool,
        replies: &mut Replies,
    ) -> Answer {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let asked = self.start.asked_with(&bytes[..end]);
            bytes = &bytes[end + 1..];
            // What has no end yet, or none of its own, goes on as a line.
            *self = Self { open: Open::Line, start: Start::default() };
            if !answer(who, asked, true, replies) {
                return Answer::WrittenAndLast;
            }
            if bytes.is_empty() {
                self.open = Open::None;
            }
        }
        if bytes.is_empty() {
            return Answer::Written;
        }
        self.start.add(bytes);
        if self.open == Open::Line || self.start.asks() {
            self.open = Open::Line;
        } else if more {
            self.open = Open::Chunk;
        } else {
            *self = Self::default();
            if !answer(who, None, false, replies) {
                return Answer::WrittenAndLast;
            }
        }
        Answer::Written
    }

    /// Whether a message has begun that has no end yet: the end of the stream is its end.
    pub(super) fn is_mid_message(&self) -> bool {
        self.open != Open::None
    }
}

/// Answers one message with a line, or bare; whether the connection goes on.
pub(super) fn answer(
    who: &Personality,
    asked: Option<u64>,
    line: bool,
    replies: &mut Replies,
) -> bool {
    let fate = replies.begin(who);
    match (fate.act, asked) {
        (Act::Answer, Some(bytes)) => write_sized(who, bytes, replies),
        (Act::Answer, None) => replies.output.push(who.greeting.as_bytes()),
        (Act::Error, _) => replies.output.push(ERROR),
        (Act::Drop | Act::Close | Act::Reset, _) => {}
    }
    if line && asked.is_none() && matches!(fate.act, Act::Answer) || line && fate.act == Act::Error
    {
        replies.output.push(b"\n");
    }
    replies.end(who, fate)
}

/// A line of exactly so many bytes, newline included: the greeting, a space, and filler.
fn write_sized(who: &Personality, bytes: u64, replies: &mut Replies) {
    let greeting = who.greeting.as_bytes();
    let before_newline = bytes - 1;
    let text = usize::try_from(before_newline).unwrap_or(usize::MAX).min(greeting.len());
    let out = &mut replies.output;
    out.push(&greeting[..text]);
    if before_newline > text as u64 {
        out.push(b" ");
        out.push_filler(before_newline - text as u64 - 1);
    }
    out.push(b"\n");
}

impl Start {
    fn add(&mut self, bytes: &[u8]) {
        let added = bytes.len().min(START_BYTES - self.len);
        self.bytes[self.len..self.len + added].copy_from_slice(&bytes[..added]);
        self.len += added;
    }

    /// The size that is asked for by the line that ends with `rest`.
    fn asked_with(mut self, rest: &[u8]) -> Option<u64> {
        if self.len == 0 && rest.first() != Some(&ASK[0]) {
            return None;
        }
        self.add(rest);
        asked(&self.bytes[..self.len])
    }

    fn asks(&self) -> bool {
        self.bytes[..self.len].starts_with(ASK)
    }
}

/// The size in `reply=N `, from 1 to [`REPLY_BYTES_MAX`].
fn asked(start: &[u8]) -> Option<u64> {
    let rest = start.strip_prefix(ASK)?;
    let digits = &rest[..rest.iter().position(|&byte| byte == b' ')?];
    // `parse` alone would take a sign.
    let digits = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
    digits?.parse().ok().filter(|bytes| (1..=REPLY_BYTES_MAX).contains(bytes))
}

/// What asks for a size.
const ASK: &[u8] = b"reply=";
/// The longest answer that can be asked for.
const REPLY_BYTES_MAX: u64 = 1 << 20;
const START_BYTES: usize = "reply=1048576 ".len();
/// What is said instead of an answer where an error is injected.
pub(super) const ERROR: &[u8] = b"ERROR injected";

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::*;

    fn check(chunks: &[(&str, bool)], replies: &[&str], owed_at_end: bool) {
        let who = Personality::named("B1", Mode::Hello);
        let mut hello = Hello::default();
        for ((chunk, more), reply) in chunks.iter().zip(replies) {
            let mut out = Replies::default();
            hello.on_bytes(&who, chunk.as_bytes(), *more, &mut out);
            assert_eq!(out.text(), *reply, "{chunks:?}");
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

    #[test]
    fn a_line_can_ask_for_the_size_of_its_answer() {
        for (bytes, expected) in [
            (20, "Hello from B1 abcde\n"),
            (16, "Hello from B1 a\n"),
            (15, "Hello from B1 \n"),
            (14, "Hello from B1\n"),
            (6, "Hello\n"),
            (1, "\n"),
        ] {
            assert_eq!(expected.len(), bytes);
            let line = format!("reply={bytes} and more\n");
            check(&[(&line, false)], &[expected], false);
            // Cut anywhere behind the equals sign: then it is known to be a line.
            for cut in "reply=".len()..line.len() {
                check(&[(&line[..cut], false), (&line[cut..], false)], &["", expected], false);
            }
            for cut in 1..line.len() {
                check(&[(&line[..cut], true), (&line[cut..], false)], &["", expected], false);
            }
        }
        check(&[("reply=9 \nx\nreply=6 \n", false)], &["Hello fr\nHello from B1\nHello\n"], false);
    }

    #[test]
    fn faults_stand_for_answers() {
        for (spec, expected, answer) in [
            (
                "error every 2",
                "Hello from B1\nERROR injected\nHello\nERROR injected",
                Answer::Written,
            ),
            ("drop every 2", "Hello from B1\nHello\n", Answer::Written),
            ("close every 2", "Hello from B1\n", Answer::WrittenAndLast),
            ("reset every 4", "Hello from B1\nHello from B1\nHello\n", Answer::WrittenAndLast),
        ] {
            let who = Personality::faulty("B1", Mode::Hello, &[spec]);
            let (mut hello, mut replies) = (Hello::default(), Replies::default());
            let mut got = hello.on_bytes(&who, b"a\nb\nreply=6 \n", false, &mut replies);
            if got == Answer::Written {
                got = hello.on_bytes(&who, b"bare", false, &mut replies);
            }
            assert_eq!((got, replies.text().as_str()), (answer, expected), "{spec}");
        }
    }

    #[test]
    fn what_asks_for_no_size_gets_the_greeting() {
        for line in [
            "reply=0 \n",
            "reply=1048577 \n",
            "reply=+9 \n",
            "reply=9\n",
            "reply= \n",
            "Reply=9 \n",
            " reply=9 \n",
            "reply=99999999999999999999 \n",
        ] {
            check(&[(line, false)], &[LINE], false);
        }
    }

    #[test]
    fn the_largest_answer_is_a_mebibyte() {
        let who = Personality::named("B1", Mode::Hello);
        let mut replies = Replies::default();
        Hello::default().on_bytes(&who, b"reply=1048576 x\n", false, &mut replies);
        assert_eq!(replies.output.left(), 1 << 20);
    }
}

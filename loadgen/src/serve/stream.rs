//! The stream service: the first line says what the connection is for.
//!
//! `up` reads and drops, `down` sends without end, `bidir` does both, `echo` sends everything back.
//! Whoever begins otherwise is greeted, as by the hello service.

use super::hello::Hello;
use super::replies::Replies;
use super::service::{Answer, Personality};

/// One connection, as far as its first line has come.
#[derive(Debug)]
pub(super) enum Stream {
    /// The beginning of what may be one of the words.
    Undecided(Vec<u8>),
    /// None of them.
    Hello(Hello),
    /// `echo`.
    Echo,
    /// `up`, and what comes in beside the other direction.
    Discard,
}

impl Default for Stream {
    fn default() -> Self {
        Self::Undecided(Vec::new())
    }
}

impl Stream {
    /// Bytes came; `more` follow at once.
    pub(super) fn on_bytes(
        &mut self,
        who: &Personality,
        bytes: &[u8],
        more: bool,
        replies: &mut Replies,
    ) -> Answer {
        match self {
            Self::Undecided(line) => {
                line.extend_from_slice(bytes);
                let line = std::mem::take(line);
                self.decide(who, line, more, replies)
            }
            Self::Hello(hello) => hello.on_bytes(who, bytes, more, replies),
            Self::Echo => Answer::Same,
            Self::Discard => Answer::Written,
        }
    }

    fn decide(
        &mut self,
        who: &Personality,
        line: Vec<u8>,
        more: bool,
        replies: &mut Replies,
    ) -> Answer {
        if let Some((word, rest)) =
            WORDS.iter().find_map(|word| Some((word, line.strip_prefix(*word)?)))
        {
            let (service, answer) = match *word {
                ECHO => (Self::Echo, Answer::Written),
                UP => (Self::Discard, Answer::Written),
                _ => (Self::Discard, Answer::Source),
            };
            if *word == ECHO {
                replies.output.push(rest);
            }
            *self = service;
            return answer;
        }
        if WORDS.iter().any(|word| word.starts_with(&line)) {
            *self = Self::Undecided(line);
            return Answer::Written;
        }
        let mut hello = Hello::default();
        let answer = hello.on_bytes(who, &line, more, replies);
        *self = Self::Hello(hello);
        answer
    }

    /// Whether the bare greeting is owed at the end of what the client sends.
    pub(super) fn owes_greeting_at_end(&self) -> bool {
        match self {
            Self::Undecided(line) => !line.is_empty(),
            Self::Hello(hello) => hello.is_mid_message(),
            Self::Echo | Self::Discard => false,
        }
    }
}

const UP: &[u8] = b"up\n";
const ECHO: &[u8] = b"echo\n";
const WORDS: [&[u8]; 4] = [UP, b"down\n", b"bidir\n", ECHO];

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::*;

    /// What each of `chunks` is answered.
    fn answers(chunks: &[&str]) -> Vec<(Answer, String)> {
        let who = Personality::named("B1", Mode::Stream);
        let mut stream = Stream::default();
        let answer = |chunk: &&str| {
            let mut replies = Replies::default();
            let answer = stream.on_bytes(&who, chunk.as_bytes(), false, &mut replies);
            (answer, replies.text())
        };
        chunks.iter().map(answer).collect()
    }

    fn check(chunks: &[&str], expected: &[(Answer, &str)]) {
        let got = answers(chunks);
        let got: Vec<(Answer, &str)> =
            got.iter().map(|(answer, text)| (*answer, &**text)).collect();
        assert_eq!(got, expected, "{chunks:?}");
    }

    const NOTHING: (Answer, &str) = (Answer::Written, "");

    #[test]
    fn the_first_line_decides_however_it_is_cut() {
        check(&["up\n", "down\n", "x\n"], &[NOTHING, NOTHING, NOTHING]);
        check(&["up\nx\n", "y"], &[NOTHING, NOTHING]);
        check(&["down\n", "x\n"], &[(Answer::Source, ""), NOTHING]);
        check(&["bidir\nabc", "x\n"], &[(Answer::Source, ""), NOTHING]);
        check(&["echo\nab", "c"], &[(Answer::Written, "ab"), (Answer::Same, "")]);
        check(
            &["e", "cho", "\nab", "c"],
            &[NOTHING, NOTHING, (Answer::Written, "ab"), (Answer::Same, "")],
        );
    }

    #[test]
    fn anything_else_is_greeted() {
        let line = (Answer::Written, "Hello from B1\n");
        check(&["hi\n", "up\n"], &[line, line]);
        check(&["up", "per\n"], &[NOTHING, line]);
        check(&["down \n"], &[line]);
        check(&["hi"], &[(Answer::Written, "Hello from B1")]);
        check(&["reply=6 \n"], &[(Answer::Written, "Hello\n")]);
    }

    #[test]
    fn half_a_word_at_the_end_was_a_message() {
        let who = Personality::named("B1", Mode::Stream);
        for (input, owed) in
            [("", false), ("u", true), ("up\n", false), ("echo\n", false), ("a\nb", true)]
        {
            let mut stream = Stream::default();
            stream.on_bytes(&who, input.as_bytes(), false, &mut Replies::default());
            assert_eq!(stream.owes_greeting_at_end(), owed, "{input:?}");
        }
    }
}

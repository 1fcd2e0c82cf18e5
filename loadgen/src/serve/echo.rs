//! The echo service where faults are injected: then its requests are lines, and what becomes of one
//! is decided at its first byte. Without faults there is nothing to do but to send back what came.

use super::hello::ERROR;
use super::replies::{Act, Fate, Replies};
use super::service::{Answer, Personality};

/// One connection's lines.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// What becomes of the line that is passing.
    line: Option<Fate>,
}

impl Echo {
    /// Sends `bytes` back, or what stands for them.
    pub(super) fn on_bytes(
        &mut self,
        who: &Personality,
        bytes: &[u8],
        replies: &mut Replies,
    ) -> Answer {
        if who.rules.is_none() {
            return Answer::Same;
        }
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let fate = *self.line.get_or_insert_with(|| replies.begin(who));
            let ended = part.ends_with(b"\n");
            match fate.act {
                Act::Answer => replies.output.push(part),
                Act::Error if ended => {
                    replies.output.push(ERROR);
                    replies.output.push(b"\n");
                }
                Act::Error | Act::Drop | Act::Close | Act::Reset => {}
            }
            if !replies.end(who, fate) {
                return Answer::WrittenAndLast;
            }
            if ended {
                self.line = None;
            }
        }
        Answer::Written
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::*;

    fn check(spec: &str, chunks: &[&str], expected: &str, requests: u64) {
        let who = Personality::faulty("B1", Mode::Echo, &[spec]);
        let (mut echo, mut replies) = (Echo::default(), Replies::default());
        for chunk in chunks {
            if echo.on_bytes(&who, chunk.as_bytes(), &mut replies) == Answer::WrittenAndLast {
                break;
            }
        }
        assert_eq!((replies.requests, replies.text().as_str()), (requests, expected), "{chunks:?}");
    }

    #[test]
    fn without_faults_what_came_is_sent_as_it_is() {
        let who = Personality::named("B1", Mode::Echo);
        assert_eq!(Echo::default().on_bytes(&who, b"a", &mut Replies::default()), Answer::Same);
    }

    #[test]
    fn a_line_is_one_request_however_it_is_cut() {
        check("drop every 2", &["a\nb\nc\nd\n"], "a\nc\n", 4);
        check("drop every 2", &["a", "a\nb", "b", "b\nc\n"], "aa\nc\n", 3);
        check("error every 2", &["a\nb", "b\nc\n"], "a\nERROR injected\nc\n", 3);
        check("close every 2", &["a\nb", "b\nc\n"], "a\n", 2);
        check("reset every 1", &["a\n"], "", 1);
    }
}

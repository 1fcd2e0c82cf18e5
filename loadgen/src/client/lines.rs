//! Lines of an input that is read only when it has something.

use std::io::{self, Read};

/// What a person, a file or a pipe says next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end; the last one may have had none.
    Text(String),
    /// Nothing more will come.
    End,
}

/// An input, and what was read of it and not taken yet.
pub(super) struct Lines<'a, I> {
    input: &'a mut I,
    read: Vec<u8>,
    ended: bool,
}

impl<'a, I: Read> Lines<'a, I> {
    pub(super) fn new(input: &'a mut I) -> Self {
        Self { input, read: Vec::new(), ended: false }
    }

    /// What has to be readable before [`Lines::read`].
    pub(super) fn input(&self) -> &I {
        self.input
    }

    /// The next line, if it was read whole.
    ///
    /// # Errors
    /// `InvalidData` when it is not UTF-8.
    pub(super) fn take(&mut self) -> io::Result<Option<Line>> {
        let len = match self.read.iter().position(|&byte| byte == b'\n') {
            Some(newline) => newline + 1,
            None if !self.ended => return Ok(None),
            None if self.read.is_empty() => return Ok(Some(Line::End)),
            None => self.read.len(),
        };
        let text = String::from_utf8(self.read.drain(..len).collect()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8")
        })?;
        Ok(Some(Line::Text(text.trim_end_matches(['\r', '\n']).to_owned())))
    }

    /// Reads once.
    ///
    /// # Errors
    /// As read(2).
    pub(super) fn read(&mut self) -> io::Result<()> {
        let mut piece = [0; PIECE_BYTES];
        match self.input.read(&mut piece) {
            Ok(len) => {
                self.ended = len == 0;
                self.read.extend_from_slice(&piece[..len]);
                Ok(())
            }
            // A signal, or somebody else who shares this input was faster: it is asked for again.
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(()),
                _ => Err(error),
            },
        }
    }
}

const PIECE_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all of `input` and compares its lines, the end left out.
    #[track_caller]
    fn check(mut input: &[u8], expected: &[&str]) {
        let mut lines = Lines::new(&mut input);
        let mut seen = Vec::new();
        loop {
            match lines.take().expect("UTF-8") {
                Some(Line::Text(line)) => seen.push(line),
                Some(Line::End) => break,
                None => lines.read().expect("memory can be read"),
            }
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn lines_end_with_a_newline_or_the_input() {
        check(b"", &[]);
        check(b"one\n\r\ntwo\r\n", &["one", "", "two"]);
        check(b"one\ntwo", &["one", "two"]);
        let long = "x".repeat(3 * PIECE_BYTES);
        check(format!("{long}\n{long}").as_bytes(), &[&long, &long]);
    }

    #[test]
    fn a_line_waits_for_its_end() {
        let mut input = &b"on"[..];
        let mut lines = Lines::new(&mut input);
        lines.read().expect("memory can be read");
        assert_eq!(lines.take().ok(), Some(None));
        *lines.input = b"e\n";
        lines.read().expect("memory can be read");
        assert_eq!(lines.take().ok(), Some(Some(Line::Text("one".to_owned()))));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let mut input = &b"\xff\n"[..];
        let mut lines = Lines::new(&mut input);
        lines.read().expect("memory can be read");
        let error = lines.take().expect_err("not UTF-8");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

//! Bodies in chunks (RFC 9112, 7.1): only where they end matters here.

/// How far a body in chunks has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunked(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the hexadecimal digits of a size; so many have come.
    Size { bytes: u64, digits: u8 },
    /// Behind the size, before the end of its line.
    Extension { bytes: u64, length: u16 },
    /// In the data of a chunk.
    Data { left: u64 },
    /// Between the data and the end of its line.
    DataEnd,
    /// In the lines behind the last chunk; `length` is that of this line.
    Trailer { length: u16 },
}

/// What some bytes of input made of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// All of it belongs to the body, which goes on.
    All,
    /// The body ended after so many bytes.
    Ended(usize),
    /// That is no body in chunks.
    Broken,
}

impl Chunked {
    /// Before the first chunk.
    pub(super) fn new() -> Self {
        Self(Place::Size { bytes: 0, digits: 0 })
    }

    /// `input` comes; it may be cut anywhere.
    pub(super) fn pass(&mut self, input: &[u8]) -> Passed {
        let mut at = 0;
        while at < input.len() {
            if let Place::Data { left } = self.0 {
                let passing = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                at += passing;
                let left = left - passing as u64;
                self.0 = if left == 0 { Place::DataEnd } else { Place::Data { left } };
                continue;
            }
            match self.step(input[at]) {
                Some(true) => return Passed::Ended(at + 1),
                Some(false) => at += 1,
                None => return Passed::Broken,
            }
        }
        Passed::All
    }

    /// One byte outside of data: whether the body ends with it; nothing if it must not be there.
    fn step(&mut self, byte: u8) -> Option<bool> {
        self.0 = match self.0 {
            Place::Size { bytes, digits } => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) if digits < SIZE_DIGITS_MAX => {
                    Place::Size { bytes: bytes << 4 | u64::from(digit), digits: digits + 1 }
                }
                (None, b'\n') if digits > 0 => after_size(bytes),
                (None, b'\r' | b';' | b' ' | b'\t') if digits > 0 => {
                    Place::Extension { bytes, length: 0 }
                }
                _ => return None,
            },
            Place::Extension { bytes, length } => match byte {
                b'\n' => after_size(bytes),
                _ if length < LINE_BYTES_MAX => Place::Extension { bytes, length: length + 1 },
                _ => return None,
            },
            Place::DataEnd => match byte {
                b'\r' => Place::DataEnd,
                b'\n' => Place::Size { bytes: 0, digits: 0 },
                _ => return None,
            },
            Place::Trailer { length } => match byte {
                b'\n' if length == 0 => return Some(true),
                b'\n' => Place::Trailer { length: 0 },
                b'\r' => Place::Trailer { length },
                _ if length < LINE_BYTES_MAX => Place::Trailer { length: length + 1 },
                _ => return None,
            },
            Place::Data { .. } => unreachable!("data is passed in one go"),
        };
        Some(false)
    }
}

fn after_size(bytes: u64) -> Place {
    if bytes == 0 { Place::Trailer { length: 0 } } else { Place::Data { left: bytes } }
}

/// A size of 60 bits; nobody sends that much.
const SIZE_DIGITS_MAX: u8 = 15;
/// Nobody needs longer extensions or trailers.
const LINE_BYTES_MAX: u16 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `input` whole and byte by byte.
    fn check(input: &str, expected: Passed) {
        assert_eq!(Chunked::new().pass(input.as_bytes()), expected, "{input:?}");
        let mut chunked = Chunked::new();
        let bytewise =
            input.bytes().enumerate().find_map(|(at, byte)| match chunked.pass(&[byte]) {
                Passed::All => None,
                Passed::Ended(_) => Some(Passed::Ended(at + 1)),
                Passed::Broken => Some(Passed::Broken),
            });
        assert_eq!(bytewise.unwrap_or(Passed::All), expected, "{input:?} byte by byte");
    }

    #[test]
    fn the_end_is_found_and_what_follows_is_left() {
        for (input, after) in [
            ("0\r\n\r\n", "GET"),
            ("5\r\nhello\r\n0\r\n\r\n", "GET"),
            ("a\r\n0\r\n\r\n01234\r\n00\r\n\r\n", ""),
            ("5;name=value\r\nhello\r\n0\r\nTrailer: x\r\nAnother: y\r\n\r\n", "0\r\n\r\n"),
            ("1F\nabcdefghijklmnopqrstuvwxyz01234\n0\n\n", "x"),
        ] {
            check(&format!("{input}{after}"), Passed::Ended(input.len()));
        }
    }

    #[test]
    fn what_is_cut_goes_on() {
        for input in
            ["", "5", "5\r\n", "5\r\nhel", "5\r\nhello\r\n", "0\r\n", "0\r\nTrailer: x\r\n"]
        {
            check(input, Passed::All);
        }
    }

    #[test]
    fn what_is_not_in_chunks_is_broken() {
        for input in
            ["\r\n", "x", "-1\r\n", "5\r\nhello!", "5\r\nhello0\r\n", "1000000000000000\r\n"]
        {
            check(input, Passed::Broken);
        }
    }
}

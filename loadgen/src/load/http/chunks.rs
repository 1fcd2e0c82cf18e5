//! The chunked coding (RFC 9112, 7.1): sizes in hexadecimal, extensions and trailers passed over.

use super::{Refusal, take};

/// How far a chunked body has come.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    expect: Expect,
    /// Bytes of sizes, extensions and trailers so far that carry nothing.
    overhead: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    /// The first digit of a size.
    #[default]
    Size,
    /// More digits, or the end of the size.
    MoreSize(u64),
    /// Spaces between a size and its extension or the end of the line.
    AfterSize(u64),
    /// The end of a line that began with a size.
    Extension(u64),
    /// The line feed of that line.
    SizeEnd(u64),
    /// Bytes of a chunk.
    Data(u64),
    /// The carriage return behind a chunk.
    DataEnd,
    /// Its line feed.
    DataEndLf,
    /// A trailer, or the end.
    Trailer,
    /// The rest of a trailer.
    InTrailer,
    /// The line feed of that trailer.
    TrailerEnd,
    /// The last line feed.
    LastLf,
}

/// What bytes made of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Part,
    Whole,
    Refused(Refusal),
}

impl Chunks {
    /// Takes from `bytes` what belongs to the body, and shows what is in the chunks.
    pub(super) fn next(&mut self, bytes: &mut &[u8], mut show: impl FnMut(&[u8])) -> Progress {
        while !bytes.is_empty() {
            if let Expect::Data(to_come) = self.expect {
                let piece = take(bytes, to_come);
                show(piece);
                self.expect = match to_come - piece.len() as u64 {
                    0 => Expect::DataEnd,
                    to_come => Expect::Data(to_come),
                };
                continue;
            }
            let byte = bytes[0];
            *bytes = &bytes[1..];
            match self.step(byte) {
                Ok(None) => return Progress::Whole,
                Ok(Some(expect)) => self.expect = expect,
                Err(refusal) => return Progress::Refused(refusal),
            }
        }
        Progress::Part
    }

    /// What comes after `byte`, which is not one of a chunk's; nothing after the last.
    fn step(&mut self, byte: u8) -> Result<Option<Expect>, Refusal> {
        self.overhead += 1;
        if matches!(self.expect, Expect::Data(_) | Expect::DataEnd) {
            self.overhead = 0;
        } else if self.overhead > OVERHEAD_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        Ok(Some(match (self.expect, byte) {
            (Expect::Size, _) => Expect::MoreSize(digit(byte).ok_or(Refusal::Chunk)?),
            (Expect::MoreSize(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let bytes = size.checked_mul(16).zip(digit(byte));
                Expect::MoreSize(bytes.map(|(high, low)| high + low).ok_or(Refusal::Chunk)?)
            }
            (Expect::MoreSize(size) | Expect::AfterSize(size), b' ' | b'\t') => {
                Expect::AfterSize(size)
            }
            (Expect::MoreSize(size) | Expect::AfterSize(size), b';') => Expect::Extension(size),
            (Expect::MoreSize(size) | Expect::AfterSize(size) | Expect::Extension(size), b'\r') => {
                Expect::SizeEnd(size)
            }
            // A bare line feed would be an end to some and not to others.
            (Expect::Extension(_), b'\n') => return Err(Refusal::Chunk),
            (Expect::Extension(size), _) => Expect::Extension(size),
            (Expect::SizeEnd(0), b'\n') => Expect::Trailer,
            (Expect::SizeEnd(size), b'\n') => Expect::Data(size),
            (Expect::DataEnd, b'\r') => Expect::DataEndLf,
            (Expect::DataEndLf, b'\n') => Expect::Size,
            (Expect::Trailer, b'\r') => Expect::LastLf,
            (Expect::InTrailer, b'\r') => Expect::TrailerEnd,
            (Expect::Trailer | Expect::InTrailer, b'\n') => return Err(Refusal::Chunk),
            (Expect::Trailer | Expect::InTrailer, _) => Expect::InTrailer,
            (Expect::TrailerEnd, b'\n') => Expect::Trailer,
            (Expect::LastLf, b'\n') => return Ok(None),
            (
                Expect::MoreSize(_)
                | Expect::AfterSize(_)
                | Expect::SizeEnd(_)
                | Expect::Data(_)
                | Expect::DataEnd
                | Expect::DataEndLf
                | Expect::TrailerEnd
                | Expect::LastLf,
                _,
            ) => return Err(Refusal::Chunk),
        }))
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// Of one chunk's size and extension, or of all trailers.
const OVERHEAD_BYTES_MAX: usize = 16 * 1024;

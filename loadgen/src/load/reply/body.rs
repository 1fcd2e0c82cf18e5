//! The body of a response while it passes: what it says of who sent it, and whether it is right.

use std::borrow::Cow;

use crc32fast::Hasher;

use super::super::http::Watch;
use super::super::payload::filler;
use super::names::{GREETING_BYTES_MAX, greeted_name};

/// What is known of bodies beforehand, and how closely they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Whatever comes is right.
    Anything,
    /// A length.
    Bytes(u64),
    /// Length and checksum of those of the same backend before; that length, if one was asked for.
    Same(Option<u64>),
    /// A length, and one of two checksums.
    Crc(u64, [u32; 2]),
    /// Each byte of filler of this length.
    Filler(u64),
}

/// One body as it passes.
#[derive(Debug)]
pub(super) struct Body {
    expect: Expect,
    /// `X-Backend`, where it is said.
    backend: Vec<u8>,
    /// `Server`, the same.
    server: Vec<u8>,
    /// The beginning, where it is needed for a name.
    start: Vec<u8>,
    passed: u64,
    /// A byte is not what it should be.
    differs: bool,
    crc: Hasher,
}

impl Body {
    pub(super) fn new(expect: Expect) -> Self {
        Self {
            expect,
            backend: Vec::new(),
            server: Vec::new(),
            start: Vec::new(),
            passed: 0,
            differs: false,
            crc: Hasher::new(),
        }
    }

    /// Who sent it.
    pub(super) fn name(&self) -> Cow<'_, str> {
        if !self.backend.is_empty() {
            return String::from_utf8_lossy(&self.backend);
        }
        let line = self.start.split(|&byte| byte == b'\n').next().unwrap_or_default();
        match (greeted_name(line), &self.server[..]) {
            (Some(name), _) => name.into(),
            (None, []) => NAMELESS.into(),
            (None, server) => String::from_utf8_lossy(server),
        }
    }

    /// The checksum of all of it.
    pub(super) fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    /// Whether it is what was expected, as far as that is known without what came before it.
    pub(super) fn is_right(&self) -> bool {
        match self.expect {
            Expect::Anything | Expect::Same(None) => true,
            Expect::Bytes(bytes) | Expect::Same(Some(bytes)) => self.passed == bytes,
            Expect::Filler(bytes) => self.passed == bytes && !self.differs,
            Expect::Crc(bytes, crcs) => self.passed == bytes && crcs.contains(&self.crc()),
        }
    }
}

impl Watch for Body {
    fn on_head(&mut self, head: &httparse::Response<'_, '_>) {
        self.backend.clear();
        self.server.clear();
        self.start.clear();
        (self.passed, self.differs) = (0, false);
        self.crc.reset();
        for header in head.headers.iter() {
            let value = &header.value[..header.value.len().min(NAME_BYTES_MAX)];
            if header.name.eq_ignore_ascii_case("x-backend") {
                value.trim_ascii().clone_into(&mut self.backend);
            } else if header.name.eq_ignore_ascii_case("server") {
                value.trim_ascii().clone_into(&mut self.server);
            }
        }
    }

    fn on_body(&mut self, piece: &[u8]) {
        if self.backend.is_empty() {
            let room = GREETING_BYTES_MAX - self.start.len();
            self.start.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        match self.expect {
            Expect::Anything | Expect::Bytes(_) => {}
            Expect::Same(_) | Expect::Crc(..) => self.crc.update(piece),
            Expect::Filler(bytes) => self.differs |= !is_filler(piece, self.passed, bytes),
        }
        self.passed += piece.len() as u64;
    }
}

/// Whether `piece`, `from` bytes behind the beginning, is filler of a body of `of` bytes, which may
/// end in a newline.
fn is_filler(piece: &[u8], from: u64, of: u64) -> bool {
    let letters = match piece.split_last() {
        Some((b'\n', letters)) if from + piece.len() as u64 == of => letters,
        _ => piece,
    };
    let first = usize::try_from(from % PERIOD as u64).expect("less than the period");
    letters.chunks(TABLE.len() - PERIOD).all(|chunk| TABLE[first..].starts_with(chunk))
}

/// What is expected of filler of `bytes` bytes that is verified by its checksum: with a newline at
/// its end, or without.
pub(super) fn filler_crc(bytes: u64) -> Expect {
    let len = usize::try_from(bytes).expect("a size is a u32");
    let letters: Vec<u8> = filler().take(len).collect();
    let line: Vec<u8> = filler().take(len.saturating_sub(1)).chain([b'\n']).collect();
    Expect::Crc(bytes, [crc32fast::hash(&letters), crc32fast::hash(&line)])
}

/// Letters in the alphabet.
const PERIOD: usize = 26;
/// Filler to compare with, as much as a whole number of alphabets from any letter on.
static TABLE: [u8; 65 * PERIOD] = {
    let mut table = [0; 65 * PERIOD];
    let (mut at, mut letter) = (0, b'a');
    while at < table.len() {
        table[at] = letter;
        letter = if letter == b'z' { b'a' } else { letter + 1 };
        at += 1;
    }
    table
};
/// Who says nothing of himself.
const NAMELESS: &str = "http";
/// Longer names than that are not names.
const NAME_BYTES_MAX: usize = 256;

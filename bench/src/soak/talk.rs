//! What clients and backends of a soak say to each other: a request of 16 bytes, then bytes that
//! both ends can compute, so that every one of them is checked wherever it arrives.

use std::sync::LazyLock;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) kind: Kind,
    /// Which bytes.
    pub(super) seed: u32,
    /// How many.
    pub(super) len: u32,
}

/// What the backend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sends back what comes.
    Echo,
    /// Takes the bytes and answers with [`RIGHT`] or [`WRONG`].
    Sink,
    /// Sends them.
    Source,
    /// Sends them and finishes writing; it goes on reading.
    SourceAndFinish,
    /// Closes the connection.
    Leave,
}

impl Request {
    /// As it travels.
    pub(super) fn pack(self) -> [u8; REQUEST_BYTES] {
        let mut bytes = [0; REQUEST_BYTES];
        bytes[0] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..].copy_from_slice(MARK);
        bytes
    }

    /// The request in `bytes`, or nothing if they are none: other bytes than a client's came.
    pub(super) fn unpack(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let kind = KINDS.into_iter().find(|&kind| kind as u8 == bytes[0])?;
        let number = |at: usize| bytes[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let (seed, len) = (number(4)?, number(8)?);
        (bytes[1..4] == [0; 3] && &bytes[12..] == MARK).then_some(Self { kind, seed, len })
    }
}

/// The bytes of a request from position `at` on, at least one and at most `len`.
pub(super) fn pattern(seed: u32, at: u32, len: usize) -> &'static [u8] {
    let start = (seed as usize + at as usize) % BLOCK.len();
    let end = BLOCK.len().min(start + len);
    &BLOCK[start..end]
}

/// Whether `bytes` are those of the request from position `at` on.
pub(super) fn is_right(seed: u32, mut at: u32, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = pattern(seed, at, bytes.len());
        let (head, tail) = bytes.split_at(expected.len());
        if head != expected {
            return false;
        }
        at += u32::try_from(expected.len()).expect("a block is small");
        bytes = tail;
    }
    true
}

pub(super) const REQUEST_BYTES: usize = 16;
pub(super) const RIGHT: u8 = b'+';
pub(super) const WRONG: u8 = b'-';

const MARK: &[u8; 4] = b"soak";
const KINDS: [Kind; 5] = [Kind::Echo, Kind::Sink, Kind::Source, Kind::SourceAndFinish, Kind::Leave];

/// A prime number of bytes, so that a block of any buffer's size that is lost, doubled or swapped
/// shifts everything after it.
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = fastrand::Rng::with_seed(BLOCK_BYTES as u64);
    (0..BLOCK_BYTES).map(|_| rng.u8(..)).collect()
});
const BLOCK_BYTES: usize = 262_147;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_way() {
        for kind in KINDS {
            let request = Request { kind, seed: u32::MAX, len: 7 };
            assert_eq!(Request::unpack(&request.pack()), Some(request));
        }
        assert_eq!(Request::unpack(&[0; REQUEST_BYTES]), None);
    }

    #[test]
    fn bytes_of_another_place_or_request_are_wrong() {
        let len = 2 * BLOCK_BYTES;
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let at = u32::try_from(bytes.len()).expect("it is small");
            bytes.extend_from_slice(pattern(9, at, len - bytes.len()));
        }
        assert!(is_right(9, 0, &bytes));
        assert!(is_right(9, 70_000, &bytes[70_000..]));
        assert!(!is_right(10, 0, &bytes));
        for lost in [1, 4096, 32 * 1024, 65_536] {
            assert!(!is_right(9, 0, &bytes[lost..]), "{lost} bytes lost");
        }
        bytes[len - 1] ^= 1;
        assert!(!is_right(9, 0, &bytes));
    }
}

//! What streams carry: bytes whose offsets can be told from them.

/// The pattern from any offset on, as far as a buffer goes.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    /// For pieces of at most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self((0..PERIOD).cycle().take(bytes_max + usize::from(PERIOD)).collect())
    }

    /// What lies at `offset`.
    pub(crate) fn at(&self, offset: u64, len: usize) -> &[u8] {
        let from = usize::try_from(offset % u64::from(PERIOD)).expect("a small remainder");
        &self.0[from..from + len]
    }

    /// How many of `bytes`, which came at `offset`, are not what was sent.
    pub(crate) fn wrong(&self, offset: u64, bytes: &[u8]) -> u64 {
        let expected = self.at(offset, bytes.len());
        if bytes == expected {
            return 0;
        }
        bytes.iter().zip(expected).filter(|(came, sent)| came != sent).count() as u64
    }
}

/// A prime, so that no block, segment or page is a multiple of it.
pub(crate) const PERIOD: u8 = 251;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_at_an_offset_is_its_remainder() {
        let pattern = Pattern::new(1000);
        for offset in [0, 1, 250, 251, 131_072, u64::from(u32::MAX) * 77] {
            for (at, &byte) in (offset..).zip(pattern.at(offset, 1000)) {
                assert_eq!(u64::from(byte), at % 251, "at {at}");
            }
        }
    }

    #[test]
    fn every_wrong_byte_is_counted() {
        let pattern = Pattern::new(600);
        let mut bytes = pattern.at(77, 600).to_vec();
        assert_eq!(pattern.wrong(77, &bytes), 0);
        bytes[0] ^= 1;
        bytes[599] ^= 0x80;
        assert_eq!(pattern.wrong(77, &bytes), 2);
        assert_eq!(pattern.wrong(78, pattern.at(77, 600)), 600, "a byte that is lost moves all");
    }
}

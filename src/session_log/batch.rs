//! Lines that are formatted and not written yet: one piece of memory that is used again and again.

/// Entries one after the other, in the order in which they are written.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each entry ends.
    ends: Vec<usize>,
    /// How many of them are written.
    written: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(BYTES + LONGEST), ends: Vec::new(), written: 0 }
    }

    /// Whether nothing is left to write.
    pub(super) fn is_empty(&self) -> bool {
        self.written == self.ends.len()
    }

    /// Whether it is large enough to be worth a write.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BYTES
    }

    /// Adds what `write` appends.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// What is left to write, in one piece.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start()..]
    }

    /// The next entry.
    pub(super) fn next(&self) -> Option<&[u8]> {
        self.ends.get(self.written).map(|&end| &self.bytes[self.start()..end])
    }

    /// The next entry is written, or given up.
    pub(super) fn advance(&mut self) {
        self.written += 1;
        self.clear_if_done();
    }

    /// So many bytes of the rest are written, which end where an entry ends; how many entries these are.
    pub(super) fn advance_by(&mut self, bytes: usize) -> usize {
        let until = self.start() + bytes;
        let entries = self.ends[self.written..].partition_point(|&end| end <= until);
        self.written += entries;
        self.clear_if_done();
        entries
    }

    fn start(&self) -> usize {
        self.written.checked_sub(1).map_or(0, |last| self.ends[last])
    }

    fn clear_if_done(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            self.ends.clear();
            self.written = 0;
        }
    }
}

/// Some three hundred lines: what a write costs besides its bytes is little for each of them then.
const BYTES: usize = 64 * 1024;

/// Room for a line that crosses the edge.
const LONGEST: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[&str]) -> Batch {
        let mut batch = Batch::new();
        entries.iter().for_each(|text| batch.add(|bytes| bytes.extend_from_slice(text.as_bytes())));
        batch
    }

    #[test]
    fn what_is_written_is_gone_and_the_rest_stays_in_order() {
        let mut batch = of(&["a\n", "bc\n", "d\n"]);
        assert_eq!(batch.advance_by(5), 2);
        assert_eq!((batch.rest(), batch.next()), (&b"d\n"[..], Some(&b"d\n"[..])));
        assert_eq!(batch.advance_by(2), 1);
        assert!(batch.is_empty() && batch.next().is_none() && batch.rest().is_empty());
    }

    #[test]
    fn entries_go_one_by_one_as_well() {
        let mut batch = of(&["a", "bc"]);
        assert_eq!(batch.next(), Some(&b"a"[..]));
        batch.advance();
        assert_eq!(batch.next(), Some(&b"bc"[..]));
        batch.advance();
        assert!(batch.is_empty());
        batch.add(|bytes| bytes.push(b'x'));
        assert_eq!(batch.next(), Some(&b"x"[..]));
    }
}

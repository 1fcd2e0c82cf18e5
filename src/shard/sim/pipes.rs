//! The pipes of a run: small, and as touchy as the kernel's.

use std::collections::VecDeque;

/// A pipe of the simulated kernel.
#[derive(Debug)]
pub(in crate::shard) struct SimPipe {
    pub(super) bytes: VecDeque<u8>,
    /// Most bytes that one look into a socket brings.
    pub(super) capacity: usize,
    /// The link that it was last filled from; whose bytes these are.
    pub(super) source: Option<usize>,
}

impl SimPipe {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity, source: None }
    }

    /// Takes bytes from `link`.
    ///
    /// # Panics
    /// When there are bytes in it already: then "nothing now" could mean that it is full.
    pub(super) fn fill(&mut self, link: usize, bytes: &[u8]) {
        assert!(self.bytes.is_empty(), "a pipe is filled that holds {} bytes", self.bytes.len());
        self.source = Some(link);
        self.bytes.extend(bytes);
    }
}

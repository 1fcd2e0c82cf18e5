//! The memory that receives are answered in. A buffer is taken only when bytes are probably there,
//! and the one that came back last goes first, so few are warm however many there may be.

use crate::core::BufferId;
use crate::core::relay::Held;

/// A bounded pool, made as needed; memory is used when it is first written.
#[derive(Debug)]
pub(super) struct Buffers {
    slabs: Vec<Box<[u8]>>,
    /// Whether each buffer that was ever taken is out now.
    held: Vec<bool>,
    idle: Vec<BufferId>,
    most: u16,
    buffer_bytes: u32,
}

impl Buffers {
    /// At most so many buffers of so many bytes each.
    pub(super) fn new(most: u16, buffer_bytes: u32) -> Self {
        Self { slabs: Vec::new(), held: Vec::new(), idle: Vec::new(), most, buffer_bytes }
    }

    /// Buffers that can be taken.
    pub(super) fn free(&self) -> usize {
        self.idle.len() + usize::from(self.most) - self.held.len()
    }

    pub(super) fn take(&mut self) -> Option<BufferId> {
        let buffer = self.idle.pop().or_else(|| self.make())?;
        self.held[usize::from(buffer.0)] = true;
        Some(buffer)
    }

    fn make(&mut self) -> Option<BufferId> {
        let next = u16::try_from(self.held.len()).ok().filter(|&next| next < self.most)?;
        if self.held.len() == self.slabs.len() * BUFFERS_A_SLAB {
            self.slabs.push(vec![0; BUFFERS_A_SLAB * self.stride()].into());
        }
        self.held.push(false);
        Some(BufferId(next))
    }

    pub(super) fn release(&mut self, buffer: BufferId) {
        let held = &mut self.held[usize::from(buffer.0)];
        assert!(*held, "buffer {buffer:?} was released twice");
        *held = false;
        self.idle.push(buffer);
    }

    /// The whole of a buffer, to be filled.
    pub(super) fn space(&mut self, buffer: BufferId) -> &mut [u8] {
        let (slab, start) = self.place(buffer);
        &mut self.slabs[slab][start..start + self.buffer_bytes as usize]
    }

    /// What is held of a buffer.
    pub(super) fn bytes(&self, held: Held) -> &[u8] {
        let (slab, start) = self.place(held.buffer);
        &self.slabs[slab][start + held.start as usize..start + held.end as usize]
    }

    /// Its slab, and where it begins there.
    fn place(&self, buffer: BufferId) -> (usize, usize) {
        let index = usize::from(buffer.0);
        (index / BUFFERS_A_SLAB, index % BUFFERS_A_SLAB * self.stride())
    }

    /// From one buffer to the next. Buffers at a multiple of 4 KiB from each other would all compete
    /// for the same few sets of the cache; a cache line more spreads them.
    fn stride(&self) -> usize {
        self.buffer_bytes as usize + CACHE_LINE_BYTES
    }
}

const CACHE_LINE_BYTES: usize = 64;

/// Half a MiB of address space at a time.
const BUFFERS_A_SLAB: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_back_goes_first() {
        let mut buffers = Buffers::new(3, 4096);
        let [first, second] = [(); 2].map(|()| buffers.take().expect("one of three"));
        buffers.release(second);
        buffers.release(first);
        assert_eq!(buffers.take(), Some(first));
    }

    #[test]
    fn there_are_never_more_than_allowed_and_none_shares_a_byte() {
        let mut buffers = Buffers::new(40, 4096);
        let taken: Vec<BufferId> = std::iter::from_fn(|| buffers.take()).collect();
        assert_eq!((taken.len(), buffers.free()), (40, 0));
        for (&buffer, mark) in taken.iter().zip(1..) {
            buffers.space(buffer).fill(mark);
        }
        for (&buffer, mark) in taken.iter().zip(1..) {
            let all = Held { buffer, start: 0, end: 4096, more: false };
            assert!(buffers.bytes(all).iter().all(|&byte| byte == mark), "{buffer:?}");
        }
        taken.into_iter().for_each(|buffer| buffers.release(buffer));
        assert_eq!(buffers.free(), 40);
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_buffer_released_twice_is_our_bug_and_loud() {
        let mut buffers = Buffers::new(1, 4096);
        let buffer = buffers.take().expect("the only one");
        buffers.release(buffer);
        buffers.release(buffer);
    }
}

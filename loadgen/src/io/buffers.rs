//! The memory of the epoll engine. The buffer that came back last goes first, so few are warm
//! however many there may be.

use std::ops::Range;

use ::uring::BufferId;

/// A bounded pool; each buffer takes memory from its first use on.
#[derive(Debug)]
pub(super) struct Buffers {
    memory: Vec<Box<[u8]>>,
    held: Vec<bool>,
    idle: Vec<BufferId>,
    reserved: Vec<BufferId>,
    buffer_bytes: usize,
}

impl Buffers {
    /// So many buffers of so many bytes each, of which some are kept for the program.
    pub(super) fn new(buffers: u16, buffer_bytes: u32, reserved: u16) -> Self {
        let kept = buffers - reserved.min(buffers);
        Self {
            memory: (0..buffers).map(|_| Box::default()).collect(),
            held: (0..buffers).map(|id| id >= kept).collect(),
            idle: (0..kept).rev().map(BufferId).collect(),
            reserved: (kept..buffers).map(BufferId).collect(),
            buffer_bytes: buffer_bytes as usize,
        }
    }

    /// Buffers that can be taken.
    pub(super) fn free(&self) -> u16 {
        u16::try_from(self.idle.len()).expect("they are numbered by a u16")
    }

    pub(super) fn take_reserved(&mut self) -> Option<BufferId> {
        self.reserved.pop()
    }

    pub(super) fn take(&mut self) -> Option<BufferId> {
        let buffer = self.idle.pop()?;
        self.held[usize::from(buffer.0)] = true;
        Some(buffer)
    }

    pub(super) fn release(&mut self, buffer: BufferId) {
        let held = &mut self.held[usize::from(buffer.0)];
        assert!(*held, "buffer {buffer:?} was released twice");
        *held = false;
        self.idle.push(buffer);
    }

    /// The whole of a buffer that is held.
    pub(super) fn space(&mut self, buffer: BufferId) -> &mut [u8] {
        assert!(self.held[usize::from(buffer.0)], "buffer {buffer:?} is not held");
        let memory = &mut self.memory[usize::from(buffer.0)];
        if memory.is_empty() {
            *memory = vec![0; self.buffer_bytes].into();
        }
        memory
    }

    /// What is in a buffer that is held and was filled.
    pub(super) fn bytes(&self, buffer: BufferId, range: Range<u32>) -> &[u8] {
        assert!(self.held[usize::from(buffer.0)], "buffer {buffer:?} is not held");
        &self.memory[usize::from(buffer.0)][range.start as usize..range.end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_allowed_and_the_reserved_ones_apart() {
        let mut buffers = Buffers::new(5, 100, 2);
        let reserved: Vec<BufferId> = std::iter::from_fn(|| buffers.take_reserved()).collect();
        let taken: Vec<BufferId> = std::iter::from_fn(|| buffers.take()).collect();
        assert_eq!((reserved.len(), taken.len(), buffers.free()), (2, 3, 0));
        for (&buffer, mark) in reserved.iter().chain(&taken).zip(1..) {
            buffers.space(buffer).fill(mark);
        }
        for (&buffer, mark) in reserved.iter().chain(&taken).zip(1..) {
            assert_eq!(buffers.bytes(buffer, 0..100), [mark; 100]);
        }
        buffers.release(taken[1]);
        assert_eq!((buffers.free(), buffers.take()), (1, Some(taken[1])));
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_buffer_released_twice_is_our_bug_and_loud() {
        let mut buffers = Buffers::new(1, 100, 0);
        let buffer = buffers.take().expect("the only one");
        buffers.release(buffer);
        buffers.release(buffer);
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_buffer_that_nobody_has_taken_cannot_be_given_back() {
        Buffers::new(1, 100, 0).release(BufferId(0));
    }

    #[test]
    #[should_panic(expected = "is not held")]
    fn a_buffer_that_was_given_back_cannot_be_read() {
        let mut buffers = Buffers::new(1, 100, 0);
        let buffer = buffers.take().expect("the only one");
        buffers.space(buffer).fill(1);
        buffers.release(buffer);
        buffers.bytes(buffer, 0..1);
    }
}

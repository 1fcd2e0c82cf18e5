//! The buffer ring: memory that receives are answered in, shared by everything on one ring.
//!
//! One anonymous mapping holds the entries that the kernel reads (first, page aligned) and the
//! buffers behind them. A receive names no buffer; the kernel takes the next published one when
//! bytes are there, so a connection that waits holds no memory. A buffer is at any time in exactly
//! one place: published to the kernel, or held by the program between [`Buffers::note_filled`] (or
//! [`Buffers::take`]) and [`Buffers::release`].

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Names one buffer of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferId(pub u16);

/// The mapping and who has which buffer.
#[derive(Debug)]
pub(crate) struct Buffers {
    base: NonNull<u8>,
    mapped_bytes: NonZeroUsize,
    entries: u16,
    buffer_bytes: u32,
    /// Where the next published entry goes; the kernel sees it through [`Buffers::publish`].
    tail: u16,
    /// Published entries that the kernel has not used yet.
    published: u16,
    held: Vec<bool>,
    /// Set when the kernel may still write here although the ring is gone: the mapping then stays.
    abandoned: bool,
}

impl Buffers {
    /// Maps `entries` buffers of `buffer_bytes` each; all are held until they are released.
    ///
    /// # Errors
    /// `ENOMEM` when the memory is not to be had.
    pub(crate) fn map(entries: u16, buffer_bytes: u32) -> io::Result<Self> {
        assert!(entries.is_power_of_two(), "the kernel masks buffer ring indices");
        let payload = usize::from(entries) * buffer_bytes as usize;
        let mapped_bytes = NonZeroUsize::new(payload_offset(entries) + payload)
            .expect("a ring of at least one buffer is not empty");
        // SAFETY: without an address and a file, the mapping overlaps nothing that exists; its
        // lifetime is this value's (see `Drop`).
        let base = unsafe {
            mmap_anonymous(
                None,
                mapped_bytes,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
            )
        }?;
        Ok(Self {
            base: base.cast(),
            mapped_bytes,
            entries,
            buffer_bytes,
            tail: 0,
            published: 0,
            held: vec![true; usize::from(entries)],
            abandoned: false,
        })
    }

    /// The address that `IORING_REGISTER_PBUF_RING` wants.
    pub(crate) fn ring_address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    pub(crate) fn entries(&self) -> u16 {
        self.entries
    }

    pub(crate) fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// Buffers that the kernel may fill.
    pub(crate) fn published(&self) -> u16 {
        self.published
    }

    /// Buffers that the program holds.
    pub(crate) fn held(&self) -> u16 {
        self.entries - self.published
    }

    /// A completion says that the kernel used `buffer`: it is the program's now.
    pub(crate) fn note_filled(&mut self, buffer: BufferId) {
        let held = &mut self.held[usize::from(buffer.0)];
        assert!(!*held, "the kernel filled buffer {buffer:?}, which was not published");
        *held = true;
        self.published -= 1;
    }

    /// Gives `buffer` back; the kernel sees it after the next [`Buffers::publish`].
    pub(crate) fn release(&mut self, buffer: BufferId) {
        let held = &mut self.held[usize::from(buffer.0)];
        assert!(*held, "buffer {buffer:?} was released twice");
        *held = false;
        let index = self.tail & (self.entries - 1);
        let address = self.address(buffer) as u64;
        // SAFETY: `index` is masked to the ring's size, the entries start at `base` (page aligned,
        // so aligned for the entry too), and the kernel reads an entry only after the tail
        // moved past it, which `publish` does later.
        let entry = unsafe { &mut *self.base.as_ptr().cast::<BufRingEntry>().add(index.into()) };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer.0);
        self.tail = self.tail.wrapping_add(1);
        self.published += 1;
    }

    /// Lets the kernel see what was released since the last call.
    pub(crate) fn publish(&mut self) {
        // SAFETY: `base` is the first entry of the ring, zero-initialised by the mapping; the tail
        // lies in that entry's reserved field (io_uring_register_buf_ring(3)).
        let tail = unsafe { BufRingEntry::tail(self.base.as_ptr().cast()) };
        // SAFETY: the kernel reads the tail with acquire semantics and never writes it; nothing
        // else in this process points to it, and a u16 in the first entry is aligned.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The bytes of a held buffer.
    pub(crate) fn bytes(&self, buffer: BufferId, range: Range<u32>) -> &[u8] {
        let (pointer, len) = self.span(buffer, range);
        // SAFETY: the span lies inside a held buffer (checked there), which the kernel does not
        // write until it is released, and `release` needs `&mut self`.
        unsafe { std::slice::from_raw_parts(pointer, len) }
    }

    /// The bytes of a held buffer, to be written. Must not be called while a send from this
    /// buffer is in flight: memory stays sound, but the peer may get a mixture.
    pub(crate) fn bytes_mut(&mut self, buffer: BufferId) -> &mut [u8] {
        let (pointer, len) = self.span(buffer, 0..self.buffer_bytes);
        // SAFETY: as in `bytes`; `&mut self` excludes every other reference, and the kernel
        // only reads from a buffer that is held.
        unsafe { std::slice::from_raw_parts_mut(pointer.cast_mut(), len) }
    }

    /// Address and length of `range` in a held buffer.
    pub(crate) fn span(&self, buffer: BufferId, range: Range<u32>) -> (*const u8, usize) {
        assert!(self.held[usize::from(buffer.0)], "buffer {buffer:?} belongs to the kernel");
        assert!(range.start <= range.end && range.end <= self.buffer_bytes, "{range:?} is outside");
        let start = self.address(buffer).wrapping_add(range.start as usize);
        (start, (range.end - range.start) as usize)
    }

    /// The kernel could not be made to let go: never unmap.
    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
    }

    fn address(&self, buffer: BufferId) -> *const u8 {
        let offset =
            payload_offset(self.entries) + usize::from(buffer.0) * self.buffer_bytes as usize;
        // `wrapping_add` because bounds are checked where the pointer is used.
        self.base.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.abandoned {
            return;
        }
        // SAFETY: this is exactly the mapping made in `map`; `Ring::drop` has waited until no
        // operation is in flight, and no slice outlives the borrow of `self` that made it.
        let unmapped = unsafe { munmap(self.base.cast(), self.mapped_bytes.get()) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

/// Buffers start on the page after the entries, so that they never share one with the tail.
fn payload_offset(entries: u16) -> usize {
    (usize::from(entries) * size_of::<BufRingEntry>()).next_multiple_of(PAGE_BYTES)
}

/// The smallest page of every architecture that Linux runs on; only alignment depends on it.
const PAGE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_buffer_released_twice_is_our_bug_and_loud() {
        let mut buffers = Buffers::map(2, 4096).expect("8 KiB of memory");
        buffers.release(BufferId(0));
        buffers.release(BufferId(0));
    }

    #[test]
    #[should_panic(expected = "belongs to the kernel")]
    fn a_published_buffer_cannot_be_read() {
        let mut buffers = Buffers::map(2, 4096).expect("8 KiB of memory");
        buffers.release(BufferId(1));
        buffers.bytes(BufferId(1), 0..1);
    }

    #[test]
    fn counts_follow_each_buffer() {
        let mut buffers = Buffers::map(4, 4096).expect("16 KiB of memory");
        assert_eq!((buffers.held(), buffers.published()), (4, 0));
        for id in 0..4 {
            buffers.release(BufferId(id));
        }
        assert_eq!((buffers.held(), buffers.published()), (0, 4));
        buffers.note_filled(BufferId(2));
        assert_eq!((buffers.held(), buffers.published()), (1, 3));
        buffers.bytes_mut(BufferId(2))[..2].copy_from_slice(b"hi");
        assert_eq!(buffers.bytes(BufferId(2), 0..2), b"hi");
    }
}

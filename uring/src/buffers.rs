//! The buffer ring: memory that receives are answered in, shared by everything on one ring.
//!
//! One anonymous mapping holds the entries that the kernel reads (first, page aligned) and the
//! buffers behind them. A receive names no buffer; the kernel takes the next published one when
//! bytes are there, so a connection that waits holds no memory. A buffer is at any time in exactly
//! one place: published to the kernel, held by the program, or spare. The kernel uses published
//! buffers in order, so a large ring would walk through all of its memory over and over; only a
//! few are published at a time, and spares come back last in, first out, which keeps the memory in
//! use small and in the cache however many buffers a slow reader may need to hold.

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
    /// Size of the kernel's ring, a power of two; never more are published.
    entries: u16,
    buffers: u16,
    buffer_bytes: u32,
    /// Where the next published entry goes; the kernel sees it through [`Buffers::publish`].
    tail: u16,
    /// Published entries that the kernel has not used yet.
    published: u16,
    spare: Vec<BufferId>,
    held: Vec<bool>,
    /// The kernel may still write here although the ring is gone: the mapping then stays.
    keep_mapped: bool,
}

impl Buffers {
    /// Maps `buffers` buffers of `buffer_bytes` each, of which at most `entries` will be published
    /// at a time; all are held until they are released. Memory is used when it is first written.
    ///
    /// # Errors
    /// `ENOMEM` when the memory is not to be had.
    pub(crate) fn map(entries: u16, buffers: u16, buffer_bytes: u32) -> io::Result<Self> {
        assert!(entries.is_power_of_two(), "the kernel masks buffer ring indices");
        let payload = usize::from(buffers) * stride(buffer_bytes);
        let mapped_bytes = NonZeroUsize::new(payload_offset(entries) + payload)
            .expect("the entries of a ring take room");
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
            buffers,
            buffer_bytes,
            tail: 0,
            published: 0,
            spare: Vec::with_capacity(buffers.into()),
            held: vec![true; usize::from(buffers)],
            keep_mapped: false,
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

    /// Buffers that receives can be answered in, now or after the next [`Buffers::publish`].
    pub(crate) fn free(&self) -> u16 {
        self.published + u16::try_from(self.spare.len()).expect("at most `buffers`")
    }

    /// Buffers that the program holds.
    pub(crate) fn held(&self) -> u16 {
        self.buffers - self.free()
    }

    /// A completion says that the kernel used `buffer`: it is the program's now.
    pub(crate) fn note_filled(&mut self, buffer: BufferId) {
        let held = &mut self.held[usize::from(buffer.0)];
        assert!(!*held, "the kernel filled buffer {buffer:?}, which was not published");
        *held = true;
        self.published -= 1;
    }

    /// Gives `buffer` back; the kernel may see it after the next [`Buffers::publish`].
    pub(crate) fn release(&mut self, buffer: BufferId) {
        let held = &mut self.held[usize::from(buffer.0)];
        assert!(*held, "buffer {buffer:?} was released twice");
        *held = false;
        self.spare.push(buffer);
    }

    /// Fills the kernel's ring up from the spares and lets the kernel see it.
    pub(crate) fn publish(&mut self) {
        let before = self.tail;
        while self.published < self.entries
            && let Some(buffer) = self.spare.pop()
        {
            self.write_entry(buffer);
        }
        if self.tail != before {
            self.store_tail();
        }
    }

    fn write_entry(&mut self, buffer: BufferId) {
        let index = usize::from(self.tail & (self.entries - 1));
        let address = self.address(buffer) as u64;
        let entries = self.base.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `index` is masked to the ring's size, and the entries start at `base`, inside
        // the mapping.
        let entry = unsafe { entries.add(index) };
        // SAFETY: the entry is in the mapping, aligned because `base` is page aligned, and the
        // kernel reads it only after the tail moved past it, which `store_tail` does later; every
        // bit pattern is a valid entry.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer.0);
        self.tail = self.tail.wrapping_add(1);
        self.published += 1;
    }

    fn store_tail(&self) {
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

    /// Whether the kernel may still write here, so that the memory must outlive this value.
    pub(crate) fn keep_mapped(&mut self, keep: bool) {
        self.keep_mapped = keep;
    }

    fn address(&self, buffer: BufferId) -> *const u8 {
        let offset =
            payload_offset(self.entries) + usize::from(buffer.0) * stride(self.buffer_bytes);
        // `wrapping_add` because bounds are checked where the pointer is used.
        self.base.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.keep_mapped {
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

/// From one buffer to the next. Buffers at a multiple of 4 KiB from each other would all compete
/// for the same few sets of the cache; a cache line more spreads them.
fn stride(buffer_bytes: u32) -> usize {
    buffer_bytes as usize + CACHE_LINE_BYTES
}

const CACHE_LINE_BYTES: usize = 64;

/// The smallest page of every architecture that Linux runs on; only alignment depends on it.
const PAGE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_buffer_released_twice_is_our_bug_and_loud() {
        let mut buffers = Buffers::map(2, 2, 4096).expect("8 KiB of memory");
        buffers.release(BufferId(0));
        buffers.release(BufferId(0));
    }

    #[test]
    #[should_panic(expected = "belongs to the kernel")]
    fn a_published_buffer_cannot_be_read() {
        let mut buffers = Buffers::map(2, 2, 4096).expect("8 KiB of memory");
        buffers.release(BufferId(1));
        buffers.bytes(BufferId(1), 0..1);
    }

    #[test]
    fn counts_follow_each_buffer() {
        let mut buffers = Buffers::map(2, 4, 4096).expect("16 KiB of memory");
        assert_eq!((buffers.held(), buffers.free()), (4, 0));
        for id in 0..4 {
            buffers.release(BufferId(id));
        }
        assert_eq!((buffers.held(), buffers.free()), (0, 4));
        buffers.publish();
        assert_eq!((buffers.published, buffers.spare.len()), (2, 2));
        buffers.note_filled(BufferId(3));
        assert_eq!((buffers.held(), buffers.free()), (1, 3));
        buffers.bytes_mut(BufferId(3))[..2].copy_from_slice(b"hi");
        assert_eq!(buffers.bytes(BufferId(3), 0..2), b"hi");
    }
}

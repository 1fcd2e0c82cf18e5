//! The memory of a thread's ring: how much, how large, and the pattern that sources send.

use uring::{BufferId, Config, Ring};

use super::super::relay::{PIECE_BYTES, Piece, Rest};
use super::paced::POOL_BUFFERS;

/// Bulk wants few and large buffers, everything else many; answers that are held want some too.
pub(super) fn ring_config(backends: usize, bulk: bool, faulty: bool) -> Config {
    let pool = if faulty { POOL_BUFFERS } else { 0 };
    let besides = u16::from(bulk) + pool;
    let reserved = u16::try_from(backends).unwrap_or(u16::MAX).saturating_add(besides);
    let buffers = BUFFERS.max(reserved.saturating_mul(2).min(1 << 15)).next_power_of_two();
    let config = Config { buffers, reserved, ..Config::default() };
    if !bulk {
        return config;
    }
    Config { published: BULK_PUBLISHED, buffer_bytes: PATTERN_BYTES, ..config }
}

/// A reserved buffer that holds the pattern: whole periods of it, so that it can follow itself.
pub(super) fn take_pattern(ring: &mut Ring) -> BufferId {
    let buffer = ring.take_reserved().expect("one buffer is reserved for the pattern");
    let memory = &mut ring.bytes_mut(buffer)[..PATTERN_BYTES as usize];
    memory.iter_mut().zip((0..PATTERN_PERIOD).cycle()).for_each(|(byte, value)| *byte = value);
    buffer
}

/// The pattern, without end.
pub(super) fn pattern_piece(buffer: BufferId) -> Piece {
    Piece { buffer, range: 0..PATTERN_BYTES, rest: Rest::Again(PATTERN_BYTES), owned: false }
}

/// Connections hold buffers only while an answer is on its way, so this bounds answers in flight
/// and not connections; 16 MiB of address space at the ring's default of 16 KiB each.
const BUFFERS: u16 = 1024;
/// The byte at each place of a connection is the place's remainder: a prime, so that nothing that is
/// cut, lost or doubled at a power of two looks right.
const PATTERN_PERIOD: u8 = 251;
/// What one send offers: sockets take a good part of it at once, and it stays in the cache.
const PATTERN_BYTES: u32 = 512 * PATTERN_PERIOD as u32;
/// 4 MiB that receives go through in turn: that too stays in the cache.
const BULK_PUBLISHED: u16 = 32;
const _: () = assert!(PATTERN_BYTES >= PIECE_BYTES);

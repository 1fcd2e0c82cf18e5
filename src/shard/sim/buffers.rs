//! The buffers of a run, and who may touch each at the moment.

use crate::core::BufferId;
use crate::core::relay::Held;

/// A pool of few and small buffers, so that they run out and messages span many.
#[derive(Debug)]
pub(super) struct Buffers {
    places: Vec<Place>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct Place {
    bytes: Vec<u8>,
    len: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// With the kernel, for the next receive.
    Free,
    /// With the balancer.
    Lent,
    /// With the balancer, and the kernel reads it.
    Sending,
}

impl Buffers {
    pub(super) fn new(count: usize, size: usize) -> Self {
        let place = || Place { bytes: vec![RUBBISH; size], len: 0, state: State::Free };
        let free = (0..u16::try_from(count).expect("few buffers")).collect();
        Self { places: (0..count).map(|_| place()).collect(), free }
    }

    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    pub(super) fn are_all_back(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// The place that the next receive writes to, if there is one.
    pub(super) fn next(&mut self, rng: &mut fastrand::Rng) -> Option<(BufferId, &mut [u8])> {
        if self.free.is_empty() {
            return None;
        }
        let last = self.free.len() - 1;
        self.free.swap(rng.usize(..=last), last);
        let id = self.free[last];
        Some((BufferId(id), &mut self.places[usize::from(id)].bytes))
    }

    /// A receive has written `len` bytes to what [`Buffers::next`] offered.
    pub(super) fn lend(&mut self, buffer: BufferId, len: usize) {
        assert_eq!(self.free.pop(), Some(buffer.0), "the driver lends what it offered");
        let place = &mut self.places[usize::from(buffer.0)];
        (place.len, place.state) = (len, State::Lent);
    }

    pub(super) fn begin_send(&mut self, held: Held) {
        let place = &mut self.places[usize::from(held.buffer.0)];
        assert_eq!(place.state, State::Lent, "{held:?} is sent");
        let is_inside = held.start < held.end && held.end as usize <= place.len;
        assert!(is_inside, "{held:?} is sent, with {} bytes received", place.len);
        place.state = State::Sending;
    }

    /// The bytes of a send that has begun.
    pub(super) fn held(&self, held: Held) -> &[u8] {
        let place = &self.places[usize::from(held.buffer.0)];
        assert_eq!(place.state, State::Sending, "{held:?} is being sent");
        &place.bytes[held.start as usize..held.end as usize]
    }

    pub(super) fn end_send(&mut self, held: Held) {
        let place = &mut self.places[usize::from(held.buffer.0)];
        assert_eq!(place.state, State::Sending, "{held:?} was sent");
        place.state = State::Lent;
    }

    pub(super) fn release(&mut self, buffer: BufferId) {
        let place = &mut self.places[usize::from(buffer.0)];
        assert_eq!(place.state, State::Lent, "{buffer:?} is released");
        place.state = State::Free;
        place.bytes.fill(RUBBISH);
        self.free.push(buffer.0);
    }
}

/// What a buffer holds when it should not be looked at.
const RUBBISH: u8 = 0xee;

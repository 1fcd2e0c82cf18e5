//! Places for requests that are free, in the order in which they became so.
//!
//! Requests are given to them in the order in which they are due, so each one's wait can be told
//! apart: until its place was free, and from then on.

use std::collections::VecDeque;

/// Some places on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: u32,
    /// Of the connection; places of one that is gone are gone too.
    pub(super) generation: u32,
    pub(super) count: u32,
    pub(super) since_ns: u64,
}

/// The places that are free, longest first.
#[derive(Debug, Default)]
pub(super) struct Places(VecDeque<Place>);

impl Places {
    /// Places have become free. Those of one connection and moment are kept together.
    pub(super) fn add(&mut self, place: Place) {
        match self.0.back_mut() {
            Some(last)
                if (last.slot, last.generation, last.since_ns)
                    == (place.slot, place.generation, place.since_ns) =>
            {
                last.count += place.count;
            }
            _ => self.0.push_back(place),
        }
    }

    /// Those that have been free for longest.
    pub(super) fn first(&self) -> Option<Place> {
        self.0.front().copied()
    }

    /// These are taken, or gone.
    pub(super) fn remove_first(&mut self) {
        self.0.pop_front();
    }
}

//! Whom a session has tried.

use crate::core::BackendId;

/// The backends that a session has tried; each is tried once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    ids: [BackendId; MAX_TRIES],
    len: u8,
}

/// A session gives up after so many backends: with the connect timeout at its default of 3 s a
/// client learns within 24 s that nobody is there.
pub const MAX_TRIES: usize = 8;

impl Tried {
    /// Nobody has been tried.
    pub const NOBODY: Self = Self { ids: [BackendId(0); MAX_TRIES], len: 0 };

    /// Notes that `backend` is being tried.
    ///
    /// # Panics
    /// When [`Tried::is_full`]: [`pick`](super::pick) does not offer a backend then.
    pub fn add(&mut self, backend: BackendId) {
        self.ids[usize::from(self.len)] = backend;
        self.len += 1;
    }

    /// Whether `backend` has been tried.
    #[must_use]
    pub fn contains(&self, backend: BackendId) -> bool {
        self.ids[..usize::from(self.len)].contains(&backend)
    }

    /// Whether there is no try left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        usize::from(self.len) == MAX_TRIES
    }
}

//! What the clients did, as they tell it to the process that measures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// All connections that are to be held open are open.
    pub(super) ready: bool,
    /// Connections that are open now.
    pub(super) open: u64,
    /// Sessions that were made, by what they are for.
    pub(super) sessions: BTreeMap<String, u64>,
    /// Requests that were answered in full.
    pub(super) answered: u64,
    /// Bytes that were checked by their receiver, in both directions.
    pub(super) bytes: u64,
    /// Answers with other bytes than they should have.
    pub(super) wrong: u64,
    /// What else went wrong, by role, step and kind.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Sessions of all kinds.
    pub(super) fn sessions_total(&self) -> u64 {
        self.sessions.values().sum()
    }

    /// Errors of all kinds.
    pub(super) fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }
}

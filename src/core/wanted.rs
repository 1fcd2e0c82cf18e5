//! What the operator wants of a backend, whatever its health.

use std::fmt;
use std::str::FromStr;

/// What the operator wants of a backend: HAProxy's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AdminState {
    /// It serves.
    #[default]
    Ready,
    /// It gets nobody but clients that stick to it, as with weight 0; who is there stays.
    Drain,
    /// It gets nobody and is not checked; who is there stays.
    Maint,
}

impl AdminState {
    /// All of them, in the order of how much a backend gets.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Maint];

    /// The word that the admin API has for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }

    /// The weight that a backend is picked by.
    #[must_use]
    pub const fn weight(self, configured: u16) -> u16 {
        match self {
            Self::Ready => configured,
            Self::Drain | Self::Maint => 0,
        }
    }
}

impl fmt::Display for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that is none of the three.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no state of a backend; write ready, drain or maint")]
pub struct NoSuchState(pub String);

impl FromStr for AdminState {
    type Err = NoSuchState;

    fn from_str(word: &str) -> Result<Self, NoSuchState> {
        let found = Self::ALL.into_iter().find(|state| state.word() == word);
        found.ok_or_else(|| NoSuchState(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_word_that_means_it() {
        for state in AdminState::ALL {
            assert_eq!(state.word().parse(), Ok(state));
        }
        assert_eq!("down".parse::<AdminState>(), Err(NoSuchState("down".to_owned())));
    }

    #[test]
    fn only_a_ready_backend_has_its_weight() {
        let weights = AdminState::ALL.map(|state| state.weight(7));
        assert_eq!(weights, [7, 0, 0]);
    }
}

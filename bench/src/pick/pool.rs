//! A pool as shards share it: what several write is on cache lines of its own.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crossbeam_utils::CachePadded;
use evenkeel::core::BackendId;
use evenkeel::core::balance::{self, Algorithm, Member, Standing, Tables};
use serde::Serialize;

/// The pool that is picked from.
pub(super) struct Pool {
    tables: Tables,
    backends: Vec<CachePadded<Backend>>,
    turn: CachePadded<AtomicU32>,
}

struct Backend {
    connections: AtomicU32,
    is_up: AtomicBool,
    warmth: AtomicU32,
}

/// How its backends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// All ready, all with the same weight.
    Even,
    /// All ready, with weights from 1 to 8.
    Weighted,
    /// Of those with weights from 1 to 8 every other one is out.
    HalfOut,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Even, Self::Weighted, Self::HalfOut];

    /// As it is printed.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Even => "equal weights",
            Self::Weighted => "weights from 1 to 8",
            Self::HalfOut => "weights from 1 to 8, half of them out",
        }
    }

    const fn weight(self, id: u16) -> u16 {
        match self {
            Self::Even => 1,
            Self::Weighted | Self::HalfOut => id / 2 % 8 + 1,
        }
    }

    const fn is_up(self, id: u16) -> bool {
        !matches!(self, Self::HalfOut) || id.is_multiple_of(2)
    }
}

impl Pool {
    pub(super) fn new(algorithm: Algorithm, kind: Kind) -> Self {
        let names: Vec<String> = (0..BACKENDS).map(|id| format!("10.0.0.{id}:80")).collect();
        let members: Vec<_> = (0..)
            .zip(&names)
            .map(|(id, name)| Member { name, weight: kind.weight(id), backup: false })
            .collect();
        let backend = |id| Backend {
            connections: AtomicU32::new(0),
            is_up: AtomicBool::new(kind.is_up(id)),
            warmth: AtomicU32::new(256),
        };
        Self {
            tables: Tables::new(algorithm, &members),
            backends: (0..BACKENDS).map(|id| CachePadded::new(backend(id))).collect(),
            turn: CachePadded::default(),
        }
    }

    pub(super) fn charge(&self, backend: BackendId) {
        self.backend(backend).connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn discharge(&self, backend: BackendId) {
        self.backend(backend).connections.fetch_sub(1, Ordering::Relaxed);
    }

    fn backend(&self, id: BackendId) -> &Backend {
        &self.backends[usize::from(id.0)]
    }
}

impl balance::Pool for Pool {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn standing(&self, backend: BackendId) -> Standing {
        let backend = self.backend(backend);
        if !backend.is_up.load(Ordering::Relaxed) {
            Standing::Out
        } else if backend.connections.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
            Standing::Full
        } else {
            Standing::Ready
        }
    }

    fn connections(&self, backend: BackendId) -> u32 {
        self.backend(backend).connections.load(Ordering::Relaxed)
    }

    fn warmth(&self, backend: BackendId) -> u32 {
        self.backend(backend).warmth.load(Ordering::Relaxed)
    }

    fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// As many as the product promises to pick from without a lock.
pub(super) const BACKENDS: u16 = 64;

/// Looked at, and never reached.
const MAX_CONNECTIONS: u32 = 1 << 20;

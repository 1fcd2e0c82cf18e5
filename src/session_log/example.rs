//! A session that has ended, for tests of how it is written.

use std::sync::Arc;

use uring::Owner;

use super::wall::Wall;
use crate::config::parse;
use crate::config::plan::Address;
use crate::core::balance::{Algorithm, By};
use crate::core::moment::Moment;
use crate::core::session::EndReason;
use crate::shard::backend::Backend;
use crate::shard::bells::Bells;
use crate::shard::commands::Moved;
use crate::shard::listener::{Listener, Sockets};
use crate::shard::pool::{Pool, PoolState};
use crate::shard::record::Record;
use crate::shard::shared::Gate;
use crate::shard::tally::ListenerTallies;

/// A session of one client of backend B1 in pool web.
pub(super) struct Example {
    pub(super) record: Record,
}

/// The program began at noon of the first of all days.
pub(super) const NOON: Wall = Wall::ahead(12 * 60 * 60);

impl Example {
    pub(super) fn new() -> Self {
        Self::of(["front", "web", "B1"], Address::Inet(([0, 0, 0, 0], 80).into()))
    }

    /// The same with one name for all that have one.
    pub(super) fn named(name: &str) -> Self {
        Self::of([name; 3], Address::Inet(([0, 0, 0, 0], 80).into()))
    }

    pub(super) fn listening_on(address: Address) -> Self {
        Self::of(["front", "web", "B1"], address)
    }

    fn of([listener, pool, backend]: [&str; 3], address: Address) -> Self {
        let text = "[[listener]]\nlisten = \"a:1\"\n[pool.web]\nbackends = [\"10.0.0.1:80\"]\n";
        let mut draft = parse(text, "a.toml", &|_| None).expect("it is right");
        let mut config = draft.pools.remove(0).config;
        config.name = pool.to_owned();
        let backend = Arc::new(Backend::new(1, backend.to_owned(), std::slice::from_ref(&address)));
        let state = Arc::new(PoolState::new(2, None, Arc::new(Bells::default())));
        let pool = Arc::new(Pool::new(&config, vec![Arc::clone(&backend)], None, state));
        let listener = Listener {
            id: 3,
            name: listener.to_owned(),
            address,
            max_sessions: None,
            access: None,
            per_ip: None,
            greets: None,
            pool: Arc::clone(&pool),
            gate: Arc::<Gate>::default(),
            tallies: Arc::new(ListenerTallies::new(1)),
            sockets: Arc::<Sockets>::default(),
        };
        let record = Record {
            began: Moment::from_ns(0),
            ended: Moment::from_ns(5_100_000_000),
            shard: 0,
            owner: Some(Owner { slot: 17, generation: 3, tag: 0 }),
            listener: Arc::new(listener),
            pool,
            backend: Some(backend),
            client: Some(([10, 0, 0, 7], 51234).into()),
            destination: None,
            by: Some(By::Algorithm(Algorithm::RoundRobin)),
            queue_us: Some(104),
            connect_us: Some(311),
            first_byte_us: Some(1_200),
            to_backend: Moved { copied: 1234, spliced: 0 },
            to_client: Moved { copied: 82_345, spliced: 4_430_000 },
            reason: EndReason::Finished,
            retries: 0,
            moves: 0,
        };
        Self { record }
    }
}

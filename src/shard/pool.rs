//! A pool as shards see it: one version of its configuration, and the state that all versions share.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::config::plan::{
    Destination, EjectionConfig, MaxAge, OnUnavailable, PoolConfig, ProxyVersion, StickyConfig,
};
use crate::core::balance::{self, Standing, Tables};
use crate::core::health::enough_left;
use crate::core::moment::Moment;
use crate::core::session::{Deadlines, Rules, Unavailable};
use crate::core::wanted::AdminState;
use crate::core::{BackendId, Candidate};

use super::backend::Backend;
use super::bells::{Bells, Crowd};
use super::condition::{Health, Verdict};
use super::outgoing::Outgoing;
use super::sticky::Sticky;

/// One version of a pool. A session keeps the version that it began with.
#[derive(Debug)]
pub struct Pool {
    /// As it is configured.
    pub name: String,
    /// What its sessions go by.
    pub rules: Rules,
    /// Its backends; a [`BackendId`] is a place in this list.
    pub members: Vec<Member>,
    tables: Arc<Tables>,
    /// What clients stick by.
    pub sticky: Option<StickyConfig>,
    ejection: Option<EjectionConfig>,
    slow_start: Option<Duration>,
    /// When sessions are ended.
    pub max_age: Option<MaxAge>,
    /// What backends are told of clients.
    pub send_proxy: Option<ProxyVersion>,
    /// Where its sessions go.
    pub destination: Destination,
    /// What is said to a client that waited in vain.
    pub farewell: Arc<[u8]>,
    /// Clients that may wait for room.
    pub queue_size: u32,
    /// Whether the sessions of a backend that is marked down are cut.
    pub close_when_down: bool,
    /// What else is asked of connections to backends.
    pub outgoing: Outgoing,
    /// What outlives this version.
    pub state: Arc<PoolState>,
}

/// A backend in one version of a pool.
#[derive(Debug)]
pub struct Member {
    /// Itself.
    pub backend: Arc<Backend>,
    /// Connections that it may have.
    pub most: u32,
    /// Its share.
    pub weight: u16,
    /// Whether it is for when no other is there.
    pub backup: bool,
    /// What the operator wants of it.
    pub state: AdminState,
}

/// What all versions of a pool share.
#[derive(Debug)]
pub struct PoolState {
    /// Never used for another pool as long as the program runs.
    pub id: u32,
    turn: CachePadded<AtomicU32>,
    /// Clients that wait for room or for a backend.
    pub crowd: Crowd,
    /// Who was where.
    pub sticky: Option<Sticky>,
    bells: Arc<Bells>,
    /// Our ends of connections to original destinations: a client from there is ourselves.
    own_ends: Mutex<HashSet<SocketAddr>>,
}

impl PoolState {
    /// The state of a pool that nobody has used.
    #[must_use]
    pub fn new(id: u32, sticky: Option<Sticky>, bells: Arc<Bells>) -> Self {
        Self {
            id,
            turn: CachePadded::default(),
            crowd: Crowd::default(),
            sticky,
            bells,
            own_ends: Mutex::default(),
        }
    }

    /// A connection to an original destination comes from `end`. These few calls lock, once or twice
    /// for a session of such a pool.
    pub fn note_own_end(&self, end: SocketAddr) {
        self.own_ends().insert(end);
    }

    /// It does so no more.
    pub fn forget_own_end(&self, end: SocketAddr) {
        self.own_ends().remove(&end);
    }

    /// Whether a client at `peer` is one of our own connections, which the kernel led back to us.
    #[must_use]
    pub fn is_own_end(&self, peer: SocketAddr) -> bool {
        self.own_ends().contains(&peer)
    }

    fn own_ends(&self) -> MutexGuard<'_, HashSet<SocketAddr>> {
        self.own_ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A backend may be back for which clients wait.
    pub fn stir(&self) {
        self.crowd.stir(&self.bells);
    }

    /// A place has become free for which clients wait.
    fn make_room(&self) {
        self.crowd.make_room(&self.bells);
    }
}

impl Pool {
    /// A version of a pool, of backends in the order of its configuration. `tables` are those of the
    /// version before, if they are still right.
    #[must_use]
    pub fn new(
        config: &PoolConfig,
        backends: Vec<Arc<Backend>>,
        tables: Option<Arc<Tables>>,
        state: Arc<PoolState>,
    ) -> Self {
        let members = config.backends.iter().zip(backends).map(|(config, backend)| Member {
            backend,
            most: config.max_connections.map_or(u32::MAX, Into::into),
            weight: config.weight,
            backup: config.backup,
            state: config.state,
        });
        Self {
            name: config.name.clone(),
            rules: rules(config),
            members: members.collect(),
            tables: tables.unwrap_or_else(|| Arc::new(tables_of(config))),
            sticky: config.sticky,
            ejection: config.ejection,
            slow_start: config.slow_start,
            max_age: config.max_age,
            send_proxy: config.send_proxy,
            destination: config.destination,
            farewell: match &config.on_unavailable {
                OnUnavailable::Reply(text) => Arc::clone(text),
                OnUnavailable::Close | OnUnavailable::Reset => Arc::default(),
            },
            queue_size: config.queue.size,
            close_when_down: config.close_when_down,
            outgoing: Outgoing::new(&config.connect),
            state,
        }
    }

    /// What picking goes by, to be kept for the next version if that changes nothing of it.
    #[must_use]
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// One of its backends.
    #[must_use]
    pub fn member(&self, id: BackendId) -> &Member {
        &self.members[usize::from(id.0)]
    }

    /// One of its backends.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> &Backend {
        &self.member(id).backend
    }

    /// Its place in this version, if it is in it.
    #[must_use]
    pub fn find(&self, uid: u32) -> Option<BackendId> {
        let place = self.members.iter().position(|member| member.backend.uid == uid)?;
        Some(BackendId(u16::try_from(place).expect(MANY)))
    }

    /// Whether a session has to know who its client is.
    #[must_use]
    pub fn asks_who(&self) -> bool {
        use balance::Algorithm::{Maglev, SourceHash};
        self.sticky.is_some()
            || self.send_proxy.is_some()
            || matches!(self.tables.algorithm(), SourceHash | Maglev)
    }

    /// Takes a connection off a backend's count, and tells those who wait for that.
    pub fn discharge(&self, id: BackendId) {
        self.backend(id).discharge();
        if !self.state.crowd.is_empty() {
            self.state.make_room();
        }
    }

    /// A connection to a backend stands, which others may have been waiting for.
    pub fn note_connected(&self, candidate: Candidate, now: Moment) {
        self.backend(candidate.backend).note_connected(candidate, now);
        if !self.state.crowd.is_empty() {
            self.state.stir();
        }
    }

    /// A backend could not be connected to, at none of its addresses.
    pub fn note_failed(&self, id: BackendId, now: Moment) -> Verdict {
        let backend = self.backend(id);
        let Some(ejection) = &self.ejection else { return Verdict::Counted };
        backend.condition.connect_failed(now, ejection, || self.can_spare(id, now))
    }

    /// Whether half of the pool, or more, is left without this one. Whom the operator took out is no
    /// part of the pool in this.
    fn can_spare(&self, id: BackendId, now: Moment) -> bool {
        let serving = || self.members.iter().filter(|one| one.state == AdminState::Ready);
        let this = &self.member(id).backend;
        let others = serving().filter(|one| !Arc::ptr_eq(&one.backend, this));
        let up = others.filter(|one| one.backend.condition.health(now) == Health::Up);
        enough_left(up.count(), serving().count())
    }

    /// The part of its weight that a backend gets now, in 256ths.
    #[must_use]
    pub fn warmth(&self, id: BackendId, now: Moment) -> u32 {
        use balance::Pool as _;
        Present { pool: self, now }.warmth(id)
    }

    /// Whether it uses backends that should be out, because too many are: one whose connects fail
    /// stays in, or nobody is left but those that are ejected.
    #[must_use]
    pub fn fails_open(&self, now: Moment) -> bool {
        let serving = || self.members.iter().filter(|one| one.state == AdminState::Ready);
        let is = |health| serving().any(|one| one.backend.condition.health(now) == health);
        if is(Health::Ejected) && !is(Health::Up) {
            return true;
        }
        let Some(ejection) = &self.ejection else { return false };
        (0..).map(BackendId).zip(&self.members).any(|(id, member)| {
            let stays = member.backend.condition.should_be_ejected(now, ejection);
            member.state == AdminState::Ready && stays && !self.can_spare(id, now)
        })
    }

    /// Whether a backend is well and has as much as it may.
    #[must_use]
    pub fn is_full(&self, id: BackendId, now: Moment) -> bool {
        use balance::Pool as _;
        Present { pool: self, now }.standing(id) == Standing::Full
    }
}

/// A pool at a moment: what picking looks at.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// The moment.
    pub now: Moment,
}

impl balance::Pool for Present<'_> {
    fn tables(&self) -> &Tables {
        &self.pool.tables
    }

    fn standing(&self, id: BackendId) -> Standing {
        let Member { backend, most, state, .. } = self.pool.member(id);
        match backend.condition.health(self.now) {
            _ if *state == AdminState::Maint || backend.is_retired() => Standing::Out,
            Health::Down => Standing::Out,
            Health::Ejected => Standing::Ejected,
            Health::Up if *most != u32::MAX && backend.active() >= *most => Standing::Full,
            Health::Up => Standing::Ready,
        }
    }

    fn connections(&self, id: BackendId) -> u32 {
        self.pool.backend(id).active()
    }

    fn warmth(&self, id: BackendId) -> u32 {
        match self.pool.slow_start {
            Some(time) => self.pool.backend(id).condition.warmth(self.now, time),
            None => 256,
        }
    }

    fn next_turn(&self) -> u32 {
        self.pool.state.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// What sessions of a pool go by.
#[must_use]
pub fn rules(config: &PoolConfig) -> Rules {
    Rules {
        deadlines: Deadlines {
            greeting: Duration::MAX,
            wait: config.wait_for_backend,
            queue: config.queue.timeout,
            connect: config.connect_timeout,
            idle: config.idle_timeout,
            half_closed: config.half_closed_timeout,
        },
        splice: config.splice,
        unavailable: match config.on_unavailable {
            OnUnavailable::Reset => Unavailable::Reset,
            OnUnavailable::Close | OnUnavailable::Reply(_) => Unavailable::Linger,
        },
        // Where a client wanted to go, nobody else is.
        failover: config.session_failover && config.destination == Destination::Backends,
    }
}

fn tables_of(config: &PoolConfig) -> Tables {
    let members: Vec<_> = config
        .backends
        .iter()
        .map(|one| balance::Member {
            name: &one.name,
            weight: one.state.weight(one.weight),
            backup: one.backup,
        })
        .collect();
    Tables::new(config.algorithm, &members)
}

const MANY: &str = "the configuration allows no more";

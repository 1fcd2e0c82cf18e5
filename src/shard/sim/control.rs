//! What happens beside the shard and never waits for it: the control thread, which publishes versions
//! of the configuration and the health of backends, and the shard next door, which uses the same
//! backends and listeners.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::config::plan::{self, PoolConfig};
use crate::core::BackendId;
use crate::core::access::{AccessList, Networks};
use crate::core::limits::Limits;
use crate::core::moment::Moment;
use crate::core::session::Phase;
use crate::shard::backend::Backend;
use crate::shard::commands::{Command, First, Listing, Order, Query, Reply};
use crate::shard::listener::{ClientLimits, Greets, Listener, Sockets};
use crate::shard::per_ip::PerIpTable;
use crate::shard::pool::{Pool, PoolState};
use crate::shard::shared::{Gate, Shared, Snapshot};
use crate::shard::sticky::Sticky;
use crate::shard::tally::ListenerTallies;

use super::plan::{self as draw, Address, Plan};
use super::world::World;

/// The control thread and the shard next door.
#[derive(Debug)]
pub(super) struct Control {
    shared: Arc<Shared>,
    well_behaved: bool,
    addresses: Vec<Vec<Address>>,
    pools: Vec<Arc<Pool>>,
    listeners: Vec<Open>,
    /// What is still to happen; the next one last.
    doings: Vec<(u64, Doing)>,
    /// Connections of the shard next door.
    held: VecDeque<(Arc<Pool>, BackendId)>,
    /// Its sessions.
    entered: VecDeque<Arc<Listener>>,
    /// Backends that are down.
    down: VecDeque<(Arc<Pool>, BackendId)>,
    /// Everything that there ever was.
    pub(super) ever: Ever,
}

/// Everything that there ever was, to be looked at between turns and at the end.
#[derive(Debug, Default)]
pub(super) struct Ever {
    /// Versions of pools.
    pub(super) versions: Vec<PoolConfig>,
    /// Each with the most connections that it was ever allowed, and those of next door.
    pub(super) backends: Vec<(Arc<Backend>, u32, u32)>,
    pub(super) states: Vec<Arc<PoolState>>,
    /// The newest version of each with the most sessions that it was ever allowed, and those of next
    /// door.
    pub(super) listeners: Vec<(Arc<Listener>, u32, u32)>,
    pub(super) cuts: u32,
    pub(super) kills: u32,
    pub(super) downs: u32,
    pub(super) reloads: u32,
}

#[derive(Debug)]
struct Open {
    backlog: usize,
    listener: Arc<Listener>,
    pool: usize,
}

/// Something that happens beside the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Another version of everything.
    Reload,
    /// Checks take a backend down.
    Down,
    /// The one that was down longest is up again.
    Up,
    /// The shard next door connects to a backend.
    Charge,
    /// The oldest of these connections ends.
    Discharge,
    /// The shard next door has a session of a listener.
    Enter,
    /// The oldest of these ends.
    Leave,
    /// An operator looks at the sessions.
    List,
    /// An operator ends some of them.
    Kill,
}

impl Control {
    pub(super) fn new(plan: &Plan, shared: Arc<Shared>, world: &mut World) -> Self {
        let mut control = Self {
            shared,
            well_behaved: plan.well_behaved,
            addresses: plan.backends.clone(),
            pools: Vec::new(),
            listeners: Vec::new(),
            doings: plan.doings.iter().rev().copied().collect(),
            held: VecDeque::new(),
            entered: VecDeque::new(),
            down: VecDeque::new(),
            ever: Ever::default(),
        };
        for config in &plan.pools {
            let pool = control.pool(config, None);
            control.pools.push(pool);
        }
        for _ in 0..plan.listeners {
            control.open(plan.max_sessions_listener, world);
        }
        control.publish();
        control
    }

    /// When something happens.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.doings.last().map(|&(at, _)| at)
    }

    /// Lets happen what is due; whether that was anything.
    pub(super) fn step(&mut self, world: &mut World) -> bool {
        let mut progress = false;
        while self.doings.last().is_some_and(|&(at, _)| at <= world.now) {
            let (_, doing) = self.doings.pop().expect("looked at above");
            self.act(doing, world);
            progress = true;
        }
        progress
    }

    /// The queue of the listener that has these sockets.
    pub(super) fn backlog_of(&self, sockets: &Sockets) -> Option<usize> {
        let is_it = |open: &&Open| std::ptr::eq(Arc::as_ptr(&open.listener.sockets), sockets);
        self.listeners.iter().find(is_it).map(|open| open.backlog)
    }

    fn act(&mut self, doing: Doing, world: &mut World) {
        match doing {
            Doing::Reload => self.reload(world),
            Doing::Down => {
                let (pool, id) = self.any_member(world);
                pool.backend(id).condition.set_up(false, Moment::from_ns(world.now));
                self.ever.downs += 1;
                if !self.well_behaved && world.rng.bool() {
                    self.shared.cut_sessions_of(pool.backend(id).uid).expect("few cuts");
                    self.ever.cuts += 1;
                }
                self.down.push_back((pool, id));
            }
            Doing::Up => {
                let Some((pool, id)) = self.down.pop_front() else { return };
                pool.backend(id).condition.set_up(true, Moment::from_ns(world.now));
                pool.state.stir();
                self.must_have_rung(pool.state.crowd.is_empty());
            }
            Doing::Charge => {
                let (pool, id) = self.any_member(world);
                let member = pool.member(id);
                if member.backend.try_charge(member.most) {
                    self.of_next_door(member.backend.uid, 1);
                    self.held.push_back((pool, id));
                }
            }
            Doing::Discharge => {
                let Some((pool, id)) = self.held.pop_front() else { return };
                self.of_next_door(pool.backend(id).uid, -1);
                pool.discharge(id);
                self.must_have_rung(pool.state.crowd.is_empty());
            }
            Doing::Enter => {
                let open = &self.listeners[world.rng.usize(..self.listeners.len())];
                let listener = Arc::clone(&open.listener);
                if listener.gate.enter(listener.max_sessions) {
                    self.inside_next_door(listener.id, 1);
                    self.entered.push_back(listener);
                }
            }
            Doing::Leave => {
                let Some(listener) = self.entered.pop_front() else { return };
                self.inside_next_door(listener.id, -1);
                listener.gate.leave(&self.shared.bells);
                self.must_have_rung(listener.gate.crowd.is_empty());
            }
            Doing::List => {
                let (most, query) = (world.rng.usize(..4), query(world));
                let order = Order::ALL[world.rng.usize(..Order::ALL.len())];
                let answer = move |listing: Listing| {
                    let told = listing.rows.len();
                    assert!(told <= most, "{told} told, {most} wanted");
                    assert!(told as u64 <= listing.matched, "{told} told, {listing:?}");
                    assert!(listing.matched <= listing.total, "{listing:?}");
                    // However the table was filled.
                    let ages = listing.rows.iter().map(|row| row.age);
                    assert!(order != Order::Age || ages.rev().is_sorted(), "{listing:?}");
                };
                self.ask(Command::List(query, First { order, most }, Reply::new(answer)));
            }
            Doing::Kill => {
                self.ever.kills += 1;
                self.ask(Command::Kill(query(world), Reply::new(|_| ())));
            }
        }
    }

    fn ask(&self, command: Command) {
        self.shared.ask(0, command).expect("few questions");
    }

    /// Whoever changes something that this shard waits for has to wake it.
    fn must_have_rung(&self, nobody_waits: bool) {
        assert!(nobody_waits || self.shared.bells.rings(), "somebody waits, and nobody rang");
    }

    fn of_next_door(&mut self, uid: u32, by: i32) {
        let is_it = |(backend, ..): &&mut (Arc<Backend>, u32, u32)| backend.uid == uid;
        let entry = self.ever.backends.iter_mut().find(is_it).expect("it was noted");
        entry.2 = entry.2.checked_add_signed(by).expect("as many as were charged");
    }

    fn inside_next_door(&mut self, id: u32, by: i32) {
        let is_it = |(listener, ..): &&mut (Arc<Listener>, u32, u32)| listener.id == id;
        let entry = self.ever.listeners.iter_mut().find(is_it).expect("it was noted");
        entry.2 = entry.2.checked_add_signed(by).expect("as many as have entered");
    }

    fn any_member(&self, world: &mut World) -> (Arc<Pool>, BackendId) {
        let pool = &self.pools[world.rng.usize(..self.pools.len())];
        let id = world.rng.usize(..pool.members.len());
        (Arc::clone(pool), BackendId(u16::try_from(id).expect("few backends")))
    }

    // Configurations ----------------------------------------------------------------------------

    fn reload(&mut self, world: &mut World) {
        self.ever.reloads += 1;
        let before = std::mem::take(&mut self.pools);
        for (index, known) in before.iter().enumerate() {
            let mut config = draw::pool(self.well_behaved, index, &self.addresses, &mut world.rng);
            let first = config.backends.remove(0);
            config.backends.retain(|_| world.rng.u8(..4) > 0);
            config.backends.insert(0, first);
            config.sticky = self.ever.versions[index].sticky;
            let pool = self.pool(&config, Some(known));
            self.pools.push(pool);
        }
        if self.listeners.len() > 1 && world.rng.bool() {
            let gone = self.listeners.remove(world.rng.usize(..self.listeners.len()));
            world.refuse(gone.backlog);
        }
        if self.listeners.len() < LISTENERS_MAX && world.rng.bool() {
            self.open(None, world);
        }
        self.change_listeners(world);
        self.publish();
        let stays = |pools: &[Arc<Pool>], uid| pools.iter().any(|pool| pool.find(uid).is_some());
        for member in before.iter().flat_map(|pool| &pool.members) {
            if !stays(&self.pools, member.backend.uid) {
                member.backend.retire();
            }
        }
    }

    fn change_listeners(&mut self, world: &mut World) {
        for place in 0..self.listeners.len() {
            let rng = &mut world.rng;
            if rng.bool() {
                self.listeners[place].pool = rng.usize(..self.pools.len());
            }
            let most = (rng.u8(..3) == 0).then(|| rng.u32(1..=20));
            let Open { listener, pool, .. } = &self.listeners[place];
            let next = self.version(listener, most, Arc::clone(&self.pools[*pool]), None);
            let next = Arc::new(next);
            self.note_listener(&next);
            self.listeners[place].listener = next;
        }
    }

    fn note_listener(&mut self, next: &Arc<Listener>) {
        let most = next.max_sessions.unwrap_or(u32::MAX);
        match self.ever.listeners.iter_mut().find(|(known, ..)| known.id == next.id) {
            Some((known, high, _)) => (*known, *high) = (Arc::clone(next), most.max(*high)),
            None => self.ever.listeners.push((Arc::clone(next), most, 0)),
        }
    }

    /// Another version of a listener.
    fn version(
        &self,
        known: &Listener,
        max_sessions: Option<u32>,
        pool: Arc<Pool>,
        greets: Option<Greets>,
    ) -> Listener {
        let greets_before = known.greets.as_ref();
        let greets = greets.or_else(|| {
            greets_before
                .map(|greets| Greets { from: greets.from.clone(), timeout: greets.timeout })
        });
        let per_ip = known
            .per_ip
            .as_ref()
            .map(|limits| ClientLimits { table: Arc::clone(&limits.table), limits: limits.limits });
        Listener {
            id: known.id,
            name: known.name.clone(),
            address: known.address.clone(),
            max_sessions,
            access: known.access.clone(),
            per_ip,
            greets,
            pool,
            gate: Arc::clone(&known.gate),
            tallies: Arc::clone(&known.tallies),
            sockets: Arc::clone(&known.sockets),
        }
    }

    fn open(&mut self, max_sessions: Option<u32>, world: &mut World) {
        let greets = world.rng.u8(..3) == 0;
        let backlog = world.listen(greets);
        let timeout = match self.well_behaved {
            true => Duration::from_secs(3600),
            false => Duration::from_millis(1 << world.rng.u32(3..14)),
        };
        let trusted = Networks::new(&[TRUSTED.parse().expect("a network")]);
        let denied = !self.well_behaved && world.rng.u8(..4) == 0;
        let limited = !self.well_behaved && world.rng.u8(..3) == 0;
        let limits = Limits { sessions: NonZeroU32::new(world.rng.u32(1..4)), pace: None };
        let pool = world.rng.usize(..self.pools.len());
        let listener = Arc::new(Listener {
            id: self.shared.next_id(),
            name: format!("listener-{backlog}"),
            address: plan::Address::Inet(world.listener_address(backlog)),
            max_sessions,
            access: denied.then(|| AccessList::new(&[], &[DENIED.parse().expect("a network")])),
            per_ip: limited.then(|| ClientLimits { table: Arc::<PerIpTable>::default(), limits }),
            greets: greets.then_some(Greets { from: trusted, timeout }),
            pool: Arc::clone(&self.pools[pool]),
            gate: Arc::<Gate>::default(),
            tallies: Arc::new(ListenerTallies::new(1)),
            sockets: Arc::<Sockets>::default(),
        });
        self.note_listener(&listener);
        self.listeners.push(Open { backlog, listener, pool });
    }

    fn pool(&mut self, config: &PoolConfig, known: Option<&Arc<Pool>>) -> Arc<Pool> {
        let backends: Vec<_> = config
            .backends
            .iter()
            .map(|backend| {
                let most = backend.max_connections.map_or(u32::MAX, Into::into);
                let same = known.and_then(|pool| {
                    pool.members.iter().find(|member| member.backend.name == backend.name)
                });
                let same = same.map(|member| Arc::clone(&member.backend));
                let backend = same.unwrap_or_else(|| {
                    let (uid, name) = (self.shared.next_id(), backend.name.clone());
                    Arc::new(Backend::new(uid, name, &backend.addresses))
                });
                self.note_backend(&backend, most);
                backend
            })
            .collect();
        let state = known.map_or_else(
            || {
                let bells = Arc::clone(&self.shared.bells);
                let sticky = config.sticky.as_ref();
                let sticky = sticky.map(|sticky| Sticky::counted_in(Arc::default(), sticky));
                let state = Arc::new(PoolState::new(self.shared.next_id(), sticky, bells));
                self.ever.states.push(Arc::clone(&state));
                state
            },
            |known| Arc::clone(&known.state),
        );
        self.ever.versions.push(config.clone());
        Arc::new(Pool::new(config, backends, None, state))
    }

    fn note_backend(&mut self, backend: &Arc<Backend>, most: u32) {
        match self.ever.backends.iter_mut().find(|(known, ..)| known.uid == backend.uid) {
            Some((_, high, _)) => *high = most.max(*high),
            None => self.ever.backends.push((Arc::clone(backend), most, 0)),
        }
    }

    fn publish(&self) {
        self.shared.publish(Snapshot {
            leaving: Vec::new(),
            listeners: self.listeners.iter().map(|open| Arc::clone(&open.listener)).collect(),
            pools: self.pools.clone(),
            accept_anew: false,
        });
    }
}

/// All sessions, or some of them.
fn query(world: &mut World) -> Query {
    let rng = &mut world.rng;
    Query {
        phase: rng.bool().then(|| Phase::ALL[rng.usize(..Phase::ALL.len() - 1)]),
        min_age: Duration::from_millis(if rng.bool() { 0 } else { 1 << rng.u32(..10) }),
        client: rng.bool().then(|| (TRUSTED.parse().expect("a network"), None)),
        ..Query::default()
    }
}

impl Ever {
    /// Whether nothing ever changed that decides where a client may go.
    pub(super) fn is_steady(&self) -> bool {
        self.reloads == 0 && self.downs == 0
    }
}

const LISTENERS_MAX: usize = 3;

/// Clients from here begin with a PROXY header, where that is wanted.
pub(super) const TRUSTED: &str = "192.0.2.0/30";

/// Clients from here are not let in, where that is wanted.
pub(super) const DENIED: &str = "192.0.2.5/32";

//! What one run is like: everything that is decided before it begins, drawn from its seed.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::config::plan::{
    self, BackendConfig, Connect, Destination, EjectionConfig, MaxAge, OnUnavailable, PoolConfig,
    ProxyVersion, Queue, StickyBy, StickyConfig,
};
use crate::core::balance::Algorithm;
use crate::core::relay::{Bulk, Splice};
use crate::core::wanted::AdminState;
use crate::shard::Room;
use crate::shard::bells::Bells;
use crate::shard::record::Records;
use crate::shard::shared::Shared;

use super::control::Doing;
use super::faults::Faults;
use super::peers::{READ_MAX, Script, Then, Volume};

/// One run.
#[derive(Debug)]
pub(super) struct Plan {
    /// Peers write, finish and read to the end, every backend is up, deadlines are far and nobody
    /// stops us: then every session must finish, whatever else goes wrong underneath.
    pub(super) well_behaved: bool,
    pub(super) faults: Faults,
    pub(super) late_ns_max: u64,
    pub(super) tick_ns_max: u64,
    pub(super) started_at: u64,
    pub(super) buffers: usize,
    pub(super) buffer_size: usize,
    pub(super) queue_capacity: usize,
    pub(super) max_sessions: usize,
    /// The pools at the beginning.
    pub(super) pools: Vec<PoolConfig>,
    /// How many listeners there are at the beginning.
    pub(super) listeners: usize,
    /// What happens beside the shard, the earliest first.
    pub(super) doings: Vec<(u64, Doing)>,
    /// Sessions of the listener.
    pub(super) max_sessions_listener: Option<u32>,
    /// How long sessions may go on when the program is asked to end.
    pub(super) drain: Duration,
    /// When it is asked to end at once, that long after it was asked to end.
    pub(super) cut_after_ns: Option<u64>,
    pub(super) max_pipes: u16,
    pub(super) pipe_capacity: usize,
    /// The other shard has fewer sessions than this.
    pub(super) next_door_sessions: u32,
    /// When each client comes, and what it does; the earliest first.
    pub(super) clients: Vec<(u64, Script)>,
    pub(super) backends: Vec<Vec<Address>>,
    pub(super) stop: Stop,
    /// Sessions that may wait for their line in the session log, if there is one.
    pub(super) log_queue: Option<usize>,
    /// Whether the shard looks at connections, for which it wakes up.
    pub(super) watches: bool,
}

/// One address of a backend.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) at: SocketAddr,
    /// How it answers until when; afterwards as the last one.
    pub(super) phases: Vec<(u64, Answer)>,
}

/// How an address answers a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accept,
    Refuse,
    /// It never answers.
    Lose,
}

/// When the shard is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// When every session has ended by itself.
    AfterTheLastSession,
    /// When every client is through, whatever the backends still do.
    AfterTheLastClient,
    /// In the middle.
    At(u64),
}

impl Plan {
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        let well_behaved = rng.u8(..4) == 0;
        let started_at = rng.u64(..1_000_000_000_000);
        let faults = Faults::draw(rng);
        let backends = backends(well_behaved, started_at, rng);
        Self {
            well_behaved,
            faults: if well_behaved { faults.without_the_visible() } else { faults },
            late_ns_max: 1 << rng.u32(10..34),
            tick_ns_max: 1 << rng.u32(1..24),
            started_at,
            buffers: *pick(rng, &[1, 2, 3, 4, 8, 16, 32]),
            buffer_size: if rng.u8(..8) == 0 { rng.usize(65..=4096) } else { rng.usize(1..=64) },
            queue_capacity: 1 << rng.u32(0..12),
            max_sessions: if rng.u8(..3) == 0 { rng.usize(1..=5) } else { rng.usize(6..=100) },
            pools: (0..2).map(|index| pool(well_behaved, index, &backends, rng)).collect(),
            listeners: if rng.u8(..3) == 0 { 2 } else { 1 },
            doings: doings(well_behaved, started_at, rng),
            max_sessions_listener: (rng.u8(..4) == 0).then(|| rng.u32(1..=20)),
            drain: Duration::from_millis(1 << rng.u32(..14)),
            cut_after_ns: (rng.u8(..3) == 0).then(|| rng.u64(..1 << 32)),
            max_pipes: *pick(rng, &[0, 1, 2, 3, 16]),
            pipe_capacity: rng.usize(1..=512),
            next_door_sessions: *pick(rng, &[1, 2, 30]),
            clients: clients(well_behaved, started_at, rng),
            backends,
            stop: stop(well_behaved, started_at, rng),
            log_queue: rng.bool().then(|| 1 << rng.u32(..8)),
            watches: rng.bool(),
        }
    }

    /// What the shards of this run have in common, before anything is in force.
    pub(super) fn shared(&self) -> Shared {
        let mut shared = Shared::new(2, self.drain, Arc::new(Bells::default()));
        shared.records = self.log_queue.map(|most| Arc::new(Records::new(2, most)));
        shared.watches = self.watches;
        shared
    }

    /// How many addresses a new client may be connected to, at least.
    pub(super) fn addresses_for_all(&self) -> usize {
        let of_pool = |pool: &PoolConfig| {
            let serves = |one: &&BackendConfig| one.state.weight(one.weight) > 0;
            let backends = pool.backends.iter().filter(serves);
            backends.map(|backend| backend.addresses.len()).sum()
        };
        self.pools.iter().map(of_pool).min().expect("a pool")
    }

    /// What the shard may have.
    pub(super) fn room(&self) -> Room {
        Room { max_sessions: self.max_sessions, max_pipes: self.max_pipes }
    }
}

impl Address {
    /// How it answers now.
    pub(super) fn answer(&self, now: u64) -> Answer {
        let phase = self.phases.iter().find(|(until, _)| now < *until).or(self.phases.last());
        phase.map_or(Answer::Accept, |&(_, answer)| answer)
    }
}

/// What happens beside the shard: most runs see a little of it. What is taken comes back.
fn doings(well_behaved: bool, started_at: u64, rng: &mut fastrand::Rng) -> Vec<(u64, Doing)> {
    let window_ns: u64 = 1 << rng.u32(10..34);
    let mut doings = Vec::new();
    let count = if rng.bool() { 0 } else { rng.usize(..12) };
    for _ in 0..count {
        let (doing, undoing) = *pick(
            rng,
            &[
                (Doing::Reload, None),
                (Doing::Down, Some(Doing::Up)),
                (Doing::Charge, Some(Doing::Discharge)),
                (Doing::Enter, Some(Doing::Leave)),
                (Doing::List, None),
                (Doing::Kill, None),
            ],
        );
        // Whoever is ended by an operator has done nothing for it.
        let doing = if well_behaved && doing == Doing::Kill { Doing::List } else { doing };
        let at = started_at + rng.u64(..window_ns);
        doings.push((at, doing));
        if let Some(undoing) = undoing
            // Who waits outside waits for ever.
            && (well_behaved || rng.u8(..8) > 0 || undoing == Doing::Leave)
        {
            doings.push((at + rng.u64(..window_ns), undoing));
        }
    }
    doings.sort_by_key(|&(at, _)| at);
    doings
}

/// A pool of all backends, or the same one as it may become.
pub(super) fn pool(
    well_behaved: bool,
    index: usize,
    backends: &[Vec<Address>],
    rng: &mut fastrand::Rng,
) -> PoolConfig {
    let mut draw = |shortest: u32, longest: u32| {
        let short = Duration::from_millis((1 << rng.u32(shortest..=longest)) + rng.u64(..3));
        if well_behaved { Duration::from_secs(3600) } else { short }
    };
    let (connect_timeout, idle_timeout, half_closed_timeout) =
        (draw(0, 12), draw(3, 16), draw(3, 16));
    let (wait_for_backend, timeout) = (draw(0, 14), draw(0, 14));
    let at_once = rng.bool() && !well_behaved;
    let wait_for_backend = if at_once { Duration::ZERO } else { wait_for_backend };
    let most = (rng.u8(..3) == 0).then(|| rng.u32(1..=8)).and_then(NonZeroU32::new);
    let size = if well_behaved { 1000 } else { rng.u32(..20) };
    let algorithms = [
        Algorithm::Auto,
        Algorithm::RoundRobin,
        Algorithm::LeastConnections,
        Algorithm::Random,
        Algorithm::P2c,
        Algorithm::SourceHash,
        Algorithm::Maglev,
        Algorithm::First,
    ];
    let aged = !well_behaved && rng.u8(..4) == 0;
    let max_age = aged.then(|| MaxAge {
        age: Duration::from_millis(1 << rng.u32(5..14)),
        jitter: Duration::from_millis(rng.u64(..30)),
    });
    let unavailable =
        [OnUnavailable::Close, OnUnavailable::Reset, OnUnavailable::Reply(TEXT.into())];
    PoolConfig {
        name: format!("pool-{index}"),
        destination: Destination::Backends,
        backends: backends
            .iter()
            .enumerate()
            .map(|(index, addresses)| backend(index, addresses, most, rng))
            .collect(),
        algorithm: *pick(rng, &algorithms),
        sticky: (rng.u8(..4) == 0).then(|| sticky(rng)),
        connect_timeout,
        idle_timeout,
        half_closed_timeout,
        wait_for_backend,
        on_unavailable: pick(rng, &unavailable).clone(),
        queue: Queue { size, timeout },
        session_failover: false,
        close_when_down: false,
        send_proxy: *pick(rng, &[None, None, Some(ProxyVersion::V1), Some(ProxyVersion::V2)]),
        max_age,
        connect: Connect::default(),
        splice: splice(rng),
        status_port_offset: None,
        slow_start: None,
        health: None,
        ejection: rng.bool().then(|| EjectionConfig {
            after: NonZeroU32::MIN.saturating_add(rng.u32(..4)),
            first: Duration::from_millis(1 << rng.u32(..12)),
            longest: Duration::from_secs(10),
        }),
    }
}

fn sticky(rng: &mut fastrand::Rng) -> StickyConfig {
    StickyConfig {
        key: if rng.bool() { StickyBy::Ip } else { StickyBy::IpPort },
        ttl: Duration::from_millis(1 << rng.u32(..14)),
        size: NonZeroU32::MIN.saturating_add(rng.u32(..8)),
        returns: rng.bool(),
    }
}

fn backend(
    index: usize,
    addresses: &[Address],
    max_connections: Option<NonZeroU32>,
    rng: &mut fastrand::Rng,
) -> BackendConfig {
    BackendConfig {
        name: format!("backend-{index}"),
        target: plan::Target::Unix(format!("/{index}").into()),
        addresses: addresses.iter().map(|address| plan::Address::Inet(address.at)).collect(),
        weight: if index == 0 { 1 } else { *pick(rng, &[0, 1, 1, 2, 7]) },
        // The first one is there for everybody.
        backup: index > 0 && rng.u8(..4) == 0,
        max_connections,
        // Half of them are there for whoever comes.
        state: if index == 0 { AdminState::Ready } else { *pick(rng, &STATES) },
        added: rng.bool(),
    }
}

const STATES: [AdminState; 6] = {
    use AdminState::{Drain, Maint, Ready};
    [Ready, Ready, Ready, Ready, Drain, Maint]
};

/// What a client is told that waited in vain.
const TEXT: &[u8] = b"503 Service Unavailable";

/// What counts as bulk is little here, so that it is met.
fn splice(rng: &mut fastrand::Rng) -> Splice {
    let bulk =
        Bulk { large_receive: rng.u32(1..=32), after: rng.u32(1..=200), little: rng.u32(1..=64) };
    *pick(rng, &[Splice::Auto(bulk), Splice::Auto(bulk), Splice::Always, Splice::Off])
}

fn clients(well_behaved: bool, started_at: u64, rng: &mut fastrand::Rng) -> Vec<(u64, Script)> {
    let count = rng.usize(..=30);
    let window_ns = 1 << rng.u32(10..34);
    let mut clients: Vec<(u64, Script)> = (0..count)
        .map(|_| {
            let at = started_at + rng.u64(..window_ns);
            let volume = Volume::Fixed(volume(rng));
            (at, if well_behaved { Script::tame(volume, rng) } else { Script::draw(volume, rng) })
        })
        .collect();
    clients.sort_by_key(|&(at, _)| at);
    clients
}

fn backends(well_behaved: bool, started_at: u64, rng: &mut fastrand::Rng) -> Vec<Vec<Address>> {
    let count = rng.u8(1..=5);
    let mut backends = Vec::new();
    for index in 0..count {
        let addresses = if rng.u8(..3) == 0 { 2 } else { 1 };
        // At most one of two addresses works, so that the other has to be tried.
        let refusing = rng.u8(..2);
        let address = |number: u8| {
            let at = SocketAddr::from((Ipv4Addr::new(10, 0, index, number), 80));
            let refuses = addresses == 2 && number == refusing;
            let phases = match (refuses, well_behaved) {
                (true, _) => vec![(u64::MAX, Answer::Refuse)],
                (false, true) => vec![(u64::MAX, Answer::Accept)],
                (false, false) => phases(started_at, rng),
            };
            Address { at, phases }
        };
        backends.push((0..addresses).map(address).collect());
    }
    backends
}

fn phases(started_at: u64, rng: &mut fastrand::Rng) -> Vec<(u64, Answer)> {
    let mut until = started_at;
    let count = if rng.bool() { 1 } else { rng.usize(2..6) };
    (0..count)
        .map(|_| {
            until += rng.u64(..1 << 32);
            let answers = [Answer::Accept, Answer::Accept, Answer::Accept, Answer::Refuse];
            (until, if rng.u8(..8) == 0 { Answer::Lose } else { *pick(rng, &answers) })
        })
        .collect()
}

fn stop(well_behaved: bool, started_at: u64, rng: &mut fastrand::Rng) -> Stop {
    match rng.u8(..4) {
        0 if !well_behaved => {
            let within_ns = 1 << rng.u32(10..34);
            Stop::At(started_at + rng.u64(..within_ns))
        }
        1 if !well_behaved => Stop::AfterTheLastClient,
        _ => Stop::AfterTheLastSession,
    }
}

impl Script {
    /// Any behaviour.
    pub(super) fn draw(volume: Volume, rng: &mut fastrand::Rng) -> Self {
        let mut script = Self::tame(volume, rng);
        script.then = match rng.u8(..8) {
            0 => Then::Close,
            1 => Then::Reset,
            2 => Then::Wait,
            _ => Then::HalfClose,
        };
        if rng.u8(..8) == 0 {
            script.reset_after_read = Some(rng.u64(1..200));
        }
        if rng.u8(..8) == 0 {
            // So long that to the balancer it is for ever.
            script.stall = Some((rng.u64(..100), 200_000_000_000));
        }
        script
    }

    /// Writes, finishes, reads to the end.
    pub(super) fn tame(volume: Volume, rng: &mut fastrand::Rng) -> Self {
        let pause_ns_max = 1 << rng.u32(..26);
        Self {
            preamble: Vec::new(),
            volume,
            then: Then::HalfClose,
            write_chunk: rng.usize(1..=256),
            write_pause_ns: rng.u64(..pause_ns_max),
            read_chunk: rng.usize(1..=READ_MAX),
            read_pause_ns: rng.u64(..pause_ns_max),
            stall: (rng.u8(..4) == 0).then(|| (rng.u64(..300), rng.u64(..1 << 31))),
            reset_after_read: None,
        }
    }

    /// What a backend does on a new connection.
    pub(super) fn of_backend(well_behaved: bool, rng: &mut fastrand::Rng) -> Self {
        let volume = if rng.bool() { Volume::Echo } else { Volume::Fixed(volume(rng)) };
        if well_behaved { Self::tame(volume, rng) } else { Self::draw(volume, rng) }
    }
}

/// Nothing, a little, or many buffers full.
fn volume(rng: &mut fastrand::Rng) -> u64 {
    match rng.u8(..8) {
        0 => 0,
        1 => rng.u64(..3000),
        _ => rng.u64(..300),
    }
}

fn pick<'a, T>(rng: &mut fastrand::Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

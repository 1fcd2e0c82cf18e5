//! The book of a run: which two connections make a session, how it ended, and whether what the two
//! peers saw is what a balancer may show them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use uring::{Errno, Op, Owner};

use crate::config::plan::{MaxAge, OnUnavailable, PoolConfig};
use crate::core::Side;
use crate::core::proxy::encode;
use crate::core::session::EndReason;
use crate::shard::shared::{Shared, Stopping};

use super::control::Ever;
use super::peers::{Peer, Saw};
use super::plan::Plan;
use super::tcp::End;
use super::world::{Greeting, Link, World};

/// What is known of the sessions of one run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By slot and generation.
    attempts: BTreeMap<(u32, u32), Attempts>,
    sessions: Vec<Record>,
    /// By link.
    session_of: BTreeMap<usize, usize>,
    /// Clients that were accepted, by link.
    clients: BTreeMap<usize, Client>,
    /// What backends were told before the stream, by link.
    headers: BTreeMap<usize, Vec<u8>>,
    /// Connects of all sessions.
    pub(super) tries: u64,
    /// Times that a session began again with addresses that it had tried.
    laps: u64,
    /// The shard's counters of ended sessions, as of the last close.
    ended: [u64; EndReason::ALL.len()],
}

/// Where a session tried to connect to.
#[derive(Debug, Default)]
struct Attempts {
    /// Ever.
    tries: u32,
    /// Since it waited the last time.
    addresses: Vec<SocketAddr>,
    /// Whether it has waited, and so need not have tried everybody in the end.
    waited: bool,
    /// There was no socket to be had, so it may run out of time before it has tried all.
    held_up: bool,
    /// The last one, if there was a socket to be had.
    link: Option<usize>,
}

/// What became of a client, whether it got to a backend or not.
#[derive(Debug)]
struct Client {
    came_at: u64,
    /// What it was told instead of being served.
    said: Vec<u8>,
    /// When it was told that this is all.
    finished_at: Option<u64>,
    closed: Option<Closed>,
}

#[derive(Debug)]
struct Closed {
    at: u64,
    /// None for one that never was a session.
    reason: Option<EndReason>,
    reset: bool,
    /// Whether it had finished, and all that it had sent was read.
    clean: bool,
    /// Whether it may send nothing more.
    through: bool,
    /// Whether the program ends.
    stops: bool,
}

/// A session that got as far as relaying.
#[derive(Debug)]
struct Record {
    client: usize,
    backend: usize,
    /// Whose operation failed first, unless the balancer had begun to end it.
    first_failure: Option<Side>,
    last_told_at: u64,
    /// The sides from which nothing is received because there is no buffer.
    starved: [bool; 2],
    /// When the first operation was cancelled or the first socket closed.
    ending_at: Option<u64>,
    reason: Option<EndReason>,
    /// How the sockets of client and backend were closed.
    closed_with_reset: [Option<bool>; 2],
    /// Whether each had read everything then, the end included.
    delivered: [bool; 2],
    /// Whether the side had been told the end of the stream before its socket was closed.
    told_the_end: [bool; 2],
}

impl Ledger {
    /// The shard asks for a connection.
    pub(super) fn on_attempt(&mut self, owner: Owner, address: &SocketAddr, shared: &Shared) {
        let attempts = self.attempts.entry((owner.slot, owner.generation)).or_default();
        if attempts.addresses.contains(address) {
            // Who has waited may begin again.
            self.laps += 1;
            let waited = shared.counters[0].waited_for_backend.value();
            // The backends of another configuration are others, at the same addresses.
            let is_first = shared.version() == 1;
            assert!(self.laps <= waited || !is_first, "{owner:?} tries {address} twice");
            attempts.addresses.clear();
            attempts.waited = true;
        }
        attempts.addresses.push(*address);
        attempts.tries += 1;
        self.tries += 1;
    }

    /// How often `owner` was connected to somebody, or that was tried.
    pub(super) fn tries_of(&self, owner: Owner) -> u32 {
        let attempts = self.attempts.get(&(owner.slot, owner.generation));
        attempts.map_or(0, |attempts| attempts.tries)
    }

    /// A client has come.
    pub(super) fn on_accepted(&mut self, world: &World, link: usize) {
        let client =
            Client { came_at: world.now, said: Vec::new(), finished_at: None, closed: None };
        assert!(self.clients.insert(link, client).is_none(), "link {link} is accepted twice");
    }

    /// The connect of `link` failed: it is no session's any more.
    pub(super) fn on_connect_failed(&mut self, link: usize) {
        assert!(self.forget_backend(link), "nobody asked for link {link}");
    }

    /// Whether `link` was the backend of a session.
    fn forget_backend(&mut self, link: usize) -> bool {
        let is_it = |attempts: &&mut Attempts| attempts.link == Some(link);
        let attempts = self.attempts.values_mut().find(is_it);
        attempts.is_some_and(|attempts| attempts.link.take().is_some())
    }

    /// The balancer says something by itself: to a client that is turned away.
    pub(super) fn on_said(&mut self, world: &World, link: usize, bytes: &[u8], whole: bool) {
        assert!(!self.session_of.contains_key(&link), "a word among what is relayed");
        match self.clients.get_mut(&link) {
            Some(client) => client.said.extend(bytes),
            // Who could not be told everything is no backend of the session.
            None if !whole => {
                self.forget_backend(link);
            }
            None => {
                assert_eq!(world.links[link].side, Side::Backend, "it is somebody");
                assert!(self.headers.insert(link, bytes.to_vec()).is_none(), "two headers");
            }
        }
    }

    /// There is no socket for what [`Ledger::on_attempt`] announced; a shortage of this host is no
    /// try of that address.
    pub(super) fn on_no_socket(&mut self, owner: Owner, errno: Errno) {
        let attempts = self.attempts.get_mut(&(owner.slot, owner.generation));
        let attempts = attempts.expect("announced just now");
        if errno != Errno::EADDRNOTAVAIL {
            attempts.held_up = true;
            attempts.addresses.pop();
        }
    }

    /// There is a socket for what [`Ledger::on_attempt`] announced.
    pub(super) fn on_connect(&mut self, owner: Owner, link: usize) {
        let attempts = self.attempts.get_mut(&(owner.slot, owner.generation));
        attempts.expect("announced just now").link = Some(link);
    }

    /// Whether a socket to a backend was made for `owner`.
    pub(super) fn has_backend(&self, owner: Owner) -> bool {
        let attempts = self.attempts.get(&(owner.slot, owner.generation));
        attempts.is_some_and(|attempts| attempts.link.is_some())
    }

    /// The first receives tell which connections belong together.
    pub(super) fn on_recv(&mut self, world: &mut World, owner: Owner, link: usize) {
        let attempts = self.attempts.get(&(owner.slot, owner.generation));
        let connected = attempts.and_then(|attempts| attempts.link);
        let backend = connected.unwrap_or_else(|| panic!("{owner:?} receives, unconnected"));
        let side = world.links[link].side;
        if let Some(&session) = self.session_of.get(&link) {
            self.sessions[session].starved[side as usize] = false;
        }
        if side == Side::Backend {
            assert_eq!(link, backend, "{owner:?} receives from another session's backend");
            return;
        }
        let partner = *world.links[link].partner.get_or_insert(backend);
        assert_eq!(partner, backend, "{owner:?} receives from another session's client");
        if self.session_of.contains_key(&link) {
            return;
        }
        self.session_of.insert(link, self.sessions.len());
        self.session_of.insert(backend, self.sessions.len());
        world.links[backend].partner = Some(link);
        self.sessions.push(Record {
            client: link,
            backend,
            first_failure: None,
            last_told_at: world.now,
            starved: [false; 2],
            ending_at: None,
            reason: None,
            closed_with_reset: [None; 2],
            delivered: [false; 2],
            told_the_end: [false; 2],
        });
    }

    /// An operation on `link` has been answered.
    pub(super) fn on_told(
        &mut self,
        world: &World,
        link: usize,
        op: Op,
        failed: bool,
        starved: bool,
    ) {
        let side = world.links[link].side;
        let record = &mut self.sessions[self.session_of[&link]];
        if record.ending_at.is_none() {
            // To be short of buffers is no progress.
            if !starved {
                record.last_told_at = world.now;
            }
            if op == Op::Recv {
                record.starved[side as usize] = starved;
            }
            if failed {
                record.first_failure.get_or_insert(side);
            }
        }
    }

    /// Bytes were moved from or to `link`, or that failed.
    pub(super) fn on_spliced(&mut self, world: &World, link: usize, failed: bool) {
        let record = &mut self.sessions[self.session_of[&link]];
        assert!(record.ending_at.is_none(), "spliced after the end has begun: {record:?}");
        record.last_told_at = world.now;
        // A failure that was told in this turn is not looked at yet, or nothing would be spliced.
        if failed {
            record.first_failure = Some(world.links[link].side);
        }
    }

    /// Bytes from one link are going to another.
    pub(super) fn check_way(&self, from: usize, to: usize) {
        let (from, to) = (self.session_of.get(&from), self.session_of.get(&to));
        assert_eq!(from, to, "bytes of one session go to another");
    }

    /// Whether a session would receive if it knew of a free buffer.
    pub(super) fn is_anybody_starved(&self) -> bool {
        let is_starved =
            |record: &Record| record.starved.contains(&true) && record.ending_at.is_none();
        self.sessions.iter().any(is_starved)
    }

    /// The balancer gives something on `link` up.
    pub(super) fn on_ending(&mut self, world: &World, link: usize) {
        if let Some(&session) = self.session_of.get(&link) {
            self.sessions[session].ending_at.get_or_insert(world.now);
        }
    }

    pub(super) fn on_finish_writing(&mut self, world: &World, link: usize) {
        if !self.session_of.contains_key(&link) {
            let client = self.clients.get_mut(&link).expect("only clients are turned away");
            assert!(client.finished_at.replace(world.now).is_none(), "turned away twice");
            return;
        }
        let record = &mut self.sessions[self.session_of[&link]];
        record.told_the_end[world.links[link].side as usize] = true;
    }

    pub(super) fn on_close(&mut self, world: &World, shared: &Shared, link: usize, reset: bool) {
        let reason = self.reason_just_counted(shared);
        self.on_ending(world, link);
        if let Some(client) = self.clients.get_mut(&link) {
            let conn = &world.links[link].conn;
            let through = conn.has_finished(End::Peer) || conn.is_closed(End::Peer);
            let clean = conn.has_finished(End::Peer) && !conn.has_unread(End::Balancer);
            let stops = shared.stopping() != Stopping::No;
            client.closed = Some(Closed { at: world.now, reason, reset, clean, through, stops });
        }
        let Some(&session) = self.session_of.get(&link) else { return };
        let record = &mut self.sessions[session];
        record.reason = record.reason.or(reason);
        let side = world.links[link].side as usize;
        record.closed_with_reset[side] = Some(reset);
        record.delivered[side] = world.links[link].conn.has_read_all(End::Peer);
    }

    /// A session is counted just before its sockets are closed, so the counters tell its reason.
    fn reason_just_counted(&mut self, shared: &Shared) -> Option<EndReason> {
        let mut reason = None;
        for candidate in EndReason::ALL {
            let count = shared.counters[0].ended[candidate as usize].value();
            if std::mem::replace(&mut self.ended[candidate as usize], count) != count {
                assert!(reason.replace(candidate).is_none(), "a session is counted twice");
            }
        }
        reason
    }

    /// Sessions that relayed, and the bytes that peers got.
    pub(super) fn totals(&self, world: &World) -> (u64, u64) {
        let peers = world.links.iter().filter_map(|link| link.peer.as_ref());
        (self.sessions.len() as u64, peers.map(|peer| peer.got()).sum())
    }

    // At the end --------------------------------------------------------------------------------

    /// # Panics
    /// When a peer saw what it should not have seen.
    pub(super) fn check(&self, world: &World, plan: &Plan, ever: &Ever) {
        for (index, link) in world.links.iter().enumerate() {
            assert!(link.conn.is_closed(End::Balancer), "the socket of link {index} was lost");
        }
        if ever.is_steady() && plan.listeners == 1 {
            self.check_attempts(plan);
        }
        for record in &self.sessions {
            let reason = record.reason.expect("every session that relayed was counted");
            let age = self.clients[&record.client].came_at;
            record.check_reason(reason, ever, age, world);
            self.check_header(record, world, ever);
            record.check_direction(reason, record.client, record.backend, world);
            record.check_direction(reason, record.backend, record.client, world);
            assert!(
                !plan.well_behaved || reason == EndReason::Finished,
                "both peers were well behaved, and the session ended as {reason:?}: {record:?}"
            );
        }
        for (&link, client) in &self.clients {
            if !self.session_of.contains_key(&link) {
                client.check_away(link, world, ever);
                assert!(!plan.well_behaved, "a client was turned away: {client:?}");
            }
        }
    }

    /// The backend was told who the client is, as far as that is known, and the client began as it
    /// should.
    fn check_header(&self, record: &Record, world: &World, ever: &Ever) {
        let client = &world.links[record.client];
        let who = match client.greeting {
            Greeting::Bad => panic!("a client without a header is served: {record:?}"),
            Greeting::Good(Some(who)) => Some(who),
            Greeting::None | Greeting::Good(None) => client.ends,
        };
        let said = self.headers.get(&record.backend).map_or(&[][..], Vec::as_slice);
        let as_configured = ever.versions.iter().any(|pool| {
            let expected = pool.send_proxy.map(|version| {
                encode(version, who.map(|(source, _)| source), who.map(|(_, own)| own)).to_vec()
            });
            let unknown = pool.send_proxy.map(|version| encode(version, None, None).to_vec());
            said == expected.unwrap_or_default()
                // Nobody asked who it is before another configuration wanted to know.
                || (ever.reloads > 0 && said == unknown.unwrap_or_default())
        });
        assert!(as_configured, "another header, {said:?} for {who:?}: {record:?}");
    }

    /// Nobody is sent away before every address was tried, or it has waited.
    fn check_attempts(&self, plan: &Plan) {
        let addresses = plan.addresses_for_all();
        let tried_all = |attempts: &&Attempts| {
            attempts.held_up || attempts.waited || attempts.addresses.len() >= addresses
        };
        let tried_all = self.attempts.values().filter(tried_all).count() as u64;
        let unreachable = self.ended[EndReason::BackendUnreachable as usize];
        assert!(
            unreachable <= tried_all,
            "{unreachable} sessions reached nobody, and only {tried_all} tried all {addresses}"
        );
    }
}

impl Client {
    /// What a client saw that never got to a backend: a reset, or a text, the end, and nothing else;
    /// as one of the versions of its pool has it.
    fn check_away(&self, link: usize, world: &World, ever: &Ever) {
        let Closed { at, reason, reset, clean, through, stops } =
            self.closed.as_ref().expect("every client was closed");
        let Link { peer, conn, greeting, .. } = &world.links[link];
        let peer = peer.as_ref().expect("a client is somebody");
        self.check_why(*reason, *reset, *greeting, ever);
        if let Some(finished_at) = self.finished_at {
            // Nothing can be written to one that has reset the connection.
            let gone = conn.was_reset(End::Balancer) || peer.left;
            let as_configured = |pool: &PoolConfig| match &pool.on_unavailable {
                OnUnavailable::Reply(text) => self.said == **text,
                OnUnavailable::Close => self.said.is_empty(),
                OnUnavailable::Reset => false,
            };
            let said = gone || ever.versions.iter().any(as_configured);
            assert!(said, "another text: {self:?}");
            let lingered = at - finished_at >= LINGER_NS;
            let noticed = *through || conn.was_reset(End::Balancer);
            let killed = ever.kills > 0;
            assert!(*stops || killed || lingered || noticed, "closed too early: {self:?}");
        } else {
            assert!(self.said.is_empty(), "a text before a reset: {self:?}");
        }
        if *clean && !*reset && !peer.left {
            assert_eq!(peer.saw, Some(Saw::Finish), "a reset instead of a FIN: {self:?}");
        }
        if peer.saw == Some(Saw::Finish) {
            assert!(self.finished_at.is_some(), "a FIN that nobody sent: {self:?}");
            let left = (peer.got(), peer.unread_greeting());
            assert_eq!(left, (0, 0), "a FIN before the last byte: {self:?}");
        }
        assert!(peer.left || peer.saw.is_some(), "the client was not told of the end: {self:?}");
    }

    fn check_why(&self, reason: Option<EndReason>, reset: bool, greeting: Greeting, ever: &Ever) {
        let waited = self.finished_at.unwrap_or_else(|| self.closed.as_ref().map_or(0, |it| it.at));
        let waited = Duration::from_nanos(waited - self.came_at);
        let turned_away = match reason {
            // Before it was a session, or in the middle.
            None | Some(EndReason::Cut | EndReason::ClientGone | EndReason::Denied) => false,
            Some(EndReason::Killed) => {
                assert!(ever.kills > 0, "nobody wanted that: {self:?}");
                false
            }
            Some(EndReason::BadGreeting) => {
                assert_ne!(greeting, Greeting::None, "nothing was asked of it: {self:?}");
                false
            }
            Some(EndReason::BackendUnreachable | EndReason::QueueFull) => true,
            Some(EndReason::QueueTimeout) => {
                let shortest = ever.versions.iter().map(|pool| pool.queue.timeout).min();
                assert!(Some(waited) >= shortest, "{reason:?} is early: {self:?}");
                true
            }
            Some(reason) => panic!("{reason:?} without a backend: {self:?}"),
        };
        if turned_away {
            let lingers = self.finished_at.is_some();
            let as_configured =
                |pool: &PoolConfig| lingers == (pool.on_unavailable != OnUnavailable::Reset);
            assert!(ever.versions.iter().any(as_configured), "{self:?}");
            assert_eq!(reset, !lingers, "{self:?}");
            assert_ne!(greeting, Greeting::Bad, "a client without a header is placed: {self:?}");
        } else {
            assert!(reset && self.finished_at.is_none(), "{self:?}");
        }
    }
}

impl Record {
    fn check_reason(&self, reason: EndReason, ever: &Ever, came_at: u64, world: &World) {
        let shortest = |of: fn(&PoolConfig) -> Duration| {
            ever.versions.iter().map(of).min().expect("a version")
        };
        let resets = self.closed_with_reset.map(|reset| reset.expect("both sockets were closed"));
        let ending_at = self.ending_at.expect("it ended");
        let quiet_ns = ending_at - self.last_told_at;
        let quiet_at_least = |deadline: Duration| {
            assert!(u128::from(quiet_ns) >= deadline.as_nanos(), "{reason:?} is early: {self:?}");
        };
        let finished =
            [self.client, self.backend].map(|link| world.links[link].conn.has_finished(End::Peer));
        let expected_resets = match reason {
            EndReason::Finished => false,
            EndReason::ClientGone | EndReason::BackendGone | EndReason::Cut => true,
            EndReason::HalfClosedTimeout => {
                assert!(finished.contains(&true), "nobody has finished: {self:?}");
                quiet_at_least(shortest(|pool| pool.half_closed_timeout));
                true
            }
            EndReason::IdleTimeout => {
                quiet_at_least(shortest(|pool| pool.idle_timeout));
                self.has_lost_bytes(world)
            }
            EndReason::MaxAge => {
                let ages = ever.versions.iter().filter_map(|pool| pool.max_age);
                let youngest = ages.map(|MaxAge { age, jitter }| age - jitter).min();
                let youngest = youngest.expect("sessions age").as_nanos();
                let over_ns = u128::from(ending_at - came_at).checked_sub(youngest);
                let over_ns = over_ns.unwrap_or_else(|| panic!("{reason:?} is early: {self:?}"));
                let paused = u128::from(quiet_ns) >= PAUSE.as_nanos();
                assert!(paused || over_ns >= PAUSE_WITHIN.as_nanos(), "no pause: {self:?}");
                self.has_lost_bytes(world) || self.told_the_end.contains(&true) || !paused
            }
            EndReason::BackendDown => {
                assert!(ever.cuts > 0, "nobody wanted that: {self:?}");
                true
            }
            EndReason::Killed => {
                assert!(ever.kills > 0, "nobody wanted that: {self:?}");
                true
            }
            EndReason::BackendUnreachable
            | EndReason::QueueTimeout
            | EndReason::QueueFull
            | EndReason::BadGreeting
            | EndReason::Denied => panic!("{reason:?}, and it had a backend: {self:?}"),
        };
        // Who has been told the end must still be able to read what came before it, and who has read all
        // of it is not left alone with an answer that nobody waits for.
        let sides = [Side::Client, Side::Backend].map(|side| side as usize);
        let gone = [EndReason::ClientGone, EndReason::BackendGone];
        let learns = |side: usize| self.delivered[side] && reason != gone[side];
        let expected_resets =
            sides.map(|side| expected_resets && (!self.told_the_end[side] || learns(side)));
        if matches!(reason, EndReason::IdleTimeout | EndReason::MaxAge) {
            // More resets than expected do no harm: a send may be taken after it was given up.
            assert!(resets >= expected_resets, "bytes were lost without a reset: {self:?}");
        } else {
            assert_eq!(resets, expected_resets, "{self:?}");
        }
        if let Some(side) = self.first_failure {
            let expected = match side {
                Side::Client => EndReason::ClientGone,
                Side::Backend => EndReason::BackendGone,
            };
            assert_eq!(reason, expected, "{self:?}");
        }
    }

    /// Whether the balancer took bytes that it did not pass on, or knew of bytes that it did not
    /// take.
    fn has_lost_bytes(&self, world: &World) -> bool {
        let lost = |from: usize, to: usize| {
            let taken = world.links[from].conn.written_by(End::Peer).read;
            passed_on(&world.links[to]) != taken
        };
        lost(self.client, self.backend)
            || lost(self.backend, self.client)
            || self.starved.contains(&true)
    }

    /// Compares what the peer at `to` saw with what the peer at `from` did.
    fn check_direction(&self, reason: EndReason, from: usize, to: usize, world: &World) {
        let source = &world.links[from].conn;
        let sent = source.written_by(End::Peer);
        let destination = &world.links[to].conn;
        let passed_on = passed_on(&world.links[to]);
        assert!(passed_on <= sent.read, "bytes out of nowhere: {self:?}");
        let Some(peer) = &world.links[to].peer else { panic!("nobody is at link {to}: {self:?}") };
        let told = peer.left || peer.saw.is_some();
        assert!(told, "the peer of link {to} was not told of the end: {self:?}");
        if peer.saw == Some(Saw::Finish) && !self.is_end_without_fin(reason) {
            assert!(source.has_finished(End::Peer), "a FIN that nobody sent: {self:?}");
            assert_eq!(peer.got(), sent.written, "a FIN before the last byte: {self:?}");
        }
        if reason == EndReason::Finished {
            assert!(source.has_finished(End::Peer), "finished without a FIN: {self:?}");
            assert_eq!(passed_on, sent.written, "finished too early: {self:?}");
            let clean = peer.left || peer.saw == Some(Saw::Finish) || peer.write_failed;
            assert!(clean, "a reset instead of a FIN for link {to}: {self:?}");
        }
        // The rule of the whole: a reset goes through, unless its receiver was through itself.
        if self.closed_with_reset[world.links[to].side as usize] == Some(true) && !peer.left {
            let through = peer.saw == Some(Saw::Finish) && destination.has_finished(End::Peer);
            let told = destination.was_reset(End::Peer);
            assert!(through || told, "link {to} was not told of a reset: {self:?}");
        }
    }

    /// An idle or old session may be closed cleanly although neither side has finished.
    fn is_end_without_fin(&self, reason: EndReason) -> bool {
        matches!(reason, EndReason::IdleTimeout | EndReason::MaxAge)
            && self.closed_with_reset == [Some(false); 2]
    }
}

/// Bytes of the other peer's that were sent over `link`.
fn passed_on(link: &Link) -> u64 {
    let own = link.peer.as_ref().map_or(0, Peer::unread_greeting);
    link.conn.written_by(End::Balancer).written - own
}

/// How long a client that was turned away may go on before it is closed.
const LINGER_NS: u64 = 2_000_000_000;

/// An old session is ended in a pause, or a little later.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_WITHIN: Duration = Duration::from_secs(10);

//! Everything outside the balancer: time, connections, the listeners' queues, clients that come,
//! backends that answer.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::core::Side;
use crate::core::proxy::{Version, encode};

use super::faults::Faults;
use super::peers::{Peer, Script, Volume};
use super::plan::{Address, Answer, Plan};
use super::tcp::{Conn, End};

/// The world of one run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) rng: fastrand::Rng,
    pub(super) faults: Faults,
    pub(super) links: Vec<Link>,
    /// Every listener that there ever was.
    backlogs: Vec<Backlog>,
    /// Who is still to come; the next one last.
    arrivals: Vec<(u64, Script)>,
    addresses: Vec<Address>,
    well_behaved: bool,
    queue_capacity: usize,
    /// Clients that were in the queue of a listener when it was closed.
    pub(super) lost: u32,
    /// Indices of links whose peer is not through.
    live: Vec<usize>,
}

/// The queue of a listener.
#[derive(Debug, Default)]
struct Backlog {
    /// Established, and not yet accepted.
    links: VecDeque<usize>,
    /// Whether it refuses who comes.
    refuses: bool,
    closed: bool,
    /// Whether clients of some addresses begin with a header.
    greets: bool,
}

/// One connection of the balancer with the peer at its other end.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) side: Side,
    pub(super) conn: Conn,
    /// Nobody before a connect is answered.
    pub(super) peer: Option<Peer>,
    /// The other link of the same session, once it relays.
    pub(super) partner: Option<usize>,
    /// Where the peer is, and where it connected to.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    pub(super) greeting: Greeting,
}

/// How a client begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Nothing is expected of it.
    None,
    /// With a header that says this.
    Good(Option<(SocketAddr, SocketAddr)>),
    /// With something else, or with a part of a header.
    Bad,
}

impl World {
    pub(super) fn new(plan: &Plan, rng: fastrand::Rng) -> Self {
        Self {
            now: plan.started_at,
            rng,
            faults: plan.faults.clone(),
            links: Vec::new(),
            backlogs: Vec::new(),
            arrivals: plan.clients.iter().rev().cloned().collect(),
            addresses: plan.backends.iter().flatten().cloned().collect(),
            well_behaved: plan.well_behaved,
            queue_capacity: plan.queue_capacity,
            live: Vec::new(),
            lost: 0,
        }
    }

    /// Lets everybody do what can be done now; whether that was anything.
    pub(super) fn step(&mut self) -> bool {
        let mut progress = false;
        while self.arrivals.last().is_some_and(|&(at, _)| at <= self.now) {
            let (_, script) = self.arrivals.pop().expect("looked at above");
            self.arrive(script);
            progress = true;
        }
        let Self { links, rng, now, live, .. } = self;
        live.retain(|&index| {
            let Link { conn, peer, partner, .. } = &mut links[index];
            let Some(peer) = peer else { return false };
            progress |= peer.step(conn, index, *partner, *now, rng);
            !peer.is_gone()
        });
        progress
    }

    fn arrive(&mut self, script: Script) {
        let is_open = |backlog: &Backlog| !backlog.closed && !backlog.refuses;
        let open = (0..self.backlogs.len()).filter(|&place| is_open(&self.backlogs[place]));
        let open: Vec<usize> = open.collect();
        // Nobody listens: the client is refused, and that is all it sees.
        if open.is_empty() {
            return;
        }
        let chosen = if open.len() > 1 { open[self.rng.usize(..open.len())] } else { open[0] };
        let mut script = script;
        let link = self.link(Side::Client);
        let host = self.rng.u8(1..=6);
        let address = SocketAddr::from(([192, 0, 2, host], self.rng.u16(1024..)));
        self.links[link].ends = Some((address, self.listener_address(chosen)));
        if self.backlogs[chosen].greets && host <= TRUSTED_MAX {
            self.links[link].greeting = self.greet(&mut script);
        }
        self.meet(link, script);
        self.backlogs[chosen].links.push_back(link);
    }

    /// Lets a client begin with a header, or not.
    fn greet(&mut self, script: &mut Script) -> Greeting {
        let source = SocketAddr::from(([198, 51, 100, self.rng.u8(..)], self.rng.u16(1..)));
        let destination = SocketAddr::from(([203, 0, 113, self.rng.u8(..)], self.rng.u16(1..)));
        let version = if self.rng.bool() { Version::V1 } else { Version::V2 };
        let known = self.rng.u8(..4) > 0;
        let who = known.then_some((source, destination));
        let header = encode(version, who.map(|who| who.0), who.map(|who| who.1));
        script.preamble = header.to_vec();
        if self.well_behaved || self.rng.u8(..4) > 0 {
            return Greeting::Good(who);
        }
        match self.rng.u8(..3) {
            0 => script.preamble = b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            1 => script.preamble[2] ^= 0x20,
            _ => {
                // And then nothing, or the end.
                script.preamble.truncate(self.rng.usize(..header.len()));
                script.volume = Volume::Fixed(0);
            }
        }
        Greeting::Bad
    }

    /// One more address that clients come to; names it.
    pub(super) fn listen(&mut self, greets: bool) -> usize {
        self.backlogs.push(Backlog { greets, ..Backlog::default() });
        self.backlogs.len() - 1
    }

    /// Nobody more can connect; who is in the queue still can be accepted.
    pub(super) fn refuse(&mut self, backlog: usize) {
        self.backlogs[backlog].refuses = true;
    }

    /// Where a listener listens.
    pub(super) fn listener_address(&self, backlog: usize) -> SocketAddr {
        let last = u8::try_from(backlog).expect("few listeners");
        SocketAddr::from(([10, 9, 9, last], 80))
    }

    /// Whether a client waits to be accepted.
    pub(super) fn has_waiting(&self, backlog: usize) -> bool {
        !self.backlogs[backlog].links.is_empty()
    }

    /// The client that has waited longest.
    pub(super) fn accept(&mut self, backlog: usize) -> Option<usize> {
        self.backlogs[backlog].links.pop_front()
    }

    /// Whether every client that came was accepted, or reset.
    pub(super) fn nobody_waits(&self) -> bool {
        self.backlogs.iter().all(|backlog| backlog.links.is_empty())
    }

    fn link(&mut self, side: Side) -> usize {
        let conn = Conn::new(self.queue_capacity);
        self.links.push(Link {
            side,
            conn,
            peer: None,
            partner: None,
            ends: None,
            greeting: Greeting::None,
        });
        self.links.len() - 1
    }

    fn meet(&mut self, link: usize, script: Script) {
        self.links[link].peer = Some(Peer::new(script, self.now));
        self.live.push(link);
    }

    /// A socket of the balancer that is to be connected to `address`, and how that will be answered.
    pub(super) fn dial(&mut self, address: &SocketAddr) -> (usize, Answer) {
        let known = self.addresses.iter().find(|known| known.at == *address);
        let answer = known.expect("only configured addresses").answer(self.now);
        (self.link(Side::Backend), answer)
    }

    /// The backend at the other end of `link` accepts it.
    pub(super) fn answer(&mut self, link: usize) {
        let script = Script::of_backend(self.well_behaved, &mut self.rng);
        self.meet(link, script);
    }

    /// The balancer closes its end of `link`.
    pub(super) fn close(&mut self, link: usize, reset: bool) {
        self.links[link].conn.close(End::Balancer, reset, &mut self.rng);
    }

    /// Closes a listener, which resets who waits in its queue.
    pub(super) fn stop_listening(&mut self, backlog: usize) {
        self.backlogs[backlog].closed = true;
        while let Some(link) = self.accept(backlog) {
            self.lost += 1;
            self.close(link, true);
        }
    }

    /// Closes what the shard never listened to: it was to end already when that was published.
    pub(super) fn close_the_rest(&mut self) {
        for place in 0..self.backlogs.len() {
            while let Some(link) = self.accept(place) {
                self.close(link, true);
            }
        }
    }

    /// Whether every client has come and gone.
    pub(super) fn clients_are_through(&self) -> bool {
        let is_client = |&&link: &&usize| self.links[link].side == Side::Client;
        self.arrivals.is_empty() && self.live.iter().find(is_client).is_none()
    }

    /// When something happens out there although the balancer does nothing.
    pub(super) fn next_at(&self) -> Option<u64> {
        let arrival = self.arrivals.last().map(|&(at, _)| at);
        let peers = self.live.iter().filter_map(|&link| self.links[link].peer.as_ref());
        peers.filter_map(|peer| peer.next_at(self.now)).chain(arrival).min()
    }

    /// After the balancer has gone: lets everybody find that out.
    ///
    /// # Panics
    /// When somebody waits for ever.
    pub(super) fn run_out(&mut self) {
        self.arrivals.clear();
        while !self.live.is_empty() {
            if !self.step() && !self.live.is_empty() {
                let peers = &self.live;
                self.now = self.next_at().unwrap_or_else(|| {
                    panic!("peers {peers:?} were never told that their connection ended")
                });
            }
        }
    }
}

/// The last of the hosts that are trusted to say whom they speak for.
const TRUSTED_MAX: u8 = 3;

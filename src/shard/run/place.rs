//! Which backend a session goes to, or what it waits for.

use std::net::SocketAddr;
use std::rc::Rc;

use uring::Owner;

use crate::config::plan::{Address, Destination};
use crate::core::balance::{Picked, Request, Tried, client_key, pick};
use crate::core::moment::Moment;
use crate::core::session::{EndReason, Next, WaitFor};
use crate::core::{BackendId, Candidate};
use crate::shard::driver::Driver;
use crate::shard::pool::Present;

use super::{ALIVE, Here, Shard};

impl<D: Driver> Shard<D> {
    /// The first look for a backend, after the question whether the client may come in at all.
    pub(super) fn place(&mut self, owner: Owner) -> Next {
        if !self.may_come_in(owner) {
            return Next::Nowhere(EndReason::Denied);
        }
        let entry = self.sessions.find(owner).expect(ALIVE);
        let pool = std::sync::Arc::clone(&entry.here.pool.state);
        // What changes from now on, while it looks, is looked at again.
        let seen = pool.crowd.changes();
        let next = match self.must_queue(&pool) {
            true => Next::Wait(WaitFor::Room),
            false => self.seek(owner, &Tried::NOBODY),
        };
        match next {
            Next::Wait(what) => self.wait_for(owner, what, seen, false),
            next => next,
        }
    }

    /// The next look, after a failed connect.
    pub(super) fn place_again(&mut self, owner: Owner, tried: &Tried) -> Next {
        let another = self.go_by_new_rules(owner);
        let tried = if another { &Tried::NOBODY } else { tried };
        let entry = self.sessions.find(owner).expect(ALIVE);
        let seen = entry.here.pool.state.crowd.changes();
        match self.seek(owner, tried) {
            Next::Wait(what) => self.wait_for(owner, what, seen, true),
            next => next,
        }
    }

    /// A session that has to look for a backend again does it by the configuration of now, in which
    /// those that it tried have other numbers. Whether there is another one.
    fn go_by_new_rules(&mut self, owner: Owner) -> bool {
        let entry = self.sessions.find(owner).expect(ALIVE);
        let Here { listener, index, version, .. } = &*entry.here;
        let newest = self.listening.get(*index).and_then(Option::as_ref);
        let newest = newest.filter(|one| one.here.listener.id == listener.id);
        match newest {
            Some(listening) if listening.here.version != *version => {
                entry.here = Rc::clone(&listening.here);
                entry.session.renumber();
                true
            }
            _ => false,
        }
    }

    /// A backend, with the session in its count; or what to wait for.
    pub(super) fn seek(&mut self, owner: Owner, tried: &Tried) -> Next {
        let entry = self.sessions.find(owner).expect(ALIVE);
        let here = Rc::clone(&entry.here);
        if here.pool.destination == Destination::OriginalDst {
            return self.seek_original(owner, &here);
        }
        let client = entry.extra.as_ref().and_then(|extra| extra.client);
        let sticky = client.and_then(|client| remembered(&here, client, self.now));
        let key = client.map_or(0, |client| client_key(client.ip(), None));
        let request = Request { key, tried, sticky };
        let present = Present { pool: &here.pool, now: self.now };
        for _ in 0..ATTEMPTS {
            let pick = match pick(&present, &request, &mut self.rng) {
                Picked::Backend(pick) => pick,
                Picked::Full => return Next::Wait(WaitFor::Room),
                Picked::Nobody => return Next::Wait(WaitFor::Backend),
            };
            let member = here.pool.member(pick.backend);
            // Another shard may have been faster.
            if member.backend.try_charge(member.most) {
                let entry = self.sessions.find(owner).expect(ALIVE);
                entry.charged = Some(pick.backend);
                entry.marks.by = Some(pick.by);
                self.log_routing(owner, pick);
                return Next::Go(member.backend.first_candidate(pick.backend));
            }
        }
        Next::Wait(WaitFor::Room)
    }

    /// Where the client wanted to go before it was redirected to us.
    fn seek_original(&mut self, owner: Owner, here: &Here) -> Next {
        let entry = self.sessions.find(owner).expect(ALIVE);
        let wanted = self.driver.original_destination(&entry.client);
        let reached = self.driver.local_address(&entry.client);
        let peer = self.driver.peer_address(&entry.client).map(canonical);
        let Some(wanted) = wanted.filter(|&at| Some(at) != reached && !self.is_here(at)) else {
            self.counters().not_redirected.add(1);
            return Next::Nowhere(EndReason::BackendUnreachable);
        };
        if peer.is_some_and(|peer| here.pool.state.is_own_end(peer)) {
            self.counters().met_itself.add(1);
            self.warn_of_loop(wanted);
            return Next::Nowhere(EndReason::Denied);
        }
        let entry = self.sessions.find(owner).expect(ALIVE);
        entry.extra.get_or_insert_default().destination = Some(wanted);
        entry.charged = Some(ORIGINAL);
        let charged = here.pool.backend(ORIGINAL).try_charge(u32::MAX);
        debug_assert!(charged, "without a limit");
        Next::Go(Candidate { backend: ORIGINAL, address: 0, left: 0 })
    }

    /// Whether a connect to `address` would come back to one of our listeners.
    fn is_here(&self, address: SocketAddr) -> bool {
        let listeners = self.listening.iter().flatten().map(|one| &one.here.listener.address);
        listeners.into_iter().any(|listener| match listener {
            Address::Inet(own) => {
                let same = own.ip().to_canonical() == address.ip().to_canonical();
                own.port() == address.port()
                    && (same || (own.ip().is_unspecified() && uring::is_on_this_host(address.ip())))
            }
            Address::Unix(_) => false,
        })
    }

    /// Whether the access list, and what its address may have, let the client in. Asked once.
    fn may_come_in(&mut self, owner: Owner) -> bool {
        let now = self.now;
        let entry = self.sessions.find(owner).expect(ALIVE);
        let Some(extra) = entry.extra.as_mut().filter(|extra| !extra.admitted) else { return true };
        extra.admitted = true;
        // A client of a unix socket has no address; who may reach the socket is for its file mode.
        let Some(client) = extra.client else { return true };
        let listener = &entry.here.listener;
        if listener.access.as_ref().is_some_and(|list| !list.allows(client.ip())) {
            self.counters().denied_access.add(1);
            return false;
        }
        let Some(per_ip) = &listener.per_ip else { return true };
        match per_ip.table.enter(client.ip(), &per_ip.limits, now) {
            Ok(ticket) => {
                extra.ticket = Some(ticket);
                true
            }
            Err(_) => {
                self.counters().denied_per_ip.add(1);
                false
            }
        }
    }

    /// The connection stands: whoever comes again from there comes to the same backend.
    pub(super) fn remember(&mut self, owner: Owner, backend: BackendId) {
        let entry = self.sessions.find(owner).expect(ALIVE);
        let Here { pool, .. } = &*entry.here;
        let client = entry.extra.as_ref().and_then(|extra| extra.client);
        let (Some(client), Some(sticky), Some(config)) = (client, &pool.state.sticky, pool.sticky)
        else {
            return;
        };
        let uid = pool.backend(backend).uid;
        // It moves for good when its backend is out. A backend that is only full has it back.
        let stays = sticky.get(client, self.now).is_some_and(|before| {
            let place = pool.find(before);
            before == uid || place.is_some_and(|id| config.returns || pool.is_full(id, self.now))
        });
        if !stays {
            sticky.set(client, uid, self.now);
        }
    }
}

fn remembered(here: &Here, client: SocketAddr, now: Moment) -> Option<BackendId> {
    here.pool.find(here.pool.state.sticky.as_ref()?.get(client, now)?)
}

/// An address as the other end of its connection may see it, whatever the family of its socket.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The one backend of a pool that goes where clients wanted to go.
const ORIGINAL: BackendId = BackendId(0);

/// Picks that other shards may take away before the client waits instead.
const ATTEMPTS: usize = 8;

//! Where clients went, so that they go there again. One table for all shards: the kernel gives a
//! client's next connection to any of them.
//!
//! The key is the client's address itself and no hash of it: nobody is sent where another one was.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::plan::{StickyBy, StickyConfig};
use crate::core::moment::Moment;

use super::striped::{ByUse, Striped};

/// The clients that are remembered, each with the backend that it went to.
#[derive(Debug)]
pub struct Sticky {
    by: StickyBy,
    ttl: Duration,
    /// Of one stripe.
    size: usize,
    stripes: Striped<ByUse<Key, Place>>,
    pushed_out: Arc<AtomicU64>,
}

impl Sticky {
    /// An empty table, which counts there whom it has no room for.
    #[must_use]
    pub fn counted_in(pushed_out: Arc<AtomicU64>, config: &StickyConfig) -> Self {
        let entries = usize::try_from(config.size.get()).expect("32 bits or more");
        let (stripes, size) = Striped::new(entries);
        Self { by: config.key, ttl: config.ttl, size, stripes, pushed_out }
    }

    /// The backend that `client` went to, which it is remembered for once more.
    pub fn get(&self, client: SocketAddr, now: Moment) -> Option<u32> {
        let key = self.key(client);
        let mut clients = self.stripes.lock(&key);
        let place = clients.to_back(&key)?;
        if place.is_over(now, self.ttl) {
            clients.remove(&key);
            return None;
        }
        place.used = place.used.max(now);
        Some(place.backend)
    }

    /// The same, without being remembered for longer by that.
    #[must_use]
    pub fn peek(&self, client: SocketAddr, now: Moment) -> Option<u32> {
        let key = self.key(client);
        let clients = self.stripes.lock(&key);
        let place = clients.get(&key)?;
        (!place.is_over(now, self.ttl)).then_some(place.backend)
    }

    /// Remembers that `client` went to the backend with this number.
    pub fn set(&self, client: SocketAddr, backend: u32, now: Moment) {
        let key = self.key(client);
        let mut clients = self.stripes.lock(&key);
        // Puts it last, also if it was there.
        clients.insert(key, Place { backend, used: now });
        if clients.len() > self.size
            && let Some((_, oldest)) = clients.pop_front()
            && !oldest.is_over(now, self.ttl)
        {
            self.pushed_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Clients in the table, those included whose time is over but that nobody asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stripes.sum(ByUse::len)
    }

    /// Whether nobody is in the table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Clients that were forgotten before their time because the table, or one before it, was full.
    #[must_use]
    pub fn pushed_out(&self) -> u64 {
        self.pushed_out.load(Ordering::Relaxed)
    }

    fn key(&self, client: SocketAddr) -> Key {
        let port = match self.by {
            StickyBy::Ip => 0,
            StickyBy::IpPort => client.port(),
        };
        // A client is the same one whether it comes to 0.0.0.0 or to [::].
        match (client.ip().to_canonical(), client) {
            (IpAddr::V6(ip), SocketAddr::V6(v6)) => {
                // The same link-local address is someone else on another link.
                Key { ip: ip.into(), port, scope: v6.scope_id() }
            }
            (ip, _) => Key { ip, port, scope: 0 },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    ip: IpAddr,
    port: u16,
    scope: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    backend: u32,
    used: Moment,
}

impl Place {
    fn is_over(&self, now: Moment, ttl: Duration) -> bool {
        now.since(self.used) >= ttl
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};
    use std::num::NonZeroU32;

    use super::*;

    fn sticky(key: StickyBy, size: u32) -> Sticky {
        let size = NonZeroU32::new(size).expect("some");
        let config = StickyConfig { key, ttl: Duration::from_secs(10), size, returns: false };
        Sticky::counted_in(Arc::default(), &config)
    }

    fn at_s(s: u64) -> Moment {
        Moment::from_ns(s * 1_000_000_000)
    }

    fn client(text: &str) -> SocketAddr {
        text.parse().expect("an address and a port")
    }

    fn numbered(n: u32) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::from(n), 1))
    }

    #[test]
    fn a_client_is_remembered_by_its_address_or_by_its_port_too() {
        let (by_ip, by_port) = (sticky(StickyBy::Ip, 100), sticky(StickyBy::IpPort, 100));
        for (asked, ip, port) in [
            ("192.0.2.1:1", Some(7), Some(7)),
            ("[::ffff:192.0.2.1]:1", Some(7), Some(7)),
            ("192.0.2.1:2", Some(7), None),
            ("192.0.2.2:1", None, None),
            ("[::192.0.2.1]:1", None, None),
        ] {
            by_ip.set(client("192.0.2.1:1"), 7, at_s(0));
            by_port.set(client("192.0.2.1:1"), 7, at_s(0));
            assert_eq!(by_ip.get(client(asked), at_s(0)), ip, "{asked} by address");
            assert_eq!(by_port.get(client(asked), at_s(0)), port, "{asked} by port");
        }
    }

    #[test]
    fn the_same_link_local_address_is_another_client_on_another_link() {
        let sticky = sticky(StickyBy::Ip, 100);
        let on = |scope| SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 0, scope).into();
        sticky.set(on(1), 7, at_s(0));
        assert_eq!(sticky.get(on(1), at_s(0)), Some(7));
        assert_eq!(sticky.get(on(2), at_s(0)), None);
    }

    #[test]
    fn who_moved_is_remembered_where_it_went_last() {
        let sticky = sticky(StickyBy::Ip, 100);
        sticky.set(numbered(1), 7, at_s(0));
        sticky.set(numbered(1), 8, at_s(0));
        assert_eq!(sticky.get(numbered(1), at_s(0)), Some(8));
        assert_eq!(sticky.len(), 1);
    }

    #[test]
    fn the_time_to_live_counts_from_the_last_connection() {
        let sticky = sticky(StickyBy::Ip, 100);
        sticky.set(numbered(1), 7, at_s(0));
        assert_eq!(sticky.get(numbered(1), at_s(9)), Some(7));
        // Another shard may think that it is a moment earlier.
        assert_eq!(sticky.get(numbered(1), at_s(8)), Some(7));
        assert_eq!(sticky.get(numbered(1), at_s(18)), Some(7));
        assert_eq!(sticky.get(numbered(1), at_s(28)), None);
        assert!(sticky.is_empty());
        assert_eq!(sticky.pushed_out(), 0);
    }

    #[test]
    fn a_full_table_forgets_who_came_longest_ago() {
        let sticky = sticky(StickyBy::Ip, 2);
        sticky.set(numbered(1), 1, at_s(0));
        sticky.set(numbered(2), 2, at_s(1));
        assert_eq!(sticky.get(numbered(1), at_s(2)), Some(1));
        sticky.set(numbered(3), 3, at_s(3));
        let left = [1, 2, 3].map(|n| sticky.get(numbered(n), at_s(3)));
        assert_eq!(left, [Some(1), None, Some(3)]);
        assert_eq!((sticky.len(), sticky.pushed_out()), (2, 1));
        // Whoever is over anyway is not missed.
        sticky.set(numbered(4), 4, at_s(100));
        assert_eq!((sticky.len(), sticky.pushed_out()), (2, 1));
    }

    #[test]
    fn a_million_clients_stay_within_the_size_and_the_last_ones_are_there() {
        for size in [1, 3, 1500, 10_000, 100_001] {
            let sticky = sticky(StickyBy::Ip, size);
            for n in 0..1_000_000 {
                sticky.set(numbered(n), n, at_s(0));
            }
            let len = u32::try_from(sticky.len()).expect("within the size");
            // Stripes are not equally full: at the end each is, of its share.
            assert!(len <= size && len >= size - size / 50, "{len} of {size}");
            assert_eq!(sticky.pushed_out(), 1_000_000 - u64::from(len));
            let last = (1_000_000 - size / 2)..1_000_000;
            let there = last.clone().filter(|&n| sticky.get(numbered(n), at_s(0)) == Some(n));
            assert_eq!(there.count(), last.len(), "of {size}");
        }
    }

    #[test]
    fn the_memory_of_a_full_table_does_not_grow() {
        let sticky = sticky(StickyBy::Ip, 10_000);
        for n in 0..1_000_000 {
            sticky.set(numbered(n), n, at_s(0));
            if n % 100_000 == 99_999 {
                // A hash table that is emptied as fast as it fills has room for twice as many.
                let places = sticky.stripes.sum(ByUse::capacity);
                assert!(places <= 4 * 10_000, "{places} places for 10000 clients, after {n}");
            }
        }
    }

    #[test]
    fn shards_that_use_one_table_find_their_own_clients() {
        let sticky = sticky(StickyBy::Ip, 100_000);
        std::thread::scope(|scope| {
            for shard in 0..4_u32 {
                let sticky = &sticky;
                scope.spawn(move || {
                    for n in (0..10_000).map(|n| shard << 16 | n) {
                        sticky.set(numbered(n), n, at_s(0));
                        assert_eq!(sticky.get(numbered(n), at_s(0)), Some(n));
                    }
                });
            }
        });
        assert_eq!(sticky.len(), 40_000);
    }
}

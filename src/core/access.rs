//! Who may come in. Deny is looked at first; an empty allow list allows everybody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// Allow and deny, as ranges that can be searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// `None` if everybody may come that is not denied.
    allow: Option<Networks>,
    deny: Networks,
}

impl AccessList {
    /// Built once for a configuration.
    #[must_use]
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        let allow = (!allow.is_empty()).then(|| Networks::new(allow));
        Self { allow, deny: Networks::new(deny) }
    }

    /// Whether a client at `ip` may come in.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        !self.deny.contains(ip) && self.allow.as_ref().is_none_or(|allow| allow.contains(ip))
    }
}

/// A set of networks: sorted ranges that do not touch, so that thousands cost a binary search.
///
/// An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address, in networks and in what is
/// looked for: who connects over IPv4 to a listener on `[::]` is the same client. `::/0` is
/// therefore every IPv6 client and no IPv4 client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
}

impl Networks {
    /// Built once for a configuration.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match canonical(*network) {
                IpNet::V4(net) => {
                    v4.push(Range { first: net.network().into(), last: net.broadcast().into() });
                }
                IpNet::V6(net) => {
                    v6.push(Range { first: net.network().into(), last: net.broadcast().into() });
                }
            }
        }
        let next_v4 = |last: u32| last.checked_add(1);
        let next_v6 = |last: u128| last.checked_add(1);
        Self { v4: merged(v4, next_v4), v6: merged(v6, next_v6) }
    }

    /// Whether one of the networks contains `ip`.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => within(&self.v4, Ipv4Addr::into(ip)),
            IpAddr::V6(ip) => within(&self.v6, Ipv6Addr::into(ip)),
        }
    }
}

/// From `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range<T> {
    first: T,
    last: T,
}

/// A network of mapped addresses as the IPv4 network that it stands for.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(net) if net.prefix_len() >= MAPPED_BITS => {
            let ip = net.network().to_ipv4_mapped();
            ip.and_then(|ip| Ipv4Net::new(ip, net.prefix_len() - MAPPED_BITS).ok())
        }
        _ => None,
    };
    mapped.map_or(network, IpNet::V4)
}

/// Sorted, and with those joined that overlap or follow one another. `next` is the address after.
fn merged<T: Ord + Copy>(
    mut ranges: Vec<Range<T>>,
    next: impl Fn(T) -> Option<T>,
) -> Vec<Range<T>> {
    ranges.sort_unstable();
    ranges.dedup_by(|later, earlier| {
        let joined = next(earlier.last).is_none_or(|next| later.first <= next);
        if joined {
            earlier.last = earlier.last.max(later.last);
        }
        joined
    });
    ranges
}

fn within<T: Ord + Copy>(ranges: &[Range<T>], ip: T) -> bool {
    let after = ranges.partition_point(|range| range.first <= ip);
    after.checked_sub(1).is_some_and(|index| ip <= ranges[index].last)
}

/// Of `::ffff:0:0/96` (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(text: &str) -> Vec<IpNet> {
        text.split_whitespace().map(|net| net.parse().expect("a network")).collect()
    }

    fn check(allow: &str, deny: &str, table: &[(&str, bool)]) {
        let list = AccessList::new(&nets(allow), &nets(deny));
        for (ip, allowed) in table {
            let ip = ip.parse().expect("an address");
            assert_eq!(list.allows(ip), *allowed, "{ip} with allow {allow:?}, deny {deny:?}");
        }
    }

    #[test]
    fn without_lists_everybody_comes_in() {
        check("", "", &[("192.0.2.1", true), ("::1", true), ("::ffff:192.0.2.1", true)]);
    }

    #[test]
    fn an_allow_list_keeps_everybody_else_out() {
        let table = [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ];
        check("10.0.0.0/8 2001:db8::/32", "", &table);
    }

    #[test]
    fn an_allow_list_of_one_family_keeps_the_other_out() {
        check("0.0.0.0/0", "", &[("192.0.2.1", true), ("::ffff:192.0.2.1", true), ("::1", false)]);
        check("::/0", "", &[("::1", true), ("192.0.2.1", false), ("::ffff:192.0.2.1", false)]);
    }

    #[test]
    fn deny_is_looked_at_first() {
        let table = [("10.1.2.3", false), ("10.2.0.1", true), ("10.1.2.4", false)];
        check("10.0.0.0/8 10.1.2.4/32", "10.1.0.0/16", &table);
        check("", "0.0.0.0/0", &[("192.0.2.1", false), ("::1", true)]);
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address_on_both_sides() {
        let both = [("192.0.2.1", true), ("::ffff:192.0.2.1", true), ("192.0.3.1", false)];
        check("192.0.2.0/24", "", &both);
        check("::ffff:192.0.2.0/120", "", &both);
        check("", "::ffff:0:0/96", &[("192.0.2.1", false), ("::1", true)]);
    }

    #[test]
    fn the_host_part_of_a_network_does_not_matter() {
        check("10.1.2.3/8", "", &[("10.0.0.0", true), ("10.9.9.9", true), ("11.0.0.0", false)]);
    }

    #[test]
    fn neighbours_and_overlaps_become_one_range() {
        let networks = nets("10.0.1.0/24 10.0.0.0/24 10.0.0.7/32 255.0.0.0/8 255.255.255.255/32");
        let networks = Networks::new(&networks);
        assert_eq!(networks.v4.len(), 2, "{networks:?}");
        let all = Networks::new(&nets("::/0 ffff::/16 ::/1"));
        assert_eq!(all.v6, [Range { first: 0, last: u128::MAX }]);
    }

    /// Few bits, so that addresses and networks meet.
    fn ip() -> impl Strategy<Value = IpAddr> {
        let v4 = (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Ipv4Addr::new(10, 0, a % 4, b));
        let v6 = (any::<u8>(), any::<u8>()).prop_map(|(a, b)| {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, u16::from(a % 4), b.into())
        });
        prop_oneof![
            v4.prop_map(IpAddr::V4),
            v4_edges().prop_map(IpAddr::V4),
            v6.prop_map(IpAddr::V6),
            v4_edges().prop_map(|ip| IpAddr::V6(ip.to_ipv6_mapped())),
        ]
    }

    fn v4_edges() -> impl Strategy<Value = Ipv4Addr> {
        prop_oneof![Just(Ipv4Addr::UNSPECIFIED), Just(Ipv4Addr::BROADCAST), any::<Ipv4Addr>()]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (ip(), any::<u8>()).prop_map(|(ip, prefix)| match ip {
            IpAddr::V4(_) => IpNet::new(ip, prefix % 33).expect("at most 32"),
            // A mapped network shorter than /96 is an IPv6 network; both kinds come.
            IpAddr::V6(_) => IpNet::new(ip, 80 + prefix % 49).expect("at most 128"),
        })
    }

    fn naive(networks: &[IpNet], ip: IpAddr) -> bool {
        networks.iter().any(|&network| canonical(network).contains(&ip.to_canonical()))
    }

    proptest! {
        #[test]
        fn the_search_agrees_with_the_naive_scan(
            allow in proptest::collection::vec(network(), 0..20),
            deny in proptest::collection::vec(network(), 0..20),
            ips in proptest::collection::vec(ip(), 1..50),
        ) {
            let list = AccessList::new(&allow, &deny);
            for ip in ips {
                let allowed = !naive(&deny, ip) && (allow.is_empty() || naive(&allow, ip));
                prop_assert_eq!(list.allows(ip), allowed, "{}", ip);
            }
        }
    }
}

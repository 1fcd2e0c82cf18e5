//! Local ports: how many a run uses towards its target, and how many there are.
//!
//! A port belongs to a source address and a target. Each connection takes one, and a connection that
//! this side has closed in order keeps its port for a minute more (TIME_WAIT). How many these are is
//! the growth of the network namespace's count since the run began, so other programs may be among
//! them.

use super::lifetime::Lifetime;
use super::plan::{Address, Plan, Workload};
use crate::Close;

/// The ports of one run.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// Absent where there are no ports.
    available: Option<u64>,
    connections: u64,
    /// Where closed connections leave TIME_WAIT behind: what there was before.
    waiting_before: Option<u64>,
    waiting: u64,
}

impl Ports {
    /// Before the first connect.
    pub(super) fn new(plan: &Plan) -> Self {
        let sources = plan.sources.len().max(1) as u64;
        let is_tcp = matches!(plan.address, Address::Tcp(_));
        let replaces = plan.workload == Workload::Conn || plan.lifetime != Lifetime::Forever;
        let leaves = is_tcp && replaces && plan.close == Close::Fin;
        Self {
            available: local_ports().filter(|_| is_tcp).map(|ports| ports * sources),
            connections: plan.connections.get().into(),
            waiting_before: if leaves { waiting() } else { None },
            waiting: 0,
        }
    }

    /// Counts those that wait now.
    pub(super) fn look(&mut self) {
        if let Some((before, now)) = self.waiting_before.zip(waiting()) {
            self.waiting = self.waiting.max(now.saturating_sub(before));
        }
    }

    /// Used at the most, and available.
    pub(super) fn used(&self) -> Option<[u64; 2]> {
        let available = self.available?;
        Some([(self.connections + self.waiting).min(available), available])
    }
}

/// How many ports the kernel picks from.
fn local_ports() -> Option<u64> {
    let range = uring::sysctl("net/ipv4/ip_local_port_range")?;
    let mut ends = range.split_whitespace().map(|end| end.parse::<u64>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    (last + 1).checked_sub(first)
}

/// Connections in TIME_WAIT, of both families.
fn waiting() -> Option<u64> {
    parse_waiting(&std::fs::read_to_string("/proc/net/sockstat").ok()?)
}

fn parse_waiting(sockstat: &str) -> Option<u64> {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    let mut words = tcp.split_whitespace();
    words.find(|&word| word == "tw")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_connections_are_a_word_of_sockstat() {
        let text = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 321 alloc 8 mem 1\nUDP: inuse 0\n";
        assert_eq!(parse_waiting(text), Some(321));
        assert_eq!(parse_waiting("UDP: inuse 0\n"), None);
    }

    #[test]
    fn this_machine_has_ports_and_a_socket_in_the_file_system_needs_none() {
        let tcp = Plan::new(std::net::SocketAddr::from(([127, 0, 0, 1], 1)), Workload::Ping);
        let ports = Ports::new(&tcp).used().expect("IPv4");
        assert_eq!(ports[0], 50);
        assert!(ports[1] >= 50, "{ports:?}");
        let unix = Plan::new(Address::Unix("/tmp/x".into()), Workload::Ping);
        assert_eq!(Ports::new(&unix).used(), None);
    }
}

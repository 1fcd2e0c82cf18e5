//! TCP's counters of this network namespace: /proc/net/snmp and /proc/net/netstat.

use std::fs;
use std::io;

use crate::report::Network;

/// Counters since the namespace began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    segments_out: u64,
    retransmitted: u64,
    listen_drops: u64,
}

impl Counters {
    /// Those of now.
    pub(super) fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(SNMP)?, &fs::read_to_string(NETSTAT)?))
    }

    fn parse(snmp: &str, netstat: &str) -> Self {
        let tcp = |name| value(snmp, "Tcp:", name).unwrap_or_default();
        let extended = |name| value(netstat, "TcpExt:", name).unwrap_or_default();
        Self {
            segments_out: tcp("OutSegs"),
            retransmitted: tcp("RetransSegs"),
            // The kernel counts an overflow as a drop too, so these are not added; a kernel that
            // has only one of them has the overflows.
            listen_drops: extended("ListenDrops").max(extended("ListenOverflows")),
        }
    }

    /// What has been counted since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Network {
        Network {
            segments_out: self.segments_out.saturating_sub(earlier.segments_out),
            retransmitted: self.retransmitted.saturating_sub(earlier.retransmitted),
            listen_drops: self.listen_drops.saturating_sub(earlier.listen_drops),
        }
    }
}

/// The value of `name` in a table whose rows come in pairs, names and values, behind `group`.
fn value(table: &str, group: &str, name: &str) -> Option<u64> {
    let mut rows = table.lines().filter_map(|line| line.strip_prefix(group));
    let (names, values) = (rows.next()?, rows.next()?);
    let index = names.split_whitespace().position(|one| one == name)?;
    values.split_whitespace().nth(index)?.parse().ok()
}

const SNMP: &str = "/proc/net/snmp";
const NETSTAT: &str = "/proc/net/netstat";

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "Ip: Forwarding OutSegs\nIp: 1 99\n\
        Tcp: RtoMin MaxConn InSegs OutSegs RetransSegs\nTcp: 200 -1 7 1000 11\nUdp: OutSegs\nUdp: 5\n";
    const NETSTAT: &str = "TcpExt: TW ListenOverflows ListenDrops DelayedACKs\nTcpExt: 1 3 4 9\n\
        IpExt: ListenDrops\nIpExt: 77\n";

    #[test]
    fn each_counter_is_found_by_its_name_in_its_group() {
        let read = Counters::parse(SNMP, NETSTAT);
        assert_eq!(read, Counters { segments_out: 1000, retransmitted: 11, listen_drops: 4 });
    }

    #[test]
    fn what_a_kernel_does_not_count_is_zero() {
        let cut = "Tcp: RtoMin MaxConn InSegs OutSegs RetransSegs\nTcp: 200 -1 7\n";
        for (snmp, netstat) in
            [("", ""), ("Tcp: OutSegs\n", "TcpExt:\nTcpExt:\n"), (cut, "TcpExt: TW\n")]
        {
            assert_eq!(Counters::parse(snmp, netstat), Counters::default(), "{snmp:?} {netstat:?}");
        }
    }

    #[test]
    fn only_what_came_since_counts() {
        let one = Counters { segments_out: 10, retransmitted: 5, listen_drops: 1 };
        let two = Counters { segments_out: 17, retransmitted: 5, listen_drops: 4 };
        let expected = Network { segments_out: 7, retransmitted: 0, listen_drops: 3 };
        assert_eq!(two.since(&one), expected);
    }

    #[test]
    fn this_kernel_has_sent_segments_once_there_was_a_connection() {
        let before = Counters::read().expect("there is /proc/net");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let _stream = std::net::TcpStream::connect(address).expect("somebody listens");
        let sent = Counters::read().expect("there is /proc/net").since(&before).segments_out;
        assert!(sent >= 3, "SYN, SYN-ACK and ACK at the least, not {sent}");
    }
}

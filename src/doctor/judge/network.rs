//! What happens to packets on their way: connection tracking, interfaces, congestion control.

use super::super::facts::{Congestion, Conntrack, Interface};
use super::{Finding, Sessions, Verdict, round_up};

/// A session is two connections, and each has an entry in the table.
pub(super) fn conntrack(conntrack: Option<Conntrack>, sessions: Sessions) -> Finding {
    let (name, why) = (
        "conntrack",
        "where a firewall tracks connections, a session is two entries of its table; when that is full, \
         packets are dropped",
    );
    let Some(Conntrack { max, count }) = conntrack else {
        return Finding::ok(name, "not loaded", why);
    };
    let needed = sessions.many.saturating_mul(2);
    let now = count.map(|count| format!(", {count} now")).unwrap_or_default();
    let value = format!("at most {max} entries{now}; {} sessions take {needed}", sessions.many);
    let finding = Finding::ok(name, value, why);
    let full = count.is_some_and(|count| count > max / 10 * 9);
    if !full && needed <= max {
        return finding;
    }
    let verdict = if full { Verdict::Bad } else { sessions.too_many() };
    let wanted = round_up(needed.max(max).saturating_add(1));
    finding.but(verdict, format!("sysctl -w net.netfilter.nf_conntrack_max={wanted}")).noting(
        "in the host's own network; or leave evenkeel's packets out by `notrack` rules of nft(8), in both \
         directions",
    )
}

/// Each interface on its own.
pub(super) fn offloads(interfaces: &[Interface]) -> Vec<Finding> {
    if interfaces.is_empty() {
        return vec![Finding::ok("GRO and TSO", "no interface but the loopback", WHY_OFFLOADS)];
    }
    interfaces.iter().map(offloads_of).collect()
}

/// To a veth packets come as large as they were sent, so nothing is there to be put together.
fn offloads_of(interface: &Interface) -> Finding {
    let Interface { name, physical, offloads } = interface;
    let title = format!("GRO and TSO, {name}");
    let Some(offloads) = offloads else {
        return Finding::unknown(&title, WHY_OFFLOADS, format!("ethtool -k {name}"));
    };
    let word = |on| if on { "on" } else { "off" };
    let (gro, tso) = (word(offloads.gro), word(offloads.tso));
    let kind = if *physical { "" } else { " (not a device)" };
    let finding = Finding::ok(title, format!("GRO {gro}, TSO {tso}{kind}"), WHY_OFFLOADS);
    let off = [("gro", *physical && !offloads.gro), ("tso", !offloads.tso)];
    let off: Vec<_> = off.iter().filter(|(_, off)| *off).map(|(name, _)| *name).collect();
    if off.is_empty() {
        return finding;
    }
    finding
        .but(Verdict::Warn, format!("ethtool -K {name} {} on", off.join(" on ")))
        .noting("off on purpose where this host forwards packets to others")
}

/// Bulk as it goes out.
pub(super) fn congestion(congestion: &Congestion) -> Finding {
    let (name, why) = (
        "congestion control",
        "it decides how bulk fills a line; BBR paces each connection, which fq does for less CPU",
    );
    let Some(control) = &congestion.name else {
        return Finding::unknown(name, why, "sysctl net.ipv4.tcp_congestion_control");
    };
    let qdisc = congestion.default_qdisc.as_deref();
    let told = qdisc.map(|qdisc| format!(", {qdisc} for new interfaces")).unwrap_or_default();
    let finding = Finding::ok(name, format!("{control}{told}"), why);
    if !control.starts_with("bbr") || qdisc == Some("fq") {
        return finding;
    }
    let note = "for interfaces that come up later; now: tc qdisc replace dev DEV root fq; or do without \
                BBR: sysctl -w net.ipv4.tcp_congestion_control=cubic";
    match qdisc {
        Some(_) => finding.but(Verdict::Warn, "sysctl -w net.core.default_qdisc=fq").noting(note),
        None => finding
            .but(Verdict::Warn, "sysctl -w net.ipv4.tcp_congestion_control=cubic")
            .noting("or tc qdisc replace dev DEV root fq"),
    }
}

const WHY_OFFLOADS: &str = "without them each segment of 1448 bytes goes through the stack alone, and bulk costs \
                            several times the CPU";

#[cfg(test)]
mod tests {
    use super::super::testing::{ASKED, FITTING, check};
    use super::Verdict::{Bad, Ok as Good, Warn};
    use super::*;
    use uring::Offloads;

    #[test]
    fn sessions_need_entries() {
        let of = |max, count| Some(Conntrack { max, count: Some(count) });
        let cure = "sysctl -w net.netfilter.nf_conntrack_max=262144";
        for (table, sessions, verdict, in_cure) in [
            (None, ASKED(1_000_000), Good, ""),
            (of(100_000, 7), ASKED(50_000), Good, ""),
            (of(100_000, 7), ASKED(50_001), Warn.max(Bad), "nf_conntrack_max=131072"),
            (of(100_000, 7), FITTING(50_001), Warn, "nf_conntrack_max=131072"),
            (of(131_072, 7), ASKED(70_000), Bad, cure),
            (of(131_072, 130_000), FITTING(1), Bad, cure),
            (Some(Conntrack { max: 10, count: None }), ASKED(5), Good, ""),
        ] {
            check(&conntrack(table, sessions), verdict, in_cure);
        }
    }

    #[test]
    fn interfaces_cut_and_put_together() {
        let of = |physical, gro, tso| Interface {
            name: "eth0".into(),
            physical,
            offloads: Some(Offloads { tso, gro }),
        };
        for (interface, verdict, in_cure) in [
            (of(true, true, true), Good, ""),
            (of(true, false, true), Warn, "ethtool -K eth0 gro on"),
            (of(true, true, false), Warn, "ethtool -K eth0 tso on"),
            (of(true, false, false), Warn, "ethtool -K eth0 gro on tso on"),
            (of(false, false, true), Good, ""),
            (of(false, false, false), Warn, "ethtool -K eth0 tso on"),
            (Interface { offloads: None, ..of(true, true, true) }, Warn, "ethtool -k eth0"),
        ] {
            check(&offloads_of(&interface), verdict, in_cure);
        }
        let [none] = offloads(&[]).try_into().expect("one line for all that are not there");
        check(&none, Good, "");
        assert_eq!(offloads(&[of(true, true, true), of(false, true, true)]).len(), 2);
    }

    #[test]
    fn bbr_wants_fq() {
        let of = |name: &str, qdisc: Option<&str>| Congestion {
            name: Some(name.to_owned()),
            default_qdisc: qdisc.map(str::to_owned),
        };
        check(&congestion(&of("cubic", Some("pfifo_fast"))), Good, "");
        check(&congestion(&of("cubic", None)), Good, "");
        check(&congestion(&of("bbr", Some("fq"))), Good, "");
        check(&congestion(&of("bbr", Some("fq_codel"))), Warn, "net.core.default_qdisc=fq");
        check(&congestion(&of("bbr", None)), Warn, "tcp_congestion_control=cubic");
        let unknown = Congestion::default();
        check(&congestion(&unknown), Warn, "sysctl net.ipv4.tcp_congestion_control");
    }
}

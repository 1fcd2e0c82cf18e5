//! Limits and settings of the kernel that a run with many connections meets.

use nix::sys::resource::{Resource, getrlimit};
use uring::sysctl;

use super::{Finding, Verdict};

/// All of them, for a run with so many connections.
pub(super) fn findings(connections: u32) -> Vec<Finding> {
    let connections = connections.into();
    let files = getrlimit(Resource::RLIMIT_NOFILE).ok();
    let range = sysctl("net/ipv4/ip_local_port_range");
    let range = range.as_deref().and_then(port_range);
    let number = |path| sysctl(path).and_then(|text| text.parse().ok());
    let tcp = |name: &str| sysctl(&format!("net/ipv4/{name}"));
    [
        files.map(|(soft, hard)| open_files(soft, hard, connections)),
        range.map(|range| local_ports(range, connections)),
        range.and_then(|range| tcp("tcp_tw_reuse").map(|value| reuse(&value, range))),
        number("net/core/somaxconn").map(|most| backlog(most, connections)),
        number("net/ipv4/tcp_max_syn_backlog").map(|most| {
            let cookies = tcp("tcp_syncookies").is_some_and(|value| value != "0");
            syn_backlog(most, cookies, connections)
        }),
        tcp("tcp_congestion_control")
            .map(|name| congestion(&name, sysctl("net/core/default_qdisc").as_deref())),
        Some(io_uring(uring::self_test().map(|flags| flags.to_string()))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn open_files(soft: u64, hard: u64, connections: u64) -> Finding {
    let needed = connections + FILES_BESIDES;
    let why = "each connection is an open file; without one more, connects fail";
    let finding = Finding::ok("open files", format!("{soft}, at most {hard}"), why);
    if hard < needed {
        let cure = format!(
            "as root: prlimit --pid $$ --nofile={needed}:{needed} (then start loadgen from that shell)"
        );
        finding.but(Verdict::Bad, cure)
    } else if soft < needed {
        finding
            .but(Verdict::Note, format!("loadgen raises it by itself; others: ulimit -n {needed}"))
    } else {
        finding
    }
}

fn local_ports((first, last): (u16, u16), connections: u64) -> Finding {
    let ports = ports_in((first, last));
    let why = "one source address has no more connections than that to one target";
    let value = format!("{ports} ({first} to {last})");
    let finding = Finding::ok("local ports", value, why);
    let cure = "sysctl -w net.ipv4.ip_local_port_range='1024 65535', or several --source addresses";
    if connections > ports {
        finding.but(Verdict::Bad, cure)
    } else if connections * 5 > ports * 4 {
        finding.but(Verdict::Note, cure)
    } else {
        finding
    }
}

fn reuse(value: &str, range: (u16, u16)) -> Finding {
    let why =
        "a port that was used rests for 60 s (TIME_WAIT), which bounds new connections a second";
    let meaning = match value {
        "1" => "1 (reused)".to_owned(),
        "2" => "2 (reused on loopback only)".to_owned(),
        other => format!("{other} (not reused)"),
    };
    let finding = Finding::ok("reuse of ports", meaning, why);
    if value == "1" {
        return finding;
    }
    let rate = ports_in(range) / TIME_WAIT_S;
    let cure = format!(
        "for more than {rate} connections a second: sysctl -w net.ipv4.tcp_tw_reuse=1, or --close rst"
    );
    finding.but(Verdict::Note, cure)
}

fn backlog(most: u64, connections: u64) -> Finding {
    let why = "connections that wait to be accepted; beyond it a connect takes a second longer";
    let finding = Finding::ok("accept backlog", most.to_string(), why);
    if most < connections {
        let wanted = connections.next_power_of_two().max(4096);
        finding.but(
            Verdict::Bad,
            format!("sysctl -w net.core.somaxconn={wanted} (and restart the server)"),
        )
    } else {
        finding
    }
}

fn syn_backlog(most: u64, cookies: bool, connections: u64) -> Finding {
    let why = "handshakes under way at once; beyond it connects are dropped or get SYN cookies";
    let with = if cookies { "then SYN cookies" } else { "then drops" };
    let finding = Finding::ok("SYN backlog", format!("{most}, {with}"), why);
    if most >= connections {
        return finding;
    }
    let wanted = connections.next_power_of_two().max(4096);
    let verdict = if cookies { Verdict::Note } else { Verdict::Bad };
    finding.but(verdict, format!("sysctl -w net.ipv4.tcp_max_syn_backlog={wanted}"))
}

fn congestion(name: &str, qdisc: Option<&str>) -> Finding {
    let why = "it decides how bulk fills the line, and both sides should have the same";
    let qdisc = qdisc.unwrap_or("unknown");
    let finding = Finding::ok("congestion control", format!("{name}, qdisc {qdisc}"), why);
    if name.starts_with("bbr") && qdisc != "fq" {
        let cure = "BBR paces, and without fq with a timer for each connection, which costs CPU: \
             sysctl -w net.core.default_qdisc=fq (for devices that come up later; \
             now: tc qdisc replace dev DEV root fq), or net.ipv4.tcp_congestion_control=cubic";
        return finding.but(Verdict::Note, cure);
    }
    finding
}

fn io_uring(tried: Result<String, uring::SetupError>) -> Finding {
    let why = "with it loadgen asks and is answered in fewer system calls than with epoll";
    match tried {
        Ok(flags) => Finding::ok("io_uring", format!("works ({flags})"), why),
        Err(error) if error.means_no_io_uring() => {
            Finding::ok("io_uring", "not here: loadgen uses epoll; serve needs it", why)
                .but(Verdict::Note, error.to_string())
        }
        Err(error) => {
            Finding::ok("io_uring", "does not work", why).but(Verdict::Bad, error.to_string())
        }
    }
}

/// Two numbers.
fn port_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn ports_in((first, last): (u16, u16)) -> u64 {
    u64::from(last.saturating_sub(first)) + 1
}

/// Standard streams, rings, output files.
const FILES_BESIDES: u64 = 64;
/// `TCP_TIMEWAIT_LEN`, include/net/tcp.h.
const TIME_WAIT_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Bad, Note, Ok as Good};

    #[track_caller]
    fn check(finding: &Finding, verdict: Verdict, in_cure: &str) {
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        let cure = finding.cure.as_deref().unwrap_or("");
        assert!(cure.contains(in_cure), "{finding:?}");
        assert_eq!(cure.is_empty(), verdict == Good, "{finding:?}");
    }

    #[test]
    fn connections_need_files() {
        check(&open_files(1024, 4096, 960), Good, "");
        check(&open_files(1024, 4096, 961), Note, "ulimit -n 1025");
        check(&open_files(1024, 4096, 4032), Note, "ulimit -n 4096");
        check(&open_files(1024, 4096, 4033), Bad, "--nofile=4097:4097");
    }

    #[test]
    fn connections_need_ports() {
        let range = port_range("32768\t60999").expect("two numbers");
        check(&local_ports(range, 22_585), Good, "");
        check(&local_ports(range, 22_586), Note, "ip_local_port_range");
        check(&local_ports(range, 28_232), Note, "--source");
        check(&local_ports(range, 28_233), Bad, "--source");
        assert!(local_ports(range, 1).value.starts_with("28232 "));
        assert_eq!(port_range("32768"), None);
    }

    #[test]
    fn ports_rest_unless_they_are_reused() {
        check(&reuse("1", (32_768, 60_999)), Good, "");
        check(&reuse("2", (32_768, 60_999)), Note, "470 connections a second");
        check(&reuse("0", (1024, 65_535)), Note, "1075 connections a second");
    }

    #[test]
    fn a_burst_of_connects_needs_a_backlog() {
        check(&backlog(4096, 4096), Good, "");
        check(&backlog(128, 129), Bad, "somaxconn=4096");
        check(&backlog(4096, 10_000), Bad, "somaxconn=16384");
        check(&syn_backlog(512, true, 512), Good, "");
        check(&syn_backlog(512, true, 513), Note, "tcp_max_syn_backlog=4096");
        check(&syn_backlog(512, false, 513), Bad, "tcp_max_syn_backlog=4096");
    }

    #[test]
    fn bbr_wants_fq() {
        check(&congestion("cubic", Some("pfifo_fast")), Good, "");
        check(&congestion("bbr", Some("fq")), Good, "");
        check(&congestion("bbr", Some("fq_codel")), Note, "default_qdisc=fq");
        check(&congestion("bbr", None), Note, "default_qdisc=fq");
    }

    #[test]
    fn without_io_uring_there_is_epoll() {
        check(&io_uring(Ok("FLAGS".into())), Good, "");
        check(
            &io_uring(Err(uring::SetupError::Disabled { value: 2 })),
            Note,
            "io_uring_disabled=0",
        );
        let broken = uring::SetupError::Resources(std::io::Error::other("no memory"));
        check(&io_uring(Err(broken)), Bad, "no memory");
    }
}

//! Where clients wait before they are accepted.

use super::super::facts::Queues;
use super::{Finding, Verdict, round_up};

pub(super) fn accept_backlog(queues: Queues, wanted: u64) -> Finding {
    let (name, why) = (
        "accept backlog",
        "clients that wait to be accepted, for each shard; one more is dropped and tries again a second later",
    );
    let Some(most) = queues.somaxconn else {
        return Finding::unknown(name, why, "sysctl net.core.somaxconn");
    };
    let dropped = match queues.overflows {
        Some(many @ 1..) => format!("; {many} dropped since this network began"),
        Some(0) | None => String::new(),
    };
    let finding = Finding::ok(name, format!("{most}, {wanted} wanted{dropped}"), why);
    if most >= wanted {
        return finding;
    }
    let verdict = if most < LEAST { Verdict::Bad } else { Verdict::Warn };
    finding
        .but(verdict, format!("sysctl -w net.core.somaxconn={wanted}"))
        .noting("then restart evenkeel, or have it read its configuration again")
}

/// With SYN cookies the kernel does not look at the setting (`tcp_conn_request`, net/ipv4/tcp_input.c).
pub(super) fn syn_backlog(queues: Queues, wanted: u64) -> Finding {
    let (name, why) = (
        "SYN backlog",
        "handshakes under way; without SYN cookies, those beyond three quarters of it are dropped",
    );
    let (Some(most), Some(cookies)) = (queues.max_syn_backlog, queues.syncookies) else {
        return Finding::unknown(name, why, "sysctl net.ipv4.tcp_max_syn_backlog");
    };
    let on = "sysctl -w net.ipv4.tcp_syncookies=1";
    match cookies {
        1 => Finding::ok(name, format!("{most}, and SYN cookies beyond the accept backlog"), why),
        0 if most >= round_up(wanted) => {
            Finding::ok(name, format!("{most}, without SYN cookies"), why)
        }
        0 => Finding::ok(name, format!("{most}, without SYN cookies"), why)
            .but(if most < LEAST { Verdict::Bad } else { Verdict::Warn }, on)
            .noting(format!("or sysctl -w net.ipv4.tcp_max_syn_backlog={}", round_up(wanted))),
        _ => Finding::ok(name, format!("{most}, and a SYN cookie for everybody"), why)
            .but(Verdict::Warn, on)
            .noting("a cookie has no room for all options of TCP, and none for Fast Open"),
    }
}

pub(super) fn migration(migrate: Option<u64>) -> Finding {
    let (name, why) = (
        "queue migration",
        "when a process that shares its port with another one dies, those in its queue go to the other \
         one or are reset; evenkeel's own stops and reloads do not need it",
    );
    match migrate {
        None => Finding::unknown(name, why, "sysctl net.ipv4.tcp_migrate_req")
            .noting("a kernel before 5.14 has no such setting"),
        Some(0) => Finding::ok(name, "off (net.ipv4.tcp_migrate_req)", why)
            .but(Verdict::Warn, "sysctl -w net.ipv4.tcp_migrate_req=1"),
        Some(_) => Finding::ok(name, "on (net.ipv4.tcp_migrate_req)", why),
    }
}

/// A shorter queue is full whenever a client opens its connections at once.
const LEAST: u64 = 128;

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::Verdict::{Bad, Ok as Good, Warn};
    use super::*;

    #[test]
    fn a_burst_of_clients_needs_a_queue() {
        for (somaxconn, wanted, verdict, in_cure) in [
            (Some(4096), 4096, Good, ""),
            (Some(4095), 4096, Warn, "sysctl -w net.core.somaxconn=4096"),
            (Some(128), 4096, Warn, "sysctl -w net.core.somaxconn=4096"),
            (Some(127), 4096, Bad, "sysctl -w net.core.somaxconn=4096"),
            (Some(64), 64, Good, ""),
            (None, 64, Warn, "sysctl net.core.somaxconn"),
        ] {
            let queues = Queues { somaxconn, ..Queues::default() };
            check(&accept_backlog(queues, wanted), verdict, in_cure);
        }
    }

    #[test]
    fn those_who_met_a_full_queue_are_told_of() {
        let queues = |many| Queues { somaxconn: Some(9), overflows: many, ..Queues::default() };
        let value = |many| accept_backlog(queues(many), 9).value;
        assert_eq!(value(Some(3)), "9, 9 wanted; 3 dropped since this network began");
        assert_eq!((value(Some(0)), value(None)), ("9, 9 wanted".into(), "9, 9 wanted".into()));
    }

    #[test]
    fn handshakes_need_cookies_or_room() {
        let on = "sysctl -w net.ipv4.tcp_syncookies=1";
        for (most, cookies, verdict, in_cure) in [
            (Some(64), Some(1), Good, ""),
            (Some(4096), Some(0), Good, ""),
            (Some(2048), Some(0), Warn, on),
            (Some(127), Some(0), Bad, on),
            (Some(4096), Some(2), Warn, on),
            (None, Some(1), Warn, "sysctl net.ipv4.tcp_max_syn_backlog"),
            (Some(1), None, Warn, "sysctl net.ipv4.tcp_max_syn_backlog"),
        ] {
            let queues = Queues { max_syn_backlog: most, syncookies: cookies, ..Queues::default() };
            check(&syn_backlog(queues, 4000), verdict, in_cure);
        }
    }

    #[test]
    fn a_queue_may_go_to_another_process() {
        check(&migration(Some(1)), Good, "");
        check(&migration(Some(0)), Warn, "sysctl -w net.ipv4.tcp_migrate_req=1");
        check(&migration(None), Warn, "sysctl net.ipv4.tcp_migrate_req");
    }
}

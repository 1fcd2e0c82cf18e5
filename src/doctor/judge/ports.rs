//! Ports: those that clients come to, and those that connections to backends come from.

use std::collections::BTreeSet;

use super::super::facts::Ports;
use super::super::needs::Route;
use super::{Finding, Sessions, Verdict};

/// Whether evenkeel may listen on its ports, and will find them free.
pub(super) fn listening(ports: &Ports, wanted: &BTreeSet<u16>) -> Finding {
    let (name, why) = (
        "listening ports",
        "a low port is for the privileged; one that the kernel picks for outgoing connections may be \
         taken when evenkeel starts",
    );
    let finding = Finding::ok(name, list(wanted), why);
    let below = ports.unprivileged_from.unwrap_or(FIRST_UNPRIVILEGED);
    let privileged = wanted.first().filter(|&&port| u64::from(port) < below);
    if let Some(port) = privileged.filter(|_| !ports.may_bind_all) {
        return finding
            .but(Verdict::Bad, format!("sysctl -w net.ipv4.ip_unprivileged_port_start={port}"))
            .noting("or, in a systemd unit, AmbientCapabilities=CAP_NET_BIND_SERVICE");
    }
    let (first, last) = ports.range.unwrap_or((1, 0));
    let free =
        |port: &&u16| (first..=last).contains(*port) && !is_reserved(&ports.reserved, **port);
    let picked: BTreeSet<u16> = wanted.iter().filter(free).copied().collect();
    if picked.is_empty() {
        return finding;
    }
    let kept = [ports.reserved.replace(' ', ""), list(&picked).replace(' ', ",")];
    let kept = kept.iter().filter(|list| !list.is_empty()).map(String::as_str).collect::<Vec<_>>();
    let cure = format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", kept.join(","));
    finding.but(Verdict::Warn, cure)
}

/// Whether there are ports for as many connections to backends as there are sessions.
pub(super) fn local(ports: &Ports, routes: &[Route], sessions: Sessions) -> Finding {
    let (name, why) = (
        "local ports",
        "each connection to a backend takes one; an address of this host has so many to each address \
         of a backend",
    );
    let Some((first, last)) = ports.range else {
        return Finding::unknown(name, why, "sysctl net.ipv4.ip_local_port_range");
    };
    let range = format!("{} ({first} to {last})", count(ports));
    let tight = routes.iter().filter(|route| !route.unbounded).max_by_key(|route| {
        // The shortage counts, not the room: a pool that cannot have many sessions needs little.
        sessions_of(route, sessions).saturating_mul(SCALE) / room(route, ports).max(1)
    });
    let Some(route) = tight else { return Finding::ok(name, range, why) };
    let (wanted, room) = (sessions_of(route, sessions), room(route, ports));
    let Route { pool, .. } = route;
    let value = format!("{range}: room for {room} connections of pool {pool}, {wanted} sessions");
    let finding = Finding::ok(name, value, why);
    if wanted > room {
        widen(finding, sessions.too_many(), route, wanted)
    } else if wanted > room / 5 * 4 {
        widen(finding, Verdict::Warn, route, wanted)
    } else {
        finding
    }
}

/// How many new connections a second there are ports for.
pub(super) fn reuse(ports: &Ports, routes: &[Route]) -> Finding {
    let (name, why) = (
        "reuse of ports",
        "a port rests for 60 s after its connection (TIME_WAIT), which bounds new connections a second",
    );
    let Some(setting) = ports.tw_reuse else {
        return Finding::unknown(name, why, "sysctl net.ipv4.tcp_tw_reuse");
    };
    let meaning = match setting {
        0 => "never",
        1 => "on, after a second",
        _ => "on loopback alone",
    };
    let rests = |route: &&Route| {
        let remote = route.targets.iter().any(|target| !target.ip().is_loopback());
        setting == 0 || (setting != 1 && remote)
    };
    let bounded = routes.iter().filter(|route| !route.unbounded && !route.targets.is_empty());
    let slowest = bounded.filter(rests).map(|route| room(route, ports) / TIME_WAIT_S).min();
    let Some(rate) = slowest.filter(|_| ports.range.is_some()) else {
        return Finding::ok(name, meaning, why);
    };
    Finding::ok(name, format!("{meaning}: {rate} connections a second"), why)
        .but(Verdict::Warn, "sysctl -w net.ipv4.tcp_tw_reuse=1")
        .noting("where more new connections come in a second")
}

fn widen(finding: Finding, verdict: Verdict, route: &Route, wanted: u64) -> Finding {
    let widest = u64::from(WIDEST.1 - WIDEST.0) + 1;
    let cure = format!("sysctl -w net.ipv4.ip_local_port_range='{} {}'", WIDEST.0, WIDEST.1);
    let sources = wanted.div_ceil(widest * route.targets.len().max(1) as u64);
    let note = match sources {
        ..=1 => "or come from several addresses of this host: --source IP,IP".to_owned(),
        many => format!("and come from {many} addresses of this host: --source IP,IP,…"),
    };
    finding.but(verdict, cure).noting(note)
}

/// A pool may get all of the sessions, or what its backends and listeners take.
fn sessions_of(route: &Route, sessions: Sessions) -> u64 {
    route.most.unwrap_or(u64::MAX).min(sessions.many)
}

fn room(route: &Route, ports: &Ports) -> u64 {
    route.pairs() * count(ports)
}

/// Ports that the kernel picks.
fn count(ports: &Ports) -> u64 {
    let (first, last) = ports.range.unwrap_or((1, 0));
    (first..=last).filter(|&port| !is_reserved(&ports.reserved, port)).count() as u64
}

/// As in `8080,9000-9100`.
fn is_reserved(list: &str, port: u16) -> bool {
    list.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u16>();
        matches!((number(first), number(last)), (Ok(first), Ok(last)) if (first..=last).contains(&port))
    })
}

fn list(ports: &BTreeSet<u16>) -> String {
    match ports.is_empty() {
        true => "as the kernel chooses".to_owned(),
        false => ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" "),
    }
}

/// Leaves the ports below to servers.
const WIDEST: (u16, u16) = (10_000, 65_535);
/// `TCP_TIMEWAIT_LEN`, include/net/tcp.h.
const TIME_WAIT_S: u64 = 60;
/// Parts of a whole, so that a fraction is an integer.
const SCALE: u64 = 1000;
/// Where the kernel does not tell (`PROT_SOCK`, include/net/sock.h).
const FIRST_UNPRIVILEGED: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::super::testing::{ASKED, FITTING, check};
    use super::Verdict::{Bad, Ok as Good, Warn};
    use super::*;

    fn host() -> Ports {
        Ports {
            range: Some((32_768, 60_999)),
            tw_reuse: Some(2),
            unprivileged_from: Some(1024),
            ..Ports::default()
        }
    }

    fn route(targets: &[&str], sources: &[&str]) -> Route {
        Route {
            pool: "web".to_owned(),
            targets: targets.iter().map(|one| one.parse().expect("an address")).collect(),
            sources: sources.iter().map(|one| one.parse().expect("an address")).collect(),
            ..Route::default()
        }
    }

    #[test]
    fn connections_to_backends_need_ports() {
        let one = || route(&["10.0.0.1:80"], &[]);
        let wider = "ip_local_port_range='10000 65535'";
        for (route, sessions, verdict, in_cure) in [
            (one(), ASKED(22_584), Good, ""),
            (one(), ASKED(22_585), Warn, wider),
            (one(), ASKED(28_232), Warn, wider),
            (one(), ASKED(28_233), Bad, wider),
            (one(), FITTING(28_233), Warn, wider),
            (route(&["10.0.0.1:80", "10.0.0.2:80"], &[]), ASKED(40_000), Good, ""),
            (
                route(&["10.0.0.1:80"], &["10.0.0.8", "10.0.0.9", "fd00::1"]),
                ASKED(40_000),
                Good,
                "",
            ),
            (
                route(&["[fd00::2]:80"], &["10.0.0.8", "10.0.0.9", "fd00::1"]),
                ASKED(40_000),
                Bad,
                wider,
            ),
            (Route { most: Some(100), ..one() }, ASKED(1_000_000), Good, ""),
            (Route { unbounded: true, ..one() }, ASKED(1_000_000), Good, ""),
        ] {
            check(&local(&host(), &[route], sessions), verdict, in_cure);
        }
        let unknown = Ports { range: None, ..host() };
        check(&local(&unknown, &[one()], ASKED(1)), Warn, "sysctl net.ipv4.ip_local_port_range");
    }

    #[test]
    fn the_pool_with_the_greatest_shortage_is_told_of() {
        let small = Route { pool: "small".into(), most: Some(10), ..route(&["10.0.0.1:80"], &[]) };
        let large = route(&["10.0.0.1:80", "10.0.0.2:80"], &[]);
        let finding = local(&host(), &[small, large], ASKED(60_000));
        check(&finding, Bad, "'10000 65535'");
        let value =
            "28232 (32768 to 60999): room for 56464 connections of pool web, 60000 sessions";
        assert_eq!(finding.value, value);
        assert!(finding.note.expect("what else").starts_with("or come from"));
        let finding = local(&host(), &[route(&["10.0.0.1:80"], &[])], ASKED(200_000));
        assert!(finding.note.expect("how many").starts_with("and come from 4 addresses"));
    }

    #[test]
    fn reserved_ports_are_not_picked() {
        let reserved = Ports { reserved: "8080,32768-32867,60999".into(), ..host() };
        assert_eq!((count(&host()), count(&reserved)), (28_232, 28_232 - 101));
    }

    #[test]
    fn ports_to_listen_on_are_allowed_and_stay_free() {
        let root = || Ports { may_bind_all: true, ..host() };
        let reserved = || Ports { reserved: "8080,40000-40002".into(), ..host() };
        for (ports, wanted, verdict, in_cure) in [
            (host(), &[][..], Good, ""),
            (host(), &[8080, 1024], Good, ""),
            (host(), &[443, 80], Bad, "ip_unprivileged_port_start=80"),
            (Ports { unprivileged_from: Some(80), ..host() }, &[443, 80], Good, ""),
            (Ports { unprivileged_from: None, ..host() }, &[1023], Bad, "port_start=1023"),
            (root(), &[443, 80], Good, ""),
            (root(), &[40_000, 32_767], Warn, "ip_local_reserved_ports=40000"),
            (reserved(), &[40_001], Good, ""),
            (reserved(), &[40_001, 40_003], Warn, "reserved_ports=8080,40000-40002,40003"),
        ] {
            check(&listening(&ports, &wanted.iter().copied().collect()), verdict, in_cure);
        }
    }

    #[test]
    fn ports_rest_unless_they_are_reused() {
        let remote = || route(&["10.0.0.1:80"], &[]);
        let here = || route(&["127.0.0.1:80"], &[]);
        let on = "sysctl -w net.ipv4.tcp_tw_reuse=1";
        for (setting, route, verdict, in_cure) in [
            (Some(1), remote(), Good, ""),
            (Some(2), remote(), Warn, on),
            (Some(2), here(), Good, ""),
            (Some(0), here(), Warn, on),
            (Some(0), Route { unbounded: true, ..remote() }, Good, ""),
            (None, here(), Warn, "sysctl net.ipv4.tcp_tw_reuse"),
        ] {
            let ports = Ports { tw_reuse: setting, ..host() };
            check(&reuse(&ports, &[route]), verdict, in_cure);
        }
        let value = reuse(&host(), &[remote()]).value;
        assert_eq!(value, "on loopback alone: 470 connections a second");
    }
}

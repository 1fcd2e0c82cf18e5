//! Files that are right and wrong, as text.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use uring::ListenOptions;

use super::draft::{Draft, PoolDraft};
use super::plan::{
    Address, Check, Connect, Destination, OnUnavailable, ProxyVersion, Rate, StickyBy, Target,
};
use super::problem::Place;
use super::tables::{BackendTable, HealthTable, ListenerTable, PoolTable, ProcessTable, keys};
use super::{Config, parse};
use crate::cli::{EngineName, LogLevel};
use crate::core::balance::Algorithm;
use crate::core::relay::Splice;

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8443".to_owned()),
        "WEIGHT" => Some("7".to_owned()),
        "TOML" => Some("web\"\n[pool.more]\nx = \"".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Draft, String> {
    parse(text, "a.toml", &env).map_err(|problems| problems.to_string())
}

fn good(text: &str) -> Draft {
    read(text).unwrap_or_else(|problems| panic!("{problems}\nin:\n{text}"))
}

/// The pool of a file with a listener and this pool.
fn pool(text: &str) -> PoolDraft {
    let draft = good(&format!("[[listener]]\nlisten = \"h:1\"\n[pool.web]\n{text}"));
    draft.pools.into_iter().next().expect("one pool")
}

const SMALL: &str = "[[listener]]\nlisten = \"h:1\"\n[pool.web]\nbackends = [\"b:1\"]\n";

const EXAMPLE: &str = include_str!("../../examples/evenkeel.toml");

#[test]
fn each_mistake_is_one_line_with_its_place_and_cure() {
    for (text, line) in [
        // What it has to have.
        ("", "a.toml:1:1: there is no listener; write a [[listener]] with `listen` and `pool`"),
        (
            "[[listener]]\nlisten = \"h:1\"\n",
            "a.toml:1:1: there is no pool for it; write [pool.NAME] with `backends`",
        ),
        (
            "[[listener]]\n[pool.web]\nbackends = [\"b:1\"]\n",
            "a.toml:1:1: the listener has no address; write listen = \"0.0.0.0:8080\"",
        ),
        (
            "[[listener]]\nlisten = \"h:1\"\n[pool.web]\n",
            "a.toml:3:7: pool `web` has no backend; write backends = [\"host:port\"]",
        ),
        // Syntax.
        (
            "x = \n",
            "a.toml:1:5: string values must be quoted, expected literal string; see https://toml.io",
        ),
        ("[pool.web\n", "a.toml:1:10: unclosed table, expected `]`; see https://toml.io"),
        ("a = 1\na = 2\n", "a.toml:2:1: duplicate key; see https://toml.io"),
        // Keys.
        ("[proces]\n", "a.toml:1:2: unknown key `proces` in the file; did you mean `process`?"),
        (
            "backlog = 1\n",
            "a.toml:1:1: unknown key `backlog` in the file; it belongs into [[listener]] or [defaults]",
        ),
        ("shards = 1\n", "a.toml:1:1: unknown key `shards` in the file; it belongs into [process]"),
        (
            "[process]\nshard = 1\n",
            "a.toml:2:1: unknown key `shard` in [process]; did you mean `shards`?",
        ),
        (
            "[process]\nidle_timeout = \"1s\"\n",
            "a.toml:2:1: unknown key `idle_timeout` in [process]; it belongs into [pool.NAME] or [defaults]",
        ),
        (
            "[defaults]\nlisten = \"h:1\"\n",
            "a.toml:2:1: unknown key `listen` in [defaults]; it belongs into [[listener]]",
        ),
        (
            "[pool.web]\nconect-timeout = \"1s\"\n",
            "a.toml:2:1: unknown key `conect-timeout` in [pool.web]; did you mean `connect_timeout`?",
        ),
        (
            "[pool.web]\nbacklog = 5\n",
            "a.toml:2:1: unknown key `backlog` in [pool.web]; it belongs into [[listener]] or [defaults]",
        ),
        (
            "[[pool.web.backend]]\nadress = \"h:1\"\n",
            "a.toml:2:1: unknown key `adress` in [[pool.web.backend]]; did you mean `address`?",
        ),
        (
            "[[pool.web.backend]]\ncolour = 1\n",
            "a.toml:2:1: unknown key `colour` in [[pool.web.backend]]; expected one of address, name, weight, \
             backup, max_connections",
        ),
        (
            "[pool.web.health]\nraise = 1\n",
            "a.toml:2:1: unknown key `raise` in [pool.web.health]; did you mean `rise`?",
        ),
        // Tables.
        (
            "process = 5\n",
            "a.toml:1:11: it is a value of another kind (integer); write a table, [process]",
        ),
        (
            "[listener]\n",
            "a.toml:1:1: there may be several such tables; write [[listener]] for each",
        ),
        ("[[pool]]\n", "a.toml:1:1: there is one such table; write [pool.NAME]"),
        (
            "[pool.web.backend]\n",
            "a.toml:1:1: there may be several such tables; write [[pool.web.backend]] for each",
        ),
        // Values.
        (
            "[process]\nshards = 0\n",
            "a.toml:2:10: `shards`: 0 is out of range; write a whole number from 1 to 1024",
        ),
        (
            "[process]\nshards = \"many\"\n",
            "a.toml:2:10: `shards`: `many` is no such number; write a whole number from 1 to 1024",
        ),
        (
            "[process]\nshards = 99999999999999999999\n",
            "a.toml:2:10: `shards`: 99999999999999999999 is out of range; write a whole number from 1 to 1024",
        ),
        (
            "[process]\nshards = [1]\n",
            "a.toml:2:10: `shards`: it is a list; write a whole number from 1 to 1024",
        ),
        (
            "[process]\nshards = 1979-05-27\n",
            "a.toml:2:10: `shards`: it is a table; write a whole number from 1 to 1024",
        ),
        (
            "[process]\nengine = \"urng\"\n",
            "a.toml:2:10: `engine`: `urng` is not known; write one of \"auto\", \"uring\", \"epoll\"; \
             did you mean `uring`?",
        ),
        (
            "[process]\ncpus = \"x\"\n",
            "a.toml:2:8: `cpus`: `x` is not a CPU nor a range of them; write numbers and ranges, as in 0, 0,2-5 \
             or 0-6:2",
        ),
        (
            "[defaults]\nidle_timeout = 5\n",
            "a.toml:2:16: `idle_timeout`: 5 has no unit; write a number with a unit, as in 500ms, 3s or 1h",
        ),
        (
            "[defaults]\nidle_timeout = \"5\"\n",
            "a.toml:2:16: `idle_timeout`: `5`: time unit needed, for example 5sec or 5ms; write a number with a \
             unit, as in 500ms, 3s or 1h",
        ),
        (
            "[defaults]\nidle_timeout = \"0s\"\n",
            "a.toml:2:16: `idle_timeout`: it must be longer than nothing, as in 500ms, 3s or 1h",
        ),
        (
            "[defaults]\nidle_timeout = \"1000y\"\n",
            "a.toml:2:16: `idle_timeout`: it is longer than ten years; write a shorter one, as in 500ms, 3s or 1h",
        ),
        (
            "[[listener]]\nallow = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n",
            "a.toml:2:24: `allow`: `10.0.0.0/33` is no network; write an address or a network, as in \"10.0.0.1\" \
             or \"fd00::/8\"",
        ),
        (
            "[[listener]]\nmax_rate_per_ip = \"100\"\n",
            "a.toml:2:19: `max_rate_per_ip`: `100` is no rate; write so many in a time, as in \"100/s\" or \
             \"6000/1m\"",
        ),
        (
            "[[listener]]\nlisten = \"8080\"\n",
            "a.toml:2:10: `listen`: it has no port; write host:port, as in 10.0.0.11:8881, web1:8881 or [::1]:8881",
        ),
        (
            "[pool.web]\nbackends = [\"a:1\", \"b:0\"]\n",
            "a.toml:2:20: `backends`: port 0 cannot be connected to; write host:port, as in 10.0.0.11:8881",
        ),
        (
            "[pool.web]\nalgorithm = \"leest-connections\"\n",
            "a.toml:2:13: `algorithm`: `leest-connections` is not known; write one of \"auto\", \"round-robin\", \
             \"least-connections\", \"random\", \"p2c\", \"source-hash\", \"maglev\", \"first\"; did you mean \
             `least-connections`?",
        ),
        (
            "[pool.web]\non_unavailable = \"rest\"\n",
            "a.toml:2:18: `on_unavailable`: `rest` is not known; write \"close\", \"reset\" or { reply = \"503 \
             Service Unavailable\" }; did you mean `reset`?",
        ),
        (
            "[pool.web]\non_unavailable = { replay = \"x\" }\n",
            "a.toml:2:18: `on_unavailable`: unknown key `replay`; write \"close\", \"reset\" or { reply = \"503 \
             Service Unavailable\" }; did you mean `reply`?",
        ),
        (
            "[[pool.web.backend]]\nweight = 257\n",
            "a.toml:2:10: `weight`: 257 is out of range; write a whole number from 0 to 256",
        ),
        (
            "[pool.web.health]\njitter = 1.5\n",
            "a.toml:2:10: `jitter`: 1.5 is out of range; write a number from 0 to less than 1, as in 0.1",
        ),
        (
            "[pool.web.health]\npath = \"health\"\n",
            "a.toml:2:8: `path`: `health` is no path of visible ASCII that begins with /; write a path, as in \
             \"/health\"",
        ),
        (
            "[pool.web]\nsource = [\"127.0.0.1\", \"10.0.0.1:80\"]\n",
            "a.toml:2:24: `source`: `10.0.0.1:80` is no address; write an address of this host, as in \"10.0.0.1\" \
             or \"fd00::1\"",
        ),
        (
            "[pool.web]\nsource = \"0.0.0.0\"\n",
            "a.toml:2:10: `source`: `0.0.0.0` stands for all addresses; write an address of this host, as in \
             \"10.0.0.1\" or \"fd00::1\"",
        ),
        (
            "[pool.web]\nsource = \"239.1.2.3\"\n",
            "a.toml:2:10: `source`: `239.1.2.3` is the address of a group; write an address of this host, as in \
             \"10.0.0.1\" or \"fd00::1\"",
        ),
        (
            "[pool.web]\nsource = \"255.255.255.255\"\n",
            "a.toml:2:10: `source`: `255.255.255.255` stands for all hosts; write an address of this host, as in \
             \"10.0.0.1\" or \"fd00::1\"",
        ),
        (
            "[pool.web]\nsource = \"fe80::1\"\n",
            "a.toml:2:10: `source`: `fe80::1` is good for one link only; write an address of this host, as in \
             \"10.0.0.1\" or \"fd00::1\"",
        ),
        (
            "[defaults]\ntcp_keepalive = 5\n",
            "a.toml:2:17: `tcp_keepalive`: 5 has no unit; write a number with a unit, as in 500ms, 3s or 1h",
        ),
        (
            "[pool.web.health]\nstatus = [200, 99]\n",
            "a.toml:2:16: `status`: `99` is no range of status codes; write status codes from 100 to 599, as in \
             \"200-399\" or [200, 204]",
        ),
        // The environment.
        (
            "[process]\ncpus = \"${UNSET}\"\n",
            "a.toml:2:8: the environment variable UNSET is not set; set it, or write ${UNSET:-default}",
        ),
        (
            "[pool.web]\nbackends = [\"a:1\", \"$b:1\"]\n",
            "a.toml:2:20: `$` stands for nothing; write ${NAME} or ${NAME:-default} for an environment variable, \
             and $$ for a $",
        ),
    ] {
        assert_eq!(read(text), Err(line.to_owned()), "{text}");
    }
}

#[test]
fn what_does_not_go_together_is_told_in_the_same_way() {
    for (more, line) in [
        (
            "[[listener]]\nlisten = \"h:2\"\npool = \"wed\"\n",
            "a.toml:7:8: there is no pool `wed`; expected one of `web`; did you mean `web`?",
        ),
        (
            "[[listener]]\nlisten = \"h:1\"\n",
            "a.toml:6:10: `h:1` is listened on already; write another address or port",
        ),
        (
            "[[listener]]\nlisten = [\"h:2\", \"h:2\"]\n",
            "a.toml:6:18: `h:2` is listened on already; write another address or port",
        ),
        (
            "[[listener]]\nname = \"a\"\nlisten = \"h:2\"\n[[listener]]\nname = \"a\"\nlisten = \"h:3\"\n",
            "a.toml:9:8: there is a listener `a` already; write another name",
        ),
        (
            "[pool.more]\nbackends = [\"b:1\"]\n",
            "a.toml:1:1: the listener names no pool; write pool = one of `web`, `more`",
        ),
        (
            "[[listener]]\nlisten = \"h:2\"\nproxy_timeout = \"1s\"\n",
            "a.toml:7:1: `proxy_timeout` does nothing without `accept_proxy`; name the proxies there",
        ),
        (
            "[[pool.web.backend]]\nweight = 1\n",
            "a.toml:5:1: the backend has no address; write address = \"host:port\"",
        ),
        (
            "[[pool.web.backend]]\naddress = \"b:1\"\n",
            "a.toml:6:11: there is a backend `b:1` already; write another `name`",
        ),
        (
            "[[pool.web.backend]]\naddress = \"b:2\"\nname = \"b:1\"\n",
            "a.toml:7:8: there is a backend `b:1` already; write another `name`",
        ),
        (
            "sticky_ttl = \"1m\"\n",
            "a.toml:5:1: `sticky_ttl` does nothing here; write `sticky_key = \"ip\"` too, or leave it out",
        ),
        (
            "max_connection_age_jitter = \"1m\"\n",
            "a.toml:5:1: `max_connection_age_jitter` does nothing here; write `max_connection_age` too, or leave \
             it out",
        ),
        (
            "max_connection_age = \"1m\"\nmax_connection_age_jitter = \"1m\"\n",
            "a.toml:6:29: `max_connection_age_jitter`: it is not less than the age itself; write a part of it",
        ),
        (
            "eject_time = \"1m\"\neject_time_max = \"1s\"\n",
            "a.toml:6:18: `eject_time_max` is less than `eject_time`; write a longer one",
        ),
        (
            "[pool.web.health]\ntype = \"tcp\"\npath = \"/\"\n",
            "a.toml:7:1: `path` does nothing here; write `type = \"http\"` too, or leave it out",
        ),
        (
            "[pool.web.health]\ntype = \"send-expect\"\nsend = \"x\"\n",
            "a.toml:6:1: a `send-expect` check expects something; write expect = \"...\"",
        ),
        (
            "destination = \"original-dst\"\n",
            "a.toml:4:1: pool `web` goes to the original destination and has no backends; leave them out",
        ),
    ] {
        assert_eq!(read(&format!("{SMALL}{more}")), Err(line.to_owned()), "{more}");
    }
    for (more, line) in [
        (
            "algorithm = \"first\"\n",
            "a.toml:5:1: `algorithm` chooses between backends, and an `original-dst` pool has none; leave it out",
        ),
        (
            "[pool.web.health]\ninterval = \"1s\"\n",
            "a.toml:6:1: an `original-dst` pool has no backend to check; leave its health out",
        ),
    ] {
        let text = SMALL.replace("backends = [\"b:1\"]", "destination = \"original-dst\"");
        assert_eq!(read(&format!("{text}{more}")), Err(line.to_owned()), "{more}");
    }
}

#[test]
fn several_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "[process]\nshard = 1\nengine = 5\n[[listener]]\nlisten = \"x\"\nallow = [\"y\"]\n";
    let problems = read(text).expect_err("four mistakes");
    let places: Vec<_> =
        problems.lines().map(|line| line.split(": ").next().expect("a place")).collect();
    assert_eq!(places, ["a.toml:2:1", "a.toml:3:10", "a.toml:5:10", "a.toml:6:10"]);
    // A mistake in the defaults is one, however many tables they complete.
    let text = format!("[defaults]\nsplice = \"x\"\n{SMALL}[pool.more]\nbackends = [\"b:1\"]\n");
    assert_eq!(read(&text).expect_err("one mistake").lines().count(), 1);
    let many = (0..25).map(|n| format!("unknown{n} = 1\n")).collect::<String>();
    let problems = read(&many).expect_err("many mistakes");
    assert_eq!(problems.lines().count(), 11);
    assert_eq!(problems.lines().last(), Some("and 15 more problems"));
}

#[test]
fn a_column_counts_characters() {
    let line = "on_unavailable = { reply = \"\u{e4}\u{f6}\u{fc}\" }";
    let text = format!("{SMALL}{line}\n[process]\ncpus = \"\u{e4}\" # x\nx\u{e4} = 1\n");
    let problems = read(&text).expect_err("an umlaut is no bare key");
    assert!(problems.starts_with("a.toml:8:2: "), "{problems}");
    let text = "[process]\n\"\u{e4}\u{f6}\" . x = 1\n";
    assert!(read(text).expect_err("unknown").starts_with("a.toml:2:1: "));
    let text = "process = { \"\u{e4}\u{f6}\u{fc}\" = 1, engine = 1 }\n";
    let problems = read(text).expect_err("two mistakes");
    assert!(problems.contains("a.toml:1:13: ") && problems.contains("a.toml:1:33: "), "{problems}");
}

#[test]
fn what_is_not_said_is_the_default() {
    let draft = good(SMALL);
    let (process, listener, pool) = (&draft.process, &draft.listeners[0], &draft.pools[0].config);
    assert_eq!((process.engine, process.log_level), (EngineName::Auto, LogLevel::Info));
    assert_eq!(process.drain_timeout, Duration::from_secs(30));
    assert_eq!(process.resolve_ttl_min, Duration::from_secs(5));
    assert_eq!((listener.name.as_str(), listener.pool, listener.backlog), ("h:1", 0, 4096));
    assert_eq!((pool.name.as_str(), pool.algorithm), ("web", Algorithm::P2c));
    assert_eq!((pool.sticky, pool.max_age, pool.send_proxy), (None, None, None));
    let seconds =
        [pool.connect_timeout, pool.idle_timeout, pool.half_closed_timeout, pool.wait_for_backend];
    assert_eq!(seconds.map(|time| time.as_secs()), [3, 3600, 30, 30]);
    assert_eq!(pool.on_unavailable, OnUnavailable::Close);
    assert_eq!((pool.queue.size, pool.queue.timeout.as_secs()), (1024, 5));
    assert!(!pool.session_failover && !pool.close_when_down);
    assert_eq!((&pool.connect, listener.options), (&Connect::default(), ListenOptions::default()));
    let health = pool.health.as_ref().expect("on");
    let seconds =
        [health.interval, health.fast_interval, health.timeout].map(|time| time.as_secs());
    assert_eq!((&health.check, seconds), (&Check::Tcp, [5, 1, 1]));
    assert_eq!((health.rise.get(), health.fall.get(), health.port), (2, 3, None));
    let ejection = pool.ejection.expect("on");
    let seconds = [ejection.first, ejection.longest].map(|time| time.as_secs());
    assert_eq!((ejection.after.get(), seconds), (3, [10, 300]));
    let backend = &pool.backends[0];
    assert_eq!((backend.name.as_str(), backend.weight), ("b:1", 1));
    assert_eq!((backend.backup, backend.max_connections), (false, None));
}

#[test]
fn every_key_of_a_pool_arrives() {
    let config = pool(
        r#"
        algorithm = "maglev"
        sticky_key = "ip-port"
        sticky_ttl = "2m"
        sticky_size = 9
        sticky_return = true
        connect_timeout = "1s"
        idle_timeout = "2s"
        half_closed_timeout = "3s"
        wait_for_backend_timeout = "0s"
        on_unavailable = { reply = "a\r\nb" }
        queue_size = 0
        queue_timeout = "4s"
        session_failover = true
        on_marked_down = "close"
        send_proxy = "v2"
        max_connection_age = "10s"
        max_connection_age_jitter = "0s"
        source = ["127.0.0.2", "::ffff:127.0.0.3", "::1"]
        tcp_keepalive = "11s"
        tcp_user_timeout = "12s"
        splice = "off"
        slow_start = "5s"
        eject_after = 1
        eject_time = "6s"
        eject_time_max = "7s"
        [pool.web.health]
        type = "http"
        interval = "500ms"
        timeout = "8s"
        rise = 5
        fall = 6
        jitter = 0
        port = 99
        path = "/ok?x=1"
        host = "example.org"
        status = [200, "300-303"]
        [[pool.web.backend]]
        address = "[::1]:81"
        name = "b3"
        weight = "${WEIGHT}"
        backup = true
        max_connections = 7
        "#,
    );
    let config = config.config;
    assert_eq!(config.algorithm, Algorithm::Maglev);
    let sticky = config.sticky.expect("on");
    assert_eq!((sticky.key, sticky.ttl.as_secs()), (StickyBy::IpPort, 120));
    assert_eq!((sticky.size.get(), sticky.returns), (9, true));
    let seconds = [
        config.connect_timeout,
        config.idle_timeout,
        config.half_closed_timeout,
        config.wait_for_backend,
    ];
    assert_eq!(seconds.map(|time| time.as_secs()), [1, 2, 3, 0]);
    assert_eq!(config.on_unavailable, OnUnavailable::Reply(b"a\r\nb"[..].into()));
    assert_eq!((config.queue.size, config.queue.timeout.as_secs()), (0, 4));
    assert!(config.session_failover && config.close_when_down);
    assert_eq!(config.send_proxy, Some(ProxyVersion::V2));
    let age = config.max_age.expect("on");
    assert_eq!((age.age.as_secs(), age.jitter), (10, Duration::ZERO));
    let sources: Vec<_> = config.connect.sources.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["127.0.0.2", "127.0.0.3", "::1"]);
    let watch = [config.connect.keepalive, config.connect.user_timeout];
    assert_eq!(watch.map(|time| time.expect("on").as_secs()), [11, 12]);
    assert_eq!((config.splice, config.slow_start), (Splice::Off, Some(Duration::from_secs(5))));
    let ejection = config.ejection.expect("on");
    let seconds = [ejection.first, ejection.longest].map(|time| time.as_secs());
    assert_eq!((ejection.after.get(), seconds), (1, [6, 7]));
    let health = config.health.expect("on");
    let check = Check::Http {
        path: "/ok?x=1".to_owned(),
        host: Some("example.org".to_owned()),
        status: vec![(200, 200), (300, 303)],
    };
    assert_eq!(health.check, check);
    let times =
        [health.interval, health.fast_interval, health.timeout].map(|time| time.as_millis());
    assert_eq!(times, [500, 500, 8000]);
    assert_eq!((health.rise.get(), health.fall.get()), (5, 6));
    assert_eq!((health.jitter, health.port.map(u16::from)), (0.0, Some(99)));
    let backend = &config.backends[0];
    assert_eq!((backend.name.as_str(), backend.target.to_string().as_str()), ("b3", "[::1]:81"));
    assert_eq!((backend.weight, backend.backup), (7, true));
    assert_eq!(backend.max_connections.map(u32::from), Some(7));
}

#[test]
fn every_key_of_a_listener_arrives() {
    let text = r#"
        [[listener]]
        name = "web"
        listen = ["[::]:${PORT}", "unix:/run/x.sock"]
        backlog = 5
        max_sessions = 6
        allow = "10.1.2.3/8"
        deny = ["10.0.0.1", "fd00::/8"]
        max_sessions_per_ip = 7
        max_rate_per_ip = "6000/1m"
        accept_proxy = ["127.0.0.1"]
        proxy_timeout = "8s"
        defer_accept = "9s"
        tcp_fastopen = 10
        tcp_keepalive = "11s"
        tcp_user_timeout = "12s"
        [pool.web]
        backends = ["b:1"]
    "#;
    let draft = good(text);
    let on: Vec<_> =
        draft.listeners.iter().map(|one| (one.name.as_str(), one.on.to_string())).collect();
    assert_eq!(on, [("web", "[::]:8443".to_owned()), ("web", "unix:/run/x.sock".to_owned())]);
    for listener in &draft.listeners {
        assert_eq!((listener.backlog, listener.max_sessions.map(u32::from)), (5, Some(6)));
        let access = [&listener.access.allow, &listener.access.deny]
            .map(|nets| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(access, ["10.0.0.0/8", "10.0.0.1/32 fd00::/8"]);
        assert_eq!(listener.per_ip.sessions.map(u32::from), Some(7));
        let events = 6000.try_into().expect("not 0");
        assert_eq!(listener.per_ip.rate, Some(Rate { events, period: Duration::from_secs(60) }));
        let proxy = listener.accept_proxy.as_ref().expect("on");
        assert_eq!((proxy.from.len(), proxy.timeout.as_secs()), (1, 8));
        assert_eq!(listener.options.defer_accept, Some(Duration::from_secs(9)));
        assert_eq!(listener.options.fast_open, 10);
        let watch = [listener.options.keepalive, listener.options.user_timeout];
        assert_eq!(watch.map(|time| time.expect("on").as_secs()), [11, 12]);
    }
}

#[test]
fn every_key_of_the_process_arrives() {
    let process = r#"
        [process]
        shards = 2
        cpus = "0-1"
        engine = "epoll"
        max_sessions = 3
        buffers = 4
        busy_poll = "50us"
        drain_timeout = "0s"
        report_interval = "6s"
        log_level = "debug"
        resolve_ttl_min = "7s"
    "#;
    let process = good(&format!("{SMALL}{process}")).process;
    let shards = process.shards.expect("given");
    let place = Place::File { file: "a.toml".into(), line: 7, column: 18 };
    assert_eq!((shards.value, shards.place), (2, place));
    assert_eq!(process.cpus.expect("given").value.0, [0, 1]);
    assert_eq!((process.engine, process.log_level), (EngineName::Epoll, LogLevel::Debug));
    assert_eq!((process.max_sessions.expect("given").value, process.buffers), (3, Some(4)));
    assert_eq!(process.busy_poll, Some(Duration::from_micros(50)));
    assert_eq!(process.drain_timeout, Duration::ZERO);
    assert_eq!(process.report_interval, Some(Duration::from_secs(6)));
    assert_eq!(process.resolve_ttl_min, Duration::from_secs(7));
}

#[test]
fn defaults_hold_where_nothing_else_is_said() {
    let text = r#"
        [defaults]
        backlog = 5
        allow = ["10.0.0.0/8"]
        idle_timeout = "1m"
        sticky_ttl = "2m"
        [defaults.health]
        interval = "7s"
        type = "http"
        path = "/x"
        [[listener]]
        listen = "h:1"
        pool = "a"
        [[listener]]
        listen = "h:2"
        pool = "b"
        backlog = 6
        allow = []
        [pool.a]
        backends = ["b:1"]
        [pool.b]
        backends = ["b:1"]
        idle_timeout = "2m"
        sticky_key = "ip"
        [pool.b.health]
        type = "tcp"
        [pool.c]
        destination = "original-dst"
    "#;
    let draft = good(text);
    let listeners: Vec<_> =
        draft.listeners.iter().map(|one| (one.backlog, one.access.allow.len())).collect();
    assert_eq!(listeners, [(5, 1), (6, 0)]);
    let [a, b, c] = [0, 1, 2].map(|index| &draft.pools[index].config);
    assert_eq!([a, b, c].map(|pool| pool.idle_timeout.as_secs()), [60, 120, 60]);
    assert_eq!((a.sticky, b.sticky.map(|sticky| sticky.ttl.as_secs())), (None, Some(120)));
    let [health_a, health_b] = [a, b].map(|pool| pool.health.as_ref().expect("on"));
    assert!(matches!(&health_a.check, Check::Http { path, .. } if path == "/x"));
    assert_eq!(health_b.check, Check::Tcp);
    assert_eq!((health_a.interval.as_secs(), health_b.interval.as_secs()), (7, 7));
    assert_eq!((c.destination, c.health.is_some()), (Destination::OriginalDst, false));
    assert_eq!((c.backends.len(), c.ejection), (1, None));
}

#[test]
fn what_watches_connections_holds_for_both_sides_by_default_and_can_be_taken_back() {
    let defaults =
        "[defaults]\ntcp_keepalive = \"5s\"\ntcp_user_timeout = \"6s\"\nsource = \"::1\"\n";
    let both = [Some(5), Some(6)];
    for (listener, pool, expected) in [
        ("", "", [both, both]),
        ("tcp_keepalive = \"0s\"", "", [[None, Some(6)], both]),
        ("", "tcp_user_timeout = \"0s\"\nsource = []", [both, [Some(5), None]]),
    ] {
        let text = SMALL.replace("[pool", &format!("{listener}\n[pool")) + pool + "\n" + defaults;
        let draft = good(&text);
        let (options, connect) = (draft.listeners[0].options, &draft.pools[0].config.connect);
        let sides =
            [[options.keepalive, options.user_timeout], [connect.keepalive, connect.user_timeout]];
        let seconds = sides.map(|side| side.map(|time| time.map(|time| time.as_secs())));
        assert_eq!(seconds, expected, "{text}");
        assert_eq!(connect.sources.is_empty(), pool.contains("source"), "{text}");
    }
}

#[test]
fn what_a_variable_holds_is_only_text() {
    let draft = good(&SMALL.replace("b:1", "b:${PORT}"));
    assert_eq!(draft.pools[0].config.backends[0].target.to_string(), "b:8443");
    let problems = read(&format!("{SMALL}[pool.web.health]\ntype = \"${{TOML}}\"\n"));
    let problems = problems.expect_err("no such type");
    assert!(
        problems.starts_with("a.toml:6:8: `type`: `web\" [pool.more] x = \"` is"),
        "{problems}"
    );
}

#[test]
fn an_unused_pool_is_a_warning() {
    let draft = good(
        &format!("{SMALL}[pool.more]\nbackends = [\"b:1\"]\n")
            .replace("h:1\"", "h:1\"\npool = \"web\""),
    );
    let [warning] = draft.warnings.as_slice() else { panic!("{:?}", draft.warnings) };
    let line = "a.toml:6:7: no listener uses pool `more`; name it in a listener, or leave it out";
    assert_eq!(warning.to_string(), line);
}

#[test]
fn addresses_are_looked_up_and_nothing_may_be_where_evenkeel_listens() {
    let resolve =
        |text: &str| Config::resolve(&good(text)).map_err(|problems| problems.to_string());
    let text = "[[listener]]\nlisten = \"127.0.0.1:4\"\n[pool.web]\nbackends = [\"127.0.0.1:5\", \"unix:/x\"]\n";
    let config = resolve(text).expect("numbers only");
    let address = |text: &str| Address::Inet(text.parse::<SocketAddr>().expect("an address"));
    assert_eq!(config.listeners[0].address, address("127.0.0.1:4"));
    let backends: Vec<_> =
        config.pools[0].backends.iter().map(|one| one.addresses.clone()).collect();
    assert_eq!(backends, [vec![address("127.0.0.1:5")], vec![Address::Unix("/x".into())]]);
    for (from, to, line) in [
        (
            "127.0.0.1:5",
            "127.0.0.1:4",
            "a.toml:4:13: backend 127.0.0.1:4 is where evenkeel itself listens",
        ),
        (
            "127.0.0.1:4",
            "[::]:5",
            "a.toml:4:13: backend 127.0.0.1:5 is where evenkeel itself listens",
        ),
        ("127.0.0.1:4", "unix:/x", "a.toml:4:28: backend unix:/x is where evenkeel itself listens"),
        (
            "127.0.0.1:5",
            "no-such-host.invalid:1",
            "a.toml:4:13: cannot resolve backend `no-such-host.invalid:1`",
        ),
    ] {
        let wrong = resolve(&text.replace(from, to));
        let wrong = wrong.expect_err(to);
        assert!(wrong.starts_with(line), "{wrong}");
    }
    let wrong =
        resolve(&text.replace("127.0.0.1:4", "0.0.0.0:5")).expect_err("all addresses of this host");
    assert!(wrong.starts_with("a.toml:4:13: backend 127.0.0.1:5 is"), "{wrong}");
    let wrong =
        resolve(&format!("{text}[process]\nmax_sessions = 4000000000\n")).expect_err("too many");
    assert!(wrong.starts_with("a.toml:6:16: max_sessions = 4000000000 needs "), "{wrong}");
    // TEST-NET-2 (RFC 5737): no machine has it.
    let sources = "source = [\"127.0.0.2\", \"198.51.100.1\"]\n";
    let wrong = resolve(&format!("{text}{sources}")).expect_err("not here");
    let line = "a.toml:5:24: source 198.51.100.1 is no address of this host; see `ip address`, or leave it out";
    assert_eq!(wrong, line);
    let wrong = resolve(&format!("{text}[process]\ncpus = \"8191\"\n")).expect_err("no such CPU");
    assert!(
        wrong.starts_with("a.toml:6:8: cpus names CPU 8191, which this machine has not"),
        "{wrong}"
    );
}

#[test]
fn two_names_of_one_address_are_one_listener_too_many() {
    let text =
        SMALL.replace("h:1", "127.0.0.1:4") + "[[listener]]\nlisten = \"[::ffff:127.0.0.1]:4\"\n";
    assert!(matches!(&good(&text).listeners[1].on, Target::Host(_)));
    let text = SMALL
        .replace("\"h:1\"", "[\"127.0.0.1:4\", \"127.000.0.1:4\"]")
        .replace("b:1", "127.0.0.1:9");
    let problems = Config::resolve(&good(&text)).expect_err("not two").to_string();
    assert!(problems.starts_with("a.toml:2:26: "), "{problems}");
}

#[test]
fn the_example_is_right() {
    let draft =
        parse(EXAMPLE, "evenkeel.toml", &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((draft.listeners.len(), draft.pools.len()), (3, 2));
    assert_eq!(draft.warnings, []);
    assert!(Config::resolve(&draft).is_ok());
}

#[test]
fn every_key_is_in_the_documentation_under_its_table() {
    let text = include_str!("../../docs/configuration.md");
    for (title, keys) in [
        ("[process]", keys::<ProcessTable>()),
        ("[[listener]]", keys::<ListenerTable>()),
        ("[pool.NAME]", keys::<PoolTable>()),
        ("[pool.NAME.health]", keys::<HealthTable>()),
        ("[[pool.NAME.backend]]", keys::<BackendTable>()),
    ] {
        let (_, section) = text.split_once(&format!("## `{title}`\n")).expect(title);
        let section = section.split("\n## ").next().expect("at least one part");
        let row = |line: &str| {
            line.strip_prefix("| `").and_then(|line| line.split('`').next()).map(str::to_owned)
        };
        let mut told: Vec<String> = section.lines().filter_map(row).collect();
        let mut known: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        told.sort();
        known.sort();
        assert!(!known.is_empty());
        assert_eq!(told, known, "{title}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = parse(&text, "a.toml", &env);
    }

    #[test]
    fn any_words_of_the_language_are_read_or_refused(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..40)
    ) {
        let _ = parse(&words.concat(), "a.toml", &env);
    }

    /// Whatever becomes of a good file, it is read or every problem has a place in it.
    #[test]
    fn a_damaged_file_is_read_or_refused(
        cuts in prop::collection::vec((any::<Index>(), 0_usize..20, prop::sample::select(WORDS)), 1..6)
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, length, word) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, word.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = parse(&text, "a.toml", &env) {
            prop_assert!(!problems.0.is_empty());
            let lines = u32::try_from(text.lines().count() + 1).expect("short");
            for problem in problems.0 {
                prop_assert!(!problem.to_string().contains('\n'), "{problem}");
                let Place::File { line, column, .. } = problem.place else {
                    return Err(TestCaseError::fail("it has no place"));
                };
                prop_assert!((1..=lines).contains(&line) && column >= 1, "{line}:{column} of {lines}");
            }
        }
    }
}

const WORDS: &[&str] = &[
    "",
    "\n",
    " ",
    "=",
    ".",
    ",",
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "#",
    "$",
    "${",
    "${PORT}",
    "0",
    "-1",
    "1.5",
    "true",
    "1979-05-27",
    "99999999999999999999",
    "process",
    "defaults",
    "listener",
    "listen",
    "pool",
    "pool.web",
    "health",
    "backend",
    "backends",
    "name",
    "type",
    "status",
    "on_unavailable",
    "reply",
    "destination",
    "\"original-dst\"",
    "\"h:1\"",
    "\"500ms\"",
    "sticky_ttl",
    "eject_after",
    "\u{e4}",
    "\u{feff}",
    "[[listener]]\nlisten = \"h:1\"\n",
    "[pool.web]\n",
    "backends = [\"b:1\"]\n",
];

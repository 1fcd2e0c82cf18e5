//! Files that are right and wrong, as text.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use uring::ListenOptions;

use super::draft::{Draft, PoolDraft};
use super::plan::{
    Address, Check, Connect, Destination, On, OnUnavailable, ProxyVersion, Rate, SessionLogFormat,
    SessionLogTo, StickyBy, Target,
};
use super::problem::Place;
use super::tables::{BackendTable, HealthTable, ListenerTable, PoolTable, ProcessTable, keys};
use super::{Config, parse};
use crate::cli::{EngineName, LogLevel, OnOff};
use crate::core::balance::Algorithm;
use crate::core::relay::Splice;

mod keys_arrive;
mod mistakes;

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
fn off_takes_a_default_back() {
    let text = r#"
        [defaults]
        max_sessions = 5
        max_sessions_per_ip = 6
        max_rate_per_ip = "7/s"
        defer_accept = "8s"
        tcp_keepalive = "9s"
        tcp_user_timeout = "9s"
        max_connection_age = "10m"
        slow_start = "11s"
        status_port_offset = 12
        [[listener]]
        listen = "h:1"
        pool = "a"
        [[listener]]
        listen = "h:2"
        pool = "b"
        max_sessions = "off"
        max_sessions_per_ip = "off"
        max_rate_per_ip = "off"
        defer_accept = "off"
        tcp_keepalive = "off"
        tcp_user_timeout = "off"
        [pool.a]
        backends = ["b:1"]
        [pool.b]
        backends = ["b:1"]
        tcp_keepalive = "off"
        tcp_user_timeout = "off"
        max_connection_age = "off"
        slow_start = "off"
        status_port_offset = "off"
        [process]
        busy_poll = "off"
        report_interval = "off"
    "#;
    let draft = good(text);
    let [on, off] = [0, 1].map(|index| &draft.listeners[index]);
    let limits = |one: &super::draft::ListenerDraft| {
        let options = &one.options;
        [
            one.max_sessions.is_some(),
            one.per_ip.sessions.is_some(),
            one.per_ip.rate.is_some(),
            options.defer_accept.is_some(),
            options.keepalive.is_some(),
            options.user_timeout.is_some(),
        ]
    };
    assert_eq!((limits(on), limits(off)), ([true; 6], [false; 6]));
    let [on, off] = [0, 1].map(|index| &draft.pools[index].config);
    let has = |one: &super::plan::PoolConfig| {
        let connect = &one.connect;
        [
            one.max_age.is_some(),
            one.slow_start.is_some(),
            one.status_port_offset.is_some(),
            connect.keepalive.is_some(),
            connect.user_timeout.is_some(),
        ]
    };
    assert_eq!((has(on), has(off)), ([true; 5], [false; 5]));
    assert_eq!((draft.process.busy_poll, draft.process.report_interval), (None, None));
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
    assert_eq!(config.listeners[0].address, On::At(address("127.0.0.1:4")));
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
    assert!(matches!(&good(&text).listeners[1].on, On::At(Target::Host(_))));
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

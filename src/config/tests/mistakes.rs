//! What is wrong, and how it is told.

use super::*;

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
            "[[pool.web.backend]]\naddress = \"b:2\"\nname = \"..\"\n",
            "a.toml:3:8: `name`: `..` is a folder in a path, and no name; write a name in quotes",
        ),
        (
            "[[pool.web.backend]]\naddress = \"b:2\"\nname = \"  \"\n",
            "a.toml:3:8: `name`: a name has more than spaces; write a name in quotes",
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

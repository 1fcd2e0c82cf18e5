//! What each command asks for, and what it prints of the answer.

use std::io::Read as _;
use std::process::Stdio;

use evenkeel::api::{Backend, Event, Explanation, Info, Killed, Sessions};

use super::stub::{Stub, done, evenkeel, status};
use crate::support::eventually;

#[test]
fn status_shows_all_that_is_to_be_seen_at_a_glance() {
    let shown = Stub::new().ctl("status");
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    for part in ["evenkeel 0.1.0 running for 1 h 1 min", "web/b", "0.0.0.0:8080", "SHARD"] {
        assert!(shown.out.contains(part), "no {part} in\n{}", shown.out);
    }
}

#[test]
fn backends_are_a_table_without_colours_in_a_pipe() {
    let stub = Stub::new();
    let shown = stub.ctl("backends");
    let lines: Vec<&str> = shown.out.lines().collect();
    assert!(lines[0].starts_with("BACKEND  STATE"), "{}", shown.out);
    assert!(lines[1].starts_with("web/a    up"), "{}", shown.out);
    assert!(lines[1].contains("120 µs / 1.50 ms") && lines[1].contains("4.00 MB"), "{}", lines[1]);
    assert!(lines[2].contains("down") && lines[2].ends_with("connection refused"), "{}", lines[2]);
    assert!(!shown.out.contains('\u{1b}'));
    let db = stub.ctl("backends --pool db").out;
    assert!(db.contains("db/c") && !db.contains("web/"), "{db}");
}

#[test]
fn a_narrow_terminal_keeps_name_and_state() {
    let stub = Stub::new();
    let mut command = evenkeel("ctl");
    command.arg("backends").env("EVENKEEL_ADMIN", &stub.address).env("COLUMNS", "30");
    let shown = done(&mut command).out;
    assert!(shown.lines().all(|line| line.chars().count() <= 30), "{shown}");
    assert!(shown.contains("web/b    down"), "{shown}");
}

#[test]
fn json_is_what_the_api_says_byte_for_byte() {
    let stub = Stub::new();
    for (words, line) in [
        ("status", "GET /api/status"),
        ("backends", "GET /api/backends"),
        ("sessions", "GET /api/sessions"),
        ("events", "GET /api/events"),
        ("info", "GET /info"),
        ("explain session 1", "GET /api/explain/session"),
    ] {
        // Also what this version does not know.
        let body = match words {
            "backends" => "[ {\"name\":\"a\", \"new\":1} ]",
            _ => "{ \"new\":   [1,2],\"events\":[]}",
        };
        stub.say(line, 200, body);
        let told = stub.ctl(&format!("{words} --json"));
        assert_eq!((told.code, told.out), (Some(0), format!("{body}\n")), "{words}");
    }
}

#[test]
fn a_part_of_the_status_as_json_is_that_part() {
    let stub = Stub::new();
    let told = stub.ctl("pools --json").out;
    let pools: Vec<evenkeel::api::Pool> = serde_json::from_str(&told).expect("JSON");
    assert_eq!(pools, status().pools);
    assert!(stub.ctl("listeners").out.contains("main"));
    assert!(stub.ctl("shards").out.starts_with("SHARD"));
    assert!(stub.ctl("pools").out.contains("1 of 2"));
}

#[test]
fn states_and_weights_are_changed_by_patch() {
    let stub = Stub::new();
    for (words, body) in [
        ("drain web/b", r#"{"weight":null,"state":"drain"}"#),
        ("maint b", r#"{"weight":null,"state":"maint"}"#),
        ("ready web/b", r#"{"weight":null,"state":"ready"}"#),
        ("weight web/b 7", r#"{"weight":7,"state":null}"#),
    ] {
        let done = stub.ctl(words);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{words}");
        assert_eq!(done.out, "web/b is down, weight 1, 3 connections\n", "{words}");
        let asked = stub.asked().pop().expect("it asked");
        assert_eq!(
            (asked.line.as_str(), asked.body.as_str()),
            ("PATCH /api/pools/web/backends/b", body)
        );
    }
    let both = stub.ctl("drain web/a db/c");
    assert_eq!(both.out.lines().count(), 2);
    assert_eq!(stub.last(), "PATCH /api/pools/db/backends/c");
}

#[test]
fn a_mistyped_name_changes_nothing_and_is_guessed() {
    let stub = Stub::new();
    for query in ["pool=wep&backend=a", "pool=wbe", "listener=mian"] {
        stub.count_sessions(query, 0);
    }
    for (words, says) in [
        ("drain web/a wep/b", "no backend `wep/b`; did you mean `web/b`?"),
        ("drain a", "several pools have a backend `a`: web and db; write web/a"),
        ("weight quite-another 3", "there is web/a, web/b, db/a, db/c"),
        ("remove web/x", "no backend `web/x`; there is web/a, web/b, db/a, db/c"),
        ("backends --pool wep", "no pool `wep`; did you mean `web`?"),
        ("add wep 10.0.0.1:80", "no pool `wep`; did you mean `web`?"),
        ("add 10.0.0.1:80", "several pools, say which: web, db"),
        ("kill --backend wep/a", "did you mean `web/a`?"),
        ("kill --pool wbe", "no pool `wbe`; did you mean `web`?"),
        ("sessions --pool wbe", "no pool `wbe`; did you mean `web`?"),
        ("dump --listener mian", "no listener `mian`; did you mean `main`?"),
        ("add web", "the address is missing: write `evenkeel ctl add web HOST:PORT`"),
    ] {
        let done = stub.ctl(words);
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{words}");
        assert!(done.err.starts_with("evenkeel ctl: ") && done.err.contains(says), "{}", done.err);
    }
    assert!(stub.asked().iter().all(|asked| asked.line.starts_with("GET ")), "{:?}", stub.asked());
}

#[test]
fn a_backend_is_added_and_removed() {
    let stub = Stub::new();
    let new = Backend {
        pool: "db".to_owned(),
        name: "n".to_owned(),
        state: "up".to_owned(),
        weight: 3,
        ..Backend::default()
    };
    stub.answer("POST /api/pools/db/backends", 201, &new);
    let words = "add db 10.0.0.9:80 --name n --weight 3 --backup --max-connections 5";
    assert_eq!(stub.ctl(words).out, "db/n is added: up, weight 3\n");
    let asked = stub.asked().pop().expect("it asked");
    assert_eq!(asked.line, "POST /api/pools/db/backends");
    let body =
        r#"{"address":"10.0.0.9:80","name":"n","weight":3,"backup":true,"max_connections":5}"#;
    assert_eq!(asked.body, body);
    assert_eq!(stub.ctl("remove db/c").out, "db/c is removed; its 3 sessions go on\n");
    assert_eq!(stub.last(), "DELETE /api/pools/db/backends/c");
}

#[test]
fn sessions_are_filtered_where_they_are() {
    let stub = Stub::new();
    let shown = stub.ctl("sessions --backend web/a --client 10.1.0.0/16 --min-idle 90s --limit 5");
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert_eq!(
        stub.last(),
        "GET /api/sessions?pool=web&backend=a&client=10.1.0.0%2F16&min_idle=1m30s&limit=5"
    );
    assert!(shown.out.contains("0-9-1") && shown.out.contains("1 min 1 s"), "{}", shown.out);
    assert!(shown.out.ends_with("9 sessions\n"), "{}", shown.out);
    let none = Sessions { total: 4, ..Sessions::default() };
    stub.answer("GET /api/sessions", 200, &none);
    assert_eq!(stub.ctl("sessions --state waiting").out, "none of 4 sessions fits\n");
    let one = Sessions { total: 1, matched: 1, ..none };
    stub.answer("GET /api/sessions", 200, &one);
    assert!(stub.ctl("sessions").out.starts_with("1 session,"));
}

#[test]
fn tables_say_whom_bytes_went_to() {
    let stub = Stub::new();
    for (words, heads) in [
        ("backends", ["TO BACKEND  ", "TO CLIENTS"]),
        ("sessions", ["TO BACKEND  ", "TO CLIENT  "]),
        ("pools", ["TO BACKENDS", "TO CLIENTS"]),
        ("shards", ["TO BACKENDS", "TO CLIENTS"]),
    ] {
        let shown = stub.ctl(words).out;
        let head = shown.lines().next().unwrap_or_default().to_owned() + "  ";
        assert!(heads.iter().all(|part| head.contains(part)), "{words}: {head}");
    }
}

#[test]
fn what_is_gone_is_found_by_its_sessions() {
    let stub = Stub::new();
    stub.answer("DELETE /api/sessions", 200, &Killed { killed: 2 });
    stub.count_sessions("pool=web&backend=old", 2);
    stub.count_sessions("pool=past", 2);
    stub.count_sessions("listener=past", 2);
    for (words, line) in [
        ("sessions --backend web/old", "GET /api/sessions?pool=web&backend=old&limit=100"),
        ("sessions --pool web --backend old", "GET /api/sessions?pool=web&backend=old&limit=100"),
        ("kill --backend web/old", "DELETE /api/sessions?pool=web&backend=old"),
        ("kill --pool past", "DELETE /api/sessions?pool=past"),
        ("sessions --listener past", "GET /api/sessions?listener=past&limit=100"),
    ] {
        let done = stub.ctl(words);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{words}");
        assert_eq!(stub.last(), line, "{words}");
    }
    // Alone a name says nothing, and without a session nothing is known of it.
    stub.count_sessions("pool=web&backend=none", 0);
    for words in ["kill --backend old", "kill --backend web/none", "sessions --backend web/none"] {
        let done = stub.ctl(words);
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{words}");
        assert!(done.err.contains("there is no backend `"), "{}", done.err);
        assert!(!done.err.contains("did you mean"), "{}", done.err);
    }
    let removed =
        Explanation { answer: "web/old is not there".to_owned(), ..Explanation::default() };
    let path = "GET /api/explain/backend?pool=web&name=old";
    stub.answer(path, 200, &removed);
    assert_eq!(stub.ctl("explain backend web/old").out, "web/old is not there\n");
    // The event was so long ago that it is forgotten.
    stub.say(path, 404, r#"{"error":"there is no backend"}"#);
    let shown = stub.ctl("explain backend web/old");
    let expected = "web/old is not there any more.\n  - It still has 2 sessions.\n";
    assert_eq!((shown.code, shown.out.as_str()), (Some(0), expected));
    assert_eq!(stub.ctl("explain backend web/none").code, Some(1));
}

#[test]
fn a_dump_has_a_legend_and_a_line_for_each_session() {
    let dump = Stub::new().ctl("dump").out;
    let lines: Vec<&str> = dump.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 9, "{dump}");
    let line = "0-1-1 shard=0 relaying 10.1.0.1:1 > main > web/a by=round-robin age=61000 idle=0 \
                up=0+0 down=0+0 moves=0";
    assert_eq!(lines[0], line);
    assert!(dump.starts_with("# ID shard=N STATE"), "{dump}");
}

#[test]
fn sessions_are_killed_by_id_by_filter_or_all() {
    let stub = Stub::new();
    stub.say("DELETE /api/sessions/0-1-1", 204, "");
    stub.answer("DELETE /api/sessions", 200, &Killed { killed: 3 });
    for (words, out, line) in [
        ("kill 0-1-1", "0-1-1 is killed\n", "DELETE /api/sessions/0-1-1"),
        ("kill --all", "3 sessions are killed\n", "DELETE /api/sessions?all=true"),
        ("kill --backend b", "3 sessions are killed\n", "DELETE /api/sessions?pool=web&backend=b"),
    ] {
        let done = stub.ctl(words);
        assert_eq!((done.code, done.out.as_str()), (Some(0), out), "{words} {}", done.err);
        assert_eq!(stub.last(), line);
    }
    let gone = stub.ctl("kill 0-9-9 0-1-1");
    assert_eq!((gone.code, gone.out.as_str()), (Some(1), "0-1-1 is killed\n"));
    assert!(gone.err.contains("no session 0-9-9, or no more"), "{}", gone.err);
}

#[test]
fn a_wrong_command_line_is_exit_code_2_and_asks_nobody() {
    let stub = Stub::new();
    for words in [
        "kill",
        "kill --all --pool web",
        "kill 0-1-1 --all",
        "drain",
        "weight web/a 257",
        "weight web/a",
        "sessions --state running",
        "sessions --min-age 5",
        "wait web/a",
        "--json",
        "nothing",
        "--admin /run/a.sock status",
        "health --ready --live",
    ] {
        let done = stub.ctl(words);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{words}");
        assert!(
            done.err.starts_with("evenkeel: ") && done.err.lines().count() == 1,
            "{}",
            done.err
        );
    }
    let hint = stub.ctl("weight web/a -5").err;
    let expected = "evenkeel: invalid value '-5' for '<N>': write a whole number from 0 to 256; see \
                    `evenkeel ctl weight --help`\n";
    assert_eq!(hint, expected);
    // Who does not know what to say is told what can be said.
    for (words, part) in [("", "drain"), ("explain", "client")] {
        let told = stub.ctl(words);
        assert_eq!(told.code, Some(2));
        assert!(told.err.contains("Commands:") && told.err.contains(part), "{}", told.err);
    }
    assert!(stub.asked().is_empty());
}

#[test]
fn an_explanation_is_an_answer_and_what_it_follows_from() {
    let stub = Stub::new();
    let explanation = Explanation {
        answer: "web/b is down".to_owned(),
        because: vec!["three checks failed".to_owned()],
        events: vec![Event { message: "web/b went down".to_owned(), ..Event::default() }],
    };
    stub.answer("GET /api/explain/backend", 200, &explanation);
    stub.answer("GET /api/explain/client", 200, &explanation);
    let shown = stub.ctl("explain backend b").out;
    assert!(shown.starts_with("web/b is down\n  - three checks failed\n"), "{shown}");
    assert!(shown.contains("web/b went down"), "{shown}");
    assert_eq!(stub.last(), "GET /api/explain/backend?pool=web&name=b");
    let gone = stub.ctl("explain session 1");
    let expected =
        "evenkeel ctl: there is no session `1`, or no more; see `evenkeel ctl sessions`\n";
    assert_eq!((gone.code, gone.err.as_str()), (Some(1), expected));
    stub.ctl("explain client fd00::1 --listener main");
    assert_eq!(stub.last(), "GET /api/explain/client?address=fd00%3A%3A1&listener=main");
}

#[test]
fn events_are_the_last_ones_with_their_evidence() {
    let stub = Stub::new();
    let shown = stub.ctl("events -n 2").out;
    let words = ["happening 4", "reason 4", "happening 5", "reason 5"];
    assert!(shown.lines().zip(words).all(|(line, word)| line.ends_with(word)), "{shown}");
    assert_eq!(shown.lines().count(), 4, "{shown}");
}

#[test]
fn events_are_followed_also_over_a_restart() {
    let stub = Stub::new();
    let mut command = evenkeel("ctl");
    command.args(["events", "--follow", "-n", "1", "--json"]).env("EVENKEEL_ADMIN", &stub.address);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program is there");
    let mut out = child.stdout.take().expect("piped");
    let mut heard = String::new();
    let mut next_line = || {
        let mut byte = [0];
        let from = heard.len();
        while !heard[from..].ends_with('\n') && matches!(out.read(&mut byte), Ok(1)) {
            heard.push(char::from(byte[0]));
        }
        serde_json::from_str::<Event>(&heard[from..]).expect("an event on a line").message
    };
    assert_eq!(next_line(), "happening 5");
    // Another run of the program has less.
    let first = Event { seq: 1, message: "listening again".to_owned(), ..Event::default() };
    stub.answer("GET /api/events", 200, &evenkeel::api::Events { events: vec![first], next: 1 });
    assert_eq!(next_line(), "listening again");
    let asked = || stub.asked().iter().any(|asked| asked.line == "GET /api/events?after=1");
    eventually(asked, || format!("it does not go on: {:?}", stub.asked()));
    child.kill().expect("our child");
    child.wait().expect("our child");
}

#[test]
fn health_is_an_exit_code() {
    let stub = Stub::new();
    for (words, path) in
        [("health", "/healthz"), ("health --ready", "/readyz"), ("health --live", "/livez")]
    {
        stub.say(&format!("GET {path}"), 200, r#"{"status":"ok","reasons":[]}"#);
        let well = stub.ctl(words);
        assert_eq!((well.code, well.out.as_str()), (Some(0), "ok\n"), "{words}");
        let not = r#"{"status":"not ok","reasons":["pool web has no usable backend"]}"#;
        stub.say(&format!("GET {path}"), 503, not);
        let ill = stub.ctl(words);
        assert_eq!((ill.code, ill.out.as_str()), (Some(1), ""), "{words}");
        assert_eq!(ill.err, "evenkeel ctl: pool web has no usable backend\n");
    }
}

#[test]
fn info_metrics_and_reload() {
    let stub = Stub::new();
    let info = Info {
        engine: "epoll".to_owned(),
        engine_reason: Some("io_uring is blocked".to_owned()),
        settings: vec!["algorithm auto".to_owned()],
        ..Info::default()
    };
    stub.answer("GET /info", 200, &info);
    let shown = stub.ctl("info").out;
    assert!(shown.contains("epoll, because io_uring is blocked"), "{shown}");
    assert!(shown.contains("algorithm auto"), "{shown}");
    stub.say("GET /metrics", 200, "evenkeel_up 1\n");
    assert_eq!(stub.ctl("metrics").out, "evenkeel_up 1\n");
    let event = |kind: &str| Event {
        kind: kind.to_owned(),
        message: "1 listener changed".to_owned(),
        ..Event::default()
    };
    stub.answer("POST /api/reload", 200, &event("reload"));
    let well = stub.ctl("reload");
    assert_eq!((well.code, well.out.as_str()), (Some(0), "1 listener changed\n"));
    stub.answer("POST /api/reload", 200, &event("reload-failed"));
    assert_eq!(stub.ctl("reload").code, Some(1));
    stub.say("POST /api/reload", 422, r#"{"error":"a.toml:3:1: unknown key"}"#);
    assert_eq!(stub.ctl("reload").err, "evenkeel ctl: a.toml:3:1: unknown key\n");
}

#[test]
fn a_wait_ends_when_the_backend_is_empty() {
    let stub = Stub::new();
    let full = stub.ctl("wait web/a --drained --timeout 1ms");
    assert_eq!((full.code, full.out.as_str()), (Some(1), ""));
    assert!(full.err.contains("web/a still has 3 connections"), "{}", full.err);
    let empty = Backend { connections: 0, ..status().backends[0].clone() };
    stub.answer("GET /api/pools/web/backends/a", 200, &empty);
    let done = stub.ctl("wait web/a --drained --timeout 1m");
    assert_eq!((done.code, done.out.as_str()), (Some(0), "web/a is empty\n"));
    let one = Backend { connections: 1, ..status().backends[0].clone() };
    stub.answer("GET /api/pools/web/backends/a", 200, &one);
    let late = stub.ctl("wait web/a --drained --timeout 1ms").err;
    assert!(late.contains("web/a still has 1 connection\n"), "{late}");
}

#[test]
fn a_wait_goes_on_for_the_sessions_of_a_backend_that_was_removed() {
    let stub = Stub::new();
    let query = "pool=web&backend=a";
    stub.count_sessions(query, 2);
    let mut command = evenkeel("ctl");
    command.args(["wait", "web/a", "--drained"]).env("EVENKEEL_ADMIN", &stub.address);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the program is there");
    let asked = |what: &str, times| {
        stub.asked().iter().filter(|one| one.line.contains(what)).count() >= times
    };
    eventually(|| asked("/backends/a", 2), || "it does not wait".to_owned());
    stub.say("GET /api/pools/web/backends/a", 404, r#"{"error":"there is no backend"}"#);
    eventually(|| asked(query, 2), || format!("it does not go on: {:?}", stub.asked()));
    stub.count_sessions(query, 0);
    let output = child.wait_with_output().expect("our child");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    assert_eq!(
        (output.status.code(), text(output.stdout).as_str(), text(output.stderr).as_str()),
        (
            Some(0),
            "web/a is removed and empty\n",
            "web/a has 3 connections, waiting\nweb/a is removed; 2 sessions go on, waiting\n"
        )
    );
}

#[test]
fn who_begins_to_wait_when_a_backend_is_removed_is_answered_as_well() {
    let stub = Stub::new();
    let query = "pool=web&backend=old";
    stub.count_sessions(query, 1);
    let late = stub.ctl("wait web/old --drained --timeout 1ms");
    assert_eq!(late.code, Some(1));
    let expected = "evenkeel ctl: web/old is removed, and still has 1 session\n";
    assert!(late.err.ends_with(expected), "{}", late.err);
    stub.count_sessions(query, 0);
    let unknown = stub.ctl("wait web/old --drained");
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("there is no backend `web/old`"), "{}", unknown.err);
    let path = "GET /api/explain/backend?pool=web&name=old";
    stub.answer(path, 200, &Explanation::default());
    assert_eq!(stub.ctl("wait web/old --drained").out, "web/old is removed and empty\n");
    // Whether it is empty is not known as long as a shard does not answer.
    let part = Sessions { incomplete: true, ..Sessions::default() };
    stub.answer(&format!("GET /api/sessions?{query}&limit=1"), 200, &part);
    let late = stub.ctl("wait web/old --drained --timeout 1ms").err;
    assert!(late.contains("still has an unknown number of connections"), "{late}");
}

#[test]
fn helps_have_their_own_options_first_and_those_of_all_after_them() {
    for command in ["add", "sessions", "kill", "dump"] {
        let help = done(evenkeel("ctl").args([command, "--help"])).out;
        let at = |option: &str| help.find(option).unwrap_or_else(|| panic!("no {option}:\n{help}"));
        let own = ["--max-connections", "--limit", "--min-idle"].map(|one| help.find(one));
        let last = own.into_iter().flatten().max().expect("it has one");
        assert!(last < at("--json") && at("--json") < at("-h, --help"), "{help}");
    }
    let help = done(evenkeel("ctl").args(["explain", "client", "--help"])).out;
    assert!(help.contains("needed where there are several listeners"), "{help}");
}

#[test]
fn who_has_read_enough_may_leave() {
    let stub = Stub::new();
    for words in
        ["ctl sessions", "ctl status --json", "completions bash", "top --once --interval 1ms"]
    {
        let mut words = words.split_whitespace();
        let mut command = evenkeel(words.next().expect("a command"));
        command.args(words).env("EVENKEEL_ADMIN", &stub.address);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("our child");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_picture_as_text_has_everything_and_no_escapes() {
    let stub = Stub::new();
    let mut command = evenkeel("top");
    command.args(["--once", "--interval", "1ms", "--admin", &stub.address]);
    let shown = done(&mut command);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    for part in ["evenkeel 0.1.0", "sessions 9", "web/a", "web/b", "db/c", "○ down"] {
        assert!(shown.out.contains(part), "no {part} in\n{}", shown.out);
    }
    assert!(!shown.out.contains('\u{1b}'));
}

#[test]
fn completions_know_the_commands_of_ctl() {
    for shell in ["bash", "zsh", "fish"] {
        let made = done(evenkeel("completions").arg(shell));
        assert_eq!(made.code, Some(0));
        for word in ["ctl", "drain", "explain", "max-connections", "token-file"] {
            assert!(made.out.contains(word), "{shell}: no {word}");
        }
    }
    assert_eq!(done(evenkeel("completions").arg("tcsh")).code, Some(2));
}

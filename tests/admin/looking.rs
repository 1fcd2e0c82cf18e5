//! What can be seen.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Command;

use evenkeel::api::{Explanation, Info, Session, Sessions, Status};

use crate::client::{Scene, web};
use crate::support::backend::Backend;
use crate::support::scene::own_address;
use crate::support::{eventually, skip};

const READS: [&str; 9] = [
    "/",
    "/healthz",
    "/livez",
    "/readyz",
    "/info",
    "/openapi.json",
    "/api/status",
    "/api/backends",
    "/api/events",
];

#[test]
fn everything_can_be_read_with_curl_over_the_unix_socket_on_both_engines() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skip("curl (Debian: curl)");
    }
    for engine in ["uring", "epoll"] {
        let backend = Backend::echo();
        let scene = Scene::before(&[backend.address], "", &format!("--engine {engine}"));
        for path in READS {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail", "--max-time", "30", "--unix-socket"]);
            let output = curl.arg(&scene.socket).arg(format!("http://localhost{path}")).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{path}: {output:?}");
            let said = String::from_utf8(output.stdout).unwrap();
            match path {
                "/" => assert!(said.contains("</html>"), "{said}"),
                _ => drop(serde_json::from_str::<serde_json::Value>(&said).expect(path)),
            }
        }
        let status = scene.status();
        assert_eq!((status.engine.as_str(), status.state.as_str()), (engine, "running"));
    }
}

#[test]
fn a_head_is_told_without_the_body_and_with_its_headers() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "");
    for path in READS {
        let head = scene.ask(&format!("HEAD {path}"));
        let get = scene.ask(&format!("GET {path}"));
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(get.header(name), Some(value), "{path}");
        }
        let policy = get.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    }
}

#[test]
fn the_status_has_the_fields_of_the_python_version_and_ours_beside_them() {
    let backends = [Backend::named_and_held("a"), Backend::named_and_held("b")];
    let addresses = backends.each_ref().map(|one| one.address);
    let scene = Scene::before(&addresses, "sticky_key = \"ip\"", "");
    let mut clients: Vec<_> = (0..2).map(|last| scene.balancer.connect_from(last + 1)).collect();
    for client in &mut clients {
        client.read_exact(&mut [0]).unwrap();
    }
    let sessions = || scene.status().sessions;
    eventually(|| sessions() == 2, || format!("{} sessions", sessions()));
    let answer = scene.ask("GET /api/status");
    let json: serde_json::Value = answer.json();
    for (field, value) in [
        ("algorithm", serde_json::json!("round-robin")),
        ("sticky_key", serde_json::json!("ip")),
        ("total_backends", serde_json::json!(2)),
        ("active_backends", serde_json::json!(2)),
        ("session_count", serde_json::json!(2)),
    ] {
        assert_eq!(json[field], value, "{field}");
    }
    let first = &json["backends"][0];
    assert_eq!(first["host"], serde_json::json!("127.0.0.1"));
    assert_eq!(first["port"], serde_json::json!(addresses[0].port()));
    assert_eq!((&first["active"], &first["connections"]), (&true.into(), &1.into()));
    assert_eq!(first["details"], serde_json::Value::Null);
    assert_eq!(json["events"][0]["level"], serde_json::json!("INFO"));
    let status: Status = answer.json();
    assert_eq!(status.schema, "evenkeel-status-1");
    assert!(
        status.shards.iter().all(|shard| shard.alive && shard.turns > 0),
        "{:?}",
        status.shards
    );
    assert_eq!(status.listeners[0].accepted, 2);
    assert_eq!(status.pools[0].connected, 2);
    let to_clients: u64 = status.backends.iter().map(|one| one.to_clients.copied).sum();
    assert_eq!(to_clients, 2);
    assert_eq!(status.backends[0].connect.count, 1);
    assert_eq!(status.backends[0].connect.buckets.len(), status.bounds_us.len() + 1);
}

#[test]
fn the_info_has_the_kernel_the_limits_and_every_setting_as_it_was_printed() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "");
    let info: Info = scene.ask("GET /info").json();
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert!(!info.kernel.is_empty() && info.files_open > 3 && info.files_limit > info.files_open);
    assert!(info.engine != "uring" || info.ring_flags.contains(&"DEFER_TASKRUN".to_owned()));
    assert_eq!(info.config.as_deref(), Some(scene.file.name()));
    let printed = scene.balancer.settings.iter().map(String::as_str);
    let printed: Vec<&str> = printed.filter(|line| line.starts_with("  ")).collect();
    assert_eq!(info.settings, printed);
}

#[test]
fn it_is_ready_while_every_pool_that_is_used_has_somebody_and_it_does_not_stop() {
    let backend = Backend::silent();
    let scene = Scene::before(&[backend.address], "", "--drain-timeout 1m");
    let client = scene.balancer.connect();
    backend.wait_for_accepted(1);
    assert_eq!(scene.ask("GET /readyz").status, 200);
    let path = format!("/api/pools/web/backends/{}", backend.address);
    for (state, ready) in [("maint", 503), ("ready", 200), ("drain", 503), ("ready", 200)] {
        let answer = scene.tell(&format!("PATCH {path}"), &format!("{{\"state\":\"{state}\"}}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = scene.ask("GET /readyz");
        assert_eq!(answer.status, ready, "{state}");
        assert_eq!(answer.body.contains("pool web has no usable backend"), ready == 503);
        assert_eq!(scene.ask("GET /healthz").status, 200);
    }
    scene.balancer.signal(nix::sys::signal::Signal::SIGTERM);
    let what = || "it is ready while it stops".to_owned();
    eventually(|| scene.ask("GET /readyz").body.contains("it is stopping"), what);
    // It lives, and is to be seen, until its last session has ended.
    assert_eq!(scene.ask("GET /livez").status, 200);
    let status = scene.status();
    assert_eq!((status.state.as_str(), status.sessions), ("stopping", 1));
    // The shards without a session have ended, and are not missed.
    let ended = || scene.status().shards.iter().all(|shard| shard.alive);
    eventually(ended, || format!("{:?}", scene.status().shards));
    assert!(status.banners.iter().any(|banner| banner.kind == "stopping"));
    let path = format!("/api/pools/web/backends/{}", backend.address);
    let answer = scene.tell(&format!("PATCH {path}"), "{\"weight\":2}");
    assert!(answer.status == 503 && answer.problem().contains("stopping"), "{answer:?}");
    drop(client);
}

#[test]
fn a_pool_at_its_limit_has_backends() {
    let backend = Backend::echo();
    let file = format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\npool = \"web\"\n[[pool.web.backend]]\naddress = \"{}\"\n\
         max_connections = 1\n",
        backend.address
    );
    let scene = Scene::new(&file, "");
    let mut client = scene.balancer.connect();
    let mut answer = [0; 1];
    client.write_all(b"x").unwrap();
    client.read_exact(&mut answer).unwrap();
    let status = scene.status();
    assert_eq!(status.backends[0].state, "full");
    assert_eq!((status.pools[0].active, status.active_backends), (1, 1));
    assert!(status.backends[0].active, "{status:?}");
    assert!(status.banners.is_empty(), "{:?}", status.banners);
    let metrics = scene.ask("GET /metrics").body;
    assert!(metrics.contains("\nevenkeel_pool_active_backends{pool=\"web\"} 1\n"), "{metrics}");
}

#[test]
fn nobody_waits_at_a_full_shard_while_another_has_room() {
    for engine in ["uring", "epoll"] {
        let backend = Backend::echo();
        let options = format!("--shards 2 --max-sessions 8 --engine {engine}");
        let scene = Scene::before(&[backend.address], "", &options);
        let mut clients: Vec<std::net::TcpStream> = (0..20)
            .map(|_| {
                let mut client = scene.balancer.connect();
                client.write_all(b"x").unwrap();
                client
            })
            .collect();
        // Who is in the kernel's queue of a full shard waits there.
        let is_settled = || {
            let status = scene.status();
            status.sessions == 8 || status.listeners[0].waiting == 0
        };
        while !clients.is_empty() {
            eventually(is_settled, || format!("{:?}", scene.status().shards));
            let served = clients.iter_mut().position(|client| {
                client.set_nonblocking(true).unwrap();
                client.read(&mut [0]).is_ok()
            });
            // An answer may be on its way still.
            served.into_iter().for_each(|place| drop(clients.swap_remove(place)));
        }
    }
}

#[test]
fn that_lines_of_the_logs_are_lost_is_said_on_a_banner() {
    let backend = Backend::named("a");
    let folder = std::env::temp_dir().join(format!("evenkeel-lost-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let pipe = folder.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Somebody who has it open and reads nothing.
    let mut open = std::fs::OpenOptions::new();
    let _stuck = open.read(true).write(true).open(&pipe).unwrap();
    let options = format!("--session-log {} --session-log-queue 1 --shards 1", pipe.display());
    let scene = Scene::before(&[backend.address], "", &options);
    assert!(scene.status().banners.is_empty());
    let lost = || {
        scene.balancer.ask();
        scene.status().banners.iter().any(|banner| banner.kind == "log-dropped")
    };
    eventually(lost, || format!("{:?}", scene.status().counters));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_was_found_out_of_a_backend_is_its_evidence_and_an_event() {
    let gone = { Backend::echo().address };
    let health = "[pool.web.health]\ntype = \"tcp\"\ninterval = \"100ms\"\nfall = 1\n";
    let scene = Scene::before(&[gone], health, "");
    let name = gone.to_string();
    eventually(|| scene.backend(&name).state == "down", || scene.balancer.log());
    let backend = scene.backend(&name);
    assert_eq!((backend.health.as_str(), backend.active), ("down", false));
    assert_eq!(backend.evidence.as_deref(), Some("refused"));
    assert!(backend.since_ms.is_some());
    let events = scene.events();
    let down = events.iter().find(|event| event.kind == "backend-down").expect("it is told");
    assert_eq!(
        (down.subject.as_str(), down.evidence.as_str()),
        (format!("web/{name}").as_str(), "refused")
    );
    let status = scene.status();
    assert!(
        status.banners.iter().any(|banner| banner.kind == "no-backend"),
        "{:?}",
        status.banners
    );
    let explained: Explanation =
        scene.ask(&format!("GET /api/explain/backend?pool=web&name={name}")).json();
    assert!(explained.answer.contains("checks say that it is down"), "{explained:?}");
    assert!(explained.because.iter().any(|one| one.contains("refused")), "{explained:?}");
    assert!(explained.events.iter().any(|event| event.kind == "backend-down"), "{explained:?}");
}

#[test]
fn connects_that_fail_eject_a_backend_and_that_is_told() {
    let (gone, there) = ({ Backend::echo().address }, Backend::named("b"));
    let keys = "eject_after = 1\neject_time = \"1s\"";
    let scene = Scene::before(&[gone, there.address], keys, "");
    let name = gone.to_string();
    let ejected = || scene.events().into_iter().find(|event| event.kind == "backend-ejected");
    eventually(
        || {
            assert_eq!(scene.balancer.ask(), "b");
            ejected().is_some()
        },
        || scene.balancer.log(),
    );
    let event = ejected().expect("it was seen");
    assert_eq!(event.subject, format!("web/{name}"));
    assert!(event.evidence.contains("Connection refused"), "{event:?}");
    let restored = || scene.events().into_iter().any(|event| event.kind == "backend-restored");
    eventually(restored, || format!("{:?}", scene.events()));
}

#[test]
fn a_pool_that_fails_open_is_told_of_as_long_as_it_does() {
    let gone = [Backend::echo(), Backend::echo()];
    let addresses = gone.each_ref().map(|one| one.address);
    drop(gone);
    let scene = Scene::before(&addresses, "eject_after = 1\neject_time = \"1h\"", "");
    let fails_open = || scene.status().pools[0].fail_open;
    assert!(!fails_open());
    // One is ejected, the other has to stay.
    let happened = |kind: &str| scene.events().iter().any(|event| event.kind == kind);
    eventually(
        || {
            assert_eq!(scene.balancer.ask(), "");
            fails_open() && happened("fail-open") && happened("backend-ejected")
        },
        || format!("{:?}", scene.events()),
    );
    let banners = scene.status().banners;
    assert!(banners.iter().any(|banner| banner.kind == "fail-open"), "{banners:?}");
}

#[test]
fn what_backends_say_of_themselves_is_shown_where_that_is_asked_for() {
    let address = own_address();
    let said = "{\"load\":[1,2],\"name\":\"<b>\"}";
    let own = SocketAddr::new(address.ip(), address.port() + 1);
    let status = Backend::on(own, move |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let length = said.len();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{said}");
    });
    let backends = [Backend::named_on(address, "a"), Backend::named("b")];
    let addresses = backends.each_ref().map(|one| one.address);
    let keys = "status_port_offset = 1\n[pool.web.health]\ntype = \"tcp\"\ninterval = \"100ms\"\n";
    let scene = Scene::before(&addresses, keys, "");
    let details = |address: SocketAddr| scene.backend(&address.to_string()).details;
    eventually(|| details(addresses[0]).is_some(), || scene.balancer.log());
    let expected: serde_json::Value = serde_json::from_str(said).unwrap();
    assert_eq!(details(addresses[0]), Some(expected));
    assert_eq!(details(addresses[1]), None);
    drop(status);
    eventually(|| details(addresses[0]).is_none(), || "it is still shown".to_owned());
}

#[test]
fn sessions_are_told_with_a_filter_and_one_by_one_and_explained() {
    let backends = [Backend::named_and_held("a"), Backend::named_and_held("b")];
    let addresses = backends.each_ref().map(|one| one.address);
    let scene = Scene::before(&addresses, "", "");
    let mut clients: Vec<_> = (0..4).map(|last| scene.balancer.connect_from(last + 1)).collect();
    for client in &mut clients {
        client.read_exact(&mut [0]).unwrap();
    }
    let told = |query: &str| -> Sessions {
        let answer = scene.ask(&format!("GET /api/sessions{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    eventually(|| told("?state=relaying").matched == 4, || format!("{:?}", told("")));
    let of_a = format!("?pool=web&backend={}", addresses[0]);
    for (query, matched) in [
        ("", 4),
        (of_a.as_str(), 2),
        ("?client=127.1.0.1", 1),
        ("?client=127.1.0.0/24", 4),
        ("?client=127.2.0.0/24", 0),
        ("?pool=nobody", 0),
        ("?min_age=1h", 0),
        ("?min_idle=0s", 4),
        ("?limit=1", 4),
    ] {
        let sessions = told(query);
        assert_eq!((sessions.matched, sessions.total), (matched, 4), "{query}");
        assert!(!sessions.incomplete, "{query}");
    }
    assert_eq!(told("?limit=1").sessions.len(), 1);
    let session = told("?client=127.1.0.1").sessions.remove(0);
    assert_eq!(session.to_client.copied, 1);
    assert_eq!(session.by.as_deref(), Some("round-robin"));
    let one: Session = scene.ask(&format!("GET /api/sessions/{}", session.id)).json();
    assert_eq!((one.id.as_str(), &one.client), (session.id.as_str(), &session.client));
    let why: Explanation = scene.ask(&format!("GET /api/explain/session?id={}", one.id)).json();
    assert!(why.answer.contains("picked by round-robin"), "{why:?}");
    for wrong in ["x", "0-0", "9-0-0", "0-99999-0", "0-0-0-0"] {
        assert_eq!(scene.ask(&format!("GET /api/sessions/{wrong}")).status, 404, "{wrong}");
    }
    for wrong in [
        "?pol=web",
        "?limit=0",
        "?state=dead",
        "?client=x",
        "?min_age=x",
        "?all=true",
        "?pool=a&pool=b",
    ] {
        let answer = scene.ask(&format!("GET /api/sessions{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
        answer.problem();
    }
}

#[test]
fn where_a_client_would_go_is_said_and_changes_nothing() {
    let backends = [Backend::named("a"), Backend::named("b")];
    let addresses = backends.each_ref().map(|one| one.address);
    let text = format!(
        "{}[[listener]]\nname = \"few\"\nlisten = \"127.0.0.1:0\"\npool = \"web\"\ndeny = [\"192.0.2.0/24\"]\n",
        web(&addresses, "algorithm = \"source-hash\"\nsticky_key = \"ip\"")
    );
    let scene = Scene::new(&text, "");
    let explain = |query: &str| -> Explanation {
        let answer = scene.ask(&format!("GET /api/explain/client?{query}"));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.json()
    };
    let first = scene.status().listeners[0].name.clone();
    let before = explain(&format!("address=127.1.0.1&listener={first}"));
    assert!(before.answer.contains("by source-hash"), "{before:?}");
    let said = scene.balancer.ask_from(1);
    let expected = if said == "a" { addresses[0] } else { addresses[1] };
    assert!(before.answer.contains(&format!("web/{expected}")), "{before:?}, and {said}");
    let after = explain(&format!("address=127.1.0.1&listener={first}"));
    assert!(after.answer.contains("where it was before"), "{after:?}");
    let denied = explain("address=192.0.2.1&listener=few");
    assert!(denied.answer.contains("would not be let in"), "{denied:?}");
    for (query, status) in [
        ("address=127.0.0.1", 400),
        ("address=x&listener=few", 400),
        ("address=127.0.0.1&listener=no", 404),
        ("listener=few", 400),
    ] {
        let answer = scene.ask(&format!("GET /api/explain/client?{query}"));
        assert_eq!(answer.status, status, "{query}");
        answer.problem();
    }
}

#[test]
fn a_file_that_was_changed_and_not_read_again_is_told_as_drift() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "");
    let drift = || {
        let banners = scene.status().banners.into_iter();
        banners.filter(|one| one.kind == "drift").map(|one| one.text).collect::<Vec<_>>()
    };
    assert_eq!(drift(), [""; 0]);
    let text = web(&[backend.address], "idle_timeout = \"1m\"");
    scene.file.write(&text);
    assert!(drift()[0].contains("is not what is in force"), "{:?}", drift());
    scene.file.reload(&scene.balancer, &text);
    eventually(|| drift().is_empty(), || format!("{:?}", drift()));
    let path = format!("PATCH /api/pools/web/backends/{}", backend.address);
    assert_eq!(scene.tell(&path, "{\"weight\":7}").status, 200);
    assert!(drift()[0].contains("lost at the next reload"), "{:?}", drift());
}

#[test]
fn a_client_that_is_slow_to_read_is_cut_and_others_are_served() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "");
    let mut slow = std::os::unix::net::UnixStream::connect(&scene.socket).unwrap();
    slow.set_read_timeout(Some(crate::support::WATCHDOG)).unwrap();
    slow.set_write_timeout(Some(crate::support::WATCHDOG)).unwrap();
    // More answers than the kernel keeps for somebody who does not read them.
    let words = "GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let _ = slow.write_all(words.as_bytes());
    assert_eq!(scene.ask("GET /healthz").status, 200);
    let timed_out = || scene.status().counters.get("admin_timed_out").copied().unwrap_or(0);
    eventually(|| timed_out() == 1, || format!("{} timed out", timed_out()));
}

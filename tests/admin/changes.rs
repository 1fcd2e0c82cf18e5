//! What can be changed, and what clients notice of it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use evenkeel::api::{Backend as Told, Explanation, Killed};

use crate::client::{Scene, web};
use crate::support::backend::Backend;
use crate::support::{eventually, read_to_the_end};

/// How often each backend answered, of so many clients.
fn shares(scene: &Scene, clients: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    (0..clients).for_each(|_| *shares.entry(scene.balancer.ask()).or_default() += 1);
    shares
}

fn shares_of(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
}

#[test]
fn a_backend_that_is_added_gets_its_share_and_one_that_is_removed_keeps_its_sessions() {
    for engine in ["uring", "epoll"] {
        let (a, b) = (Backend::named_and_held("a"), Backend::named("b"));
        let scene = Scene::before(&[a.address], "", &format!("--engine {engine}"));
        let mut held = scene.balancer.connect();
        held.read_exact(&mut [0]).unwrap();
        let body =
            format!("{{\"address\":\"{}\",\"name\":\"b / \u{e4}\",\"weight\":2}}", b.address);
        let answer = scene.tell("POST /api/pools/web/backends", &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        let told: Told = answer.json();
        assert_eq!(
            (told.name.as_str(), told.weight, told.origin.as_str()),
            ("b / \u{e4}", 2, "runtime")
        );
        assert_eq!(scene.tell("POST /api/pools/web/backends", &body).status, 409);
        let path = format!("DELETE /api/pools/web/backends/{}", a.address);
        assert_eq!(scene.ask(&path).status, 204);
        assert_eq!(scene.ask(&path).status, 404);
        assert_eq!(shares(&scene, 4), shares_of(&[("b", 4)]));
        let why: Explanation =
            scene.ask(&format!("GET /api/explain/backend?pool=web&name={}", a.address)).json();
        assert!(why.answer.contains("not there any more"), "{why:?}");
        // Its session is as it was.
        held.write_all(b"still here").unwrap();
        held.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_to_the_end(&held), crate::support::End::Finished(0));
        // And the last one of a pool may go, too.
        let path = "DELETE /api/pools/web/backends/b%20%2F%20%C3%A4";
        assert_eq!(scene.ask(path).status, 204);
        assert_eq!(scene.balancer.ask(), "");
        assert_eq!(scene.status().total_backends, 0);
        let kinds: Vec<String> = scene.events().into_iter().map(|event| event.kind).collect();
        assert_eq!(kinds, ["start", "backend-added", "backend-removed", "backend-removed"]);
        let evidence = &scene.events()[1].evidence;
        assert!(evidence.starts_with("uid "), "{evidence}");
    }
}

#[test]
fn weights_are_changed_and_hold_at_once() {
    let backends = [Backend::named("a"), Backend::named("b")];
    let addresses = backends.each_ref().map(|one| one.address);
    let scene = Scene::before(&addresses, "", "");
    assert_eq!(shares(&scene, 8), shares_of(&[("a", 4), ("b", 4)]));
    let path = format!("PATCH /api/pools/web/backends/{}", addresses[0]);
    let answer = scene.tell(&path, "{\"weight\":3}");
    assert_eq!((answer.status, answer.json::<Told>().weight), (200, 3));
    assert_eq!(shares(&scene, 8), shares_of(&[("a", 6), ("b", 2)]));
    assert_eq!(scene.tell(&path, "{\"weight\":0}").json::<Told>().state, "drain");
    assert_eq!(shares(&scene, 4), shares_of(&[("b", 4)]));
    // What it is already is no news.
    let before = scene.events().len();
    assert_eq!(scene.tell(&path, "{\"weight\":0}").status, 200);
    assert_eq!(scene.events().len(), before);
}

#[test]
fn drain_keeps_sticky_clients_and_maint_nobody_and_ready_is_as_it_was() {
    let backends = [Backend::named("a"), Backend::named("b")];
    let addresses = backends.each_ref().map(|one| one.address);
    let scene = Scene::before(&addresses, "sticky_key = \"ip\"", "");
    let at_a = (1..9).find(|&last| scene.balancer.ask_from(last) == "a").expect("half of them");
    let path = format!("PATCH /api/pools/web/backends/{}", addresses[0]);
    let set = |state: &str| {
        let answer = scene.tell(&path, &format!("{{\"state\":\"{state}\"}}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json::<Told>()
    };
    assert_eq!((set("drain").state.as_str(), set("drain").active), ("drain", false));
    assert_eq!(scene.balancer.ask_from(at_a), "a");
    (100..104).for_each(|last| assert_eq!(scene.balancer.ask_from(last), "b"));
    assert_eq!(set("maint").state, "maint");
    let name = addresses[0].to_string();
    assert_eq!(scene.backend(&name).health, "unchecked");
    assert_eq!(scene.balancer.ask_from(at_a), "b");
    let why: Explanation =
        scene.ask(&format!("GET /api/explain/backend?pool=web&name={name}")).json();
    assert!(why.because[0].contains("maint") && why.because[0].contains("uid"), "{why:?}");
    assert_eq!(set("ready").state, "up");
    let new = (110..114).map(|last| scene.balancer.ask_from(last));
    assert!(new.collect::<Vec<_>>().contains(&"a".to_owned()));
}

#[test]
fn a_backend_in_maintenance_is_not_checked_and_is_when_it_comes_back() {
    let backends = [Backend::named("a"), Backend::named("b")];
    let addresses = backends.each_ref().map(|one| one.address);
    let health = "[pool.web.health]\ntype = \"tcp\"\ninterval = \"50ms\"\n";
    let scene = Scene::before(&addresses, health, "");
    backends[0].wait_for_accepted(3);
    let path = format!("PATCH /api/pools/web/backends/{}", addresses[0]);
    assert_eq!(scene.tell(&path, "{\"state\":\"maint\"}").status, 200);
    // One check may have been under way.
    let other = backends[1].accepted();
    backends[1].wait_for_accepted(other + 2);
    let (before, other) = (backends[0].accepted(), backends[1].accepted());
    backends[1].wait_for_accepted(other + 5);
    assert_eq!(backends[0].accepted(), before);
    assert_eq!(scene.tell(&path, "{\"state\":\"ready\"}").status, 200);
    backends[0].wait_for_accepted(before + 2);
}

#[test]
fn sessions_are_cut_by_a_filter_or_by_name_and_never_by_mistake() {
    let backends = [Backend::named_and_held("a"), Backend::named_and_held("b")];
    let addresses = backends.each_ref().map(|one| one.address);
    let scene = Scene::before(&addresses, "", "");
    let open = || {
        let mut client = scene.balancer.connect();
        client.read_exact(&mut [0]).unwrap();
        client
    };
    let clients: Vec<_> = (0..4).map(|_| open()).collect();
    let sessions = || scene.status().sessions;
    eventually(|| sessions() == 4, || format!("{} sessions", sessions()));
    for wrong in
        ["", "?all=false", "?all=true&pool=web", "?pol=web", "?limit=1", "?limit=1&pool=web"]
    {
        let answer = scene.ask(&format!("DELETE /api/sessions{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
        answer.problem();
    }
    assert_eq!(sessions(), 4);
    let of_a = format!("DELETE /api/sessions?backend={}", addresses[0]);
    assert_eq!(scene.ask(&of_a).json::<Killed>(), Killed { killed: 2 });
    eventually(|| sessions() == 2, || format!("{} sessions", sessions()));
    let left: evenkeel::api::Sessions = scene.ask("GET /api/sessions").json();
    let path = format!("DELETE /api/sessions/{}", left.sessions[0].id);
    assert_eq!(scene.ask(&path).status, 204);
    eventually(|| scene.ask(&path).status == 404, || "it is still there".to_owned());
    assert_eq!(scene.ask("DELETE /api/sessions?all=true").json::<Killed>(), Killed { killed: 1 });
    eventually(|| sessions() == 0, || format!("{} sessions", sessions()));
    assert_eq!(scene.status().ended.get("KD killed"), Some(&4));
    let cuts = scene.events().into_iter().filter(|event| event.kind == "sessions-killed");
    assert_eq!(cuts.count(), 3);
    drop(clients);
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_cause_and_changes_nothing() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "");
    let before = scene.in_force();
    let (add, name) = ("POST /api/pools/web/backends", backend.address);
    let listener = scene.balancer.address;
    let one = format!("PATCH /api/pools/web/backends/{name}");
    for (line, body, status, says) in [
        (add, "{}".to_owned(), 422, "address"),
        (add, "{\"address\":\"x\"}".to_owned(), 422, "no port"),
        (add, "{\"address\":\"b:0\"}".to_owned(), 422, "port 0"),
        (add, "{\"address\":\"no-such-host.invalid:1\"}".to_owned(), 422, "cannot resolve"),
        (add, format!("{{\"address\":\"{listener}\"}}"), 422, "itself"),
        (add, "{\"address\":\"b:1\",\"weight\":257}".to_owned(), 422, "0 to 256"),
        (add, "{\"address\":\"b:1\",\"weight\":-1}".to_owned(), 422, "weight"),
        (add, "{\"address\":\"b:1\",\"max_connections\":0}".to_owned(), 422, "max_connections"),
        (add, "{\"address\":\"b:1\",\"name\":\"\"}".to_owned(), 422, "name"),
        (add, "{\"address\":\"b:1\",\"name\":\"a\\nb\"}".to_owned(), 422, "name"),
        (add, "{\"address\":\"b:1\",\"wait\":1}".to_owned(), 422, "wait"),
        (add, "{\"address\":".to_owned(), 400, "JSON"),
        (add, "[]".to_owned(), 422, "the body is a list; write an object"),
        (add, "null".to_owned(), 422, "the body is null; write an object"),
        (add, "\"b:1\"".to_owned(), 422, "the body is a text; write an object"),
        (add, "[\"b:1\",\"arr\",2,false,7]".to_owned(), 422, "the body is a list"),
        (&one, "[5,\"drain\"]".to_owned(), 422, "the body is a list"),
        ("POST /api/pools/nobody/backends", "{\"address\":\"b:1\"}".to_owned(), 404, "no pool"),
        (one.as_str(), "{}".to_owned(), 400, "nothing"),
        (one.as_str(), "{\"weight\":257}".to_owned(), 422, "0 to 256"),
        (one.as_str(), "{\"weight\":1.5}".to_owned(), 422, "weight"),
        (one.as_str(), "{\"state\":\"down\"}".to_owned(), 422, "ready, drain or maint"),
        (one.as_str(), "{\"state\":\"ready\",\"weight\":\"1\"}".to_owned(), 422, "weight"),
        ("PATCH /api/pools/web/backends/nobody", "{\"weight\":1}".to_owned(), 404, "no backend"),
        ("PATCH /api/pools/web/backends/%ff", "{\"weight\":1}".to_owned(), 400, "UTF-8"),
        ("DELETE /api/pools/web/backends/nobody", String::new(), 404, "no backend"),
    ] {
        let answer = scene.tell(line, &body);
        assert_eq!(answer.status, status, "{line} {body}: {answer:?}");
        let problem = answer.problem();
        assert!(problem.contains(says), "{line} {body}: {problem}");
        for foreign in FOREIGN {
            assert!(!problem.contains(foreign), "{line} {body}: {problem}");
        }
    }
    let plain =
        crate::client::request(add, "Content-Type: text/plain\r\n", "{\"address\":\"b:1\"}");
    let answer = scene.say(plain.as_bytes());
    assert_eq!(answer.status, 415);
    assert!(answer.problem().contains("Content-Type: application/json"), "{answer:?}");
    assert_eq!(scene.in_force(), before);
    assert_eq!(scene.events().len(), 1);
}

#[test]
fn each_word_that_cannot_be_used_is_named_with_what_is_allowed() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "");
    let add = "POST /api/pools/web/backends";
    let one = format!("PATCH /api/pools/web/backends/{}", backend.address);
    for (line, body, says) in [
        (one.as_str(), "{\"weight\":-1}", "weight is -1; write a whole number from 0 to 256"),
        (&one, "{\"weight\":65536}", "weight is 65536; write a whole number from 0 to 256"),
        (&one, "{\"weight\":1.5}", "weight is 1.5; write a whole number from 0 to 256"),
        (&one, "{\"weight\":\"1\"}", "weight is \"1\"; write a whole number from 0 to 256"),
        (&one, "{\"state\":[\"drain\"]}", "state is [\"drain\"]; write \"ready\", \"drain\" or"),
        (
            &one,
            "{\"wieght\":1}",
            "there is no `wieght`; write weight or state; did you mean `weight`?",
        ),
        (&one, "{\"weight\":1,\"weight\":2}", "`weight` is there twice; write it once"),
        (add, "{}", "address is missing; write \"host:port\" or \"unix:PATH\""),
        (add, "{\"address\":null}", "address is null; write \"host:port\""),
        (add, "{\"address\":\"b:1\",\"backup\":1}", "backup is 1; write true or false"),
        (
            add,
            "{\"address\":\"b:1\",\"max_connections\":-5}",
            "write a whole number from 1 to 4294967295",
        ),
        (
            "GET /api/events?after=99999999999999999999",
            "",
            "after is `99999999999999999999`; write",
        ),
        ("GET /api/events?limit=x", "", "limit is `x`; write a whole number from 1 to 1024"),
        (
            "GET /api/events?limt=1",
            "",
            "there is no `limt`; write after or limit; did you mean `limit`?",
        ),
        ("GET /api/events?limit=1&limit=2", "", "`limit` is there twice; write it once"),
        ("GET /api/status?all=true", "", "there is no `all`; nothing is taken here"),
        ("GET /api/sessions?limit=-1", "", "limit is `-1`; write a whole number from 1 to 10000"),
        ("DELETE /api/sessions?all=yes", "", "all is `yes`; write true"),
        ("GET /api/explain/backend?pool=web", "", "name is missing; write the name of a backend"),
        ("GET /api/pools/web/backends/%ff", "", "`name` in the path is not UTF-8"),
    ] {
        let answer = scene.tell(line, body);
        let status = if body.is_empty() { 400 } else { 422 };
        assert_eq!(answer.status, status, "{line} {body}: {answer:?}");
        let problem = answer.problem();
        assert!(problem.contains(says), "{line} {body}: {problem}");
        for foreign in FOREIGN {
            assert!(!problem.contains(foreign), "{line} {body}: {problem}");
        }
    }
    // Nobody reads a thousand letters of what is wrong.
    let answer = scene.tell(&one, &format!("{{\"weight\":\"{}\"}}", "\u{e4}".repeat(1000)));
    assert!(answer.problem().len() < 200, "{answer:?}");
    assert_eq!(scene.events().len(), 1);
}

#[test]
fn a_backend_is_added_under_no_name_that_a_path_could_not_have() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "");
    let before = scene.in_force();
    let add = |name: &str| {
        let body = format!("{{\"address\":\"127.0.0.1:1\",\"name\":\"{name}\"}}");
        scene.tell("POST /api/pools/web/backends", &body)
    };
    for (name, says) in [
        ("a".repeat(17_000), "has 17000 bytes; write at most 255"),
        ("\u{e4}".repeat(128), "has 256 bytes; write at most 255"),
        (".".to_owned(), "`.` is a folder in a path"),
        ("..".to_owned(), "`..` is a folder in a path"),
        ("   ".to_owned(), "more than spaces"),
        ("\u{a0}".to_owned(), "more than spaces"),
        (String::new(), "not empty"),
    ] {
        let answer = add(&name);
        assert_eq!(answer.status, 422, "{name}: {answer:?}");
        assert!(answer.problem().contains(says), "{name}: {answer:?}");
    }
    // Without a name it has that of its address.
    let body = format!("{{\"address\":\"{}:1\"}}", "a".repeat(300));
    let answer = scene.tell("POST /api/pools/web/backends", &body);
    assert!(answer.status == 422 && answer.problem().contains("302 bytes"), "{answer:?}");
    assert_eq!(scene.in_force(), before);
    for name in ["a".repeat(255), "\u{e4}".repeat(127), "...".to_owned(), " a ".to_owned()] {
        assert_eq!(add(&name).status, 201, "{name}");
        let path: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(scene.ask(&format!("DELETE /api/pools/web/backends/{path}")).status, 204);
    }
    assert_eq!(scene.in_force(), before);
}

#[test]
fn a_filter_that_names_what_there_is_not_is_no_filter_that_fits_nobody() {
    let backends = [Backend::named_and_held("a"), Backend::named_and_held("b")];
    let addresses = backends.each_ref().map(|one| one.address);
    let scene = Scene::before(&addresses, "", "");
    let mut client = scene.balancer.connect();
    client.read_exact(&mut [0]).unwrap();
    let listener = scene.status().listeners[0].name.clone();
    for (query, says) in [
        (format!("backend=web/{}", addresses[0]), format!("pool=web&backend={}", addresses[0])),
        ("backend=web/nobody&client=127.0.0.1".to_owned(), "pool=web&backend=nobody".to_owned()),
        ("pool=nobody".to_owned(), "there is no pool `nobody`".to_owned()),
        (format!("pool=nobody&listener={listener}"), "there is no pool `nobody`".to_owned()),
        ("listener=nobody".to_owned(), format!("write one of {listener}")),
    ] {
        let answer = scene.ask(&format!("DELETE /api/sessions?{query}"));
        assert_eq!(answer.status, 404, "{query}: {answer:?}");
        assert!(answer.problem().contains(&says), "{query}: {answer:?}");
    }
    let listed = scene.ask(&format!("GET /api/sessions?backend=web/{}", addresses[0]));
    assert!(listed.status == 404 && listed.problem().contains("pool=web&backend="), "{listed:?}");
    // What is there, and fits nobody now, is no mistake; nor is looking for what is gone.
    for (line, status) in [
        ("DELETE /api/sessions?pool=web&min_age=1h", 200),
        ("DELETE /api/sessions?backend=gone", 200),
        ("DELETE /api/sessions?backend=no/pool", 200),
        (&format!("DELETE /api/sessions?listener={listener}&state=greeting"), 200),
        ("GET /api/sessions?pool=nobody", 200),
        ("GET /api/sessions?listener=nobody", 200),
    ] {
        assert_eq!(scene.ask(line).status, status, "{line}");
    }
    // A backend may have such a name.
    let body = "{\"address\":\"127.0.0.1:1\",\"name\":\"web/c\"}";
    assert_eq!(scene.tell("POST /api/pools/web/backends", body).status, 201);
    let answer = scene.ask("DELETE /api/sessions?backend=web/c");
    assert_eq!(answer.json::<Killed>(), Killed { killed: 0 }, "{answer:?}");
    assert_eq!(scene.status().sessions, 1);
    // A pool that is gone is known for as long as somebody is with it.
    let left = crate::support::file::pool("other", &[backends[1].address], "");
    let text = web(&[addresses[0]], "").replace("pool = \"web\"", "pool = \"other\"");
    let text = text.split("[pool.web]").next().unwrap().to_owned() + &left;
    scene.file.reload(&scene.balancer, &text);
    let answer = scene.ask("DELETE /api/sessions?pool=web&min_age=1h");
    assert_eq!((answer.status, answer.json::<Killed>()), (200, Killed { killed: 0 }));
    assert_eq!(scene.ask("DELETE /api/sessions?pool=web").json::<Killed>(), Killed { killed: 1 });
    eventually(|| scene.status().sessions == 0, || "it is still there".to_owned());
    assert_eq!(scene.ask("DELETE /api/sessions?pool=web").status, 404);
}

#[test]
fn a_reload_can_be_asked_for_and_says_what_came_of_it() {
    let backends = [Backend::named("a"), Backend::named("b")];
    let scene = Scene::before(&[backends[0].address], "", "");
    scene.file.write(&web(&[backends[1].address], ""));
    let answer = scene.ask("POST /api/reload");
    let event: evenkeel::api::Event = answer.json();
    assert_eq!((answer.status, event.kind.as_str()), (200, "reload"), "{answer:?}");
    assert!(event.message.contains(&format!("new backends web/{}", backends[1].address)));
    assert_eq!(scene.balancer.ask(), "b");
    scene.file.write("[pool.web]\n");
    let answer = scene.ask("POST /api/reload");
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.problem().contains("evenkeel.toml"), "{answer:?}");
    assert_eq!(
        scene.events().last().map(|event| event.kind.clone()).as_deref(),
        Some("reload-failed")
    );
    assert_eq!(scene.balancer.ask(), "b");
}

/// How serde and axum say it.
const FOREIGN: [&str; 6] =
    ["eserialize", "expected ", "target type", "struct ", "u16", "invalid digit"];

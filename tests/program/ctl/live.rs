//! The same against the real admin API: what is asked for happens to clients.

use std::net::TcpStream;
use std::path::PathBuf;

use evenkeel::api::{Backend as Told, Sessions, Status};

use super::stub::{Done, done, evenkeel, own_folder};
use super::terminal::Pane;
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;
use crate::support::{Balancer, End, eventually, read_to_the_end};

/// Two backends that keep their clients, a balancer before one or both, and its admin socket.
struct Site {
    balancer: Balancer,
    b1: Backend,
    b2: Backend,
    admin: String,
    folder: PathBuf,
}

impl Site {
    fn of_one() -> Self {
        Self::before(false)
    }

    fn of_two() -> Self {
        Self::before(true)
    }

    fn before(both: bool) -> Self {
        let (b1, b2) = (Backend::named_and_held("B1"), Backend::named_and_held("B2"));
        let folder = own_folder();
        let admin = format!("unix:{}", folder.join("admin.sock").display());
        let backends = [b1.address, b2.address];
        let backends = if both { &backends[..] } else { &backends[..1] };
        let balancer = Balancer::before(backends, &format!("--algorithm rr --admin {admin}"));
        Self { balancer, b1, b2, admin, folder }
    }

    fn ctl(&self, words: &str) -> Done {
        let mut command = evenkeel("ctl");
        done(command.args(words.split_whitespace()).env("EVENKEEL_ADMIN", &self.admin))
    }

    /// The same, which must be done.
    fn did(&self, words: &str) -> String {
        let done = self.ctl(words);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "ctl {words}: {}", done.out);
        done.out
    }

    fn json<T: serde::de::DeserializeOwned>(&self, words: &str) -> T {
        serde_json::from_str(&self.did(&format!("{words} --json"))).expect("JSON of the API")
    }

    /// Who serves so many clients that come one after the other.
    fn served(&self, clients: usize) -> Vec<String> {
        (0..clients).map(|_| self.balancer.connect_and_hear().0).collect()
    }

    fn backend(&self, index: usize) -> Told {
        self.json::<Vec<Told>>("backends").swap_remove(index)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The balancer has cut it.
fn is_cut(client: &TcpStream) -> bool {
    matches!(read_to_the_end(client), End::Reset(_) | End::Finished(_))
}

#[test]
fn an_added_backend_gets_clients_and_a_removed_one_none() {
    let site = Site::of_one();
    assert_eq!(site.served(4), ["B1"; 4]);
    let added = site.did(&format!("add {} --name two --weight 1", site.b2.address));
    assert!(added.contains("/two is added"), "{added}");
    assert!(site.served(4).contains(&"B2".to_owned()));
    assert_eq!(site.backend(1).origin, "runtime");
    let removed = site.did(&format!("remove {}", site.b1.address));
    assert!(removed.contains("is removed"), "{removed}");
    assert_eq!(site.served(4), ["B2"; 4]);
    let again = site.ctl(&format!("add {} --name two", site.b2.address));
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("two"), "{}", again.err);
}

#[test]
fn drain_and_maint_keep_new_clients_away_and_leave_sessions_alone() {
    let site = Site::of_two();
    let (b1, b2) = (site.b1.address, site.b2.address);
    for state in ["drain", "maint"] {
        site.did(&format!("ready {b1} {b2}"));
        let held: Vec<_> = (0..2).map(|_| site.balancer.connect_and_hear()).collect();
        let said = site.did(&format!("{state} {b1}"));
        assert!(said.contains(&format!("is {state}")), "{said}");
        assert_eq!(site.served(4), ["B2"; 4]);
        let told = site.backend(0);
        assert_eq!((told.admin.as_str(), told.active), (state, false));
        assert!(told.connections >= 1, "the session goes on: {told:?}");
        let held = held.into_iter().find(|(name, _)| name == "B1").expect("they take turns");
        let waited = site.ctl(&format!("wait {b1} --drained --timeout 1ms"));
        assert_eq!(waited.code, Some(1), "{}", waited.err);
        drop(held);
        site.did_wait(&format!("wait {b1} --drained --timeout 30s"));
    }
    site.did(&format!("ready {b1}"));
    assert!(site.served(4).contains(&"B1".to_owned()));
}

impl Site {
    /// What is told on standard error meanwhile is no mistake.
    fn did_wait(&self, words: &str) {
        let done = self.ctl(words);
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(done.out.ends_with("is empty\n"), "{}", done.out);
    }
}

#[test]
fn the_sessions_of_a_removed_backend_are_listed_waited_for_and_killed() {
    let site = Site::of_two();
    let clients: Vec<_> = (0..4).map(|_| site.balancer.connect_and_hear()).collect();
    let pool = site.backend(0).pool;
    let removed = format!("{pool}/{}", site.b1.address);
    site.did(&format!("remove {removed}"));
    let told: Sessions = site.json(&format!("sessions --backend {removed}"));
    assert_eq!(told.matched, 2);
    assert!(site.did(&format!("explain backend {removed}")).contains("is not there any more"));
    let late = site.ctl(&format!("wait {removed} --drained --timeout 1ms"));
    assert_eq!(late.code, Some(1), "{}", late.out);
    assert!(late.err.ends_with("is removed, and still has 2 sessions\n"), "{}", late.err);
    assert_eq!(site.did(&format!("kill --backend {removed}")), "2 sessions are killed\n");
    clients.iter().filter(|(name, _)| name == "B1").for_each(|(_, one)| assert!(is_cut(one)));
    let waited = site.ctl(&format!("wait {removed} --drained --timeout 30s"));
    assert_eq!(waited.code, Some(0), "{}", waited.err);
    assert!(waited.out.ends_with("is removed and empty\n"), "{}", waited.out);
    eventually(
        || site.json::<Sessions>("sessions").total == 2,
        || "others are cut, or these are not".to_owned(),
    );
    let none = site.ctl(&format!("kill --backend {removed}"));
    assert_eq!((none.code, none.out.as_str()), (Some(1), ""));
    // The name is longer than a head may be.
    let long = site.ctl(&format!("explain client {}", "x".repeat(20_000)));
    assert_eq!(long.code, Some(1));
    assert!(long.err.contains("is too long"), "{}", long.err);
}

#[test]
fn a_weight_is_what_clients_see() {
    let site = Site::of_two();
    site.did(&format!("weight {} 3", site.b1.address));
    let served = site.served(8);
    assert_eq!(served.iter().filter(|name| *name == "B1").count(), 6, "{served:?}");
    site.did(&format!("weight {} 0", site.b1.address));
    assert_eq!(site.served(4), ["B2"; 4]);
}

#[test]
fn sessions_are_listed_explained_and_killed() {
    let site = Site::of_two();
    let clients: Vec<_> = (0..4).map(|_| site.balancer.connect_and_hear()).collect();
    let mut told = Sessions::default();
    let all_relay = || {
        told = site.json("sessions");
        told.sessions.iter().filter(|session| session.state == "relaying").count() == 4
    };
    eventually(all_relay, || "not four sessions".to_owned());
    let addresses: Vec<String> =
        clients.iter().map(|(_, one)| one.local_addr().expect("open").to_string()).collect();
    for session in &told.sessions {
        let client = session.client.clone().expect("it is there");
        assert!(addresses.contains(&client), "{client} of {addresses:?}");
    }
    assert!(site.did("sessions").contains(&addresses[0]));
    assert_eq!(site.did("dump").lines().filter(|line| !line.starts_with('#')).count(), 4);

    let of = |client: &str| told.sessions.iter().find(|one| one.client.as_deref() == Some(client));
    let first = of(&addresses[0]).expect("it is listed");
    let explained = site.did(&format!("explain session {}", first.id));
    assert!(explained.contains(first.backend.as_deref().expect("it has one")), "{explained}");
    site.did("explain client 127.0.0.1");
    site.did(&format!("kill {}", first.id));
    assert!(is_cut(&clients[0].1));
    let gone = site.ctl(&format!("kill {}", first.id));
    assert_eq!(gone.code, Some(1), "{}", gone.out);

    // Then those of the second backend, and last whoever is left.
    let second = site.b2.address;
    let many = clients[1..].iter().filter(|(name, _)| name == "B2").count();
    let said = site.did(&format!("kill --backend {second}"));
    assert!(said.starts_with(&many.to_string()), "{said} for {many}");
    clients[1..].iter().filter(|(name, _)| name == "B2").for_each(|(_, one)| assert!(is_cut(one)));
    site.did("kill --all");
    assert!(clients.iter().all(|(_, one)| is_cut(one)));
    assert!(site.did("sessions --min-age 1h").contains("sessions"));
}

#[test]
fn what_was_done_is_among_the_events_and_explains_the_backend() {
    let site = Site::of_two();
    let first = site.b1.address.to_string();
    site.did(&format!("maint {first}"));
    let events = site.did("events");
    assert!(events.lines().any(|line| line.contains(&first) && line.contains("maint")), "{events}");
    let why = site.did(&format!("explain backend {first}"));
    assert!(why.contains("maint"), "{why}");
}

#[test]
fn every_table_can_be_shown() {
    let site = Site::of_two();
    let first = site.b1.address.to_string();
    for (words, part) in [
        ("status", "evenkeel"),
        ("backends", first.as_str()),
        ("pools", "2 of 2"),
        ("listeners", "127.0.0.1:"),
        ("shards", "SHARD"),
        ("info", "kernel"),
        ("metrics", "evenkeel_"),
        ("health", "ok"),
        ("health --ready", "ok"),
        ("health --live", "ok"),
    ] {
        let shown = site.did(words);
        assert!(shown.contains(part), "ctl {words}: no {part} in\n{shown}");
    }
    let status: Status = site.json("status");
    assert_eq!(status.backends.len(), 2);
    let mut once = evenkeel("top");
    once.args(["--once", "--interval", "100ms", "--admin", &site.admin]);
    let once = done(&mut once);
    assert_eq!(once.code, Some(0), "{}", once.err);
    assert!(once.out.contains(&first) && once.out.contains("● up"), "{}", once.out);
}

#[test]
fn a_reload_is_answered_with_what_came_of_it() {
    let backend = Backend::named("B1");
    let folder = own_folder();
    let admin = format!("unix:{}", folder.join("admin.sock").display());
    let text = format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n[pool.web]\nbackends = [\"{}\"]\n",
        backend.address
    );
    let file = ConfigFile::new(&text);
    let _balancer = file.start(&format!("--admin {admin}"));
    let ctl = || done(evenkeel("ctl").arg("reload").env("EVENKEEL_ADMIN", &admin));
    let well = ctl();
    assert_eq!((well.code, well.err.as_str()), (Some(0), ""), "{}", well.out);
    file.write("[pool.web\n");
    let ill = ctl();
    assert_eq!(ill.code, Some(1), "{}", ill.out);
    std::fs::remove_dir_all(folder).expect("our own");
}

#[test]
fn keys_of_top_drain_and_kill() {
    let site = Site::of_two();
    let Some(pane) = Pane::with_top(&site.admin, "--interval 100ms") else { return };
    let first = site.b1.address.to_string();
    pane.wait_for(&first);
    let clients: Vec<_> = (0..2).map(|_| site.balancer.connect_and_hear()).collect();
    pane.press(&["d"]);
    pane.wait_for("Drain ");
    pane.press(&["y"]);
    pane.wait_for("○ drain");
    assert_eq!(site.served(3), ["B2"; 3]);
    pane.press(&["K"]);
    pane.wait_for("Cut the 1 session of");
    pane.press(&["y"]);
    let (_, cut) = clients.iter().find(|(name, _)| name == "B1").expect("they take turns");
    assert!(is_cut(cut));
    pane.press(&["r"]);
    pane.wait_for("Let ");
    pane.press(&["y"]);
    eventually(
        || site.served(2).contains(&"B1".to_owned()),
        || format!("not ready again:\n{}", pane.shown()),
    );
    // The other one is killed by its row in the list of sessions.
    pane.press(&["2"]);
    let (_, other) = clients.iter().find(|(name, _)| name == "B2").expect("they take turns");
    pane.wait_for(&other.local_addr().expect("open").to_string());
    pane.press(&["K"]);
    pane.wait_for("Cut session");
    pane.press(&["y"]);
    assert!(is_cut(other));
    pane.press(&["q"]);
    pane.wait_for("ended=0");
}

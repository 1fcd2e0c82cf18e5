//! Backends that are down, come back, or say so: who is told, where clients go, and what becomes of
//! sessions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::backend::Backend;
use crate::support::scene::{
    Checked, ConfigFile, before_pool, is_echoed, name_of, own_address, speak,
};
use crate::support::{End, read_to_the_end};

#[test]
fn it_takes_three_bad_answers_in_a_row_and_two_good_ones_where_that_is_asked_for() {
    let answers = [200, 500, 500, 200, 500, 500, 404, 200, 500, 200, 301];
    let (script, _good) = (Scripted::new(&answers), Checked::new("B2"));
    let lines = http("rise = 2\nfall = 3");
    let balancer = before_pool(&lines, &[(script.address(), "")], "--log-level DEBUG");
    balancer.wait_for_lines(" is up: ", 1);
    let told: Vec<String> = balancer.log().lines().filter_map(verdict).collect();
    let backend = script.address();
    assert_eq!(
        told,
        [
            "good".to_owned(),
            "bad".to_owned(),
            "bad".to_owned(),
            "good".to_owned(),
            "bad".to_owned(),
            "bad".to_owned(),
            format!("web/{backend} is down after 3 of 3"),
            "good".to_owned(),
            "bad".to_owned(),
            "good".to_owned(),
            format!("web/{backend} is up after 2 of 2"),
        ],
        "{}",
        balancer.log()
    );
}

#[test]
fn a_backend_that_is_dead_from_the_start_is_down_at_once() {
    let (dead, alive) = (own_address(), Checked::new("B2"));
    let lines = format!("algorithm = \"round-robin\"\n{}", tcp("interval = \"1h\"\nfall = 9"));
    let balancer = before_pool(&lines, &[(dead, ""), (alive.address(), "")], "");
    balancer.wait_for_lines(&format!("backend web/{dead} is down"), 1);
    (0..10).for_each(|_| assert_eq!(speak(&balancer).0, "B2"));
    // Nobody was sent there in vain.
    let report = balancer.end();
    assert_eq!(report.lines_with(&format!("{dead}: 0 connections, 0 connected, 0 failed")), 1);
}

#[test]
fn while_answers_do_not_agree_with_the_state_the_fast_interval_counts() {
    let checked = Checked::new("B1");
    // By the slow interval this would take minutes.
    let lines = http("interval = \"700ms\"\nfast_interval = \"5ms\"\nfall = 200\nrise = 200");
    let balancer = before_pool(&lines, &[(checked.address(), "")], "");
    checked.wait_for_checks(1);
    checked.answer(500);
    balancer.wait_for_lines("is down: status 500", 1);
    checked.answer(200);
    balancer.wait_for_lines("is up: ", 1);
}

#[test]
fn a_listener_that_goes_and_comes_is_seen_by_tcp_checks() {
    let (address, other) = (own_address(), Backend::named("B2"));
    let lines = format!("algorithm = \"round-robin\"\n{}", tcp(""));
    let mut first = Some(Backend::named_on(address, "B1"));
    let balancer = before_pool(&lines, &[(address, ""), (other.address, "")], "");
    for round in 1..=3 {
        let names = [balancer.ask(), balancer.ask()].concat();
        assert!(names == "B1B2" || names == "B2B1", "{names}");
        first.take();
        balancer.wait_for_lines(&format!("web/{address} is down"), round);
        (0..6).for_each(|_| assert_eq!(balancer.ask(), "B2"));
        first = Some(Backend::named_on(address, "B1"));
        balancer.wait_for_lines(&format!("web/{address} is up"), round);
    }
    // Checks are no clients that leave without a word, and the other was never suspected.
    assert_eq!(balancer.lines_with("is down"), 3, "{}", balancer.log());
}

#[test]
fn a_backend_is_up_while_it_says_what_is_expected() {
    let loading = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&loading);
    let redis = Backend::running(move |mut client| {
        let mut asked = [0; 6];
        if client.read_exact(&mut asked).is_ok() && &asked == b"PING\r\n" {
            let words: &[u8] =
                if says.load(Ordering::SeqCst) { b"-LOADING\r\n" } else { b"+PONG\r\n" };
            // In pieces.
            let _ = words.iter().try_for_each(|byte| client.write_all(&[*byte]));
        }
        let _ = std::io::copy(&mut client, &mut std::io::sink());
    });
    let lines =
        health("send-expect", "send = \"PING\\r\\n\"\nexpect = \"+PONG\"\ntimeout = \"1s\"");
    let balancer = before_pool(&lines, &[(redis.address, "")], "");
    balancer.wait_for_lines("is down: ", 1);
    loading.store(false, Ordering::SeqCst);
    balancer.wait_for_lines("is up: ", 1);
    loading.store(true, Ordering::SeqCst);
    balancer.wait_for_lines("is down: ", 2);
}

#[test]
fn a_backend_that_flaps_fails_nobody() {
    let (flapping, steady) = (Checked::new("B1"), Checked::new("B2"));
    let lines = format!("algorithm = \"round-robin\"\n{}", http(""));
    let balancer = before_pool(&lines, &[(flapping.address(), ""), (steady.address(), "")], "");
    let mut sessions = Vec::new();
    for round in 1..=5 {
        flapping.answer(503);
        balancer.wait_for_lines(" is down: status 503", round);
        (0..10).for_each(|_| sessions.push(speak(&balancer)));
        assert!(sessions.iter().rev().take(10).all(|(name, _)| name == "B2"));
        flapping.answer(200);
        balancer.wait_for_lines(" is up: ", round);
        let both = [speak(&balancer), speak(&balancer)];
        assert_ne!(both[0].0, both[1].0);
        sessions.extend(both);
    }
    assert!(sessions.iter().all(|(_, client)| is_echoed(client, 1)), "sessions went on");
}

#[test]
fn with_half_the_pool_dead_the_other_half_gets_everybody() {
    let alive = [Checked::new("B1"), Checked::new("B2")];
    let dead = [own_address(), own_address()];
    for algorithm in ["round-robin", "least-connections", "auto", "random", "p2c", "first"] {
        let listed =
            [(dead[0], ""), (alive[0].address(), ""), (dead[1], ""), (alive[1].address(), "")];
        let balancer =
            before_pool(&format!("algorithm = \"{algorithm}\"\n{}", tcp("")), &listed, "");
        balancer.wait_for_lines("is down: ", 2);
        let sessions: Vec<_> = (0..40).map(|_| speak(&balancer)).collect();
        let first = sessions.iter().filter(|(name, _)| name == "B1").count();
        match algorithm {
            "first" => assert_eq!(first, 40),
            "random" | "p2c" => assert!((1..40).contains(&first), "{algorithm}: {first} of 40"),
            _ => assert_eq!(first, 20, "{algorithm}"),
        }
        assert_eq!(balancer.lines_with("failed"), 0, "{algorithm}: {}", balancer.log());
    }
}

#[test]
fn a_backend_that_accepts_and_never_answers_is_down_for_http_and_up_for_tcp() {
    let silent = Checked::new("B1");
    silent.be_silent(true);
    let address = silent.address();
    let text = format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\npool = \"tcp\"\n\
         [pool.tcp]\nbackends = [\"{address}\"]\n[pool.tcp.health]\ninterval = \"20ms\"\n\
         [pool.http]\nbackends = [\"{address}\"]\n\
         [pool.http.health]\ntype = \"http\"\ninterval = \"20ms\"\ntimeout = \"100ms\"\n\
         [[listener]]\nname = \"other\"\nlisten = \"127.0.0.1:0\"\npool = \"http\"\n"
    );
    let balancer = ConfigFile::new(&text).start("");
    balancer.wait_for_lines(&format!("backend http/{address} is down"), 1);
    let session = balancer.connect();
    (&session).write_all(b"?").unwrap();
    assert_eq!(name_of(&session), "B1");
    silent.wait_for_checks(3);
    assert!(is_echoed(&session, 1));
    assert_eq!(balancer.lines_with("backend tcp/"), 0, "{}", balancer.log());
    // It speaks: it is up.
    silent.be_silent(false);
    balancer.wait_for_lines(&format!("backend http/{address} is up"), 1);
}

#[test]
fn a_check_that_dribbles_is_over_in_its_time_and_holds_up_no_other() {
    let dribbling = Backend::running(|mut client| {
        // A header without an end.
        while client.write_all(b"X").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    });
    let steady = Checked::new("B2");
    let lines = http("timeout = \"300ms\"");
    let listed = [(dribbling.address, ""), (steady.address(), "")];
    let balancer = before_pool(&lines, &listed, "");
    steady.wait_for_checks(5);
    balancer.wait_for_lines(&format!("web/{} is down", dribbling.address), 1);
    steady.answer(500);
    balancer.wait_for_lines(&format!("web/{} is down", steady.address()), 1);
}

#[test]
fn close_cuts_exactly_the_sessions_of_the_backend_that_goes_down_and_keep_none() {
    for (what, cut) in [("close", true), ("keep", false)] {
        let pair = [Checked::new("B1"), Checked::new("B2")];
        let lines = format!(
            "algorithm = \"round-robin\"\non_marked_down = \"{what}\"\n{}",
            http("timeout = \"5s\"")
        );
        let listed = pair.each_ref().map(|one| (one.address(), ""));
        let balancer = before_pool(&lines, &listed, "--shards 2");
        let sessions: Vec<(String, TcpStream)> = (0..40).map(|_| speak(&balancer)).collect();
        pair[0].answer(500);
        balancer.wait_for_lines(" is down: ", 1);
        for (name, client) in &sessions {
            match cut && name == "B1" {
                true => assert_eq!(read_to_the_end(client), End::Reset(0), "{what}"),
                false => assert!(is_echoed(client, 1), "{what}: a session of {name} was cut"),
            }
        }
        let report = balancer.end();
        let cut_lines = report.lines_with("DD backend-down 20");
        assert_eq!(cut_lines, usize::from(cut), "{report:?}");
    }
}

#[test]
fn a_session_that_is_on_its_way_to_a_backend_that_goes_down_is_served_by_another() {
    let [slow, other] = [own_address(), own_address()];
    let checked = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
    let [slow_health, _other_health] = [slow, other].map(|one| Checked::on(checked(one), "??"));
    let (full, _other) = (FullListener::new(slow), Backend::named_on(other, "B2"));
    let port = slow.port() + 1;
    let lines = format!(
        "algorithm = \"round-robin\"\non_marked_down = \"close\"\nconnect_timeout = \"30s\"\n{}",
        http(&format!("port = {port}"))
    );
    let balancer = before_pool(&lines, &[(slow, ""), (other, "")], "--shards 1");
    slow_health.wait_for_checks(2);
    let client = balancer.connect();
    balancer.wait_for_lines(&format!("-> {slow} "), 1);
    slow_health.answer(500);
    balancer.wait_for_lines(&format!("web/{slow} is down"), 1);
    full.accept_from_now_on("B1");
    assert_eq!(name_of(&client), "B2");
}

/// A listener whose queue is full, so that the kernel lets connects wait.
struct FullListener {
    listener: std::net::TcpListener,
    _queue: Vec<TcpStream>,
}

impl FullListener {
    fn new(address: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        socket2::SockRef::from(&listener).listen(0).unwrap();
        let soon = std::time::Duration::from_millis(200);
        let connect = || TcpStream::connect_timeout(&address, soon).ok();
        let queue = std::iter::from_fn(connect).collect();
        Self { listener, _queue: queue }
    }

    /// Everybody gets in, is told a name, and may stay.
    fn accept_from_now_on(&self, name: &'static str) {
        let listener = self.listener.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            while let Ok((mut client, _)) = listener.accept() {
                let _ = client.write_all(name.as_bytes());
                open.push(client);
            }
        });
    }
}

#[test]
fn backups_serve_while_all_primaries_are_down_and_no_longer() {
    let [one, other, backup] = ["P1", "P2", "K1"].map(Checked::new);
    let lines = format!("algorithm = \"round-robin\"\n{}", http(""));
    let listed = [(backup.address(), "backup = true"), (one.address(), ""), (other.address(), "")];
    let balancer = before_pool(&lines, &listed, "");
    let ask = || speak(&balancer).0;
    assert!((0..4).all(|_| ask().starts_with('P')));
    one.answer(500);
    balancer.wait_for_lines(" is down: ", 1);
    assert!((0..4).all(|_| ask() == "P2"));
    other.answer(500);
    balancer.wait_for_lines(" is down: ", 2);
    let stays = speak(&balancer);
    assert!(stays.0 == "K1" && (0..4).all(|_| ask() == "K1"));
    one.answer(200);
    balancer.wait_for_lines(" is up: ", 1);
    assert!((0..4).all(|_| ask() == "P1"));
    assert!(is_echoed(&stays.1, 1), "who is there already may stay");
}

#[test]
fn all_are_down_by_checks_and_a_client_waits_for_the_first_that_is_up() {
    let [one, other] = ["B1", "B2"].map(Checked::new);
    let lines = format!("wait_for_backend_timeout = \"60s\"\n{}", http(""));
    let listed = [(one.address(), ""), (other.address(), "")];
    let balancer = before_pool(&lines, &listed, "");
    one.answer(500);
    other.answer(500);
    balancer.wait_for_lines(" is down: ", 2);
    let mut clients: Vec<TcpStream> = (0..10).map(|_| balancer.connect()).collect();
    clients.iter_mut().for_each(|client| client.write_all(b"?").unwrap());
    other.answer(200);
    for client in &clients {
        assert_eq!(name_of(client), "B2");
    }
    assert_eq!((one.clients(), other.clients()), (0, 10));
}

/// Answers checks with these statuses, one after the other, then well.
struct Scripted(Backend);

impl Scripted {
    fn new(statuses: &[u16]) -> Self {
        let left = std::sync::Mutex::new(statuses.to_vec());
        Self(Backend::running(move |mut client| {
            if !client.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {
                return;
            }
            let mut left = left.lock().unwrap();
            let status = if left.is_empty() { 200 } else { left.remove(0) };
            drop(left);
            let _ = write!(client, "HTTP/1.0 {status} So\r\n\r\n");
        }))
    }

    fn address(&self) -> SocketAddr {
        self.0.address
    }
}

/// What a line of the log says of a check.
fn verdict(line: &str) -> Option<String> {
    if let Some((_, evidence)) = line.split_once("was checked: ") {
        let good = evidence == "it answers as expected";
        return Some(if good { "good" } else { "bad" }.to_owned());
    }
    let (_, rest) = line.split_once("backend ")?;
    let (backend, rest) = rest.split_once(" is ")?;
    let (state, rest) = rest.split_once(": ")?;
    let (_, after) = rest.split_once("; after ")?;
    Some(format!("{backend} is {state} after {}", after.trim_end_matches(" checks")))
}

fn http(more: &str) -> String {
    health("http", more)
}

fn tcp(more: &str) -> String {
    health("tcp", more)
}

/// Often, and patient with a busy machine, if `more` does not say otherwise.
fn health(kind: &str, more: &str) -> String {
    let mut text = format!("[pool.web.health]\ntype = \"{kind}\"\njitter = 0\n{more}\n");
    for (key, value) in [("interval", "\"20ms\""), ("timeout", "\"10s\"")] {
        if !more.lines().any(|line| line.starts_with(&format!("{key} "))) {
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    text
}

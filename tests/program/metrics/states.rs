//! How backends stand, and what the operator wants of them.

use std::path::Path;

use crate::metrics::scrape::{Scrape, Socket, ask, when};
use crate::support::Balancer;
use crate::support::backend::Backend;
use crate::support::scene::{UNCHECKED, before_pool, own_address};

/// What a backend is told to be, by its port.
fn state(scrape: &Scrape, backend: &str) -> String {
    let is = |state: &str| {
        scrape.sum("evenkeel_backend_status", &[("backend", backend), ("state", state)]) == 1.0
    };
    let words = ["maint", "down", "ejected", "drain", "full", "backup", "up"];
    let words: Vec<_> = words.into_iter().filter(|word| is(word)).collect();
    assert_eq!(words.len(), 1, "{backend} is {words:?}");
    words[0].to_owned()
}

fn value(scrape: &Scrape, name: &str, backend: &str) -> f64 {
    scrape.sum(name, &[("backend", backend)])
}

#[test]
fn a_backend_that_checks_take_down_is_down_until_they_bring_it_up() {
    let (address, other, socket) = (own_address(), Backend::named("B2"), Socket::new());
    let lines = "[pool.web.health]\ntype = \"tcp\"\ninterval = \"50ms\"\nfall = 1\nrise = 1";
    let listed = [(address, ""), (other.address, "")];
    let balancer = before_pool(lines, &listed, &socket.option());
    let name = address.to_string();
    let down = when(&socket.path(), |scrape| state(scrape, &name) == "down");
    assert_eq!(value(&down, "evenkeel_backend_up", &name), 0.0);
    assert_eq!(value(&down, "evenkeel_backend_check_changes_total", &name), 1.0);
    assert!(value(&down, "evenkeel_backend_check_last_change_seconds", &name) < 1000.0);
    let pool = [("pool", "web")];
    assert_eq!(down.sum("evenkeel_pool_backends", &pool), 2.0);
    assert_eq!(down.sum("evenkeel_pool_active_backends", &pool), 1.0);
    let other = other.address.to_string();
    assert_eq!(value(&down, "evenkeel_backend_up", &other), 1.0);
    let changed = [("backend", other.as_str())];
    assert!(!down.has("evenkeel_backend_check_last_change_seconds", &changed), "it never did");
    let back = Backend::named_on(address, "B1");
    let up = when(&socket.path(), |scrape| state(scrape, &name) == "up");
    assert_eq!(value(&up, "evenkeel_backend_check_changes_total", &name), 2.0);
    assert_eq!(up.sum("evenkeel_pool_active_backends", &pool), 2.0);
    drop((balancer, back));
}

#[test]
fn a_pool_that_fails_open_says_so() {
    let (dead, socket) = ([own_address(), own_address()], Socket::new());
    let lines = format!(
        "wait_for_backend_timeout = \"0s\"\neject_after = 1\neject_time = \"1h\"\neject_time_max = \"1h\"\n{UNCHECKED}"
    );
    let balancer = before_pool(&lines, &dead.map(|address| (address, "")), &socket.option());
    let first = Scrape::of(&socket.path());
    assert_eq!(first.sum("evenkeel_pool_fail_open", &[]), 0.0);
    balancer.ask();
    balancer.ask();
    let open = when(&socket.path(), |scrape| scrape.sum("evenkeel_pool_fail_open", &[]) == 1.0);
    let pool = [("pool", "web")];
    assert_eq!(open.sum("evenkeel_pool_ejections_total", &pool), 1.0);
    assert!(open.sum("evenkeel_pool_fail_opens_total", &pool) >= 1.0);
    let errors = open.sum("evenkeel_pool_connection_errors_total", &pool);
    assert!(errors >= 2.0, "{errors}");
    assert_eq!(errors, open.sum("evenkeel_pool_connection_attempts_total", &pool));
    assert_eq!(errors, open.sum("evenkeel_backend_connection_errors_total", &pool));
}

/// Changes something by the admin API.
fn change(socket: &Path, method: &str, path: &str, body: &str) {
    let request = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (head, body) = ask(socket, &request);
    assert!(head.starts_with("HTTP/1.0 20"), "{head}\n{body}");
}

#[test]
fn what_the_operator_wants_is_told_and_who_comes_again_goes_on() {
    let ([a, b], socket) = (["A", "B"].map(Backend::named), Socket::new());
    let balancer = Balancer::before(&[a.address, b.address], &socket.option());
    (0..4).for_each(|_| drop(balancer.ask()));
    let (path, name) = (socket.path(), b.address.to_string());
    let ends = "evenkeel_backend_sessions_ended_total";
    let served = when(&path, |scrape| scrape.sum(ends, &[]) == 4.0);
    let of_b = value(&served, ends, &name);
    let pools = "/api/pools";
    let pool = served.samples.iter().find_map(|sample| sample.labels.get("pool")).expect("a pool");
    let url = format!("{pools}/{pool}/backends/{name}");
    for (wanted, state_then) in [("drain", "drain"), ("maint", "maint"), ("ready", "up")] {
        change(&path, "PATCH", &url, &format!("{{\"state\":\"{wanted}\",\"weight\":7}}"));
        let scrape = Scrape::of(&path);
        assert_eq!(state(&scrape, &name), state_then);
        for state in ["ready", "drain", "maint"] {
            let labels = [("backend", name.as_str()), ("state", state)];
            let told = scrape.sum("evenkeel_backend_admin_state", &labels);
            assert_eq!(told, f64::from(u8::from(state == wanted)), "{state}");
        }
        assert_eq!(value(&scrape, "evenkeel_backend_weight", &name), 7.0);
    }
    change(&path, "DELETE", &url, "");
    assert!(!Scrape::of(&path).has(ends, &[("backend", &name)]));
    let pool_ends = Scrape::of(&path).sum("evenkeel_pool_sessions_ended_total", &[]);
    assert_eq!(pool_ends, 4.0, "what it had stays in the pool's");
    let body = format!("{{\"address\":\"{name}\"}}");
    change(&path, "POST", &format!("{pools}/{pool}/backends"), &body);
    assert_eq!(value(&Scrape::of(&path), ends, &name), of_b, "it goes on where it was");
}

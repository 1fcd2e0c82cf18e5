//! Counters never go back: not over a reload, nor when a backend goes and comes again.

use crate::metrics::scrape::{Scrape, Socket, when};
use crate::support::Balancer;
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;

/// A pool of these backends, with more keys.
fn text(backends: &[(&str, &Backend)], more: &str) -> String {
    let mut text =
        format!("[[listener]]\nlisten = \"127.0.0.1:0\"\nname = \"in\"\n[pool.web]\n{more}\n");
    for (name, backend) in backends {
        text += &format!(
            "[[pool.web.backend]]\nname = \"{name}\"\naddress = \"{}\"\n",
            backend.address
        );
    }
    text
}

/// What both have has not become less.
fn assert_grown(before: &Scrape, after: &Scrape, when: &str) {
    let after = after.counters();
    let mut shared = 0;
    for (series, value) in before.counters() {
        if let Some(now) = after.get(&series) {
            assert!(*now >= value, "{when}: {series} went from {value} to {now}");
            shared += 1;
        }
    }
    assert!(shared > 100, "{when}: only {shared} are the same");
}

fn served(balancer: &Balancer, socket: &Socket, times: u32) -> Scrape {
    let ended = |scrape: &Scrape| scrape.sum("evenkeel_listener_sessions_ended_total", &[]);
    let before = ended(&Scrape::of(&socket.path()));
    (0..times).for_each(|_| drop(balancer.ask()));
    when(&socket.path(), |scrape| ended(scrape) == before + f64::from(times))
}

#[test]
fn nothing_goes_back_over_reloads_or_when_a_backend_comes_again() {
    let [a, b] = ["A", "B"].map(Backend::named);
    let socket = Socket::new();
    let both = text(&[("a", &a), ("b", &b)], TURNS);
    let file = ConfigFile::new(&both);
    let balancer = file.balancer(&format!("--shards 2 {}", socket.option()));
    let first = served(&balancer, &socket, 10);
    let of_b = |scrape: &Scrape, name: &str| scrape.sum(name, &[("backend", "b")]);
    let (ends, bytes) =
        ("evenkeel_backend_sessions_ended_total", "evenkeel_backend_bytes_out_total");
    assert_eq!((of_b(&first, ends), of_b(&first, bytes)), (5.0, 5.0));

    file.reload(&balancer, &text(&[("a", &a)], TURNS));
    let without = served(&balancer, &socket, 3);
    assert_grown(&first, &without, "b is gone");
    assert!(!without.has(ends, &[("backend", "b")]), "who is gone is not told of");
    let pool = |scrape: &Scrape| scrape.sum("evenkeel_pool_bytes_out_total", &[]);
    assert_eq!((pool(&first), pool(&without)), (10.0, 13.0), "its share stays in the pool's");

    file.reload(&balancer, &both);
    let again = Scrape::of(&socket.path());
    assert_grown(&first, &again, "b is there again");
    assert_grown(&without, &again, "b is there again");
    assert_eq!((of_b(&again, ends), of_b(&again, bytes)), (5.0, 5.0), "it goes on where it was");

    file.reload(
        &balancer,
        &text(&[("b", &b), ("a", &a)], "sticky_key = \"ip\"\nalgorithm = \"p2c\""),
    );
    let other = served(&balancer, &socket, 4);
    assert_grown(&again, &other, "another algorithm, and sticky");
    assert_eq!(pool(&other), 17.0);
    assert_eq!(other.sum("evenkeel_process_config_reloads_total", &[("result", "success")]), 3.0);
}

#[test]
fn a_reload_that_fails_is_told() {
    let a = Backend::named("A");
    let socket = Socket::new();
    let file = ConfigFile::new(&text(&[("a", &a)], ""));
    let balancer = file.balancer(&socket.option());
    let result = |scrape: &Scrape| {
        let times =
            |result| scrape.sum("evenkeel_process_config_reloads_total", &[("result", result)]);
        let last = scrape.sum("evenkeel_process_config_last_reload_successful", &[]);
        (times("success"), times("failure"), last)
    };
    let since = "evenkeel_process_config_last_reload_success_timestamp_seconds";
    let first = Scrape::of(&socket.path());
    assert_eq!(result(&first), (0.0, 0.0, 1.0));
    let began = first.sum(since, &[]);
    assert!(began >= first.sum("process_start_time_seconds", &[]), "{}", first.text);

    file.reload(&balancer, "this is no configuration");
    let wrong = Scrape::of(&socket.path());
    assert_eq!((result(&wrong), wrong.sum(since, &[])), ((0.0, 1.0, 0.0), began));

    file.reload(&balancer, &text(&[("a", &a)], "algorithm = \"random\""));
    let right = Scrape::of(&socket.path());
    assert_eq!(result(&right), (1.0, 1.0, 1.0));
    assert!(right.sum(since, &[]) >= began);
}

const TURNS: &str = "algorithm = \"round-robin\"";

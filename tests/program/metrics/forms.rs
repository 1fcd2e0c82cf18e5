//! What is sent has the form that was asked for, and public parsers read it.

use std::net::SocketAddr;

use crate::metrics::scrape::{
    OPENMETRICS, Sample, Scrape, Socket, TEXT, get, judged_by_promtool, read_by_python,
};
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;
use crate::support::{Balancer, engine, run};

/// Some traffic has left something in every histogram.
fn busy(options: &str) -> (Backend, Balancer, Socket) {
    let (backend, socket) = (Backend::named("B1"), Socket::new());
    let options = format!("{} --sticky-key ip --shards 2 {options}", socket.option());
    let balancer = Balancer::before(&[backend.address], &options);
    (0..5).for_each(|_| assert_eq!(balancer.ask(), "B1"));
    (backend, balancer, socket)
}

#[test]
fn a_scraper_gets_the_form_that_it_asks_for() {
    let (_backend, _balancer, socket) = busy("");
    let prometheus = format!("{OPENMETRICS};q=0.5,{TEXT};q=0.3,*/*;q=0.2");
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    for (accept, form) in [
        ("*/*", text),
        (TEXT, text),
        ("application/json", text),
        (OPENMETRICS, open),
        (&prometheus, open),
    ] {
        let (head, body) = get(&socket.path(), accept);
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        assert!(head.contains(&format!("content-type: {form}")), "{accept}: {head}");
        assert_eq!(body.ends_with("# EOF\n"), form == open, "{accept}");
    }
}

#[test]
fn public_parsers_read_both_forms_and_find_the_same_in_them() {
    let (_backend, _balancer, socket) = busy("");
    for form in [TEXT, OPENMETRICS] {
        let (_, body) = get(&socket.path(), form);
        let Some(by_python) = read_by_python(&body, form) else { return };
        assert_same(Scrape::read(body).samples, by_python, form);
    }
}

/// In any order, because a library may sort.
fn assert_same(mut ours: Vec<Sample>, mut theirs: Vec<Sample>, form: &str) {
    let key = |sample: &Sample| (sample.name.clone(), sample.labels.clone());
    ours.sort_by_key(key);
    theirs.sort_by_key(key);
    assert!(ours.len() > 300, "{form}: {} samples", ours.len());
    for (our, their) in ours.iter().zip(&theirs) {
        assert_eq!(our, their, "{form}");
    }
    assert_eq!(ours.len(), theirs.len(), "{form}");
}

#[test]
fn promtool_finds_nothing_to_complain_of() {
    let (_backend, _balancer, socket) = busy("");
    judged_by_promtool(&["check", "metrics"], &get(&socket.path(), TEXT).1);
}

#[test]
fn names_with_everything_in_them_that_a_name_may_have_come_through() {
    let backend = Backend::named("B1");
    let socket = Socket::new();
    let (pool, name) = (r#"we"b\n{},= é"#, r#"a"b\c"},x="1""#);
    let file = ConfigFile::new(&format!(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\nname = 'l\"\\'\npool = '{pool}'\n\
         [pool.'{pool}']\n[[pool.'{pool}'.backend]]\nname = '{name}'\naddress = \"{}\"\n",
        backend.address
    ));
    let balancer = file.balancer(&socket.option());
    assert_eq!(balancer.ask(), "B1");
    for form in [TEXT, OPENMETRICS] {
        let (_, body) = get(&socket.path(), form);
        if let Some(by_python) = read_by_python(&body, form) {
            assert_same(Scrape::read(body.clone()).samples, by_python, form);
        }
        let scrape = Scrape::read(body);
        let labels = [("pool", pool), ("backend", name)];
        assert_eq!(scrape.sum("evenkeel_backend_connection_attempts_total", &labels), 1.0);
        let labels = [("listener", r#"l"\"#)];
        assert_eq!(scrape.sum("evenkeel_listener_connections_total", &labels), 1.0);
    }
}

#[test]
fn a_name_with_a_line_break_is_refused_before() {
    let file = ConfigFile::new(
        "[[listener]]\nlisten = \"127.0.0.1:0\"\n[pool.web]\n\
         [[pool.web.backend]]\nname = \"a\\nb\"\naddress = \"127.0.0.1:1\"\n",
    );
    let ended = run(&["check", "--config", file.name()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no control characters"), "{ended:?}");
}

#[test]
fn five_hundred_backends_are_all_there_and_each_once() {
    let socket = Socket::new();
    // Nobody is asked for.
    let backends: Vec<_> = (1..=500).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
    let _balancer = Balancer::before(&backends, &socket.option());
    let (_, body) = get(&socket.path(), OPENMETRICS);
    if let Some(by_python) = read_by_python(&body, OPENMETRICS) {
        assert_same(Scrape::read(body.clone()).samples, by_python, OPENMETRICS);
    }
    let scrape = Scrape::read(body);
    assert_eq!(scrape.sum("evenkeel_backend_status", &[("state", "up")]), 500.0);
    assert_eq!(scrape.sum("evenkeel_backend_status", &[]), 500.0, "one state each");
    assert_eq!(scrape.sum("evenkeel_pool_backends", &[]), 500.0);
    for port in [1, 250, 500] {
        let name = format!("127.0.0.1:{port}");
        let labels = [("backend", name.as_str())];
        assert_eq!(scrape.sum("evenkeel_backend_connect_seconds_count", &labels), 0.0);
    }
}

#[test]
fn the_engine_is_told_and_no_client_is() {
    let (_backend, balancer, socket) = busy("");
    let scrape = Scrape::of(&socket.path());
    assert!(scrape.has("evenkeel_process_engine_info", &[("engine", engine()), ("reason", "")]));
    assert_eq!(scrape.sum("evenkeel_process_engine_fallback", &[]), 0.0);
    assert_eq!(scrape.sum("evenkeel_shard_up", &[]), 2.0);
    let driver = if engine() == "uring" { "ring_enters" } else { "epoll_waits" };
    assert!(scrape.sum(&format!("evenkeel_shard_{driver}_total"), &[]) > 0.0);
    // The listener is called as it was asked for.
    let asked = "127.0.0.1:0".to_owned();
    let known = [balancer.address.to_string(), asked, balancer.setting("backends").to_owned()];
    let addresses = scrape.samples.iter().flat_map(|sample| sample.labels.iter());
    for (label, value) in addresses.filter(|(_, value)| value.contains("127.0.0.1")) {
        let is_known = known.iter().any(|known| known.contains(value.as_str()));
        assert!(is_known, "{label}={value} is no address of ours");
    }
}

#[test]
fn the_process_is_described_as_client_libraries_do_it() {
    let (_backend, _balancer, socket) = busy("");
    let scrape = Scrape::of(&socket.path());
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "process_threads",
    ] {
        assert!(scrape.sum(name, &[]) > 0.0, "{name}");
    }
    let began = scrape.sum("process_start_time_seconds", &[]);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(began <= now && now - began < 24.0 * 3600.0, "{began} is now {now}");
    assert!(scrape.sum("process_open_fds", &[]) < scrape.sum("process_max_fds", &[]));
    assert!(scrape.has("evenkeel_process_build_info", &[("version", env!("CARGO_PKG_VERSION"))]));
}

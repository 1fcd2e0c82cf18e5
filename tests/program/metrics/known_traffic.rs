//! Traffic of which everything is known beforehand, and what the metrics say of it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use crate::metrics::scrape::{Scrape, Socket, ask, when};
use crate::support::backend::Backend;
use crate::support::{Balancer, read_to_the_end, reset};

#[test]
fn every_copied_byte_is_counted() {
    every_byte_is_counted("--splice off", "copied");
}

#[test]
fn every_spliced_byte_is_counted() {
    every_byte_is_counted("--splice always", "spliced");
}

fn every_byte_is_counted(option: &str, path: &str) {
    let (backend, socket) = (Backend::echo(), Socket::new());
    let options = format!("{option} --shards 2 {}", socket.option());
    let balancer = Balancer::before(&[backend.address], &options);
    let began = Instant::now();
    for _ in 0..SESSIONS {
        echoed(balancer.connect());
    }
    let sessions = f64::from(SESSIONS);
    let scrape = when(&socket.path(), |scrape| ended(scrape, "backend", "finished") == sessions);
    let elapsed = began.elapsed().as_secs_f64();
    let bytes = sessions * f64::from(u32::try_from(BYTES).unwrap());
    for level in ["backend", "pool", "shard"] {
        for way in ["in", "out"] {
            let name = format!("evenkeel_{level}_bytes_{way}_total");
            assert_eq!(scrape.sum(&name, &[]), bytes, "{name}");
            assert_eq!(scrape.sum(&name, &[("path", path)]), bytes, "{name}, {path}");
        }
    }
    for level in ["backend", "pool", "listener", "shard"] {
        assert_eq!(ended(&scrape, level, "finished"), sessions, "{level}");
        let all = scrape.sum(&format!("evenkeel_{level}_sessions_ended_total"), &[]);
        assert_eq!(all, sessions, "{level}: none ended for another reason");
    }
    for level in ["listener", "shard"] {
        let accepted = scrape.sum(&format!("evenkeel_{level}_connections_total"), &[]);
        assert_eq!(accepted, sessions, "{level}");
    }
    for name in ["connect", "first_byte", "session"] {
        assert_eq!(histogram(&scrape, name, &[]), sessions, "{name}");
        let sum = scrape.sum(&format!("evenkeel_backend_{name}_seconds_sum"), &[]);
        assert!(sum > 0.0 && sum <= sessions * elapsed, "{name}: {sum} of {elapsed} s");
    }
    assert!(histogram(&scrape, "response", &[]) >= sessions, "each was answered at least once");
    assert_eq!(scrape.sum("evenkeel_backend_connection_attempts_total", &[]), sessions);
    assert_eq!(scrape.sum("evenkeel_backend_connection_errors_total", &[]), 0.0);
}

/// Sends some bytes, and reads them back to the end.
fn echoed(mut client: TcpStream) {
    let reader = client.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut echoed = Vec::new();
        (&reader).read_to_end(&mut echoed).map(|_| echoed.len())
    });
    client.write_all(&vec![7; BYTES]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), BYTES);
}

/// How many values a histogram has, which all of its parts agree on.
fn histogram(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    let (bucket, count) = (
        format!("evenkeel_backend_{name}_seconds_bucket"),
        format!("evenkeel_backend_{name}_seconds_count"),
    );
    let buckets = scrape.samples.iter().filter(|sample| sample.name == bucket);
    let values: Vec<f64> = buckets.map(|sample| sample.value).collect();
    let labels: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
    assert_eq!(scrape.sum(&bucket, &labels), scrape.sum(&count, &labels[..labels.len() - 1]));
    assert!(values.len() > 12, "{bucket}: {values:?}");
    scrape.sum(&count, &labels[..labels.len() - 1])
}

fn ended(scrape: &Scrape, level: &str, reason: &str) -> f64 {
    scrape.sum(&format!("evenkeel_{level}_sessions_ended_total"), &[("reason", reason)])
}

#[test]
fn every_end_is_counted_with_its_reason() {
    let (resets, socket) = (Backend::resetting_after(3, 2), Socket::new());
    let options = format!("--shards 2 {}", socket.option());
    let balancer = Balancer::before(&[resets.address], &options);
    for _ in 0..2 {
        let mut client = balancer.connect();
        client.write_all(b"ab").unwrap();
        read_to_the_end(&client);
    }
    for _ in 0..3 {
        let mut client = balancer.connect();
        let mut said = [0; 3];
        client.read_exact(&mut said).unwrap();
        reset(client);
    }
    let scrape = when(&socket.path(), |scrape| {
        ended(scrape, "pool", "backend-gone") == 2.0 && ended(scrape, "pool", "client-gone") == 3.0
    });
    for level in ["listener", "pool", "backend", "shard"] {
        let name = format!("evenkeel_{level}_sessions_ended_total");
        assert_eq!(scrape.sum(&name, &[("code", "SD"), ("reason", "backend-gone")]), 2.0);
        assert_eq!(scrape.sum(&name, &[("code", "CD"), ("reason", "client-gone")]), 3.0);
        assert_eq!(scrape.sum(&name, &[]), 5.0, "{level}");
    }
    assert_eq!(scrape.sum("evenkeel_backend_bytes_out_total", &[]), 15.0);
    assert_eq!(scrape.sum("evenkeel_backend_bytes_in_total", &[]), 4.0);
}

#[test]
fn sessions_that_are_open_are_counted_while_they_are() {
    let (backend, socket) = (Backend::named_and_held("B1"), Socket::new());
    let options = format!("--shards 2 {}", socket.option());
    let balancer = Balancer::before(&[backend.address], &options);
    let clients: Vec<_> = (0..4).map(|_| balancer.connect()).collect();
    backend.wait_for_accepted(4);
    let names = ["process", "listener", "pool", "backend", "shard"];
    let now = |scrape: &Scrape| {
        names.map(|level| scrape.sum(&format!("evenkeel_{level}_current_sessions"), &[]))
    };
    when(&socket.path(), |scrape| now(scrape) == [4.0; 5]);
    drop(clients);
    when(&socket.path(), |scrape| now(scrape) == [0.0; 5]);
}

#[test]
fn sessions_that_an_operator_ends_are_killed() {
    let (backend, socket) = (Backend::named_and_held("B1"), Socket::new());
    let options = format!("--shards 2 {}", socket.option());
    let balancer = Balancer::before(&[backend.address], &options);
    let clients: Vec<_> = (0..3).map(|_| balancer.connect()).collect();
    backend.wait_for_accepted(3);
    let request = "DELETE /api/sessions?all=true HTTP/1.0\r\n\r\n";
    let (head, _) = ask(&socket.path(), request);
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    let scrape = when(&socket.path(), |scrape| ended(scrape, "listener", "killed") == 3.0);
    assert_eq!(ended(&scrape, "backend", "killed"), 3.0);
    assert_eq!(histogram(&scrape, "session", &[]), 3.0);
    drop(clients);
}

#[test]
fn whom_watched_sessions_wait_for_is_told_unless_nobody_is_watched() {
    let (silent, socket) = (Backend::named_and_held("B1"), Socket::new());
    let balancer = Balancer::before(&[silent.address], &socket.option());
    let mut client = balancer.connect();
    client.read_exact(&mut [0; 2]).unwrap();
    client.write_all(b"a question").unwrap();
    let waited = "evenkeel_backend_tcp_waited_seconds_total";
    let of = |scrape: &Scrape, whom| scrape.sum(waited, &[("for", whom)]);
    let scrape =
        when(&socket.path(), |scrape| scrape.has(waited, &[]) && of(scrape, "backend") >= 0.3);
    for whom in ["client", "balancer", "client_network", "backend_network"] {
        assert!(of(&scrape, whom) < of(&scrape, "backend"), "{whom}: {}", scrape.text);
    }
    for to in ["client", "backend"] {
        assert!(scrape.sum("evenkeel_backend_tcp_rtt_seconds", &[("to", to)]) < 1.0);
        let [sent, again] = ["segments", "retransmits"]
            .map(|what| scrape.sum(&format!("evenkeel_backend_tcp_{what}_total"), &[("to", to)]));
        assert!(again <= sent, "{again} of {sent}");
    }

    let options = format!("--tcp-info off {}", socket.option());
    drop((client, balancer));
    let balancer = Balancer::before(&[silent.address], &options);
    let mut client = balancer.connect();
    client.read_exact(&mut [0; 2]).unwrap();
    let open = |scrape: &Scrape| scrape.sum("evenkeel_backend_current_sessions", &[]) == 1.0;
    let scrape = when(&socket.path(), open);
    assert!(!scrape.has(waited, &[]), "{}", scrape.text);
}

const SESSIONS: u32 = 12;
const BYTES: usize = 300_000;

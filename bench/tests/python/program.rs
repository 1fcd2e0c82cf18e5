//! The program itself: how it starts and ends, what it writes, and what it does without descriptors.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::backend::Backend;
use crate::support::{
    Balancer, Nobody, Silent, WATCHDOG, all_from, command, eventually, name_from, patient, python,
};

#[test]
fn signals_end_it_with_success_and_without_a_word_whatever_is_open() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let backend = Backend::named_and_held("B1");
        let nobody = Nobody::new();
        let addresses = [backend.address, nobody.address];
        let options = "--wait-for-backend-timeout 60 --log-level WARNING";
        let Some(mut balancer) = Balancer::before(&addresses, options) else { return };
        let clients: Vec<_> = (0..20).map(|_| balancer.connect()).collect();
        clients.iter().for_each(|client| assert_eq!(name_from(client), "B1"));
        balancer.signal(signal);
        let (status, printed) = balancer.wait();
        assert_eq!(status.code(), Some(0), "{signal}: {}", balancer.log());
        assert_eq!((printed.as_str(), balancer.log().as_str()), ("", ""), "{signal}");
        // The next one binds at once, although the last one's connections are in TIME_WAIT.
        let options = format!("--port {}", balancer.address.port());
        let again = Balancer::before(&[backend.address], &options).unwrap();
        assert_eq!(again.address, balancer.address);
    }
}

#[test]
fn it_ends_while_clients_are_held_and_while_backends_are_checked() {
    let nobody = Nobody::new();
    let options = "--wait-for-backend-timeout 60 --health-check-interval 0.01";
    let Some(mut balancer) = Balancer::before(&[nobody.address], options) else { return };
    let _held: Vec<_> = (0..5).map(|_| balancer.connect()).collect();
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait().0.code(), Some(0));
    assert_eq!(balancer.log(), "");
}

#[test]
fn it_ends_while_a_backend_is_connected_to() {
    let silent = Silent::new();
    let options = "--wait-for-backend-timeout 60 --log-level DEBUG";
    let Some(mut balancer) = Balancer::before(&[silent.address], options) else { return };
    let before = balancer.descriptors();
    let _client = balancer.connect();
    // The client's and the one of the connect.
    eventually(|| balancer.descriptors() == before + 2, || balancer.log());
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait().0.code(), Some(0));
    assert!(!balancer.log().contains("no answer"), "{}", balancer.log());
}

#[test]
fn clients_that_there_are_no_descriptors_for_wait_until_there_are() {
    let backend = Backend::named("B1");
    let Some(balancer) = Balancer::with_descriptors(24, backend.address) else { return };
    // Their connects succeed: the kernel accepts for it.
    let clients: Vec<_> = (0..40).map(|_| balancer.connect()).collect();
    assert!(clients.into_iter().all(|client| all_from(client) == "B1"));
}

#[test]
fn it_lives_without_descriptors_and_serves_when_there_are_some() {
    let backend = Backend::named("B1");
    // With the second one the client is accepted, and there is none for the backend.
    for more in [0, 1] {
        let options = "--wait-for-backend-timeout 60 --health-check-interval 600 --log-level DEBUG";
        let Some(balancer) = Balancer::before(&[backend.address], options) else { return };
        balancer.settle();
        balancer.limit_descriptors(more);
        let client = balancer.connect();
        let words = ["Cannot accept: ", "Cannot connect to "][more];
        balancer.wait_for_log(words, 2);
        assert!(balancer.log().contains("Too many open files"), "{}", balancer.log());
        balancer.limit_descriptors(64);
        assert_eq!(all_from(client), "B1");
        assert!(!balancer.log().contains("is down"), "{}", balancer.log());
    }
}

#[test]
fn a_burst_of_clients_finds_room_before_anybody_is_accepted() {
    let backend = Backend::named("B1");
    let Some(balancer) = Balancer::before(&[backend.address], "") else { return };
    balancer.signal(Signal::SIGSTOP);
    // Where the backlog is short the kernel drops what does not fit, and these connects do not end.
    let connect = |_| TcpStream::connect_timeout(&balancer.address, WATCHDOG).map(patient);
    let clients: Result<Vec<_>, _> = (0..600).map(connect).collect();
    balancer.signal(Signal::SIGCONT);
    assert!(clients.unwrap().into_iter().all(|client| all_from(client) == "B1"));
}

#[test]
fn response_times_are_in_the_log_file_and_only_there() {
    let path = std::env::temp_dir().join(format!("evenkeel-python-{}.log", std::process::id()));
    // Each answer comes in two pieces, and only the first one counts.
    let backend = Backend::running(|mut client| {
        while client.read_exact(&mut [0; 7]).is_ok() {
            client.write_all(b"ans").unwrap();
            sleep(Duration::from_millis(30));
            client.write_all(b"wer.").unwrap();
        }
    });
    let options = format!("--log-level INFO --log-file {}", path.display());
    let Some(balancer) = Balancer::before(&[backend.address], &options) else { return };
    let mut client = balancer.connect();
    for _ in 0..3 {
        client.write_all(b"request").unwrap();
        client.read_exact(&mut [0; 7]).unwrap();
    }
    drop(client);
    balancer.settle();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let port = backend.address.port();
    let words = format!("INFO Request processed by ('127.0.0.1', {port}) | Response Time: ");
    let times: Vec<f64> = text
        .lines()
        .filter_map(|line| line.split_once(&words)?.1.strip_suffix(" ms")?.parse().ok())
        .collect();
    assert_eq!(times.len(), 3, "{text}");
    assert!(times.iter().all(|&time| time > 0.0), "{text}");
    assert!(text.contains(" (round-robin)\n"), "{text}");
    assert!(!balancer.log().contains("Response Time"), "{}", balancer.log());
}

#[test]
fn what_cannot_be_started_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let cases = [
        (
            format!("--host 127.0.0.1 --port {port}"),
            1,
            format!("127.0.0.1:{port}: Address already"),
        ),
        ("--backends 127.0.0.1".to_owned(), 2, "'127.0.0.1' is not HOST:PORT".to_owned()),
        ("--backends ,".to_owned(), 2, "no backend is named".to_owned()),
        ("--port 65536".to_owned(), 2, "'65536' is not a port".to_owned()),
        ("--backlog 0".to_owned(), 2, "at least 1".to_owned()),
        ("--health-check-interval -1".to_owned(), 2, "not a time".to_owned()),
    ];
    let Some(python) = python() else { return };
    for (options, code, words) in cases {
        let output = command(&python, &options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{options}: {said}");
        assert!(said.contains(&words) && !said.contains("Traceback"), "{options}: {said}");
    }
}

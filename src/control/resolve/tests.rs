use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};

use super::*;

const A: u16 = 1;
const AAAA: u16 = 28;

/// What the scripted server does with a question.
#[derive(Clone, Debug)]
enum Say {
    /// These addresses, valid for so many seconds.
    Addresses(u32, Vec<IpAddr>),
    /// That there is no such name.
    NxDomain,
    /// That there are no addresses of this kind.
    Nothing,
    /// That it cannot answer.
    ServFail,
    /// Over UDP that there is more than fits, over TCP these addresses.
    Truncated(Vec<IpAddr>),
    /// Not a word.
    Silence,
}

/// A DNS server on loopback, over UDP and TCP, whose answers can be changed.
#[derive(Clone)]
struct Server {
    port: u16,
    script: Arc<Mutex<HashMap<u16, Say>>>,
    asked: Arc<Mutex<Vec<u16>>>,
}

impl Server {
    fn start(v4: Say, v6: Say) -> Self {
        let (udp, tcp) = sockets();
        let port = udp.local_addr().expect("it is bound").port();
        let script = Arc::new(Mutex::new(HashMap::from([(A, v4), (AAAA, v6)])));
        let server = Self { port, script, asked: Arc::default() };
        let over_udp = server.clone();
        std::thread::spawn(move || {
            let mut question = [0; 1024];
            while let Ok((bytes, client)) = udp.recv_from(&mut question) {
                if let Some(answer) = over_udp.answer(&question[..bytes], false) {
                    let _ = udp.send_to(&answer, client);
                }
            }
        });
        let over_tcp = server.clone();
        std::thread::spawn(move || {
            for mut client in tcp.incoming().map_while(Result::ok) {
                let mut length = [0; 2];
                while client.read_exact(&mut length).is_ok() {
                    let mut question = vec![0; u16::from_be_bytes(length).into()];
                    client.read_exact(&mut question).expect("a question is whole");
                    let Some(answer) = over_tcp.answer(&question, true) else { break };
                    let length = u16::try_from(answer.len()).expect("an answer is short");
                    let _ = client.write_all(&[&length.to_be_bytes()[..], &answer].concat());
                }
            }
        });
        server
    }

    fn say(&self, v4: Say, v6: Say) {
        *self.script.lock().expect("nobody panicked") = HashMap::from([(A, v4), (AAAA, v6)]);
    }

    /// How many questions for A have come.
    fn asked(&self) -> usize {
        self.asked.lock().expect("nobody panicked").iter().filter(|&&kind| kind == A).count()
    }

    /// RFC 1035, 4.1: a header of 12 bytes, the question as it came, the records.
    fn answer(&self, message: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let name_end = 12 + message[12..].iter().position(|&byte| byte == 0)? + 1;
        let kind = u16::from_be_bytes([message[name_end], message[name_end + 1]]);
        self.asked.lock().expect("nobody panicked").push(kind);
        let say = self.script.lock().expect("nobody panicked").get(&kind)?.clone();
        let (flags, ttl, addresses) = match say {
            Say::Addresses(ttl, addresses) => (0x8180, ttl, addresses),
            Say::Truncated(addresses) if tcp => (0x8180, 60, addresses),
            Say::Truncated(_) => (0x8380, 0, Vec::new()),
            Say::NxDomain => (0x8183, 0, Vec::new()),
            Say::ServFail => (0x8182, 0, Vec::new()),
            Say::Nothing => (0x8180, 0, Vec::new()),
            Say::Silence => return None,
        };
        let mut answer = message[..2].to_vec();
        let count = u16::try_from(addresses.len()).expect("a test says few");
        for field in [flags, 1, count, 0, 0] {
            answer.extend(u16::to_be_bytes(field));
        }
        answer.extend(&message[12..name_end + 4]);
        for address in addresses {
            // The name is the one in the question.
            answer.extend([0xc0, 12]);
            answer.extend([kind, 1].map(u16::to_be_bytes).concat());
            answer.extend(ttl.to_be_bytes());
            let octets = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            answer.extend(u16::try_from(octets.len()).expect("4 or 16").to_be_bytes());
            answer.extend(octets);
        }
        Some(answer)
    }

    fn source(&self, patience: Duration) -> Source {
        let mut server = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        for connection in &mut server.connections {
            let ConnectionConfig { port, .. } = connection;
            *port = self.port;
        }
        let mut options = ResolverOpts::default();
        (options.timeout, options.attempts) = (patience, 1);
        Source::Servers(ResolverConfig::from_name_servers(vec![server]), Box::new(options))
    }
}

/// The same port for both.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
        let address = udp.local_addr().expect("it is bound");
        if let Ok(tcp) = TcpListener::bind(address) {
            return (udp, tcp);
        }
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let watched =
        async { tokio::time::timeout(WATCHDOG, future).await.expect("it comes to an end") };
    runtime.expect("a runtime can be had").block_on(watched)
}

/// What a test waits for comes within seconds, or never.
const WATCHDOG: Duration = Duration::from_secs(30);

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()
}

/// Far longer than an answer takes, and shorter than anybody waits.
const AMPLE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn look(server: &Server, patience: Duration, known: &[IpAddr]) -> Result<Vec<IpAddr>, String> {
    let found = run(look_up(&server.source(patience), "db.example.", known));
    found.map(|found| found.addresses).map_err(|error| error.to_string())
}

#[test]
fn addresses_of_both_families_come_in_one_order() {
    let server = Server::start(
        Say::Addresses(60, vec![v4(9), v4(1), v4(9)]),
        Say::Addresses(60, vec![v6(2), v6(1)]),
    );
    assert_eq!(look(&server, AMPLE, &[]), Ok(vec![v4(1), v4(9), v6(1), v6(2)]));
}

#[test]
fn one_family_is_enough_if_there_is_no_other() {
    for nothing in [Say::Nothing, Say::NxDomain] {
        let server = Server::start(Say::Addresses(60, vec![v4(1)]), nothing.clone());
        assert_eq!(look(&server, AMPLE, &[v4(1), v6(1)]), Ok(vec![v4(1)]));
        server.say(nothing, Say::Addresses(60, vec![v6(1)]));
        assert_eq!(look(&server, AMPLE, &[v4(1), v6(1)]), Ok(vec![v6(1)]));
    }
}

#[test]
fn a_family_that_cannot_be_looked_up_stays_as_it_was() {
    for broken in [Say::ServFail, Say::Silence] {
        let server = Server::start(Say::Addresses(60, vec![v4(2)]), broken.clone());
        assert_eq!(look(&server, SHORT, &[v4(1), v6(1)]), Ok(vec![v4(2), v6(1)]), "{broken:?}");
    }
}

#[test]
fn no_address_no_answer_and_no_sense_are_errors() {
    for (say, expected) in [
        (Say::NxDomain, Some("it has no address")),
        (Say::Nothing, Some("it has no address")),
        (Say::ServFail, None),
        (Say::Silence, None),
    ] {
        let server = Server::start(say.clone(), say.clone());
        let error = look(&server, SHORT, &[v4(1)]).expect_err("there is no address");
        assert!(expected.is_none_or(|expected| expected == error), "{say:?}: {error}");
    }
}

#[test]
fn what_does_not_fit_is_asked_for_over_tcp() {
    let many: Vec<_> = (1..=100).map(v4).collect();
    let server = Server::start(Say::Truncated(many.clone()), Say::Nothing);
    assert_eq!(look(&server, AMPLE, &[]), Ok(many));
}

#[test]
fn an_answer_is_valid_for_its_shortest_time_to_live() {
    let server = Server::start(Say::Addresses(300, vec![v4(1)]), Say::Addresses(50, vec![v6(1)]));
    let found = run(look_up(&server.source(AMPLE), "db.example.", &[])).expect("it answers");
    let seconds = found.valid_for.expect("DNS says how long").as_secs_f64();
    assert!((20.0..=50.0).contains(&seconds), "{seconds}");
}

#[test]
fn an_address_is_not_looked_up() {
    let server = Server::start(Say::Silence, Say::Silence);
    let found = run(look_up(&server.source(AMPLE), "192.0.2.7", &[]));
    assert_eq!(found.expect("it is one").addresses, [v4(7)]);
    assert_eq!(server.asked(), 0);
}

#[test]
fn the_hosts_file_and_the_c_library_are_asked() {
    let localhost = [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let is_localhost = |found: Result<Found, ResolveError>| {
        let found = found.expect("every host knows itself");
        assert!(found.addresses.iter().any(|one| localhost.contains(one)), "{found:?}");
        assert_eq!(found.valid_for, None);
    };
    is_localhost(run(look_up(&Source::System, "localhost", &[])));
    is_localhost(run(ask_c_library("localhost", ResolveError::NoAddress)));
    let nowhere = run(ask_c_library("nowhere.invalid", ResolveError::NoAddress));
    let error = nowhere.expect_err("there is no such name").to_string();
    assert!(error.starts_with("it has no address, and getaddrinfo says: "), "{error}");
}

/// Follows `db.example.` while `test` runs; each list that was told is pushed to the one it gets.
fn following<F: Future<Output = ()>>(
    server: &Server,
    [patience, floor]: [Duration; 2],
    test: impl FnOnce(Rc<RefCell<Vec<Vec<IpAddr>>>>) -> F,
) {
    let told = Rc::new(RefCell::new(Vec::new()));
    let tell = |addresses| told.borrow_mut().push(addresses);
    let follow = follow(server.source(patience), "db.example.".into(), floor, vec![v4(1)], tell);
    run(async {
        tokio::select! {
            () = follow => unreachable!("it follows for ever"),
            () = test(Rc::clone(&told)) => {}
        }
    });
}

async fn until(reached: impl Fn() -> bool) {
    while !reached() {
        sleep(Duration::from_millis(1)).await;
    }
}

const OFTEN: [Duration; 2] = [AMPLE, Duration::from_millis(10)];

#[test]
fn a_change_is_told_once_and_another_order_is_none() {
    let server = Server::start(Say::Addresses(0, vec![v4(1)]), Say::Nothing);
    following(&server, OFTEN, |told| {
        let server = server.clone();
        async move {
            until(|| server.asked() >= 2).await;
            assert_eq!(told.borrow().len(), 0, "it was known");
            server.say(Say::Addresses(0, vec![v4(2), v4(3)]), Say::Nothing);
            until(|| told.borrow().len() == 1).await;
            server.say(Say::Addresses(0, vec![v4(3), v4(2)]), Say::Nothing);
            let asked = server.asked();
            until(|| server.asked() >= asked + 3).await;
            server.say(Say::Addresses(0, vec![v4(4)]), Say::Nothing);
            until(|| told.borrow().len() == 2).await;
            assert_eq!(*told.borrow(), [vec![v4(2), v4(3)], vec![v4(4)]]);
        }
    });
}

#[test]
fn a_failure_keeps_the_addresses() {
    for broken in [Say::NxDomain, Say::ServFail, Say::Silence] {
        let server = Server::start(broken.clone(), broken);
        following(&server, [SHORT, OFTEN[1]], |told| {
            let server = server.clone();
            async move {
                until(|| server.asked() >= 3).await;
                assert_eq!(told.borrow().len(), 0);
                server.say(Say::Addresses(0, vec![v4(2)]), Say::Nothing);
                until(|| told.borrow().len() == 1).await;
                assert_eq!(*told.borrow(), [vec![v4(2)]]);
            }
        });
    }
}

#[test]
fn the_next_look_is_after_the_time_to_live_and_not_before_the_floor() {
    let seconds = Duration::from_secs;
    let found = |valid_for| Found { addresses: vec![v4(1)], valid_for };
    for (valid_for, floor, expected) in [(30, 5, 30), (1, 5, 5), (0, 7, 7)] {
        let found = found(Some(seconds(valid_for)));
        assert_eq!(wait(Some(&found), seconds(floor)), seconds(expected));
    }
    assert_eq!(wait(Some(&found(None)), seconds(5)), seconds(5));
    assert_eq!(wait(None, seconds(5)), seconds(5));
    assert_eq!(wait(None, Duration::ZERO), WAIT_MIN);
}

#[test]
fn a_long_time_to_live_is_waited_for() {
    let server = Server::start(Say::Addresses(3600, vec![v4(2)]), Say::Nothing);
    following(&server, OFTEN, |told| {
        let server = server.clone();
        async move {
            until(|| told.borrow().len() == 1).await;
            sleep(Duration::from_millis(100)).await;
            assert_eq!(server.asked(), 1);
        }
    });
}

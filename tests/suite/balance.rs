//! Who is served by whom, and what happens when a backend is not there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::HashMap;
use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::process::Command;

use crate::support::backend::Backend;
use crate::support::{Balancer, EVENKEEL, Nobody, read_to_the_end, skip};

#[test]
fn round_robin_is_strict_also_over_shards() {
    let (backends, addresses) = named();
    for shards in ["--shards 1", "--shards 2"] {
        let balancer = Balancer::before(&addresses, &format!("--algorithm round-robin {shards}"));
        let first = balancer.ask();
        let turn = NAMES.iter().position(|&name| name == first).unwrap();
        for asked in 1..30 {
            assert_eq!(balancer.ask(), NAMES[(turn + asked) % 3], "request {asked} with {shards}");
        }
    }
    drop(backends);
}

#[test]
fn the_first_client_goes_to_the_first_backend() {
    let (_backends, addresses) = named();
    for algorithm in ["round-robin", "auto", "least-connections"] {
        let balancer = Balancer::before(&addresses, &format!("--algorithm {algorithm}"));
        assert_eq!(balancer.ask(), "B1", "{algorithm}");
    }
}

#[test]
fn random_reaches_every_backend() {
    let (_backends, addresses) = named();
    for word in ["--algorithm random", "-s rand"] {
        let balancer = Balancer::before(&addresses, word);
        let mut count: HashMap<String, u32> = HashMap::new();
        for _ in 0..300 {
            *count.entry(balancer.ask()).or_default() += 1;
        }
        // One of three at 300 draws is below 50 once in 10^9 runs.
        assert!(count.len() == 3 && count.values().all(|&share| share >= 50), "{count:?}");
    }
}

#[test]
fn least_connections_prefers_the_backend_with_the_fewest() {
    let balancer = Held::new("--algorithm least-connections --shards 2");
    let clients: Vec<(String, TcpStream)> = (0..6).map(|_| balancer.connect()).collect();
    assert_eq!(share_of("B1", &clients), 3, "{clients:?}");
    // Two leave the first: the next two go there, wherever the turn stands.
    let (b1, mut clients): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(|(name, _)| name == "B1");
    clients.extend(balancer.leave(b1, 2));
    let next = [balancer.connect(), balancer.connect()];
    assert_eq!(share_of("B1", &next), 2, "{next:?}");
}

#[test]
fn auto_takes_turns_while_counts_are_equal_and_the_fewest_when_they_are_not() {
    let balancer = Held::new("--algorithm auto --shards 1 --log-level DEBUG");
    let clients: Vec<(String, TcpStream)> = (0..4).map(|_| balancer.connect()).collect();
    assert_eq!(share_of("B1", &clients), 2, "{clients:?}");
    let (b1, mut clients): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(|(name, _)| name == "B1");
    clients.extend(balancer.leave(b1, 2));
    let next = [balancer.connect(), balancer.connect()];
    assert_eq!(share_of("B1", &next), 2, "{next:?}");
    let log = balancer.balancer.log();
    assert!(log.contains("(round-robin)") && log.contains("(least-connections)"), "{log}");
    assert!(!log.contains("(auto)"), "the word is the algorithm that was used: {log}");
}

#[test]
fn a_routing_line_names_client_backend_and_algorithm() {
    let (_backends, addresses) = named();
    let balancer = Balancer::before(&addresses[..1], "--algorithm round-robin");
    let mut client = balancer.connect();
    let from = client.local_addr().unwrap();
    client.read_to_string(&mut String::new()).unwrap();
    let line = format!("Routing client ({from}) -> {} (round-robin)", addresses[0]);
    crate::support::eventually(
        || balancer.log().contains(&line),
        || format!("`{line}` is not in: {}", balancer.log()),
    );
}

#[test]
fn a_backend_that_refuses_costs_no_client_its_answer() {
    let (_backends, addresses) = named();
    let nobody = Nobody::new();
    for algorithm in ["round-robin", "least-connections", "auto", "random"] {
        let three = [addresses[0], nobody.address, addresses[1]];
        let balancer = Balancer::before(&three, &format!("--algorithm {algorithm}"));
        let mut count: HashMap<String, u32> = HashMap::new();
        for _ in 0..300 {
            *count.entry(balancer.ask()).or_default() += 1;
        }
        assert_eq!(count.values().sum::<u32>(), 300, "{algorithm}: {count:?}");
        assert_eq!(count.len(), 2, "{algorithm}: {count:?}");
    }
}

#[test]
fn seven_backends_that_refuse_are_passed_on_the_way_to_the_eighth() {
    let nobodies: Vec<Nobody> = (0..7).map(|_| Nobody::new()).collect();
    let backend = Backend::named("B8");
    let mut addresses: Vec<SocketAddr> = nobodies.iter().map(|nobody| nobody.address).collect();
    addresses.push(backend.address);
    for algorithm in ["round-robin", "least-connections", "auto", "random"] {
        let balancer = Balancer::before(&addresses, &format!("--algorithm {algorithm}"));
        (0..20).for_each(|_| assert_eq!(balancer.ask(), "B8", "{algorithm}"));
    }
}

#[test]
fn a_dead_backend_does_not_attract_every_client() {
    // With the fewest connections it looks idle: the client must still get to the other one, and
    // what failed must not be counted as open.
    let balancer = Held::before_dead("--algorithm least-connections --shards 1");
    let clients: Vec<(String, TcpStream)> = (0..10).map(|_| balancer.connect()).collect();
    assert_eq!((share_of("B1", &clients), share_of("B2", &clients)), (5, 5), "{clients:?}");
}

#[test]
fn with_all_backends_down_clients_are_closed_and_with_one_back_they_are_served() {
    let gone = Backend::named("B1");
    let (address, nobody) = (gone.address, Nobody::new());
    let balancer = Balancer::before(&[address, nobody.address], "");
    assert_eq!(balancer.ask(), "B1");
    drop(gone);
    for _ in 0..20 {
        // The end or a reset; what matters is that the client is not left hanging.
        read_to_the_end(&balancer.connect());
    }
    let descriptors = balancer.descriptors();
    let _back = Backend::named_on(address, "B1 again");
    (0..4).for_each(|_| assert_eq!(balancer.ask(), "B1 again"));
    balancer.wait_for_descriptors(descriptors);
}

#[test]
fn a_name_with_two_addresses_works_if_only_one_of_them_listens() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("the IPv6 loopback ::1");
    }
    let both_resolve = ("localhost", 1).to_socket_addrs().is_ok_and(|addresses| {
        let addresses: Vec<SocketAddr> = addresses.collect();
        addresses.iter().any(SocketAddr::is_ipv4) && addresses.iter().any(SocketAddr::is_ipv6)
    });
    for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let backend = Backend::named_on(SocketAddr::new(ip, 0), "here");
        let options =
            format!("--host 127.0.0.1 --port 0 --backends localhost:{}", backend.address.port());
        let balancer = match both_resolve {
            true => Balancer::with(&options),
            false => match with_own_hosts_file(&options) {
                Some(balancer) => balancer,
                None => return skip("a host where localhost is both 127.0.0.1 and ::1, or root"),
            },
        };
        (0..10).for_each(|_| assert_eq!(balancer.ask(), "here", "at {ip}"));
    }
}

#[test]
fn an_ipv6_backend_behind_an_ipv6_listener_is_served() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("the IPv6 loopback ::1");
    }
    let backend = Backend::named_on((Ipv6Addr::LOCALHOST, 0).into(), "six");
    let port = backend.address.port();
    let balancer = Balancer::with(&format!("--host ::1 --port 0 --backends [::1]:{port}"));
    assert!(balancer.address.is_ipv6());
    assert_eq!(balancer.ask(), "six");
}

/// Starts the balancer where `localhost` has both families, in a mount namespace of its own; needs
/// root.
fn with_own_hosts_file(options: &str) -> Option<Balancer> {
    let hosts = std::env::temp_dir().join(format!("evenkeel-hosts-{}", std::process::id()));
    std::fs::write(&hosts, "127.0.0.1 localhost\n::1 localhost\n").unwrap();
    let shadow = |then: &str| {
        let mut command = Command::new("unshare");
        let script = format!("mount --bind \"$0\" /etc/hosts && {then}");
        command.args(["--mount", "sh", "-c", &script]).arg(&hosts);
        command
    };
    let possible = shadow("true").output().is_ok_and(|output| output.status.success());
    // `exec` twice over: the process id stays that of the child.
    let mut command = shadow("exec \"$@\"");
    command.arg(EVENKEEL).args(options.split_whitespace());
    let balancer = possible.then(|| Balancer::started(&mut command));
    std::fs::remove_file(&hosts).unwrap();
    balancer
}

const NAMES: [&str; 3] = ["B1", "B2", "B3"];

fn named() -> ([Backend; 3], [SocketAddr; 3]) {
    let backends = NAMES.map(Backend::named);
    let addresses = backends.each_ref().map(|one| one.address);
    (backends, addresses)
}

/// Two backends that hold their connections until the client leaves.
struct Held {
    balancer: Balancer,
    _backends: [Backend; 2],
    _dead: Nobody,
}

impl Held {
    fn new(options: &str) -> Self {
        Self::start(options, false)
    }

    /// The same with a third backend that refuses.
    fn before_dead(options: &str) -> Self {
        Self::start(options, true)
    }

    fn start(options: &str, with_dead: bool) -> Self {
        let (backends, dead) = (["B1", "B2"].map(Backend::named_and_held), Nobody::new());
        let mut addresses: Vec<SocketAddr> = backends.iter().map(|one| one.address).collect();
        if with_dead {
            addresses.insert(1, dead.address);
        }
        Self { balancer: Balancer::before(&addresses, options), _backends: backends, _dead: dead }
    }

    /// A client and who serves it.
    fn connect(&self) -> (String, TcpStream) {
        let (mut client, mut name) = (self.balancer.connect(), [0; 2]);
        client.read_exact(&mut name).unwrap();
        (String::from_utf8(name.to_vec()).unwrap(), client)
    }

    /// So many of `clients` leave, and the balancer has noticed; the others.
    fn leave<T>(&self, mut clients: Vec<T>, many: usize) -> Vec<T> {
        let before = self.balancer.descriptors();
        drop(clients.drain(..many));
        self.balancer.wait_for_descriptors(before - 2 * many);
        clients
    }
}

fn share_of(name: &str, clients: &[(String, TcpStream)]) -> usize {
    clients.iter().filter(|(by, _)| by == name).count()
}

//! SIGHUP: the file is read again, and what it says now holds, without a word to anybody who is
//! connected. What it costs under load is in `reload_proof.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener, pool};
use crate::support::{Balancer, End, Nobody, WATCHDOG, eventually, patient, read_to_the_end};
use nix::sys::signal::Signal;

#[test]
fn weights_of_backends_are_those_of_the_file_from_then_on() {
    let backends = ["B1", "B2"].map(Backend::named);
    let text = |weight: u32| {
        let of = |one: &Backend, weight| {
            format!("[[pool.web.backend]]\naddress = \"{}\"\nweight = {weight}\n", one.address)
        };
        let [b1, b2] = &backends;
        let both = of(b1, weight) + &of(b2, 1);
        format!("{QUIET_FILE}{}[pool.web]\n{both}", listener("127.0.0.1:0", "web"))
    };
    let file = ConfigFile::new(&text(1));
    let balancer = file.balancer("--shards 1");
    let share = || (0..8).filter(|_| balancer.ask() == "B1").count();
    assert_eq!(share(), 4);
    assert!(file.reload(&balancer, &text(3)).contains("changed pool web"), "{}", balancer.log());
    assert_eq!(share(), 6);
    file.reload(&balancer, &text(0));
    assert_eq!(share(), 0);
}

#[test]
fn a_new_backend_gets_clients_and_a_removed_one_keeps_those_that_it_has() {
    let [b1, b2] = ["B1", "B2"].map(Backend::named);
    let old = Backend::echo();
    let file = ConfigFile::new(&simple(&[old.address]));
    let balancer = file.balancer("");
    let mut client = balancer.connect();
    echo(&mut client);
    let said = file.reload(&balancer, &simple(&[b1.address, b2.address]));
    for part in [
        format!("new backends web/{}, web/{}", b1.address, b2.address),
        format!("backends removed web/{}", old.address),
    ] {
        assert!(said.contains(&part), "{part} is not in {said}");
    }
    let mut answers: Vec<String> = (0..8).map(|_| balancer.ask()).collect();
    answers.sort();
    assert_eq!(answers, ["B1", "B1", "B1", "B1", "B2", "B2", "B2", "B2"]);
    assert_eq!(old.accepted(), 1);
    echo(&mut client);
    // Until it wants to end.
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_to_the_end(&client), End::Finished(0));
}

#[test]
fn another_timeout_holds_for_sessions_that_begin_then() {
    let backend = Backend::echo();
    let text = |keys| rest(&pool("web", &[backend.address], keys));
    let file = ConfigFile::new(&text("idle_timeout = \"1h\""));
    let balancer = file.balancer("");
    let mut before = balancer.connect();
    echo(&mut before);
    file.reload(&balancer, &text("idle_timeout = \"50ms\""));
    let mut after = balancer.connect();
    echo(&mut after);
    read_to_the_end(&after);
    echo(&mut before);
}

#[test]
fn a_listener_that_gets_another_pool_keeps_its_sessions() {
    let (old, new) = (Backend::echo(), Backend::named("B2"));
    let pools = pool("old", &[old.address], "") + &pool("new", &[new.address], "");
    let text = |name| format!("{QUIET_FILE}{}{pools}", listener("127.0.0.1:0", name));
    let file = ConfigFile::new(&text("old"));
    let balancer = file.balancer("");
    let mut client = balancer.connect();
    echo(&mut client);
    let said = file.reload(&balancer, &text("new"));
    assert_eq!(balancer.ask(), "B2", "{said}");
    echo(&mut client);
}

#[test]
fn a_listener_that_comes_is_there_and_one_that_goes_serves_who_has_reached_it() {
    check_that_a_listener_comes_and_goes("");
}

#[test]
fn a_listener_that_is_so_full_that_it_accepts_nobody_goes_too() {
    check_that_a_listener_comes_and_goes("--shards 1");
}

fn check_that_a_listener_comes_and_goes(options: &str) {
    let backend = Backend::echo();
    let one = simple(&[backend.address]);
    let both = format!("{one}{}max_sessions = 1\n", listener("127.0.0.2:0", "web"));
    let file = ConfigFile::new(&one);
    let balancer = file.balancer(options);
    let added = added(&file.reload(&balancer, &both));
    let mut running = patient(TcpStream::connect(added).unwrap());
    echo(&mut running);
    // There is no room for these: they wait in the kernel's queue.
    let waiting: Vec<TcpStream> =
        (0..10).map(|_| patient(TcpStream::connect(added).unwrap())).collect();
    let said = file.reload(&balancer, &one);
    assert!(said.contains(&format!("not listening any more on {added}")), "{said}");
    echo(&mut running);
    // Although nobody of them is in yet.
    refused(added);
    drop(running);
    // Each in its turn, which is not that in which they came: they wait in several queues.
    std::thread::scope(|scope| {
        for mut client in waiting {
            scope.spawn(move || echo(&mut client));
        }
    });
    // The other one has not noticed.
    echo(&mut balancer.connect());
}

#[test]
fn a_listener_that_goes_can_come_back_at_the_same_address_at_once() {
    let backend = Backend::echo();
    let port = crate::support::free_port();
    let one = simple(&[backend.address]);
    let both = one.clone() + &listener(&format!("127.0.0.2:{port}"), "web");
    let file = ConfigFile::new(&both);
    let balancer = file.balancer("");
    let there: SocketAddr = ([127, 0, 0, 2], port).into();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = patient(TcpStream::connect(there).unwrap());
        echo(&mut client);
        clients.push(client);
        file.reload(&balancer, &one);
        let said = file.reload(&balancer, &both);
        assert!(said.contains(&format!("listening on {there}")), "{said}");
    }
    clients.iter_mut().for_each(echo);
}

#[test]
fn a_listener_on_all_addresses_takes_the_place_of_one_on_one_address_and_back() {
    let backend = Backend::echo();
    let port = crate::support::free_port();
    let text = |ip| {
        let more = listener(&format!("{ip}:{port}"), "web");
        simple(&[backend.address]) + &more
    };
    let file = ConfigFile::new(&text("127.0.0.2"));
    let balancer = file.balancer("");
    let there: SocketAddr = ([127, 0, 0, 2], port).into();
    for ip in ["0.0.0.0", "127.0.0.2", "0.0.0.0"] {
        let mut client = patient(TcpStream::connect(there).unwrap());
        let said = file.reload(&balancer, &text(ip));
        assert!(said.contains(&format!("listening on {ip}:{port}")), "{said}");
        echo(&mut client);
        echo(&mut patient(TcpStream::connect(there).unwrap()));
    }
}

#[test]
fn a_unix_listener_comes_and_goes_with_its_file() {
    let backend = Backend::echo();
    let one = simple(&[backend.address]);
    let file = ConfigFile::new(&one);
    let path = file.folder().join("web.sock");
    let both = one.clone() + &listener(&format!("unix:{}", path.display()), "web");
    let balancer = file.balancer("");
    let mut clients = Vec::new();
    for _ in 0..3 {
        let said = file.reload(&balancer, &both);
        assert!(said.contains(&format!("listening on unix:{}", path.display())), "{said}");
        let mut client = unix_client(&path);
        echo(&mut client);
        clients.push(client);
        file.reload(&balancer, &one);
        assert!(!path.exists(), "{}", balancer.log());
    }
    clients.iter_mut().for_each(echo);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place_and_changes_nothing() {
    let backend = Backend::named("B1");
    let good = simple(&[backend.address]);
    let file = ConfigFile::new(&good);
    let balancer = file.balancer("");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let taken = TcpListener::bind(taken).unwrap();
    let line = good.lines().count() + 1;
    let in_use = taken.local_addr().unwrap().to_string();
    let more = [listener("127.0.0.3:0", "web"), listener(&in_use, "web")].concat();
    let address = backend.address.to_string();
    for (text, named) in [
        (format!("{good}x = [\n"), format!("{}:{line}:6: unclosed array", file.name())),
        (format!("{good}qeue_size = 1\n"), "did you mean `queue_size`?".to_owned()),
        (good.replace(&address, "no-such-host.invalid:1"), "cannot resolve".to_owned()),
        (format!("{more}{good}"), format!("cannot listen on {in_use}: the address is in use")),
        (String::new(), "there is no listener; write a [[listener]]".to_owned()),
    ] {
        let said = file.reload(&balancer, &text);
        assert!(said.contains("the configuration stays as it is"), "{said}");
        assert!(said.contains(&named), "{named} is not in {said}");
        assert_eq!(balancer.ask(), "B1");
    }
    std::fs::remove_file(file.name()).unwrap();
    let said = balancer.reload();
    assert!(said.contains("cannot read it") && said.contains(file.name()), "{said}");
    assert_eq!(balancer.ask(), "B1");
    // Nothing is left of those that were tried before the one that failed.
    let own = "the configuration is the same";
    assert!(file.reload(&balancer, &good).contains(own), "{}", balancer.log());
}

#[test]
fn clients_that_are_held_are_served_by_the_backends_of_the_new_file() {
    let (nobody, backend) = (Nobody::new(), Backend::named("B1"));
    let text = |at| simple(&[at]).replace("timeout = \"0s\"", "timeout = \"10m\"");
    let file = ConfigFile::new(&text(nobody.address));
    let balancer = file.balancer("--log-level DEBUG");
    let clients: Vec<TcpStream> = (0..20).map(|_| balancer.connect()).collect();
    let tried = || balancer.log().matches("Routing client (").count() >= 20;
    eventually(tried, || format!("nobody was tried: {}", balancer.log()));
    file.reload(&balancer, &text(backend.address));
    for mut client in clients {
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, "B1");
    }
}

#[test]
fn many_signals_at_once_end_with_what_the_file_says_last() {
    let [b1, b2] = ["B1", "B2"].map(Backend::named);
    let file = ConfigFile::new(&simple(&[b1.address]));
    let balancer = file.balancer("");
    for signal in 0..20 {
        let backend = if signal % 2 == 0 { b2.address } else { b1.address };
        file.write(&simple(&[backend]));
        balancer.signal(Signal::SIGHUP);
    }
    file.reload(&balancer, &simple(&[b2.address]));
    eventually(|| balancer.ask() == "B2", || balancer.log());
    assert!(!balancer.log().contains("ERROR"), "{}", balancer.log());
}

#[test]
fn without_a_file_there_is_nothing_to_read_again_and_that_is_said() {
    let backend = Backend::named("B1");
    let balancer = Balancer::before(&[backend.address], "");
    let said = balancer.reload();
    assert!(said.contains("there is no file to read again; start with --config FILE"), "{said}");
    assert_eq!(balancer.ask(), "B1");
}

#[test]
fn what_only_a_restart_can_change_is_said() {
    let backend = Backend::named("B1");
    let text = simple(&[backend.address]);
    let file = ConfigFile::new(&text);
    let balancer = file.balancer("");
    file.reload(&balancer, &text.replace("[process]", "[process]\nbuffers = 99"));
    let said = "to be changed by a restart only: buffers of the process";
    eventually(|| balancer.log().contains(said), || balancer.log());
    assert_eq!(balancer.ask(), "B1");
}

/// One listener, and the pool `web` of these.
fn simple(backends: &[SocketAddr]) -> String {
    rest(&pool("web", backends, ""))
}

fn rest(pool: &str) -> String {
    // The pool last, so that a key can be added to it.
    format!("{QUIET_FILE}{}{pool}", listener("127.0.0.1:0", "web"))
}

/// The address that came with a reload.
fn added(said: &str) -> SocketAddr {
    let (_, address) = said.split_once("listening on ").expect(said);
    let end = address.find([';', ',', '\n']).unwrap_or(address.len());
    address[..end].parse().expect(said)
}

/// Nobody listens there any more, after a moment for handshakes that are under way.
fn refused(address: SocketAddr) {
    eventually(|| TcpStream::connect(address).is_err(), || format!("{address} still listens"));
}

fn echo(client: &mut (impl std::io::Read + std::io::Write)) {
    let mut answer = [0; 4];
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

fn unix_client(path: &Path) -> UnixStream {
    let client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    client
}

//! SIGUSR2: a new process takes the listening sockets, and no client notices.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use loadgen::load::{Plan, Workload};
use loadgen::serve::{Mode, Serving};
use nix::sys::signal::{Signal, kill};

use crate::service::succession::{ENGINES, Succession, copy_program, listening_sockets};
use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener, pool};
use crate::support::{Balancer, EVENKEEL, End, WATCHDOG, eventually, patient, read_to_the_end};

#[test]
fn at_2000_connections_a_second_none_fails_while_three_processes_hand_over() {
    for engine in ENGINES {
        let backend = quick_backend();
        let options = format!("--shards 2 {LONG} {engine}");
        let mut line = Succession::of(Balancer::before(backend.addresses(), &options));
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let wanted = 12_000;
        let plan = Plan {
            rate: Some("2000".parse().unwrap()),
            connections: NonZeroU32::new(400).unwrap(),
            // Each is waited for: nobody is judged for being slow.
            requests: NonZeroU64::new(wanted),
            duration: 10 * WATCHDOG,
            timeout: WATCHDOG,
            ..Plan::new(line.first.address, Workload::Conn)
        };
        let report = std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut tell = |progress: &loadgen::report::Progress<'_>| {
                    done.store(progress.so_far.ok, Ordering::Relaxed);
                };
                loadgen::load::run(&plan, &mut tell, &stop).unwrap()
            });
            let _stop = StopAtTheEnd(&stop);
            for _ in 0..3 {
                let before = done.load(Ordering::Relaxed);
                let more = || load.is_finished() || done.load(Ordering::Relaxed) >= before + 500;
                eventually(more, || format!("no more than {before} are served: {}", line.log()));
                assert!(!load.is_finished(), "all were served before the last hand-over");
                line.hand_over();
            }
            load.join().unwrap()
        });
        let totals = &report.totals;
        println!(
            "{engine}: {:.0} connections/s of {:.0} wanted, {} served, none failed",
            totals.achieved_per_s, totals.offered_per_s, totals.ok
        );
        assert_eq!(
            (totals.errors, totals.unanswered),
            (0, 0),
            "{:?}: {}",
            report.errors,
            line.log()
        );
        assert_eq!(totals.ok, wanted);
        let log = line.end();
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[test]
fn sessions_of_each_process_go_on_until_they_end_by_themselves() {
    let backend = Backend::echo();
    for engine in ENGINES {
        let options = format!("--shards 2 {LONG} {engine}");
        let mut line = Succession::of(Balancer::before(&[backend.address], &options));
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.extend((0..3).map(|_| line.first.connect()));
            clients.iter_mut().for_each(echo);
            line.hand_over();
        }
        clients.push(line.first.connect());
        clients.iter_mut().for_each(echo);
        for client in clients {
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_the_end(&client), End::Finished(0));
        }
        let log = line.end();
        assert_eq!(log.matches("sockets_handed_on=2").count(), 5, "{log}");
        assert!(!log.contains("cutting"), "{log}");
    }
}

#[test]
fn who_is_in_the_queue_of_the_kernel_is_served_by_the_new_process() {
    let backend = Backend::echo();
    for engine in ENGINES {
        // Full with one session: the others wait in the queue.
        let options = format!("--shards 1 --max-sessions 1 {LONG} {engine}");
        let mut line = Succession::of(Balancer::before(&[backend.address], &options));
        let mut first = line.first.connect();
        echo(&mut first);
        let mut waiting: Vec<TcpStream> = (0..5).map(|_| line.first.connect()).collect();
        line.hand_over();
        for client in &mut waiting {
            echo(client);
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_the_end(client), End::Finished(0));
        }
        echo(&mut first);
        drop((first, waiting));
        line.end();
    }
}

#[test]
fn another_number_of_shards_leaves_nobody_alone() {
    let backend = Backend::echo();
    for engine in ENGINES {
        let text = |shards| {
            let process = QUIET_FILE.replace("[process]", &format!("[process]\nshards = {shards}"));
            let web = listener("127.0.0.1:0", "web") + &pool("web", &[backend.address], "");
            process + &web
        };
        let file = ConfigFile::new(&text(3));
        let mut line = Succession::of(file.balancer(engine));
        for (shards, sockets) in [(1, 3), (2, 3), (5, 5), (2, 5)] {
            file.write(&text(shards));
            line.hand_over();
            let mut clients: Vec<_> = (0..60).map(|_| line.first.connect()).collect();
            clients.iter_mut().for_each(echo);
            // The kernel spreads clients over all of them: each is accepted from.
            assert_eq!(listening_sockets(line.first.address), sockets, "{shards} shards");
        }
        line.end();
    }
}

#[test]
fn a_unix_socket_keeps_its_file_until_the_last_process_ends() {
    let backend = Backend::echo();
    for engine in ENGINES {
        let file = ConfigFile::new("");
        let path = file.folder().join("web.sock");
        let on = format!("unix:{}", path.display());
        let web = listener(&on, "web") + &pool("web", &[backend.address], "");
        file.write(&format!("{QUIET_FILE}{web}"));
        let mut line = Succession::of(file.balancer(&format!("--shards 2 {engine}")));
        let mut clients = vec![connect_to(&path)];
        for _ in 0..2 {
            line.hand_over();
            clients.push(connect_to(&path));
            clients.iter_mut().for_each(echo);
        }
        drop(clients);
        assert_eq!(line.first.wait_alone().code(), Some(0), "{}", line.log());
        echo(&mut connect_to(&path));
        line.end();
        assert!(!path.exists());
    }
}

#[test]
fn a_listener_that_the_new_process_does_not_want_serves_who_has_reached_it() {
    let backend = Backend::echo();
    let one = |listen: &str| listener(listen, "web");
    let pools = pool("web", &[backend.address], "");
    let process = QUIET_FILE.replace("\"1s\"", "\"10m\"");
    let [first, second] = ["127.0.0.1:0", "127.0.0.2:0"].map(one);
    let file = ConfigFile::new(&format!("{process}{first}{second}{pools}"));
    for engine in ENGINES {
        file.write(&format!("{process}{first}{second}{pools}"));
        let mut line = Succession::of(file.balancer(engine));
        let address = line.first.address;
        let addresses = line.first.listening();
        let other = *addresses.iter().find(|&&one| one != address).unwrap();
        let mut client = patient(TcpStream::connect(other).unwrap());
        echo(&mut client);
        file.write(&format!("{process}{first}{pools}"));
        let printed = line.hand_over();
        assert!(printed.contains(&format!("listening on {address}")), "{printed:?}");
        eventually(|| TcpStream::connect(other).is_err(), || line.log());
        echo(&mut client);
        echo(&mut line.first.connect());
        drop(client);
        let log = line.end();
        assert!(log.contains("1 listeners that it does not want are closed"), "{log}");
    }
}

#[test]
fn listeners_at_any_port_keep_their_ports_and_pools() {
    let backends = ["B1", "B2"].map(Backend::named);
    let [b1, b2] = &backends;
    let web = listener("127.0.0.1:0", "a") + &listener("127.0.0.1:0", "b");
    let pools = pool("a", &[b1.address], "") + &pool("b", &[b2.address], "");
    let file = ConfigFile::new(&format!("{QUIET_FILE}{web}{pools}"));
    let mut line = Succession::of(file.balancer(""));
    let mut listening = line.first.listening();
    listening.sort_unstable();
    listening.dedup();
    let answers = || -> Vec<String> {
        let mut said = vec![String::new(); listening.len()];
        for (address, said) in listening.iter().zip(&mut said) {
            let mut client = patient(TcpStream::connect(address).unwrap());
            client.read_to_string(said).unwrap();
        }
        said
    };
    let before = answers();
    assert!(before.contains(&"B1".to_owned()) && before.contains(&"B2".to_owned()), "{before:?}");
    line.hand_over();
    assert_eq!(before, answers());
    line.end();
}

#[test]
fn the_path_is_followed_anew_each_time() {
    let backend = Backend::echo();
    let file = ConfigFile::new("");
    let (link, next) = (file.folder().join("current"), file.folder().join("next"));
    copy_program(EVENKEEL.as_ref(), &next);
    std::os::unix::fs::symlink(EVENKEEL, &link).unwrap();
    let options = format!("--host 127.0.0.1 --port 0 --backends {}", backend.address);
    let mut command = std::process::Command::new(&link);
    let first = Balancer::started(command.args(options.split_whitespace()));
    let mut line = Succession::of(first);
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&next, &link).unwrap();
    line.hand_over();
    assert_eq!(line.program(), next.canonicalize().unwrap());
    // As packages do it: the file itself is another one.
    std::fs::remove_file(&next).unwrap();
    copy_program(EVENKEEL.as_ref(), &next);
    line.hand_over();
    assert_eq!(line.program(), next.canonicalize().unwrap());
    echo(&mut line.first.connect());
    line.end();
}

#[test]
fn a_process_that_has_handed_over_drains_until_it_is_told_twice_to_end() {
    let backend = Backend::echo();
    for engine in ENGINES {
        let options = format!("{LONG} {engine}");
        let mut line = Succession::of(Balancer::before(&[backend.address], &options));
        let old = line.pid();
        let mut client = line.first.connect();
        echo(&mut client);
        line.hand_over();
        kill(old, Signal::SIGTERM).unwrap();
        eventually(|| line.log().contains("stopping already"), || line.log());
        echo(&mut client);
        kill(old, Signal::SIGTERM).unwrap();
        assert_eq!(read_to_the_end(&client), End::Reset(0));
        assert_eq!(line.first.wait_alone().code(), Some(0), "{}", line.log());
        echo(&mut line.first.connect());
        line.end();
    }
}

#[test]
fn the_admin_api_goes_on_and_the_new_process_answers() {
    let backend = Backend::echo();
    let file = ConfigFile::new("");
    let path = file.folder().join("admin.sock");
    let options =
        format!("--admin unix:{} --admin 127.0.0.1:0 --admin-public-read", path.display());
    let mut line = Succession::of(Balancer::before(&[backend.address], &options));
    let asks = || {
        let mut client = connect_to(&path);
        client.write_all(b"GET /api/status HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(asks().contains("200 OK"), "{}", asks());
    let where_it_is = line.first.setting("admin").to_owned();
    for _ in 0..2 {
        let printed = line.hand_over();
        let now = printed.iter().find_map(|line| line.trim().strip_prefix("admin "));
        assert_eq!(now.map(str::trim), Some(where_it_is.as_str()));
        assert_eq!(line.first.wait_alone().code(), Some(0), "{}", line.log());
        assert!(asks().contains("200 OK"), "{}", asks());
    }
    line.end();
    assert!(!path.exists());
}

#[test]
fn an_endpoint_of_the_admin_api_that_is_configured_no_more_leaves_no_file() {
    let backend = Backend::echo();
    let file = ConfigFile::new("");
    let [one, two] = ["one.sock", "two.sock"].map(|name| file.folder().join(name));
    let text = |admin: &std::path::Path| {
        let web = listener("127.0.0.1:0", "web") + &pool("web", &[backend.address], "");
        let process = format!("[process]\nadmin = \"unix:{}\"\n", admin.display());
        QUIET_FILE.replacen("[process]\n", &process, 1) + &web
    };
    file.write(&text(&one));
    let mut line = Succession::of(file.balancer(""));
    assert!(one.exists());
    file.write(&text(&two));
    line.hand_over();
    assert!(!one.exists() && two.exists());
    line.end();
    assert!(!two.exists());
}

#[test]
fn what_the_operator_changed_is_handed_over_too() {
    let backends = ["a", "b"].map(Backend::named);
    let addresses = backends.each_ref().map(|one| one.address);
    let file = ConfigFile::new("");
    let path = file.folder().join("admin.sock");
    let options = format!("--admin unix:{} --algorithm round-robin", path.display());
    let mut line = Succession::of(Balancer::before(&addresses, &options));
    let mut client = connect_to(&path);
    let body = "{\"state\":\"maint\"}";
    let patch = format!("PATCH /api/pools/default/backends/{}", addresses[0]);
    let head = "Host: x\r\nContent-Type: application/json\r\nContent-Length";
    write!(client, "{patch} HTTP/1.0\r\n{head}: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("200 OK"), "{answer}");
    for _ in 0..2 {
        line.hand_over();
        assert_eq!([(); 4].map(|()| line.first.ask()), ["b"; 4]);
    }
    let log = line.end();
    let told = format!("as it was before the hand-over: default/{} maint", addresses[0]);
    assert!(log.contains(&told), "{log}");
}

/// Longer than any test.
const LONG: &str = "--drain-timeout 10m";

/// Answers thousands a second, where a thread for each connection would not.
fn quick_backend() -> Serving {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let backend = loadgen::serve::Backend { name: None, address, mode: Mode::Hello };
    loadgen::serve::start(vec![backend], NonZeroUsize::MIN).unwrap()
}

/// Also if the test fails: else nobody would see why.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn connect_to(path: &std::path::Path) -> UnixStream {
    let client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    client
}

fn echo(client: &mut (impl std::io::Read + std::io::Write)) {
    let mut answer = [0; 4];
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::*;
use crate::config::plan::{Check, EjectionConfig};
use crate::shard::condition::{Health, Verdict};

fn clock() -> Moment {
    Moment::from_ns(uring::monotonic_ns())
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let watched =
        async { tokio::time::timeout(WATCHDOG, future).await.expect("it comes to an end") };
    runtime.expect("a runtime can be had").block_on(LocalSet::new().run_until(watched))
}

/// What a test waits for comes within milliseconds, or never.
const WATCHDOG: Duration = Duration::from_secs(20);

const fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("a test says 1 or more")
}

/// Rise 2, fall 3, 5 milliseconds between, and far more time than an answer takes here.
fn config() -> HealthConfig {
    HealthConfig {
        check: Check::Tcp,
        interval: Duration::from_millis(5),
        fast_interval: Duration::from_millis(5),
        timeout: Duration::from_secs(20),
        rise: count(2),
        fall: count(3),
        jitter: 0.1,
        port: None,
    }
}

/// An address that accepts, as long as this lives, and counts what it accepted.
struct Server {
    address: SocketAddr,
    accepted: Rc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    fn new() -> Self {
        Self::on("127.0.0.1:0".parse().expect("it is an address"))
    }

    fn on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("loopback is up");
        listener.set_nonblocking(true).expect("a socket can be nonblocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it is nonblocking");
        let address = listener.local_addr().expect("it is bound");
        let accepted = Rc::new(AtomicUsize::new(0));
        let counted = Rc::clone(&accepted);
        let task = tokio::task::spawn_local(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, accepted, task }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Waits for so many more connections.
    async fn accepts(&self, more: usize) {
        let enough = self.accepted() + more;
        while self.accepted() < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn stop(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }
}

/// An address that accepts in the kernel and never says a word.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is up");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// One where nobody listens.
fn nobody() -> SocketAddr {
    silent().1
}

fn watched(key: &str, addresses: &[SocketAddr]) -> Watched {
    let addresses: Vec<_> = addresses.iter().map(|&one| Address::Inet(one)).collect();
    Watched {
        key: key.into(),
        host: key.into(),
        addresses: Arc::new(move || addresses.clone()),
        config: config(),
        condition: Arc::default(),
    }
}

type Told = (String, bool, String);

struct Ear {
    tx: UnboundedSender<Told>,
    rx: RefCell<UnboundedReceiver<Told>>,
}

impl Ear {
    fn new() -> Self {
        let (tx, rx) = unbounded_channel();
        Self { tx, rx: RefCell::new(rx) }
    }

    fn checker(&self) -> Checker {
        let tx = self.tx.clone();
        let tell = move |key: &str, up, evidence: &str| {
            let _ = tx.send((key.to_owned(), up, evidence.to_owned()));
        };
        Checker::new(clock, Rc::new(tell))
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "each test has one ear and one listener")]
    async fn next(&self) -> Told {
        self.rx.borrow_mut().recv().await.expect("the ear keeps a sender")
    }

    fn nothing(&self) -> bool {
        self.rx.borrow().is_empty()
    }
}

fn told(key: &str, up: bool, evidence: &str) -> Told {
    (key.to_owned(), up, evidence.to_owned())
}

#[test]
fn one_that_is_dead_at_the_start_is_down_after_one_check_and_up_when_it_comes() {
    run(async {
        let (ear, address) = (Ear::new(), nobody());
        let mut checker = ear.checker();
        let one = watched("one", &[address]);
        let slow = HealthConfig { fall: count(u32::MAX), ..config() };
        checker.set(vec![Watched { config: slow, ..one.clone() }]);
        assert_eq!(ear.next().await, told("one", false, "refused"));
        assert_eq!(one.condition.health(clock()), Health::Down);
        let server = Server::on(address);
        assert_eq!(ear.next().await, told("one", true, "it answers as expected"));
        assert_eq!(one.condition.health(clock()), Health::Up);
        assert!(server.accepted() >= 2, "rise is 2");
    });
}

#[test]
fn one_that_dies_is_told_down_once() {
    run(async {
        let (ear, server) = (Ear::new(), Server::new());
        let mut checker = ear.checker();
        let one = watched("one", &[server.address]);
        checker.set(vec![one.clone()]);
        server.accepts(3).await;
        assert!(ear.nothing());
        server.stop().await;
        assert_eq!(ear.next().await, told("one", false, "refused"));
        assert_eq!(one.condition.totals().transitions, 1);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(ear.nothing());
    });
}

#[test]
fn one_silent_backend_delays_nothing() {
    run(async {
        let (ear, server, (_listener, silent)) = (Ear::new(), Server::new(), silent());
        let mut checker = ear.checker();
        let expect = Check::SendExpect { send: Vec::new(), expect: b"never".into() };
        let config = HealthConfig { check: expect, ..config() };
        let quiet = watched("silent", &[silent]);
        let dead = watched("dead", &[nobody()]);
        let live = watched("live", &[server.address]);
        checker.set(vec![Watched { config, ..quiet.clone() }, live, dead]);
        // Its first answer is awaited all the while: nothing has been said of it.
        server.accepts(5).await;
        assert_eq!(ear.next().await, told("dead", false, "refused"));
        assert!(ear.nothing());
        assert_eq!(quiet.condition.health(clock()), Health::Up);
    });
}

#[test]
fn it_is_up_if_any_of_its_addresses_answers() {
    run(async {
        let (ear, server) = (Ear::new(), Server::new());
        let (first, last) = (nobody(), nobody());
        let mut checker = ear.checker();
        let one = watched("one", &[first, server.address, last]);
        checker.set(vec![one]);
        server.accepts(5).await;
        assert!(ear.nothing());
        let address = server.stop().await;
        let (_, up, evidence) = ear.next().await;
        assert!(!up);
        for dead in [first, address, last] {
            assert!(evidence.contains(&format!("{dead} refused")), "{evidence}");
        }
    });
}

#[test]
fn addresses_are_asked_for_at_each_check() {
    run(async {
        let (ear, server) = (Ear::new(), Server::new());
        let mut checker = ear.checker();
        let addresses = Arc::new(arc_swap::ArcSwap::from_pointee(Vec::new()));
        let shared = Arc::clone(&addresses);
        let one =
            Watched { addresses: Arc::new(move || shared.load().to_vec()), ..watched("one", &[]) };
        checker.set(vec![one]);
        assert_eq!(ear.next().await, told("one", false, "it has no address"));
        addresses.store(Arc::new(vec![Address::Inet(server.address)]));
        assert_eq!(ear.next().await, told("one", true, "it answers as expected"));
    });
}

#[test]
fn another_port_than_its_own_is_asked() {
    run(async {
        let (ear, server, elsewhere) = (Ear::new(), Server::new(), nobody());
        let mut checker = ear.checker();
        let port = std::num::NonZeroU16::new(server.address.port());
        let config = HealthConfig { port, ..config() };
        checker.set(vec![Watched { config, ..watched("one", &[elsewhere]) }]);
        server.accepts(3).await;
        assert!(ear.nothing());
    });
}

#[test]
fn unchanged_ones_go_on_and_changed_ones_are_asked_at_once_with_the_same_state() {
    run(async {
        let (ear, same, changed) = (Ear::new(), Server::new(), Server::new());
        let mut checker = ear.checker();
        // After the first check there is none for an hour.
        let hour = Duration::from_secs(3600);
        let slow = HealthConfig { interval: hour, fast_interval: hour, ..config() };
        let rare = |key, address| Watched { config: slow.clone(), ..watched(key, &[address]) };
        let wanted = vec![rare("same", same.address), rare("changed", changed.address)];
        checker.set(wanted.clone());
        while (same.accepted(), changed.accepted()) != (1, 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let [unchanged, mut other] = <[Watched; 2]>::try_from(wanted).expect("there are two");
        let address = changed.stop().await;
        other.config = config();
        checker.set(vec![unchanged, other]);
        // Three answers, not one: it is known to be up.
        assert_eq!(ear.next().await, told("changed", false, "refused"));
        let again = Server::on(address);
        assert_eq!(ear.next().await, told("changed", true, "it answers as expected"));
        drop(again);
        assert_eq!(same.accepted(), 1);
    });
}

#[test]
fn one_that_is_not_asked_any_more_counts_as_up() {
    run(async {
        let ear = Ear::new();
        let mut checker = ear.checker();
        let one = watched("one", &[nobody()]);
        checker.set(vec![one.clone()]);
        assert_eq!(ear.next().await, told("one", false, "refused"));
        checker.set(Vec::new());
        assert_eq!(one.condition.health(clock()), Health::Up);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(ear.nothing());
    });
}

#[test]
fn one_with_another_name_keeps_its_state() {
    run(async {
        let ear = Ear::new();
        let mut checker = ear.checker();
        let one = watched("one", &[nobody()]);
        checker.set(vec![one.clone()]);
        assert_eq!(ear.next().await, told("one", false, "refused"));
        checker.set(vec![Watched { key: "two".into(), ..one.clone() }]);
        assert_eq!(one.condition.health(clock()), Health::Down);
    });
}

#[test]
fn what_is_known_of_a_condition_is_kept_by_a_new_checker() {
    run(async {
        let (ear, server) = (Ear::new(), Server::new());
        let one = watched("one", &[server.address]);
        one.condition.set_up(false, clock());
        let mut checker = ear.checker();
        checker.set(vec![one]);
        assert_eq!(ear.next().await, told("one", true, "it answers as expected"));
        assert!(server.accepted() >= 2, "rise is 2");
    });
}

#[test]
fn good_answers_end_an_ejection() {
    run(async {
        let (ear, server) = (Ear::new(), Server::new());
        let mut checker = ear.checker();
        let one = watched("one", &[server.address]);
        let hour = Duration::from_secs(3600);
        let policy = EjectionConfig { after: count(1), first: hour, longest: hour };
        let verdict = one.condition.connect_failed(clock(), &policy, || true);
        assert_eq!(verdict, Verdict::Ejected(hour));
        checker.set(vec![one.clone()]);
        while one.condition.health(clock()) == Health::Ejected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(server.accepted() >= 2, "rise is 2");
    });
}

#[test]
fn evidence_of_many_addresses_is_short() {
    let mut evidence = Evidence::default();
    for port in 1..=6 {
        evidence.add(Address::Inet(([127, 0, 0, 1], port).into()), ProbeError::Refused);
    }
    let text = evidence.to_string();
    assert!(text.ends_with("127.0.0.1:4 refused, and 2 more"), "{text}");
}

#[test]
fn a_check_that_could_not_be_made_is_no_answer() {
    let not_made = || ProbeError::NotMade(std::io::ErrorKind::Other.into());
    let address = || Address::Inet(nobody());
    assert!(!Evidence(vec![(address(), not_made())]).is_an_answer());
    let one_was = Evidence(vec![(address(), not_made()), (address(), ProbeError::Refused)]);
    assert!(one_was.is_an_answer());
}

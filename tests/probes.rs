//! What probes leave behind: nothing, also of those that nobody answers. Needs root, iproute2 and
//! nftables for the backend that drops every packet, which is in a network namespace of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evenkeel::config::plan::{Address, Check};
use evenkeel::control::probe::probe;
use nix::sched::{CloneFlags, unshare};

/// Descriptors are counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_thousand_probes_leave_no_descriptor_and_no_time_wait_behind() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let live = listener.local_addr().unwrap();
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = std::thread::spawn(move || {
        (0..MANY).for_each(|_| drop(listener.accept().unwrap()));
    });
    // What the runtime opens, it has open before.
    let (before, after) = on_tokio(async move {
        let before = descriptors();
        for round in 0..MANY {
            let told = ask(&Check::Tcp, live, AMPLE).await;
            assert_eq!(told, "good", "{round}");
            assert_eq!(ask(&Check::Tcp, refused, AMPLE).await, "refused", "{round}");
        }
        server.join().unwrap();
        (before, descriptors())
    });
    // The server has closed its listener since.
    assert_eq!(after, before - 1, "descriptors");
    assert_eq!(sockets_to(live, TIME_WAIT), 0, "in TIME-WAIT");
}

#[test]
fn probes_of_a_backend_that_drops_every_packet_are_gone_when_their_time_is_over() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(black_hole) = black_hole() else {
        return skip("root, `ip` and `nft`, to have a network that drops packets");
    };
    let (asked, before, after) = on_tokio(async move {
        let before = descriptors();
        let mut asked = Vec::new();
        for _ in 0..FEW {
            asked.push(ask(&Check::Tcp, black_hole, SHORT).await);
        }
        (asked, before, descriptors())
    });
    assert_eq!(asked, vec!["no answer within 20ms"; FEW]);
    assert_eq!(after, before, "descriptors");
    assert_eq!(sockets_to(black_hole, SYN_SENT), 0, "connects in flight");
}

/// Why probes do not go through the ring; if this fails, tokio-uring has learned to cancel, and
/// docs/decisions/0007-probes-do-not-go-through-the-ring.md can be decided anew.
#[test]
fn a_connect_of_tokio_uring_goes_on_when_nobody_waits_for_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(black_hole) = black_hole() else {
        return skip("root, `ip` and `nft`, to have a network that drops packets");
    };
    let Ok(runtime) = tokio_uring::Runtime::new(&tokio_uring::builder()) else {
        return skip("io_uring");
    };
    let (before, after) = runtime.block_on(async move {
        let before = descriptors();
        for _ in 0..FEW {
            let connect = tokio_uring::net::TcpStream::connect(black_hole);
            assert!(tokio::time::timeout(SHORT, connect).await.is_err(), "nobody answers");
        }
        (before, descriptors())
    });
    let in_flight = sockets_to(black_hole, SYN_SENT);
    eprintln!("tokio-uring: {} descriptors more, {in_flight} connects in flight", after - before);
    assert_eq!((after - before, in_flight), (FEW, FEW));
    // Its end would wait for them: two minutes, until the kernel gives up.
    std::mem::forget(runtime);
}

async fn ask(check: &Check, address: SocketAddr, timeout: Duration) -> String {
    match probe(check, &Address::Inet(address), "backend", timeout).await {
        Ok(()) => "good".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn on_tokio<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Sockets of this thread's network in this state whose other end is `address`
/// (include/net/tcp_states.h, and `tcp4_seq_show` for the columns).
fn sockets_to(address: SocketAddr, state: &str) -> usize {
    let SocketAddr::V4(address) = address else { unreachable!("these tests use IPv4") };
    let ip = u32::from_ne_bytes(address.ip().octets());
    let remote = format!("{ip:08X}:{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns.filter(|columns| columns[2] == remote && columns[3] == state).count()
}

const SYN_SENT: &str = "02";
const TIME_WAIT: &str = "06";

/// An address in a network of this thread's own, where packets to it are dropped.
fn black_hole() -> Option<SocketAddr> {
    let done = |program: &str, words: &str| {
        let done = Command::new(program).args(words.split(' ')).status();
        done.is_ok_and(|status| status.success())
    };
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let ready = unshare(CloneFlags::CLONE_NEWNET).is_ok()
        && done("ip", "link set lo up")
        && done("ip", "address add 192.0.2.1/32 dev lo")
        && done("nft", "add table ip probes")
        && done("nft", "add chain ip probes in { type filter hook input priority 0 ; }")
        && done("nft", "add rule ip probes in ip daddr 192.0.2.1 drop");
    ready.then(|| (address, 9).into())
}

fn skip(needs: &str) {
    assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs {needs}");
    eprintln!("SKIPPED: needs {needs}");
}

/// Each of them takes well under a millisecond.
const MANY: usize = 1000;

const FEW: usize = 50;

const SHORT: Duration = Duration::from_millis(20);

const AMPLE: Duration = Duration::from_secs(20);

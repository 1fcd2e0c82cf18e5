//! Clients and backends without a balancer: they find no fault in each other, and the fault of what
//! is between them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::backend::Backends;
use super::clients::{Clients, Mix};
use super::tally::Tally;

/// What clients tell who connect to what `between` makes of the backend's address.
fn play(between: impl FnOnce(SocketAddr) -> SocketAddr) -> (Tally, u64) {
    let backends = Backends::listen(1).expect("a free port");
    let target = between(backends.addresses().expect("they listen")[0]);
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    let serving = thread::spawn(move || backends.serve(|| flag.load(Ordering::Relaxed)));
    let mix = Mix { held: 40, short: 2, streams: 2, half_closed: 2, slow: 2 };
    let clients = Clients::start(target, mix).expect("threads are left");
    thread::sleep(PLAYED);
    clients.leave();
    let give_up = Instant::now() + PATIENCE;
    while !clients.have_left() {
        assert!(Instant::now() < give_up, "the clients do not leave: {:?}", clients.tally());
        thread::sleep(Duration::from_millis(20));
    }
    ended.store(true, Ordering::Relaxed);
    let wrong = serving.join().expect("no panic").expect("it could go on");
    (clients.tally(), wrong)
}

#[test]
fn clients_and_backends_alone_find_no_fault() {
    let (tally, wrong) = play(|backend| backend);
    assert_eq!((tally.wrong, wrong, tally.open), (0, 0, 0), "{tally:?}");
    assert!(tally.errors.is_empty() && tally.ready, "{tally:?}");
    let roles: Vec<&str> = tally.sessions.keys().map(String::as_str).collect();
    assert_eq!(roles, ["half-closed", "held", "short", "slow", "stream"]);
}

#[test]
fn one_changed_byte_in_a_piece_is_found() {
    let (tally, wrong) = play(|backend| changing_relay(backend).expect("a free port"));
    assert!(tally.wrong > 0, "towards the clients: {tally:?}");
    assert!(wrong > 0, "towards the backend: {tally:?}");
}

/// Relays, and changes the last byte of every large piece.
fn changing_relay(backend: SocketAddr) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, backend) = (client?, TcpStream::connect(backend)?);
            let back = (backend.try_clone()?, client.try_clone()?);
            thread::spawn(move || copy_changed(client, backend));
            thread::spawn(move || copy_changed(back.0, back.1));
        }
        Ok::<(), std::io::Error>(())
    });
    Ok(address)
}

fn copy_changed(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 32 << 10];
    // A failure ends this direction; what the ends then say is not looked at.
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if read > 1000 {
            buffer[read - 1] ^= 1;
        }
        if to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Long enough for every role to come to its end once.
const PLAYED: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(40);

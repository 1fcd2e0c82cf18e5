//! The other processes of a soak. Each ends when its standard input does.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::backend::Backends;
use super::clients::{Clients, Mix};

/// Says where the backends listen, serves, and says at the end how many connections brought wrong
/// bytes.
pub(super) fn backends(count: usize) -> io::Result<()> {
    uring::raise_nofile_limit()?;
    let backends = Backends::listen(count)?;
    let addresses: Vec<String> = backends.addresses()?.iter().map(ToString::to_string).collect();
    say(&addresses.join(","))?;
    let ended = watch_input();
    let wrong = backends.serve(|| ended.load(Ordering::Relaxed))?;
    say(&wrong.to_string())
}

/// Plays the clients, and says twice a second what they did.
pub(super) fn clients(target: SocketAddr, connections: u32) -> io::Result<()> {
    uring::raise_nofile_limit()?;
    let clients = Clients::start(target, Mix::of(connections))?;
    let ended = watch_input();
    while !clients.have_left() {
        if ended.load(Ordering::Relaxed) {
            clients.leave();
        }
        say(&serde_json::to_string(&clients.tally())?)?;
        thread::sleep(Duration::from_millis(500));
    }
    say(&serde_json::to_string(&clients.tally())?)
}

fn watch_input() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    thread::spawn(move || {
        let mut byte = [0];
        while io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
        flag.store(true, Ordering::Relaxed);
    });
    ended
}

/// Unlike `println!`, without a panic when the reader has gone.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

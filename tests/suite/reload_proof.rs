//! The proof that a reload costs nobody anything: weights, backends and listeners change a hundred
//! times while clients come and go as fast as they can.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener};
use crate::support::{Balancer, End, eventually, patient, read_to_the_end};

#[test]
fn a_hundred_reloads_under_load_fail_no_connection_and_leave_nothing_behind() {
    let backends = [Backend::echo(), Backend::echo(), Backend::echo()];
    let addresses = backends.each_ref().map(|backend| backend.address);
    let port = crate::support::free_port();
    let file = ConfigFile::new(&text(0, &addresses, port));
    let balancer = file.balancer("--log-level INFO --max-sessions 2000 --buffers 256");
    let quiet = balancer.descriptors();
    let load = Load::default();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (load, address) = (&load, balancer.address);
            scope.spawn(move || load.run(client, address));
        }
        let _stop = StopAtTheEnd(&load);
        for number in 1..=WARM {
            one(&file, &balancer, &text(number, &addresses, port), &load, number);
        }
        let warm = Footprint::of(&balancer);
        for number in WARM + 1..=RELOADS {
            one(&file, &balancer, &text(number, &addresses, port), &load, number);
        }
        warm.assert_not_less_than(&balancer);
    });
    let done = load.done.load(Ordering::Relaxed);
    let rate = done as f64 / started.elapsed().as_secs_f64();
    println!("{RELOADS} reloads under {rate:.0} connections/s; {done} were served, none failed");
    file.reload(&balancer, &text(0, &addresses, port));
    balancer.wait_for_descriptors(quiet + FEW);
    let report = balancer.end();
    assert_eq!(report.lines_with("ERROR"), 0);
    assert_eq!(report.lines_with("the new configuration is in force"), RELOADS + 1);
    assert_eq!(report.counts(["connect_failed", "came_too_late"]), [0, 0]);
}

/// One reload, some clients by it, and a client of the listener that comes and goes.
fn one(file: &ConfigFile, balancer: &Balancer, text: &str, load: &Load, number: usize) {
    let said = file.reload(balancer, text);
    assert!(said.starts_with("the new configuration is in force"), "{number}: {said}");
    if let Some((_, there)) = said.split_once("listening on ")
        && !said.contains("not listening")
    {
        let end = there.find([';', ',', '\n']).unwrap_or(there.len());
        assert_eq!(request(there[..end].parse().unwrap(), number), Ok(()), "{number}");
    }
    let before = load.done.load(Ordering::Relaxed);
    let served = || load.done.load(Ordering::Relaxed) >= before + A_RELOAD;
    eventually(served, || format!("nobody is served: {}", balancer.log()));
}

/// What the file says at the reload of this number: weights, backends and listeners in turn.
fn text(number: usize, addresses: &[SocketAddr; 3], port: u16) -> String {
    let turn = number / 3;
    let [weights, members, more] =
        [turn + usize::from(!number.is_multiple_of(3)), turn + usize::from(number % 3 > 1), turn];
    let mut text = QUIET_FILE.to_owned() + &listener("127.0.0.1:0", "web");
    if more % 2 == 1 {
        text += &listener(&format!("127.0.0.2:{port}"), "web");
    }
    text += "[pool.web]\nconnect_timeout = \"20s\"\n";
    for (index, address) in addresses.iter().enumerate() {
        // One of three is away.
        if members % 3 != index {
            let weight = 1 + (weights + index) % 5;
            text += &format!("[[pool.web.backend]]\naddress = \"{address}\"\nweight = {weight}\n");
        }
    }
    text
}

/// Clients that come, ask, look at the answer and leave.
#[derive(Default)]
struct Load {
    done: AtomicUsize,
    stop: AtomicBool,
}

impl Load {
    fn run(&self, client: usize, address: SocketAddr) {
        let mut number = client;
        while !self.stop.load(Ordering::Relaxed) {
            number += CLIENTS;
            if let Err(error) = request(address, number) {
                panic!("client {client}: {error}");
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Also if the test fails: else nobody would see why.
struct StopAtTheEnd<'a>(&'a Load);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// A connection of one request, which ends as both sides want.
fn request(address: SocketAddr, number: usize) -> Result<(), String> {
    let asked = (number as u64).to_le_bytes();
    let talk = || -> std::io::Result<([u8; 8], TcpStream)> {
        let mut client = patient(TcpStream::connect(address)?);
        client.write_all(&asked)?;
        let mut answer = [0; 8];
        client.read_exact(&mut answer)?;
        client.shutdown(Shutdown::Write)?;
        Ok((answer, client))
    };
    let (answer, client) = talk().map_err(|error| error.to_string())?;
    match (answer == asked, read_to_the_end(&client)) {
        (true, End::Finished(0)) => Ok(()),
        (same, end) => Err(format!("the answer is right: {same}; then {end:?}")),
    }
}

/// What the balancer has of this host.
#[derive(Debug)]
struct Footprint {
    descriptors: usize,
    threads: usize,
    resident_bytes: u64,
}

impl Footprint {
    fn of(balancer: &Balancer) -> Self {
        Self {
            descriptors: balancer.descriptors(),
            threads: balancer.threads(),
            resident_bytes: balancer.resident_bytes(),
        }
    }

    /// Sessions come and go meanwhile; a descriptor or thread for each reload would be many more.
    fn assert_not_less_than(&self, balancer: &Balancer) {
        let enough = |now: &Self| {
            now.descriptors <= self.descriptors + 4 * CLIENTS
                && now.threads <= self.threads + 4
                && now.resident_bytes <= self.resident_bytes + GROWTH
        };
        let now = || Self::of(balancer);
        eventually(|| enough(&now()), || format!("it has {:?}, had {self:?}", now()));
    }
}

const RELOADS: usize = 100;
/// After these all kinds of change have happened several times.
const WARM: usize = 20;
/// The control thread opens some of its own when it first reads a file.
const FEW: usize = 4;
/// A client is one connection at a time.
const CLIENTS: usize = 8;
/// Connections served between two reloads.
const A_RELOAD: usize = 200;
/// Less than 64 KiB for each reload, which is less than a table of maglev.
const GROWTH: u64 = 4 << 20;

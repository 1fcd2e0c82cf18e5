//! The simulated kernel itself, where no run of a shard reaches it yet.

use super::*;
use crate::shard::sim::faults::Faults;
use crate::shard::sim::peers::{Saw, Script, Volume};

/// A driver in a world without misfortune, to which such clients come at once.
fn driver(clients: impl IntoIterator<Item = Script>) -> SimDriver {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut plan = Plan::draw(&mut rng);
    let at = plan.started_at;
    plan.faults = Faults::none();
    plan.queue_capacity = 16;
    plan.well_behaved = true;
    plan.listeners = 0;
    plan.doings.clear();
    plan.clients = clients.into_iter().map(|script| (at, script)).collect();
    for address in plan.backends.iter_mut().flatten() {
        address.phases = vec![(u64::MAX, Answer::Accept)];
    }
    let shared = Arc::new(plan.shared());
    SimDriver::new(&plan, shared, rng, false)
}

/// Says this before a stream of nothing.
fn client(preamble: &[u8]) -> Script {
    let mut script = Script::tame(Volume::Fixed(0), &mut fastrand::Rng::with_seed(1));
    (script.preamble, script.write_pause_ns, script.write_chunk) = (preamble.to_vec(), 0, 4);
    script.stall = None;
    script
}

fn listen(driver: &mut SimDriver) -> ListenerNumber {
    let backlog = driver.world.listen(false);
    driver.listen(SimListener { backlog }).expect("a number")
}

/// Lets the peers do everything that they can do without the balancer.
fn settle(world: &mut World) {
    while world.step() || world.next_at().map(|at| world.now = at).is_some() {}
}

fn owner(slot: u32) -> Owner {
    Owner { slot, generation: 7, tag: 0 }
}

fn answers(driver: &mut SimDriver) -> Vec<Completion<SimSocket>> {
    let mut out = Vec::with_capacity(64);
    driver.wait(Some(Duration::from_micros(1)), &mut out).expect("it does not fail");
    out
}

fn accepted(driver: &mut SimDriver) -> SimSocket {
    let listener = listen(driver);
    driver.accept(listener, owner(1));
    match answers(driver).pop().map(|completion| completion.outcome) {
        Some(Outcome::Accepted(socket)) => socket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_listener_has_a_queue_and_resets_nobody_elses() {
    let mut driver = driver((0..30).map(|_| client(b"")));
    let numbers = [(); 3].map(|()| listen(&mut driver));
    assert_eq!(numbers, [ListenerNumber(0), ListenerNumber(1), ListenerNumber(2)]);
    driver.world.step();
    let waiting = |driver: &SimDriver| [0, 1, 2].map(|queue| driver.world.has_waiting(queue));
    assert_eq!(waiting(&driver), [true; 3], "clients come to each of them");

    driver.stop_listening(numbers[1]);
    assert_eq!(waiting(&driver), [true, false, true]);
    driver.stop_listening(numbers[1]);
    assert_eq!(waiting(&driver), [true, false, true]);
    driver.accept(numbers[2], owner(1));
    assert!(matches!(answers(&mut driver)[0].outcome, Outcome::Accepted(_)));

    // The number is given again, and the clients are others.
    let fourth = listen(&mut driver);
    assert_eq!(fourth, numbers[1]);
    driver.accept(fourth, owner(2));
    assert!(answers(&mut driver).is_empty());
}

#[test]
#[should_panic(expected = "a listener is closed while")]
fn a_listener_is_not_closed_before_its_accepts_are_answered() {
    let mut driver = driver([]);
    let listener = listen(&mut driver);
    driver.accept(listener, owner(1));
    driver.stop_listening(listener);
}

#[test]
fn what_is_peeked_is_there_until_it_is_taken_and_is_no_part_of_the_stream() {
    let mut driver = driver([client(b"PROXY header")]);
    let mut socket = accepted(&mut driver);
    let mut space = [0; 16];
    settle(&mut driver.world);
    assert_eq!(driver.peek(&mut socket, &mut space), Ok(12));
    assert_eq!(driver.peek(&mut socket, &mut space[..5]), Ok(5));
    assert_eq!(&space[..12], b"PROXY header");
    assert_eq!(driver.take(&mut socket, 6), Ok(6));
    assert_eq!(driver.peek(&mut socket, &mut space), Ok(6));
    assert_eq!(&space[..6], b"header");
    assert_eq!(driver.take(&mut socket, 16), Ok(6));
    let from_client = driver.world.links[socket.link].conn.written_by(End::Peer);
    assert_eq!((from_client.written, from_client.read), (0, 0));

    // Nothing more but the end, which a look does not take away.
    for _ in 0..2 {
        assert_eq!(driver.peek(&mut socket, &mut space), Ok(0));
    }
    assert_eq!(driver.take(&mut socket, 1), Ok(0));
}

#[test]
fn what_is_sent_at_once_comes_before_the_stream_and_is_not_counted_with_it() {
    let mut driver = driver([]);
    let address = SocketAddr::from(([10, 0, 0, 0], 80));
    let mut socket = driver
        .connect(&address.into(), &ConnectOptions::default(), owner(1))
        .expect("there are no faults");
    assert!(matches!(answers(&mut driver)[0].outcome, Outcome::Done(_)));
    let header = b"PROXY header";
    let mut sent = 0;
    while sent < header.len() {
        sent += driver.send_now(&mut socket, &header[sent..]).expect("there is room");
    }
    // The rest of the room.
    assert_eq!(driver.send_now(&mut socket, b"123456"), Ok(4));
    assert_eq!(driver.send_now(&mut socket, b"56"), Err(Errno::EAGAIN));
    driver.world.links[socket.link].conn.finish(End::Balancer);
    settle(&mut driver.world);
    let to_backend = driver.world.links[socket.link].conn.written_by(End::Balancer);
    assert_eq!((to_backend.written, to_backend.read), (0, 0));
    let peer = driver.world.links[socket.link].peer.as_ref().expect("it has answered");
    assert_eq!((peer.saw, peer.got()), (Some(Saw::Finish), 0));
}

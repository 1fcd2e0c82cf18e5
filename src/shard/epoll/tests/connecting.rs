//! Connects.

use super::*;

#[test]
fn a_connect_to_a_listener_is_done() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let socket = rig.connect(address);
    let completion = rig.answer();
    assert_eq!(completion.token, Token { op: Op::Connect, owner: owner(1) });
    assert!(matches!(completion.outcome, Outcome::Done(_)), "{completion:?}");
    assert_eq!(rig.driver.peer_address(&socket), Some(address));
    assert!(!rig.driver.is_connected_to_itself(&socket));
    let (there, _) = listener.accept().expect("it is connected");
    assert_same_both_ways(&mut rig, &socket, there);
}

#[test]
fn a_connect_to_nobody_is_refused() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let socket = rig.connect(address);
    assert_failed(&rig.answer(), Op::Connect, owner(1), Errno::ECONNREFUSED);
    rig.close(socket);
}

#[test]
fn a_connect_that_fails_at_once_is_told_like_one_that_fails_later() {
    let mut rig = Rig::new();
    // TCP does not broadcast.
    let address = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
    let socket = rig.connect(address);
    assert_failed(&rig.answer(), Op::Connect, owner(1), Errno::ENETUNREACH);
    rig.close(socket);
}

#[test]
fn a_connect_that_is_not_answered_can_be_cancelled() {
    let mut rig = Rig::new();
    let listener = full_listener();
    let address = uring::local_address(&listener).expect("bound");
    let _filler = TcpStream::connect(address).expect("room for one");
    let socket = rig.connect(address);
    rig.assert_silent();
    rig.driver.cancel(Token { op: Op::Connect, owner: owner(1) });
    assert_failed(&rig.answer(), Op::Connect, owner(1), Errno::ECANCELED);
    rig.assert_silent();
    rig.close(socket);
}

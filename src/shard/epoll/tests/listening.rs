//! Accepts.

use super::*;

#[test]
fn an_accept_waits_for_a_client_and_takes_it() {
    let mut rig = Rig::new();
    rig.driver.accept(LISTENER, owner(1));
    rig.assert_silent();
    let client = rig.client();
    let completion = rig.answer();
    assert_eq!(completion.token, Token { op: Op::Accept, owner: owner(1) });
    let socket = accepted(completion);
    assert_eq!(rig.driver.peer_address(&socket), client.local_addr().ok());
}

#[test]
fn a_crowd_is_taken_by_as_many_accepts_as_there_are() {
    let mut rig = Rig::new();
    let clients: Vec<TcpStream> = (0..9).map(|_| rig.client()).collect();
    (0..6).for_each(|slot| rig.driver.accept(LISTENER, owner(slot)));
    let mut sockets: Vec<Socket> = rig.answers(6).into_iter().map(accepted).collect();
    // Three wait, and nobody wants them: that costs nothing.
    rig.assert_silent();
    let waits = rig.driver.counters.waits;
    rig.assert_silent();
    assert_eq!(rig.driver.counters.waits, waits + 1, "the listener is told again and again");
    (0..6).for_each(|slot| rig.driver.accept(LISTENER, owner(slot)));
    sockets.extend(rig.answers(3).into_iter().map(accepted));
    rig.assert_silent();
    let mut peers: Vec<_> =
        sockets.iter().filter_map(|socket| rig.driver.peer_address(socket)).collect();
    let mut expected: Vec<_> =
        clients.iter().filter_map(|client| client.local_addr().ok()).collect();
    peers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(peers, expected);
    // The three accepts that are left take whom they meet.
    let _late = rig.client();
    accepted(rig.answer());
}

#[test]
fn a_cancelled_accept_leaves_the_other_and_loses_no_client() {
    let mut rig = Rig::new();
    rig.driver.accept(LISTENER, owner(1));
    rig.driver.accept(LISTENER, owner(2));
    rig.driver.cancel(Token { op: Op::Accept, owner: owner(1) });
    assert_failed(&rig.answer(), Op::Accept, owner(1), Errno::ECANCELED);
    let _client = rig.client();
    assert_eq!(rig.answer().token.owner, owner(2));
    rig.driver.cancel(Token { op: Op::Accept, owner: owner(2) });
    rig.assert_silent();
    assert_eq!(rig.driver.counters.cancel_missed, 1);
}

#[test]
fn nobody_is_accepted_after_listening_has_stopped() {
    let mut rig = Rig::new();
    rig.driver.stop_listening(LISTENER);
    assert!(TcpStream::connect(rig.address).is_err());
    rig.assert_silent();
}

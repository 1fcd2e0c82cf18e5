//! Several listeners, and where connections come from and go to.

use super::*;

on_every_driver!(
    each_listener_brings_its_own_clients_and_ends_alone,
    a_connection_knows_the_addresses_of_both_its_ends,
    the_source_of_a_connect_is_the_one_that_was_asked_for,
    a_source_that_cannot_be_is_an_error_and_nothing_is_in_flight,
);

fn each_listener_brings_its_own_clients_and_ends_alone<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let (second, second_address) = tcp_listener();
    let (third, third_address) = tcp_listener();
    let second = rig.driver.listen(second).expect("it can be waited for");
    let third = rig.driver.listen(third).expect("it can be waited for");
    let numbers = [rig.listener, second, third];
    assert_eq!(numbers, [ListenerNumber(0), ListenerNumber(1), ListenerNumber(2)]);
    let addresses = [rig.address, second_address, third_address];
    for (number, slot) in numbers.into_iter().zip(0..) {
        rig.driver.accept(number, owner(slot));
    }
    rig.assert_silent();
    for index in [2, 0, 1] {
        let _there = client(addresses[index]);
        let by = owner(u32::try_from(index).expect("three"));
        let socket = rig.accepted(by);
        assert_eq!(rig.driver.local_address(&socket), Some(addresses[index]));
        rig.close(socket);
        rig.driver.accept(numbers[index], by);
    }

    rig.driver.cancel(Token { op: Op::Accept, owner: owner(1) });
    rig.assert_failed(Op::Accept, owner(1), Errno::ECANCELED);
    rig.driver.stop_listening(second);
    TcpStream::connect(second_address).expect_err("nobody listens there");
    rig.driver.stop_listening(second);
    let _there = client(third_address);
    let socket = rig.accepted(owner(2));
    rig.close(socket);

    let (fourth, address) = tcp_listener();
    assert_eq!(rig.driver.listen(fourth).expect("it can be waited for"), second);
    rig.driver.accept(second, owner(3));
    let _there = client(address);
    let socket = rig.accepted(owner(3));
    assert_eq!(rig.driver.local_address(&socket), Some(address));
    rig.close(socket);
}

fn a_connection_knows_the_addresses_of_both_its_ends<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let (socket, there) = rig.pair();
    assert_eq!(rig.driver.local_address(&socket), Some(rig.address));
    assert_eq!(rig.driver.peer_address(&socket), there.local_addr().ok());
    // What was not redirected either is not tracked, or went where it wanted to go.
    let original = rig.driver.original_destination(&socket);
    assert!(original.is_none() || original == Some(rig.address), "{original:?}");
    rig.close(socket);
}

fn the_source_of_a_connect_is_the_one_that_was_asked_for<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    let source = Ipv4Addr::new(127, 0, 0, 9).into();
    let options = ConnectOptions {
        source: Some(source),
        keepalive: Some(WATCHDOG),
        user_timeout: Some(WATCHDOG),
    };
    let address = rig.address.into();
    let out = rig.connect(&address, options, owner(1));
    rig.assert_done(Op::Connect, owner(1));
    rig.driver.accept(rig.listener, owner(2));
    let incoming = rig.accepted(owner(2));
    let peer = rig.driver.peer_address(&incoming).expect("it is connected");
    assert_eq!(peer.ip(), source);
    assert_eq!(rig.driver.local_address(&out), Some(peer));
    rig.close(out);
    rig.close(incoming);
}

fn a_source_that_cannot_be_is_an_error_and_nothing_is_in_flight<D>(mut rig: Rig<D>)
where
    D: Driver<Listener = OwnedFd>,
{
    // TEST-NET-2 (RFC 5737): no machine has it.
    let source = Some(Ipv4Addr::new(198, 51, 100, 1).into());
    let options = ConnectOptions { source, ..ConnectOptions::default() };
    let tried = rig.driver.connect(&rig.address.into(), &options, owner(1));
    assert_eq!(tried.err(), Some(Errno::EADDRNOTAVAIL));
    rig.assert_silent();
}

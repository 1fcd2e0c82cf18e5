//! The relay's promises, event by event.

use super::*;

fn piece(buffer: u16, len: u32) -> Piece {
    Piece { buffer: BufferId(buffer), range: 0..len, rest: Rest::Nothing, owned: true }
}

fn open() -> Relay {
    let mut relay = Relay::default();
    assert_eq!(relay.on_accepted().receive, Some(Readiness::Unknown));
    relay
}

fn send(buffer: u16, range: Range<u32>) -> Option<(BufferId, Range<u32>)> {
    Some((BufferId(buffer), range))
}

#[test]
fn the_next_receive_goes_with_the_answer() {
    let mut relay = open();
    let actions = relay.on_answer(Some(piece(1, 5)), false, false);
    let expected =
        Actions { send: send(1, 0..5), receive: Some(Readiness::Empty), ..Actions::default() };
    assert_eq!(actions, expected);
    let expected = Actions { release: [Some(BufferId(1)), None], ..Actions::default() };
    assert_eq!(relay.on_sent(5), expected);
}

#[test]
fn a_short_send_goes_on_where_it_stopped() {
    let mut relay = open();
    relay.on_answer(Some(piece(1, 5)), false, false);
    assert_eq!(relay.on_sent(2).send, send(1, 2..5));
    assert_eq!(relay.on_sent(3).release[0], Some(BufferId(1)));
}

#[test]
fn nothing_is_received_while_an_answer_waits_for_another() {
    let mut relay = open();
    relay.on_answer(Some(piece(1, 5)), false, true);
    assert_eq!(relay.on_answer(Some(piece(2, 7)), false, true), Actions::default());
    let actions = relay.on_sent(5);
    assert_eq!(actions.release[0], Some(BufferId(1)));
    assert_eq!(actions.send, send(2, 0..7));
    assert_eq!(actions.receive, Some(Readiness::Unknown));
}

#[test]
fn an_answer_larger_than_its_buffer_is_refilled_before_anything_is_received() {
    let mut relay = open();
    let mut output = Output::default();
    output.push(b"rest");
    let long = Piece { rest: Rest::Refilled(Box::new(output)), ..piece(1, 5) };
    let actions = relay.on_answer(Some(long), false, false);
    assert_eq!((actions.send, actions.receive), (send(1, 0..5), None));
    let actions = relay.on_sent(5);
    assert!(actions.refill);
    assert_eq!(actions.send, send(1, 0..4));
    let mut memory = [0; 8];
    relay.refill(&mut memory);
    assert_eq!(&memory[..4], b"rest");
    let actions = relay.on_sent(4);
    assert_eq!(actions.release[0], Some(BufferId(1)));
    assert!(actions.receive.is_some());
}

#[test]
fn a_pattern_goes_on_for_ever_while_input_comes() {
    let mut relay = open();
    let pattern = Piece { rest: Rest::Again(9), owned: false, ..piece(1, 9) };
    let actions = relay.on_answer(Some(pattern), false, true);
    assert_eq!(actions.send, send(1, 0..9));
    assert!(actions.receive.is_some());
    assert_eq!(relay.on_sent(4).send, send(1, 4..9));
    let actions = relay.on_sent(5);
    assert_eq!((actions.send, actions.refill), (send(1, 0..9), false));
    // The peer's end is no end of ours; its going away is.
    assert!(!relay.on_end_of_stream(None).close);
    assert_eq!(relay.on_sent(9).send, send(1, 0..9));
    let actions = relay.on_failed(Op::Send);
    assert_eq!((actions.release, actions.close), ([None, None], true));
}

#[test]
fn the_peers_end_waits_for_every_answer() {
    let mut relay = open();
    relay.on_answer(Some(piece(1, 5)), false, true);
    relay.on_answer(Some(piece(2, 7)), false, false);
    relay.on_sent(5);
    assert!(!relay.on_end_of_stream(None).close);
    assert!(relay.on_sent(7).close);
}

#[test]
fn what_is_owed_at_the_end_is_sent_and_its_buffer_kept() {
    let mut relay = open();
    let greeting = Piece { owned: false, ..piece(9, 13) };
    assert_eq!(relay.on_end_of_stream(Some(greeting)).send, send(9, 0..13));
    let actions = relay.on_sent(13);
    assert_eq!((actions.release, actions.close), ([None, None], true));
}

#[test]
fn a_connection_that_says_nothing_is_closed_at_its_end() {
    assert!(open().on_end_of_stream(None).close);
}

#[test]
fn our_own_end_waits_for_the_peers() {
    let mut relay = open();
    assert_eq!(relay.on_answer(Some(piece(1, 5)), true, false).receive, None);
    let actions = relay.on_sent(5);
    assert!(actions.finish_writing && !actions.close && relay.drops_input());
    assert!(relay.on_dropped(100).receive.is_some());
    assert!(relay.on_end_of_stream(None).close);
}

#[test]
fn a_peer_that_never_ends_is_given_up() {
    let mut relay = open();
    relay.on_answer(None, true, false);
    assert_eq!(relay.on_linger_over().cancel, Some(Op::Recv));
    assert!(relay.on_failed(Op::Recv).close);

    let mut flooded = open();
    flooded.on_answer(None, true, false);
    assert!(flooded.on_dropped(LINGER_BYTES + 1).close);
}

#[test]
fn a_failure_closes_when_nothing_is_in_flight() {
    let mut relay = open();
    relay.on_answer(Some(piece(1, 5)), false, true);
    let actions = relay.on_failed(Op::Send);
    assert_eq!(actions.release, [Some(BufferId(1)), None]);
    assert_eq!((actions.cancel, actions.close), (Some(Op::Recv), false));
    // The receive that ends a moment later looks like a clean end: the error was the send's.
    assert!(relay.on_end_of_stream(None).close);
}

#[test]
fn a_failed_receive_gives_every_buffer_back() {
    let mut relay = open();
    relay.on_answer(Some(piece(1, 5)), false, true);
    relay.on_answer(Some(piece(2, 5)), false, true);
    relay.on_sent(1);
    let actions = relay.on_failed(Op::Send);
    assert_eq!(actions.release, [Some(BufferId(1)), Some(BufferId(2))]);
    assert!(actions.close);
}

#[test]
fn a_receive_without_a_buffer_holds_the_connection_open() {
    let mut relay = open();
    relay.on_answer(Some(piece(1, 5)), false, false);
    let actions = relay.on_failed(Op::Send);
    assert!(!actions.close, "the starved receive is still to come");
    assert!(relay.on_buffer_free().close);
}

#[test]
fn the_end_waits_for_answers_that_are_held() {
    let mut relay = open();
    relay.owed = true;
    assert!(relay.on_answer(None, false, false).receive.is_some());
    assert!(!relay.on_end_of_stream(None).close);
    assert_eq!(relay.on_due(Some(piece(1, 5)), true, false).send, send(1, 0..5));
    assert!(!relay.on_sent(5).close);
    assert!(!relay.on_due(Some(piece(2, 5)), false, false).close);
    assert!(relay.on_sent(5).close);
}

#[test]
fn an_end_that_was_held_is_one_of_ours() {
    let mut relay = open();
    relay.owed = true;
    relay.on_answer(None, false, false);
    let actions = relay.on_due(Some(piece(1, 5)), false, true);
    assert!(!actions.finish_writing && relay.drops_input());
    assert!(relay.on_sent(5).finish_writing);

    let mut empty = open();
    empty.on_answer(None, false, false);
    assert!(empty.on_due(None, false, true).finish_writing);
}

#[test]
fn nothing_is_received_during_a_pause() {
    let mut relay = open();
    relay.paused = true;
    assert_eq!(relay.on_answer(None, false, true), Actions::default());
    assert_eq!(relay.on_resumed().receive, Some(Readiness::Unknown));

    let mut fresh = Relay { paused: true, ..Relay::default() };
    assert_eq!(fresh.on_accepted(), Actions::default());
    assert!(fresh.on_resumed().receive.is_some());
}

#[test]
fn an_abort_ends_everything_that_is_on_its_way() {
    let mut relay = open();
    relay.owed = true;
    let actions = relay.on_abort();
    assert_eq!((actions.cancel, actions.close), (Some(Op::Recv), false));
    assert!(relay.has_failed());
    assert!(relay.on_failed(Op::Recv).close);

    let mut paused = Relay { paused: true, ..Relay::default() };
    paused.on_accepted();
    assert!(paused.on_abort().close, "nothing is in flight");
}

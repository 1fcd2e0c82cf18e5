//! A backend ends abnormally, and the session goes on with another.

use super::saying::{NOWHERE, WAIT_BACKEND};
use super::*;

pub(super) const FAILOVER: Rules = Rules { failover: true, ..RULES };

const FAILED: relay::Event = relay::Event::RecvFailed;
const CANCEL_SEND: Action = Action::Cancel(ClientToBackend, InFlight::Send);
const CANCEL_RECV: Action = Action::Cancel(BackendToClient, InFlight::Recv);
const RECV: [Action; 2] = [
    Action::Recv { direction: ClientToBackend, ready: true },
    Action::Recv { direction: BackendToClient, ready: false },
];

#[test]
fn a_session_goes_on_with_another_backend() {
    let mut session = relaying([], []);
    assert_eq!(*on(&mut session, BackendToClient, FAILED), [Action::Move]);
    let (backend, tried) = session.moving().expect("it has lost its backend");
    assert_eq!(backend, FIRST.backend);
    assert!(tried.contains(FIRST.backend), "nobody goes where the session was lost");
    let actions = session.on(Event::Placed(Next::Go(SECOND)), NOW, &FAILOVER);
    assert_eq!(*actions, [Action::ArmTimer(NOW + DEADLINES.connect), Action::Connect(SECOND)]);
    let actions = session.on(Event::Connected, NOW, &FAILOVER);
    // The receive from the client has been in flight all the time.
    assert_eq!(*actions, [Action::ArmTimer(NOW + DEADLINES.idle), RECV[1]]);
    assert_eq!((session.moves(), session.backend()), (1, Some(SECOND.backend)));
    let actions = on(&mut session, ClientToBackend, RECEIVED);
    assert_eq!(*actions, [Action::Send { direction: ClientToBackend, held: HELD }]);
}

#[test]
fn without_the_option_the_end_of_the_backend_is_the_end() {
    let mut session = relaying([], []);
    let actions = on_relay(&mut session, BackendToClient, FAILED);
    assert_eq!(actions, [Action::Cancel(ClientToBackend, InFlight::Recv), again(NOW)]);
    assert_eq!(wind_up(&mut session), (EndReason::BackendGone, [true; 2]));
}

#[test]
fn what_the_lost_backend_had_not_taken_is_sent_to_the_next() {
    let mut session = relaying([RECEIVED], []);
    let actions = on(&mut session, BackendToClient, FAILED);
    assert_eq!(*actions, [CANCEL_SEND, again(NOW)]);
    // The cancel comes too late for a part of it.
    assert_eq!(*on(&mut session, ClientToBackend, SENT_PART), [Action::Move]);
    session.on(Event::Placed(Next::Go(SECOND)), NOW, &FAILOVER);
    let actions = session.on(Event::Connected, NOW, &FAILOVER);
    let rest = Held { start: 40, ..HELD };
    assert_eq!(actions[1..], [Action::Send { direction: ClientToBackend, held: rest }, RECV[1]]);
}

#[test]
fn what_is_in_a_pipe_is_drained_into_the_next_backend() {
    let mut session = moved_with_pipe();
    let actions = session.on(Event::Connected, NOW, &FAILOVER);
    assert_eq!(actions[1..], [Action::Drain(ClientToBackend, PIPE), RECV[1]]);
}

#[test]
fn what_the_client_says_while_nobody_is_there_is_kept_for_who_comes() {
    let mut session = kept(moved([], WAIT_BACKEND));
    session.on(Event::Placed(Next::Go(SECOND)), NOW, &FAILOVER);
    let actions = session.on(Event::Connected, NOW, &FAILOVER);
    assert_eq!(actions[1..], [Action::Send { direction: ClientToBackend, held: HELD }, RECV[1]]);
    // It is the first of a stream that goes on, with its end.
    on(&mut session, ClientToBackend, SENT_ALL);
    let actions = on(&mut session, ClientToBackend, relay::Event::EndOfStream);
    assert_eq!(actions[0], Action::FinishWriting(ClientToBackend));
}

#[test]
fn a_client_that_waited_for_a_buffer_gets_it_for_the_next_backend() {
    for before in [true, false] {
        let mut session = moved([relay::Event::NoBuffer], Next::Go(SECOND));
        let free = relay::Event::BufferFree;
        if before {
            assert_eq!(*on(&mut session, ClientToBackend, free), []);
        }
        let actions = session.on(Event::Connected, NOW, &FAILOVER).to_vec();
        if before {
            assert_eq!(actions[1..], RECV);
        } else {
            assert_eq!(actions[1..], RECV[1..]);
            assert_eq!(*on(&mut session, ClientToBackend, free), RECV[..1]);
        }
    }
}

/// A send finds the backend gone while a slow client still takes what it had said, of which the kernel
/// has more.
#[test]
fn what_the_lost_backend_had_said_is_delivered_first() {
    let mut session = relaying([RECEIVED], [RECEIVED]);
    let actions = on(&mut session, ClientToBackend, relay::Event::SendFailed);
    assert_eq!(*actions, [again(NOW)], "what goes to the client is not cancelled");
    let receives = |actions: &[Action]| {
        assert_eq!(actions[1..], [Action::Recv { direction: BackendToClient, ready: false }]);
    };
    receives(&on(&mut session, BackendToClient, SENT_ALL));
    let send = Action::Send { direction: BackendToClient, held: HELD };
    assert_eq!(*on(&mut session, BackendToClient, RECEIVED), [send]);
    receives(&on(&mut session, BackendToClient, SENT_ALL));
    // The send has reported the error: what the receive finds looks like a clean end.
    assert_eq!(*on(&mut session, BackendToClient, relay::Event::EndOfStream), [Action::Move]);
}

#[test]
fn the_backend_is_not_left_before_everything_on_its_socket_has_ended() {
    let mut session = relaying([RECEIVED], []);
    let actions = on(&mut session, ClientToBackend, relay::Event::SendFailed);
    assert_eq!(*actions, [CANCEL_RECV, again(NOW)]);
    let actions = session.on(Event::Placed(Next::Go(SECOND)), NOW, &FAILOVER);
    assert_eq!(*actions, [Action::CountUnexpected]);
    // A cancel that got lost is told again.
    let later = NOW + CANCEL_AGAIN_AFTER;
    let actions = session.on(Event::TimerFired, later, &FAILOVER);
    assert_eq!(*actions, [CANCEL_RECV, again(later)]);
    assert_eq!(*on(&mut session, BackendToClient, FAILED), [Action::Move]);
}

#[test]
fn a_client_that_does_not_take_the_last_words_ends_the_move() {
    let mut session = relaying([RECEIVED], [RECEIVED]);
    on(&mut session, ClientToBackend, relay::Event::SendFailed);
    let due = NOW + DEADLINES.idle;
    let actions = session.on(Event::TimerFired, due, &FAILOVER);
    let cancel = Action::Cancel(BackendToClient, InFlight::Send);
    assert_eq!(*actions, [Action::Release(HELD.buffer), cancel, again(due)]);
    assert_eq!(wind_up(&mut session), (EndReason::BackendGone, [true; 2]));
}

#[test]
fn a_clean_end_is_no_reason_to_move() {
    let mut session = relaying([], []);
    let actions = on(&mut session, BackendToClient, relay::Event::EndOfStream);
    assert_eq!(actions[0], Action::FinishWriting(BackendToClient));
    on(&mut session, ClientToBackend, RECEIVED);
    let actions = on(&mut session, ClientToBackend, relay::Event::SendFailed);
    let reason = EndReason::BackendGone;
    let free = Action::Free { reason, reset_client: false, reset_backend: true };
    assert_eq!(*actions, [Action::Release(HELD.buffer), free]);
}

/// The client is slow, so nobody has read yet that the backend had closed; its socket knows.
#[test]
fn a_clean_end_that_only_the_socket_knows_of_is_no_reason_either() {
    let mut session = relaying([RECEIVED], [RECEIVED]);
    on(&mut session, ClientToBackend, relay::Event::DestinationEnded);
    assert_eq!(wind_up(&mut session), (EndReason::BackendGone, [true; 2]));
}

#[test]
fn what_the_client_is_guilty_of_ends_the_session() {
    let guilty = [
        (relaying([], []), ClientToBackend, FAILED),
        (relaying([], [RECEIVED]), BackendToClient, relay::Event::SendFailed),
        (relaying([], BLOCKED), BackendToClient, relay::Event::PollFailed),
        (relaying(WATCHING, []), ClientToBackend, relay::Event::PollFailed),
    ];
    for (mut session, direction, event) in guilty {
        on(&mut session, direction, event);
        assert_eq!(session.moves(), 0, "{event:?}");
        assert_eq!(wind_up(&mut session), (EndReason::ClientGone, [true; 2]), "{event:?}");
    }
}

#[test]
fn a_deadline_is_no_reason_to_move() {
    let mut session = relaying([], []);
    session.on(Event::TimerFired, NOW + DEADLINES.idle, &FAILOVER);
    assert_eq!(wind_up(&mut session).0, EndReason::IdleTimeout);
}

/// Its request was taken by the backend that is lost, and the end that the next one would answer with
/// would look like an answer.
#[test]
fn a_client_that_has_said_all_sees_that_its_answer_is_lost() {
    let mut session = relaying([relay::Event::EndOfStream], []);
    on(&mut session, BackendToClient, FAILED);
    assert_eq!((session.moves(), session.moving()), (0, None));
    // The same, said while the session moves.
    for next in [WAIT_BACKEND, Next::Go(SECOND)] {
        let mut session = moved([], next);
        on(&mut session, ClientToBackend, relay::Event::EndOfStream);
        if session.connecting {
            session.on(Event::ConnectFailed { next: NOWHERE }, NOW, &FAILOVER);
        }
        assert!(matches!(
            session.state,
            State::Closing { reason: EndReason::BackendGone, reset: true, .. }
        ));
    }
}

/// The end of its receive would look as if the client had left.
#[test]
fn a_connect_that_takes_too_long_leaves_the_client_alone() {
    let mut session = moved([], Next::Go(SECOND));
    let due = NOW + DEADLINES.connect;
    let actions = session.on(Event::TimerFired, due, &FAILOVER);
    assert_eq!(*actions, [Action::CancelConnect, again(due)]);
}

#[test]
fn a_client_that_leaves_while_its_session_moves_ends_it() {
    for next in [WAIT_BACKEND, Next::Go(SECOND)] {
        let mut session = moved([], next);
        on(&mut session, ClientToBackend, FAILED);
        let State::Closing { reason, .. } = session.state else { panic!("{session:?}") };
        assert_eq!(reason, EndReason::ClientGone);
    }
}

/// It has had bytes: a text would be taken for more of them, and an end for the end of all.
#[test]
fn a_client_that_no_other_backend_is_found_for_is_reset() {
    let mut session = kept(moved([], NOWHERE_YET));
    let due = NOW + DEADLINES.wait;
    let reason = EndReason::BackendUnreachable;
    let free = Action::Free { reason, reset_client: true, reset_backend: true };
    let actions = session.on(Event::TimerFired, due, &FAILOVER);
    assert_eq!(*actions, [Action::Release(HELD.buffer), free]);

    let mut session = moved([], NOWHERE);
    assert_eq!(wind_up(&mut session), (reason, [true; 2]));
}

const NOWHERE_YET: Next = WAIT_BACKEND;

#[test]
fn a_session_moves_so_often_and_no_more() {
    let mut session = relaying([], []);
    for moves in 1..=8 {
        assert_eq!(*on(&mut session, BackendToClient, FAILED), [Action::Move], "{moves}");
        session.on(Event::Placed(Next::Go(SECOND)), NOW, &FAILOVER);
        session.on(Event::Connected, NOW, &FAILOVER);
    }
    on(&mut session, BackendToClient, FAILED);
    assert_eq!(wind_up(&mut session), (EndReason::BackendGone, [true; 2]));
}

#[test]
fn what_is_kept_is_given_back_when_the_session_is_cut() {
    let reason = EndReason::Cut;
    let free = Action::Free { reason, reset_client: true, reset_backend: true };
    let mut session = kept(moved([], WAIT_BACKEND));
    let actions = session.on(Event::Cut(reason), NOW, &FAILOVER);
    assert_eq!(*actions, [Action::Release(HELD.buffer), free]);
    let mut session = moved_with_pipe();
    let actions = session.on(Event::Cut(reason), NOW, &FAILOVER);
    assert_eq!(*actions, [Action::ClosePipe(PIPE), Action::CancelConnect, again(NOW)]);
}

#[test]
fn a_move_forgets_who_was_tried_when_the_backends_get_other_numbers() {
    let mut session = lost([], []);
    session.renumber();
    session.on(Event::Placed(Next::Go(FIRST)), NOW, &FAILOVER);
    let (candidate, tried) = session.connecting().expect("it was placed");
    assert_eq!(candidate, FIRST);
    assert!(tried.contains(FIRST.backend) && !tried.is_full());
}

// What the tests above share -----------------------------------------------------------------------

fn on(session: &mut Session, direction: Direction, event: relay::Event) -> Actions {
    session.on(Event::Relay(direction, event), NOW, &FAILOVER)
}

/// After these events, the backend is reset, which a receive finds.
pub(super) fn lost(
    to_backend: impl IntoIterator<Item = relay::Event>,
    to_client: impl IntoIterator<Item = relay::Event>,
) -> Session {
    let mut session = relaying(to_backend, to_client);
    on(&mut session, BackendToClient, FAILED);
    assert!(session.moving().is_some(), "{session:?}");
    session
}

/// A send finds the backend gone after these events in the other direction.
pub(super) fn send_failed(to_client: impl IntoIterator<Item = relay::Event>) -> Session {
    let mut session = relaying([RECEIVED], to_client);
    on(&mut session, ClientToBackend, relay::Event::SendFailed);
    assert!(session.moving().is_some(), "{session:?}");
    session
}

/// The backend is lost after these events, and then this is said.
pub(super) fn moved(to_backend: impl IntoIterator<Item = relay::Event>, next: Next) -> Session {
    let mut session = lost(to_backend, []);
    session.on(Event::Placed(next), NOW, &FAILOVER);
    session
}

/// The client has said something meanwhile.
pub(super) fn kept(mut session: Session) -> Session {
    assert_eq!(*on(&mut session, ClientToBackend, RECEIVED), []);
    session
}

pub(super) fn moved_with_pipe() -> Session {
    let mut session = lost(BLOCKED, []);
    on(&mut session, ClientToBackend, relay::Event::PollFailed);
    session.on(Event::Placed(Next::Go(SECOND)), NOW, &FAILOVER);
    session
}

//! Sentences about what matters most in a session; its whole behaviour is in [`table`].

use std::time::Duration;

use super::super::relay::tests::{HELD, PIPE};
use super::super::relay::{Bulk, InFlight, Splice};
use super::deadlines::{CANCEL_AGAIN_AFTER, CONNECT_AGAIN_AFTER, LINGER, PAUSE, WAIT_FOR_PAUSE};
use super::*;

use Direction::{BackendToClient, ClientToBackend};

mod arrival;
mod moving;
mod moving_table;
mod saying;
mod table;

const DEADLINES: Deadlines = Deadlines {
    greeting: Duration::from_secs(5),
    wait: Duration::from_secs(30),
    queue: Duration::from_secs(20),
    connect: Duration::from_secs(3),
    idle: Duration::from_secs(60),
    half_closed: Duration::from_secs(10),
};

const RULES: Rules = Rules {
    deadlines: DEADLINES,
    splice: Splice::Auto(Bulk::MEASURED),
    unavailable: Unavailable::Linger,
    failover: false,
};

/// When everything in these tests happens, unless a test says otherwise.
const NOW: Moment = Moment::from_ns(1_000_000_000_000);

const FIRST: Candidate = Candidate { backend: BackendId(1), address: 0, left: 0 };
const SECOND: Candidate = Candidate { backend: BackendId(2), address: 0, left: 0 };

const RECEIVED: relay::Event = relay::Event::Received(HELD);
const SENT_ALL: relay::Event = relay::Event::Sent(100);
const SENT_PART: relay::Event = relay::Event::Sent(40);

/// What makes a direction that receives one that is spliced, up to the first look into the source.
const BULK: [relay::Event; 2] =
    [relay::Event::Received(Held { end: 1 << 20, ..HELD }), relay::Event::Sent(1 << 20)];
/// The same, and the source has nothing more for now.
const WATCHING: [relay::Event; 5] = [
    BULK[0],
    BULK[1],
    relay::Event::Filled(PIPE),
    relay::Event::Drained { bytes: 1 << 20, empty: true },
    relay::Event::FilledNothing,
];
/// The same, and the destination takes no more for now.
const BLOCKED: [relay::Event; 4] = [
    BULK[0],
    BULK[1],
    relay::Event::Filled(PIPE),
    relay::Event::Drained { bytes: 9, empty: false },
];

#[test]
fn the_second_end_of_stream_frees_at_once_and_without_reset() {
    let mut session = relaying([relay::Event::EndOfStream], []);
    let actions = on_relay(&mut session, BackendToClient, relay::Event::EndOfStream);
    assert_eq!(
        actions,
        [Action::Free { reason: EndReason::Finished, reset_client: false, reset_backend: false }]
    );
}

#[test]
fn a_reset_of_either_side_resets_both() {
    for (direction, reason) in
        [(ClientToBackend, EndReason::ClientGone), (BackendToClient, EndReason::BackendGone)]
    {
        let other = opposite(direction);
        let mut session = relaying([], []);
        let actions = on_relay(&mut session, direction, relay::Event::RecvFailed);
        assert_eq!(actions, [Action::Cancel(other, InFlight::Recv), again(NOW)]);
        let actions = on_relay(&mut session, other, relay::Event::RecvFailed);
        assert_eq!(actions, [Action::Free { reason, reset_client: true, reset_backend: true }]);
    }
}

#[test]
fn a_send_that_fails_is_the_end_of_its_destination() {
    let mut session = relaying([RECEIVED], []);
    let actions = on_relay(&mut session, ClientToBackend, relay::Event::SendFailed);
    let cancel = Action::Cancel(BackendToClient, InFlight::Recv);
    assert_eq!(actions, [Action::Release(HELD.buffer), cancel, again(NOW)]);
    // After the send has reported the error, the receive finds a clean end: it must not count.
    let actions = on_relay(&mut session, BackendToClient, relay::Event::EndOfStream);
    assert_eq!(
        actions,
        [Action::Free { reason: EndReason::BackendGone, reset_client: true, reset_backend: true }]
    );
}

#[test]
fn a_timer_that_fires_early_is_armed_again_for_the_rest() {
    let mut session = relaying([], []);
    let progress_at = NOW + Duration::from_secs(50);
    let event = Event::Relay(ClientToBackend, RECEIVED);
    session.on(event, progress_at, &RULES);
    let actions = session.on(Event::TimerFired, NOW + DEADLINES.idle, &RULES);
    assert_eq!(*actions, [Action::ArmTimer(progress_at + DEADLINES.idle)]);
}

#[test]
fn a_half_closed_session_ends_with_a_reset_when_nothing_comes() {
    let mut session = relaying([relay::Event::EndOfStream], []);
    let actions = session.on(Event::TimerFired, NOW + DEADLINES.half_closed, &RULES);
    let cancel = Action::Cancel(BackendToClient, InFlight::Recv);
    assert_eq!(*actions, [cancel, again(NOW + DEADLINES.half_closed)]);
    let actions = on_relay(&mut session, BackendToClient, relay::Event::RecvFailed);
    assert_eq!(
        actions,
        [Action::Free {
            reason: EndReason::HalfClosedTimeout,
            reset_client: true,
            reset_backend: false
        }]
    );
}

#[test]
fn an_idle_session_is_reset_only_if_bytes_are_left() {
    for (first, is_reset) in [
        (None, false),
        (Some(RECEIVED), true),
        // There are bytes, and no buffer to receive them in.
        (Some(relay::Event::NoBuffer), true),
    ] {
        let mut session = relaying(first, []);
        session.on(Event::TimerFired, NOW + DEADLINES.idle, &RULES);
        assert_eq!(wind_up(&mut session), (EndReason::IdleTimeout, [is_reset; 2]), "{first:?}");
    }
}

/// The receive is cancelled too late: what it brings is lost, so the end must not look clean.
#[test]
fn bytes_that_come_while_an_idle_session_closes_make_it_a_reset() {
    for (event, is_reset) in
        [(RECEIVED, true), (relay::Event::NoBuffer, true), (relay::Event::EndOfStream, false)]
    {
        let mut session = relaying([], []);
        session.on(Event::TimerFired, NOW + DEADLINES.idle, &RULES);
        on_relay(&mut session, ClientToBackend, event);
        assert_eq!(wind_up(&mut session), (EndReason::IdleTimeout, [is_reset; 2]), "{event:?}");
    }
}

#[test]
fn a_session_that_is_too_old_is_ended_in_a_pause() {
    let mut session = of_age(NOW + Duration::from_secs(20));
    // Bytes come just before it is too old: this is no pause.
    let progress_at = NOW + Duration::from_millis(19_500);
    for event in [RECEIVED, SENT_ALL] {
        session.on(Event::Relay(ClientToBackend, event), progress_at, &RULES);
    }
    let aged = NOW + Duration::from_secs(20);
    let pause = progress_at + PAUSE;
    assert_eq!(*session.on(Event::TimerFired, aged, &RULES), [Action::ArmTimer(pause)]);
    session.on(Event::TimerFired, pause, &RULES);
    assert_eq!(wind_up(&mut session), (EndReason::MaxAge, [false; 2]));
}

/// What is cut in the middle must not look as if it were whole.
#[test]
fn a_session_that_never_rests_is_reset_when_it_is_much_too_old() {
    let aged = NOW + Duration::from_secs(20);
    let mut session = of_age(aged);
    let last = aged + WAIT_FOR_PAUSE;
    let mut now = NOW;
    while now < last {
        for event in [RECEIVED, SENT_ALL] {
            session.on(Event::Relay(ClientToBackend, event), now, &RULES);
        }
        let actions = session.on(Event::TimerFired, now, &RULES);
        assert!(matches!(*actions, [Action::ArmTimer(due)] if due <= last), "{actions:?}");
        now = now + PAUSE / 2;
    }
    session.on(Event::TimerFired, last, &RULES);
    assert_eq!(wind_up(&mut session), (EndReason::MaxAge, [true; 2]));
}

#[test]
fn who_waits_for_an_answer_sees_that_its_session_was_too_old() {
    let aged = NOW + Duration::from_secs(5);
    let mut session = of_age(aged);
    on_relay(&mut session, ClientToBackend, relay::Event::EndOfStream);
    session.on(Event::TimerFired, aged, &RULES);
    assert_eq!(wind_up(&mut session), (EndReason::MaxAge, [true, false]));
}

#[test]
fn a_client_that_waits_or_connects_is_not_too_old() {
    let (mut session, _) = Session::open(true, NOW, NOW, &RULES);
    session.on(Event::Placed(Next::Wait(WaitFor::Backend)), NOW, &RULES);
    let actions = session.on(Event::TimerFired, NOW + Duration::from_secs(20), &RULES);
    assert_eq!(*actions, [Action::ArmTimer(NOW + DEADLINES.wait)]);
}

/// A side that has been told the end may still be reading what came before it.
#[test]
fn who_has_got_everything_is_not_reset() {
    for direction in Direction::BOTH {
        let other = opposite(direction);
        let mut session = relaying([], []);
        on_relay(&mut session, direction, relay::Event::EndOfStream);
        let actions = on_relay(&mut session, other, relay::Event::RecvFailed);
        let Some(&Action::Free { reset_client, reset_backend, .. }) = actions.last() else {
            panic!("nothing is in flight, and it was not freed: {actions:?}");
        };
        let expected = (direction != BackendToClient, direction != ClientToBackend);
        assert_eq!((reset_client, reset_backend), expected);
    }
}

#[test]
fn what_has_not_answered_a_cancel_is_cancelled_again() {
    let mut session = cut(relaying([], []));
    let later = NOW + CANCEL_AGAIN_AFTER;
    let cancels = Direction::BOTH.map(|direction| Action::Cancel(direction, InFlight::Recv));
    let actions = session.on(Event::TimerFired, later, &RULES);
    assert_eq!(*actions, [cancels[0], cancels[1], again(later)]);
}

#[test]
fn waiting_for_buffers_is_no_progress() {
    let mut session = relaying([], []);
    let due = NOW + DEADLINES.idle;
    session.on(Event::Relay(ClientToBackend, relay::Event::NoBuffer), due, &RULES);
    session.on(Event::TimerFired, due, &RULES);
    assert_eq!(wind_up(&mut session).0, EndReason::IdleTimeout);
}

#[test]
fn a_session_that_ends_with_bytes_in_a_pipe_closes_the_pipe_and_resets() {
    let mut session = relaying([], BLOCKED);
    let due = NOW + DEADLINES.idle;
    session.on(Event::TimerFired, due, &RULES);
    let actions = on_relay(&mut session, BackendToClient, relay::Event::PollFailed);
    assert_eq!(actions, [Action::ClosePipe(PIPE)]);
    assert_eq!(wind_up(&mut session), (EndReason::IdleTimeout, [true; 2]));
}

#[test]
fn a_destination_that_is_gone_while_the_pipe_has_bytes_ends_the_session() {
    let mut session = relaying([], BLOCKED);
    on_relay(&mut session, BackendToClient, relay::Event::Ready);
    let actions = on_relay(&mut session, BackendToClient, relay::Event::SendFailed);
    let cancel = Action::Cancel(ClientToBackend, InFlight::Recv);
    assert_eq!(actions, [Action::ClosePipe(PIPE), cancel, again(NOW)]);
    assert_eq!(wind_up(&mut session), (EndReason::ClientGone, [true; 2]));
}

/// What is readable when nobody will read it any more are perhaps bytes.
#[test]
fn a_poll_that_was_cancelled_too_late_may_have_met_bytes() {
    let mut session = relaying(WATCHING, []);
    session.on(Event::TimerFired, NOW + DEADLINES.idle, &RULES);
    on_relay(&mut session, ClientToBackend, relay::Event::Ready);
    assert_eq!(wind_up(&mut session), (EndReason::IdleTimeout, [true; 2]));
}

#[test]
fn looking_in_vain_is_no_progress() {
    let due = NOW + DEADLINES.idle;
    for event in [relay::Event::Ready, relay::Event::FilledNothing, relay::Event::NoPipe] {
        assert!(!event.is_progress(), "{event:?}");
    }
    let mut session = relaying([], BLOCKED);
    let blocked = relay::Event::Drained { bytes: 0, empty: false };
    for event in [relay::Event::Ready, blocked] {
        session.on(Event::Relay(BackendToClient, event), due, &RULES);
    }
    session.on(Event::TimerFired, due, &RULES);
    assert_eq!(wind_up(&mut session).0, EndReason::IdleTimeout);
}

#[test]
fn a_cut_cancels_everything_and_frees_after_the_last_completion_only() {
    let mut session = relaying([RECEIVED], []);
    let actions = session.on(Event::Cut(EndReason::Cut), NOW, &RULES);
    let cancel_send = Action::Cancel(ClientToBackend, InFlight::Send);
    let cancel_recv = Action::Cancel(BackendToClient, InFlight::Recv);
    assert_eq!(*actions, [cancel_send, cancel_recv, again(NOW)]);
    let actions = on_relay(&mut session, BackendToClient, relay::Event::RecvFailed);
    assert_eq!(actions, [], "the send is still in flight");
    let actions = on_relay(&mut session, ClientToBackend, relay::Event::SendFailed);
    let free = Action::Free { reason: EndReason::Cut, reset_client: true, reset_backend: true };
    assert_eq!(actions, [Action::Release(HELD.buffer), free]);
}

#[test]
fn a_completion_that_comes_while_closing_gives_its_buffer_back() {
    for (first, late) in [(None, RECEIVED), (Some(RECEIVED), SENT_PART), (Some(RECEIVED), SENT_ALL)]
    {
        let mut session = cut(relaying(first, []));
        let actions = on_relay(&mut session, ClientToBackend, late);
        assert_eq!(actions, [Action::Release(HELD.buffer)], "{late:?}");
    }
}

#[test]
fn a_free_buffer_means_nothing_to_a_session_that_closes() {
    let mut session = cut(relaying([relay::Event::NoBuffer], []));
    assert_eq!(on_relay(&mut session, ClientToBackend, relay::Event::BufferFree), []);
    assert_eq!(wind_up(&mut session), (EndReason::Cut, [true; 2]));
    // The slot is free now; a second time would free somebody else's.
    assert_eq!(on_relay(&mut session, ClientToBackend, relay::Event::BufferFree), []);
}

#[test]
fn the_first_cause_of_an_end_wins() {
    let mut session = relaying([], []);
    on_relay(&mut session, BackendToClient, relay::Event::RecvFailed);
    assert_eq!(*session.on(Event::Cut(EndReason::Cut), NOW, &RULES), []);
    assert_eq!(wind_up(&mut session), (EndReason::BackendGone, [true; 2]));
}

#[test]
fn only_what_was_taken_by_the_destination_is_counted() {
    let mut session = relaying([RECEIVED], []);
    on_relay(&mut session, ClientToBackend, SENT_PART);
    assert_eq!(session.relay(ClientToBackend).copied(), 40);
    assert_eq!(session.relay(BackendToClient).copied(), 0);
}

// What the tests above share -----------------------------------------------------------------------

/// A client that need not say whom it speaks for.
fn accepted() -> Session {
    Session::open(true, Moment::NEVER, NOW, &RULES).0
}

fn connecting() -> Session {
    placed(accepted(), Next::Go(FIRST))
}

fn placed(mut session: Session, next: Next) -> Session {
    session.on(Event::Placed(next), NOW, &RULES);
    session
}

/// A client that has to say first whom it speaks for.
fn greeting() -> Session {
    Session::open(false, Moment::NEVER, NOW, &RULES).0
}

/// Connected, and then these events in each direction.
fn relaying(
    to_backend: impl IntoIterator<Item = relay::Event>,
    to_client: impl IntoIterator<Item = relay::Event>,
) -> Session {
    let mut session = connecting();
    session.on(Event::Connected, NOW, &RULES);
    for event in to_backend {
        on_relay(&mut session, ClientToBackend, event);
    }
    for event in to_client {
        on_relay(&mut session, BackendToClient, event);
    }
    session
}

/// Connected, and to be ended then.
fn of_age(ends_at: Moment) -> Session {
    let mut session = placed(Session::open(true, ends_at, NOW, &RULES).0, Next::Go(FIRST));
    let actions = session.on(Event::Connected, NOW, &RULES);
    assert_eq!(actions[0], Action::ArmTimer(ends_at));
    session
}

/// The timer that asks again when a cancel stays without an answer.
fn again(now: Moment) -> Action {
    Action::ArmTimer(now + CANCEL_AGAIN_AFTER)
}

fn cut(mut session: Session) -> Session {
    session.on(Event::Cut(EndReason::Cut), NOW, &RULES);
    session
}

fn on_relay(session: &mut Session, direction: Direction, event: relay::Event) -> Vec<Action> {
    session.on(Event::Relay(direction, event), NOW, &RULES).to_vec()
}

/// Answers every cancel; how the session ended, and whether client and backend see a reset.
fn wind_up(session: &mut Session) -> (EndReason, [bool; 2]) {
    for direction in Direction::BOTH {
        let event = match session.relays[direction as usize].in_flight() {
            Some(InFlight::Recv) => relay::Event::RecvFailed,
            Some(InFlight::Send) => relay::Event::SendFailed,
            Some(InFlight::Poll) => relay::Event::PollFailed,
            None => continue,
        };
        let actions = on_relay(session, direction, event);
        if let Some(&Action::Free { reason, reset_client, reset_backend }) = actions.last() {
            return (reason, [reset_client, reset_backend]);
        }
    }
    panic!("nothing was in flight, and it was not freed: {session:?}");
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        ClientToBackend => BackendToClient,
        BackendToClient => ClientToBackend,
    }
}

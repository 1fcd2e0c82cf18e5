//! Sentences about the time before a client is connected: greeting, waiting, connecting, turning away.

use super::*;

const WAIT_BACKEND: Next = Next::Wait(WaitFor::Backend);
const WAIT_ROOM: Next = Next::Wait(WaitFor::Room);
const UNREACHABLE: Next = Next::Nowhere(EndReason::BackendUnreachable);

const READY: Event = Event::Relay(ClientToBackend, relay::Event::Ready);
const POLL_FAILED: Event = Event::Relay(ClientToBackend, relay::Event::PollFailed);
const CANCEL_POLL: Action = Action::Cancel(ClientToBackend, InFlight::Poll);

const RESETTING: Rules = Rules { unavailable: Unavailable::Reset, ..RULES };

#[test]
fn who_need_not_greet_is_placed_at_once_and_nothing_is_in_flight_until_then() {
    let (mut session, actions) = Session::open(true, Moment::NEVER, NOW, &RULES);
    assert_eq!(*actions, [Action::Place]);
    let actions = session.on(Event::Placed(Next::Go(FIRST)), NOW, &RULES);
    assert_eq!(*actions, [Action::ArmTimer(NOW + DEADLINES.connect), Action::Connect(FIRST)]);
}

#[test]
fn a_greeting_is_read_as_it_comes_and_then_the_client_is_placed() {
    let (mut session, actions) = Session::open(false, Moment::NEVER, NOW, &RULES);
    assert_eq!(*actions, [Action::ArmTimer(NOW + DEADLINES.greeting), POLL_CLIENT]);
    for _ in 0..3 {
        assert_eq!(*session.on(READY, NOW, &RULES), [Action::Greet]);
        let actions = session.on(Event::Greeted(Greeting::Part), NOW, &RULES);
        assert_eq!(*actions, [POLL_CLIENT]);
    }
    session.on(READY, NOW, &RULES);
    let actions = session.on(Event::Greeted(Greeting::Whole), NOW, &RULES);
    assert_eq!(*actions, [Action::Place]);
}

/// Its parts are no progress: whoever dribbles has no more time than whoever is silent.
#[test]
fn a_greeting_that_never_ends_ends_the_session_at_its_deadline() {
    let mut session = greeting();
    let due = NOW + DEADLINES.greeting;
    session.on(READY, due, &RULES);
    session.on(Event::Greeted(Greeting::Part), due, &RULES);
    assert_eq!(*session.on(Event::TimerFired, due, &RULES), [CANCEL_POLL, again(due)]);
    assert_eq!(*session.on(POLL_FAILED, due, &RULES), [free(EndReason::BadGreeting, true)]);
}

#[test]
fn a_bad_greeting_is_answered_with_a_reset() {
    let mut session = greeting();
    session.on(READY, NOW, &RULES);
    let actions = session.on(Event::Greeted(Greeting::Bad), NOW, &RULES);
    assert_eq!(*actions, [free(EndReason::BadGreeting, true)]);
}

#[test]
fn a_denied_client_is_reset_at_once_however_the_unlucky_are_turned_away() {
    for rules in [RULES, RESETTING] {
        let denied = Event::Placed(Next::Nowhere(EndReason::Denied));
        let actions = accepted().on(denied, NOW, &rules);
        assert_eq!(*actions, [free(EndReason::Denied, true)]);
    }
}

#[test]
fn a_held_client_is_served_when_somebody_is_there() {
    for wait in [WAIT_BACKEND, WAIT_ROOM] {
        let mut session = placed(accepted(), wait);
        let later = NOW + Duration::from_secs(10);
        let actions = session.on(Event::Placed(Next::Go(SECOND)), later, &RULES);
        let timer = Action::ArmTimer(later + DEADLINES.connect);
        assert_eq!(*actions, [timer, Action::Connect(SECOND)]);
        assert_eq!(session.waiting(), None);
        let actions = session.on(Event::Connected, later, &RULES);
        assert_eq!(actions[1..], RECEIVES);
    }
}

#[test]
fn who_waits_in_vain_is_told_so_for_the_reason_it_waited_for() {
    for (wait, limit, reason) in [
        (WAIT_BACKEND, DEADLINES.wait, EndReason::BackendUnreachable),
        (WAIT_ROOM, DEADLINES.queue, EndReason::QueueTimeout),
    ] {
        let due = NOW + limit;
        let mut session = placed(accepted(), wait);
        let early = NOW + Duration::from_secs(1);
        assert_eq!(*session.on(Event::TimerFired, early, &RULES), [Action::ArmTimer(due)]);
        assert_eq!(*session.on(Event::TimerFired, due, &RULES), told(due));
        session.on(READY, due, &RULES);
        let actions = session.on(Event::Discarded { more: false }, due, &RULES);
        assert_eq!(*actions, [free(reason, false)]);

        let mut session = placed(accepted(), wait);
        let actions = session.on(Event::TimerFired, due, &RESETTING);
        assert_eq!(*actions, [free(reason, true)]);
    }
}

#[test]
fn without_time_to_wait_a_client_is_turned_away_at_once() {
    let deadlines = Deadlines { wait: Duration::ZERO, queue: Duration::ZERO, ..DEADLINES };
    let rules = Rules { deadlines, ..RULES };
    for wait in [WAIT_BACKEND, WAIT_ROOM] {
        assert_eq!(*accepted().on(Event::Placed(wait), NOW, &rules), told(NOW));
    }
}

/// Now and then the client is tried at a backend that does not answer, and waits again.
#[test]
fn going_to_and_fro_is_no_way_to_wait_for_ever() {
    for (wait, limit) in [(WAIT_BACKEND, DEADLINES.wait), (WAIT_ROOM, DEADLINES.queue)] {
        let mut session = placed(accepted(), wait);
        let mut now = NOW;
        while now < NOW + limit {
            assert_eq!(session.on(Event::Placed(Next::Go(FIRST)), now, &RULES).len(), 2);
            now = now + Duration::from_secs(1);
            let actions = session.on(Event::ConnectFailed { next: wait }, now, &RULES);
            let expected =
                if now < NOW + limit { vec![Action::ArmTimer(NOW + limit)] } else { told(now) };
            assert_eq!(actions.to_vec(), expected);
        }
    }
}

/// The queue timeout is for waiting for room, which begins when there is a backend without any.
#[test]
fn each_thing_that_a_client_waits_for_has_a_time_of_its_own() {
    let mut session = placed(accepted(), WAIT_BACKEND);
    let later = NOW + Duration::from_secs(25);
    let room_until = later + DEADLINES.queue;
    let actions = session.on(Event::Placed(WAIT_ROOM), later, &RULES);
    assert_eq!(*actions, [Action::ArmTimer(room_until)]);
    // What it waited for before counts still.
    let later = NOW + Duration::from_secs(28);
    let actions = session.on(Event::Placed(WAIT_BACKEND), later, &RULES);
    assert_eq!(*actions, [Action::ArmTimer(NOW + DEADLINES.wait)]);
    let actions = session.on(Event::Placed(WAIT_ROOM), later, &RULES);
    assert_eq!(*actions, [Action::ArmTimer(room_until)]);
}

#[test]
fn who_has_waited_may_try_everybody_again() {
    let mut session = connecting();
    session.on(Event::ConnectFailed { next: WAIT_BACKEND }, NOW, &RULES);
    session.on(Event::Placed(Next::Go(SECOND)), NOW, &RULES);
    let (_, tried) = session.connecting().expect("it was placed");
    assert!(!tried.contains(FIRST.backend) && tried.contains(SECOND.backend));
}

#[test]
fn after_as_many_tries_as_there_may_be_the_client_is_turned_away() {
    let mut session = connecting();
    for backend in 2..=8 {
        let next = Next::Go(Candidate { backend: BackendId(backend), ..FIRST });
        let actions = session.on(Event::ConnectFailed { next }, NOW, &RULES);
        assert_eq!(actions.len(), 2, "{backend}");
    }
    let next = Next::Go(Candidate { backend: BackendId(9), ..FIRST });
    assert_eq!(*session.on(Event::ConnectFailed { next }, NOW, &RULES), told(NOW));
}

/// The numbers of those that were tried mean nothing in another configuration.
#[test]
fn backends_with_other_numbers_were_not_tried() {
    let mut session = connecting();
    for backend in 2..=8 {
        let next = Next::Go(Candidate { backend: BackendId(backend), ..FIRST });
        session.on(Event::ConnectFailed { next }, NOW, &RULES);
    }
    session.renumber();
    let next = Next::Go(Candidate { backend: BackendId(0), ..FIRST });
    session.on(Event::ConnectFailed { next }, NOW, &RULES);
    let (_, tried) = session.connecting().expect("it is tried");
    assert!(tried.contains(BackendId(0)) && !tried.contains(BackendId(8)));
}

/// The kernel answers bytes that nobody reads with a reset, which would take the text back.
#[test]
fn a_client_that_is_turned_away_is_listened_to_until_it_has_left() {
    let mut session = placed(accepted(), UNREACHABLE);
    for _ in 0..20 {
        assert_eq!(*session.on(READY, NOW, &RULES), [Action::Discard]);
        let actions = session.on(Event::Discarded { more: true }, NOW, &RULES);
        assert_eq!(*actions, [POLL_CLIENT]);
    }
    session.on(READY, NOW, &RULES);
    let actions = session.on(Event::Discarded { more: false }, NOW, &RULES);
    assert_eq!(*actions, [free(EndReason::BackendUnreachable, false)]);
}

#[test]
fn a_client_that_is_turned_away_and_does_not_leave_is_closed_after_a_while() {
    let mut session = placed(accepted(), UNREACHABLE);
    let due = NOW + LINGER;
    assert_eq!(*session.on(Event::TimerFired, due, &RULES), [CANCEL_POLL, again(due)]);
    assert_eq!(*session.on(Event::TimerFired, due, &RULES), [CANCEL_POLL, again(due)]);
    let actions = session.on(POLL_FAILED, due, &RULES);
    assert_eq!(*actions, [free(EndReason::BackendUnreachable, false)]);
}

#[test]
fn a_cut_does_not_change_why_a_client_was_turned_away() {
    let mut session = placed(accepted(), Next::Nowhere(EndReason::QueueFull));
    let actions = session.on(Event::Cut(EndReason::Cut), NOW, &RULES);
    assert_eq!(*actions, [CANCEL_POLL, again(NOW)]);
    assert_eq!(*session.on(POLL_FAILED, NOW, &RULES), [free(EndReason::QueueFull, false)]);
}

/// A completion that was on its way when the session began to close is the end of the poll, too.
#[test]
fn nothing_is_freed_while_the_client_is_polled() {
    for session in [greeting(), placed(accepted(), UNREACHABLE)] {
        for last in [READY, POLL_FAILED] {
            let mut session = session.clone();
            let actions = session.on(Event::Cut(EndReason::Cut), NOW, &RULES);
            assert_eq!(*actions, [CANCEL_POLL, again(NOW)]);
            let actions = session.on(last, NOW, &RULES);
            assert!(matches!(*actions, [Action::Free { .. }]), "{actions:?}");
        }
    }
}

#[test]
fn a_connect_that_this_host_cannot_start_is_tried_again_until_its_deadline() {
    let mut session = connecting();
    let actions = session.on(Event::ConnectDeferred, NOW, &RULES);
    let later = NOW + CONNECT_AGAIN_AFTER;
    assert_eq!(*actions, [Action::ArmTimer(later)]);
    let actions = session.on(Event::TimerFired, later, &RULES);
    let due = NOW + DEADLINES.connect;
    assert_eq!(*actions, [Action::ArmTimer(due), Action::Connect(FIRST)]);
    session.on(Event::ConnectDeferred, due, &RULES);
    assert_eq!(*session.on(Event::TimerFired, due, &RULES), told(due));
}

/// A session that goes nowhere: nothing is asked for after its end.
#[test]
fn a_session_that_waits_for_a_descriptor_is_freed_by_a_cut() {
    let mut session = connecting();
    session.on(Event::ConnectDeferred, NOW, &RULES);
    let actions = session.on(Event::Cut(EndReason::Cut), NOW, &RULES);
    assert_eq!(*actions, [free(EndReason::Cut, true)]);
}

#[test]
fn a_failed_connect_goes_to_the_next_candidate_with_a_new_deadline() {
    let mut session = connecting();
    let later = NOW + Duration::from_secs(2);
    let actions = session.on(Event::ConnectFailed { next: Next::Go(SECOND) }, later, &RULES);
    let timer = Action::ArmTimer(later + DEADLINES.connect);
    assert_eq!(*actions, [timer, Action::Connect(SECOND)]);
    assert_eq!(session.backend(), Some(SECOND.backend));
    let (candidate, tried) = session.connecting().expect("it still connects");
    assert_eq!(candidate, SECOND);
    assert!(tried.contains(FIRST.backend) && tried.contains(SECOND.backend));
}

#[test]
fn another_address_of_the_same_backend_is_no_further_try() {
    let mut session = connecting();
    let second_address = Candidate { address: 1, ..FIRST };
    for _ in 0..20 {
        let next = Next::Go(second_address);
        let actions = session.on(Event::ConnectFailed { next }, NOW, &RULES);
        assert!(actions.contains(&Action::Connect(second_address)));
    }
}

#[test]
fn when_nobody_is_left_the_client_is_turned_away_without_reset() {
    let mut session = connecting();
    let actions = session.on(Event::ConnectFailed { next: UNREACHABLE }, NOW, &RULES);
    assert_eq!(*actions, told(NOW));
}

#[test]
fn the_connect_deadline_gives_the_connect_up_and_waits_for_its_answer() {
    let mut session = connecting();
    let due = NOW + DEADLINES.connect;
    let actions = session.on(Event::TimerFired, due, &RULES);
    assert_eq!(*actions, [Action::CancelConnect, again(due)]);
    let actions = session.on(Event::ConnectFailed { next: Next::Go(SECOND) }, due, &RULES);
    assert_eq!(actions.last(), Some(&Action::Connect(SECOND)));
}

/// The timer has fired and the connect succeeds all the same: without a new timer the session would
/// never end by itself.
#[test]
fn a_connect_that_succeeds_at_its_deadline_gets_a_timer_again() {
    let mut session = connecting();
    let due = NOW + DEADLINES.connect;
    session.on(Event::TimerFired, due, &RULES);
    let actions = session.on(Event::Connected, due, &RULES);
    assert_eq!(actions.first(), Some(&Action::ArmTimer(due + DEADLINES.idle)));
}

#[test]
fn a_cut_while_connecting_waits_for_the_connect() {
    let free = free(EndReason::Cut, true);
    for event in [
        Event::Connected,
        Event::ConnectFailed { next: UNREACHABLE },
        Event::ConnectFailed { next: Next::Go(SECOND) },
    ] {
        let mut session = connecting();
        let actions = session.on(Event::Cut(EndReason::Cut), NOW, &RULES);
        assert_eq!(*actions, [Action::CancelConnect, again(NOW)]);
        assert_eq!(*session.on(event, NOW, &RULES), [free], "{event:?}");
    }
}

// What the tests above share -----------------------------------------------------------------------

const RECEIVES: [Action; 2] = [
    Action::Recv { direction: ClientToBackend, ready: true },
    Action::Recv { direction: BackendToClient, ready: false },
];

fn free(reason: EndReason, reset: bool) -> Action {
    Action::Free { reason, reset_client: reset, reset_backend: reset }
}

fn told(now: Moment) -> Vec<Action> {
    vec![Action::TurnAway, Action::ArmTimer(now + LINGER), POLL_CLIENT]
}

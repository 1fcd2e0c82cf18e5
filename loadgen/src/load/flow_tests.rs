//! Every event in every state that it can meet, against the table.

use super::*;

const NONE: Ops = Ops { connect: false, send: false, receive: false };
const CONNECT: Ops = Ops { connect: true, ..NONE };
const SEND: Ops = Ops { send: true, ..NONE };
const RECEIVE: Ops = Ops { receive: true, ..NONE };
const BOTH: Ops = Ops { send: true, receive: true, ..NONE };
const IDLE: (State, Ops) = (State::Idle, NONE);

type Event = fn(&mut Flow) -> Step;

const CONNECTED: Event = |flow| flow.on_done(Ended::Connect);
const SENT: Event = |flow| flow.on_done(Ended::Send);
const RECEIVED: Event = |flow| flow.on_done(Ended::Receive);
const CONNECT_FAILED: Event = |flow| flow.on_failed(Ended::Connect);
const SEND_FAILED: Event = |flow| flow.on_failed(Ended::Send);
const RECEIVE_FAILED: Event = |flow| flow.on_failed(Ended::Receive);
const CLOSE: Event = Flow::close;

#[track_caller]
fn check(before: (State, Ops), event: Event, step: Step, after: (State, Ops)) {
    let mut flow = Flow { state: before.0, ops: before.1 };
    assert_eq!(event(&mut flow), step);
    assert_eq!((flow.state, flow.ops), after);
}

#[test]
fn a_connect_leads_to_a_connection_or_to_nothing() {
    let connecting = (State::Connecting, CONNECT);
    check(connecting, CONNECTED, Step::Go, (State::Open, NONE));
    check(connecting, CONNECT_FAILED, Step::Release, IDLE);
    check(connecting, CLOSE, Step::Cancel(CONNECT), (State::Closing, CONNECT));
}

#[test]
fn an_idle_connection_closes_at_once() {
    check((State::Open, NONE), CLOSE, Step::Release, IDLE);
}

#[test]
fn sends_and_receives_go_on_beside_each_other() {
    check((State::Open, BOTH), SENT, Step::Go, (State::Open, RECEIVE));
    check((State::Open, BOTH), RECEIVED, Step::Go, (State::Open, SEND));
    check((State::Open, SEND), SENT, Step::Go, (State::Open, NONE));
    check((State::Open, RECEIVE), RECEIVED, Step::Go, (State::Open, NONE));
}

#[test]
fn one_send_at_a_time_and_only_on_an_open_connection() {
    let states = [State::Idle, State::Connecting, State::Open, State::Closing];
    for (state, ops) in states.into_iter().flat_map(|state| [NONE, SEND].map(|ops| (state, ops))) {
        let free = (state, ops) == (State::Open, NONE);
        assert_eq!(Flow { state, ops }.can_send(), free, "{state:?} {ops:?}");
    }
    let mut flow = Flow { state: State::Open, ops: RECEIVE };
    flow.send();
    assert_eq!(flow, Flow { state: State::Open, ops: BOTH });
}

#[test]
fn a_failure_cancels_what_is_left() {
    let (sending, receiving) = ((State::Closing, SEND), (State::Closing, RECEIVE));
    check((State::Open, BOTH), SEND_FAILED, Step::Cancel(RECEIVE), receiving);
    check((State::Open, BOTH), RECEIVE_FAILED, Step::Cancel(SEND), sending);
    check((State::Open, BOTH), CLOSE, Step::Cancel(BOTH), (State::Closing, BOTH));
    check((State::Open, RECEIVE), RECEIVE_FAILED, Step::Release, IDLE);
    check((State::Open, RECEIVE), CLOSE, Step::Cancel(RECEIVE), receiving);
    check((State::Open, SEND), SEND_FAILED, Step::Release, IDLE);
    check((State::Open, SEND), CLOSE, Step::Cancel(SEND), sending);
}

#[test]
fn closing_waits_for_every_operation_however_it_ends() {
    for event in [SENT, SEND_FAILED] {
        check((State::Closing, BOTH), event, Step::Nothing, (State::Closing, RECEIVE));
        check((State::Closing, SEND), event, Step::Release, IDLE);
    }
    for event in [RECEIVED, RECEIVE_FAILED] {
        check((State::Closing, BOTH), event, Step::Nothing, (State::Closing, SEND));
        check((State::Closing, RECEIVE), event, Step::Release, IDLE);
    }
    for event in [CONNECTED, CONNECT_FAILED] {
        check((State::Closing, CONNECT), event, Step::Release, IDLE);
    }
    check((State::Closing, BOTH), CLOSE, Step::Nothing, (State::Closing, BOTH));
}

#[test]
#[should_panic(expected = "not in flight")]
fn an_answer_to_nothing_is_our_bug_and_loud() {
    let _ = Flow::default().on_done(Ended::Send);
}

#[test]
#[should_panic(expected = "a receive in")]
fn a_second_receive_is_our_bug_and_loud() {
    Flow { state: State::Open, ops: RECEIVE }.receive();
}

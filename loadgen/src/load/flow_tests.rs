//! Every event in every state that it can meet, against the table.

use super::*;

const NONE: Ops = Ops { connect: false, send: false, receive: false };
const CONNECT: Ops = Ops { connect: true, ..NONE };
const SEND: Ops = Ops { send: true, ..NONE };
const RECEIVE: Ops = Ops { receive: true, ..NONE };
const BOTH: Ops = Ops { send: true, receive: true, ..NONE };

type Event = fn(&mut Flow) -> Step;

const CONNECTED: Event = Flow::on_connected;
const SENT: Event = Flow::on_sent;
const PART: Event = Flow::on_reply_part;
const REPLY: Event = Flow::on_reply;
const CLOSE: Event = Flow::close;
const CONNECT_FAILED: Event = |flow| flow.on_ended(Ended::Connect);
const SEND_FAILED: Event = |flow| flow.on_ended(Ended::Send);
const RECEIVE_ENDED: Event = |flow| flow.on_ended(Ended::Receive);

#[track_caller]
fn check(before: (State, Ops), event: Event, step: Step, after: (State, Ops)) {
    let mut flow = Flow { state: before.0, ops: before.1 };
    assert_eq!(event(&mut flow), step);
    assert_eq!((flow.state, flow.ops), after);
}

#[test]
fn a_connect_leads_to_a_connection_or_to_nothing() {
    let connecting = (State::Connecting, CONNECT);
    check(connecting, CONNECTED, Step::Connected, (State::Connected, NONE));
    check(connecting, CONNECT_FAILED, Step::Release, (State::Idle, NONE));
    check(connecting, CLOSE, Step::Cancel(CONNECT), (State::Closing, CONNECT));
}

#[test]
fn an_idle_connection_closes_at_once() {
    check((State::Connected, NONE), CLOSE, Step::Release, (State::Idle, NONE));
}

#[test]
fn a_request_is_answered_when_it_is_sent_and_its_reply_is_complete() {
    check((State::Waiting, BOTH), SENT, Step::Nothing, (State::Waiting, RECEIVE));
    check((State::Waiting, BOTH), PART, Step::Receive, (State::Waiting, BOTH));
    check((State::Waiting, BOTH), REPLY, Step::Nothing, (State::Answered, SEND));
    check((State::Waiting, RECEIVE), PART, Step::Receive, (State::Waiting, RECEIVE));
    check((State::Waiting, RECEIVE), REPLY, Step::Answered, (State::Connected, NONE));
    check((State::Answered, SEND), SENT, Step::Answered, (State::Connected, NONE));
}

#[test]
fn a_failure_cancels_what_is_left() {
    let (sending, receiving) = ((State::Closing, SEND), (State::Closing, RECEIVE));
    check((State::Waiting, BOTH), SEND_FAILED, Step::Cancel(RECEIVE), receiving);
    check((State::Waiting, BOTH), RECEIVE_ENDED, Step::Cancel(SEND), sending);
    check((State::Waiting, BOTH), CLOSE, Step::Cancel(BOTH), (State::Closing, BOTH));
    check((State::Waiting, RECEIVE), RECEIVE_ENDED, Step::Release, (State::Idle, NONE));
    check((State::Waiting, RECEIVE), CLOSE, Step::Cancel(RECEIVE), receiving);
    check((State::Answered, SEND), SEND_FAILED, Step::Release, (State::Idle, NONE));
    check((State::Answered, SEND), CLOSE, Step::Cancel(SEND), sending);
}

#[test]
fn closing_waits_for_every_operation_however_it_ends() {
    let idle = (State::Idle, NONE);
    for event in [SENT, SEND_FAILED] {
        check((State::Closing, BOTH), event, Step::Nothing, (State::Closing, RECEIVE));
        check((State::Closing, SEND), event, Step::Release, idle);
    }
    for event in [PART, REPLY, RECEIVE_ENDED] {
        check((State::Closing, BOTH), event, Step::Nothing, (State::Closing, SEND));
        check((State::Closing, RECEIVE), event, Step::Release, idle);
    }
    for event in [CONNECTED, CONNECT_FAILED] {
        check((State::Closing, CONNECT), event, Step::Release, idle);
    }
    check((State::Closing, BOTH), CLOSE, Step::Nothing, (State::Closing, BOTH));
}

#[test]
#[should_panic(expected = "not in flight")]
fn an_answer_to_nothing_is_our_bug_and_loud() {
    Flow::default().on_sent();
}

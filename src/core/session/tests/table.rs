//! The whole behaviour of a session: every event in every state.

use super::saying::{FILLED, NOWHERE, WAIT_BACKEND, WAIT_ROOM, table};
use super::*;

/// Every event in every state, but for `Opened`, which a session gives its relays itself. What is
/// not listed for a state must not be caused by anything: it is counted, and the session stays as
/// it was.
#[test]
fn every_event_in_every_state() {
    let states = [
        ("greeting, polled", greeting()),
        ("greeting, ready", polled(greeting())),
        ("accepted", accepted()),
        ("waiting for a backend", placed(accepted(), WAIT_BACKEND)),
        ("waiting for room", placed(accepted(), WAIT_ROOM)),
        ("connecting", connecting()),
        ("connecting after waiting", placed(placed(accepted(), WAIT_BACKEND), Next::Go(FIRST))),
        ("deferred", deferred()),
        ("turned away, polled", placed(accepted(), NOWHERE)),
        ("turned away, ready", polled(placed(accepted(), NOWHERE))),
        ("receiving, receiving", relaying([], [])),
        ("sending, receiving", relaying([RECEIVED], [])),
        ("starved, receiving", relaying([relay::Event::NoBuffer], [])),
        ("finished, receiving", relaying([relay::Event::EndOfStream], [])),
        ("finished, sending", relaying([relay::Event::EndOfStream], [RECEIVED])),
        ("finished, starved", relaying([relay::Event::EndOfStream], [relay::Event::NoBuffer])),
        ("watching, receiving", relaying(WATCHING, [])),
        ("filling, receiving", relaying(BULK, [])),
        ("draining, receiving", relaying([BULK[0], BULK[1], FILLED], [])),
        ("blocked, receiving", relaying(BLOCKED, [])),
        ("closing, poll of the client in flight", cut(greeting())),
        ("closing, turned away, poll of the client in flight", cut(placed(accepted(), NOWHERE))),
        ("closing, connect in flight", cut(connecting())),
        ("closing, receive and receive in flight", cut(relaying([], []))),
        ("closing, send and receive in flight", cut(relaying([RECEIVED], []))),
        ("closing, starved, receive in flight", cut(relaying([relay::Event::NoBuffer], []))),
        ("closing, watching, receive in flight", cut(relaying(WATCHING, []))),
        ("closing, blocked, receive in flight", cut(relaying(BLOCKED, []))),
        (
            "closing, finished, send in flight",
            cut(relaying([relay::Event::EndOfStream], [RECEIVED])),
        ),
    ];
    let table = table(states, &RULES);
    assert_eq!(table, TABLE, "\n{table}");
}

const TABLE: &str = "\
greeting, polled
  timer, early     timer in 4s
  timer, due       cancel poll c>b, timer in 1s
  cut              cancel poll c>b, timer in 1s
  c>b ready        greet
  c>b poll failed  free CD client-gone with reset
greeting, ready
  placed           timer in 3s, connect 2
  placed, wait     timer in 20s
  placed nowhere   turn away, timer in 2s, poll source c>b
  denied           free PD denied with reset
  greeted, part    poll source c>b
  greeted          place
  greeted badly    free PR bad-greeting with reset
  timer, early     timer in 4s
  timer, due       free PR bad-greeting with reset
  cut              free KD cut with reset
accepted
  placed           timer in 3s, connect 2
  placed, wait     timer in 20s
  placed nowhere   turn away, timer in 2s, poll source c>b
  denied           free PD denied with reset
  greeted, part    poll source c>b
  greeted          place
  greeted badly    free PR bad-greeting with reset
  timer, early     timer in 4s
  timer, due       free PR bad-greeting with reset
  cut              free KD cut with reset
waiting for a backend
  placed           timer in 3s, connect 2
  placed, wait     timer in 20s
  placed nowhere   turn away, timer in 2s, poll source c>b
  denied           free PD denied with reset
  timer, early     timer in 29s
  timer, due       turn away, timer in 2s, poll source c>b
  cut              free KD cut with reset
waiting for room
  placed           timer in 3s, connect 2
  placed, wait     timer in 20s
  placed nowhere   turn away, timer in 2s, poll source c>b
  denied           free PD denied with reset
  timer, early     timer in 19s
  timer, due       turn away, timer in 2s, poll source c>b
  cut              free KD cut with reset
connecting
  connected        timer in 60s, recv c>b, recv b>c
  failed, another  timer in 3s, connect 2
  failed, wait     timer in 20s
  failed, nobody   turn away, timer in 2s, poll source c>b
  deferred         timer in 100ms
  timer, early     timer in 2s
  timer, due       cancel connect, timer in 1s
  cut              cancel connect, timer in 1s
connecting after waiting
  connected        timer in 60s, recv c>b, recv b>c
  failed, another  timer in 3s, connect 2
  failed, wait     timer in 20s
  failed, nobody   turn away, timer in 2s, poll source c>b
  deferred         timer in 100ms
  timer, early     timer in 2s
  timer, due       cancel connect, timer in 1s
  cut              cancel connect, timer in 1s
deferred
  timer, early     timer in 2s, connect 1
  timer, due       turn away, timer in 2s, poll source c>b
  cut              free KD cut with reset
turned away, polled
  timer, early     timer in 1s
  timer, due       cancel poll c>b, timer in 1s
  cut              cancel poll c>b, timer in 1s
  c>b ready        discard
  c>b poll failed  free SC backend-unreachable
turned away, ready
  discarded        poll source c>b
  discarded all    free SC backend-unreachable
  timer, early     timer in 1s
  timer, due       free SC backend-unreachable
  cut              free SC backend-unreachable
receiving, receiving
  timer, early     timer in 59s
  timer, due       cancel recv c>b, cancel recv b>c, timer in 1s
  cut              cancel recv c>b, cancel recv b>c, timer in 1s
  c>b received     send c>b 0..100
  c>b end          fin c>b, timer in 10s
  c>b recv failed  cancel recv b>c, timer in 1s
  c>b no buffer    await c>b
  b>c received     send b>c 0..100
  b>c end          fin b>c, timer in 10s
  b>c recv failed  cancel recv c>b, timer in 1s
  b>c no buffer    await b>c
sending, receiving
  timer, early     timer in 59s
  timer, due       cancel send c>b, cancel recv b>c, timer in 1s
  cut              cancel send c>b, cancel recv b>c, timer in 1s
  c>b sent all     release, recv c>b
  c>b sent part    send c>b 40..100
  c>b send failed  release, cancel recv b>c, timer in 1s
  c>b ended        release, cancel recv b>c, timer in 1s
  b>c received     send b>c 0..100
  b>c end          fin b>c, timer in 10s
  b>c recv failed  cancel send c>b, timer in 1s
  b>c no buffer    await b>c
starved, receiving
  timer, early     timer in 59s
  timer, due       cancel recv b>c, timer in 1s
  cut              cancel recv b>c, timer in 1s
  c>b buffer free  recv c>b
  b>c received     send b>c 0..100
  b>c end          fin b>c, timer in 10s
  b>c recv failed  free SD backend-gone with reset
  b>c no buffer    await b>c
finished, receiving
  timer, early     timer in 9s
  timer, due       cancel recv b>c, timer in 1s
  cut              cancel recv b>c, timer in 1s
  b>c received     send b>c 0..100
  b>c end          free -- finished
  b>c recv failed  free SD backend-gone with reset of the client
  b>c no buffer    await b>c
finished, sending
  timer, early     timer in 9s
  timer, due       cancel send b>c, timer in 1s
  cut              cancel send b>c, timer in 1s
  b>c sent all     release, recv b>c
  b>c sent part    send b>c 40..100
  b>c send failed  release, free CD client-gone with reset of the client
  b>c ended        release, free CD client-gone with reset of the client
finished, starved
  timer, early     timer in 9s
  timer, due       free hD half-closed-timeout with reset of the client
  cut              free KD cut with reset of the client
  b>c buffer free  recv b>c
watching, receiving
  timer, early     timer in 59s
  timer, due       cancel poll c>b, cancel recv b>c, timer in 1s
  cut              cancel poll c>b, cancel recv b>c, timer in 1s
  c>b ready        fill c>b
  c>b poll failed  cancel recv b>c, timer in 1s
  b>c received     send b>c 0..100
  b>c end          fin b>c, timer in 10s
  b>c recv failed  cancel poll c>b, timer in 1s
  b>c no buffer    await b>c
filling, receiving
  timer, early     timer in 59s
  timer, due       cancel recv b>c, timer in 1s
  cut              cancel recv b>c, timer in 1s
  c>b recv failed  cancel recv b>c, timer in 1s
  c>b filled       drain c>b
  c>b nothing      count Nothing c>b, recv c>b
  c>b pipe end     count End c>b, recv c>b
  c>b no pipe      count NoPipe c>b, recv c>b
  b>c received     send b>c 0..100
  b>c end          fin b>c, timer in 10s
  b>c recv failed  free SD backend-gone with reset
  b>c no buffer    await b>c
draining, receiving
  timer, early     timer in 59s
  timer, due       cancel recv b>c, timer in 1s
  cut              cancel recv b>c, timer in 1s
  c>b send failed  close pipe, cancel recv b>c, timer in 1s
  c>b ended        close pipe, cancel recv b>c, timer in 1s
  c>b drained      fill c>b
  c>b drained part poll destination c>b
  b>c received     send b>c 0..100
  b>c end          fin b>c, timer in 10s
  b>c recv failed  free SD backend-gone with reset
  b>c no buffer    await b>c
blocked, receiving
  timer, early     timer in 59s
  timer, due       cancel poll c>b, cancel recv b>c, timer in 1s
  cut              cancel poll c>b, cancel recv b>c, timer in 1s
  c>b ready        drain c>b
  c>b poll failed  close pipe, cancel recv b>c, timer in 1s
  b>c received     send b>c 0..100
  b>c end          fin b>c, timer in 10s
  b>c recv failed  cancel poll c>b, timer in 1s
  b>c no buffer    await b>c
closing, poll of the client in flight
  timer, early     cancel poll c>b, timer in 1s
  timer, due       cancel poll c>b, timer in 1s
  cut              nothing
  c>b ready        free KD cut with reset
  c>b poll failed  free KD cut with reset
  b>c buffer free  nothing
closing, turned away, poll of the client in flight
  timer, early     cancel poll c>b, timer in 1s
  timer, due       cancel poll c>b, timer in 1s
  cut              nothing
  c>b ready        free SC backend-unreachable
  c>b poll failed  free SC backend-unreachable
  b>c buffer free  nothing
closing, connect in flight
  connected        free KD cut with reset
  failed, another  free KD cut with reset
  failed, wait     free KD cut with reset
  failed, nobody   free KD cut with reset
  deferred         free KD cut with reset
  timer, early     cancel connect, timer in 1s
  timer, due       cancel connect, timer in 1s
  cut              nothing
  c>b buffer free  nothing
  b>c buffer free  nothing
closing, receive and receive in flight
  timer, early     cancel recv c>b, cancel recv b>c, timer in 1s
  timer, due       cancel recv c>b, cancel recv b>c, timer in 1s
  cut              nothing
  c>b received     release
  c>b end          nothing
  c>b recv failed  nothing
  c>b no buffer    nothing
  b>c received     release
  b>c end          nothing
  b>c recv failed  nothing
  b>c no buffer    nothing
closing, send and receive in flight
  timer, early     cancel send c>b, cancel recv b>c, timer in 1s
  timer, due       cancel send c>b, cancel recv b>c, timer in 1s
  cut              nothing
  c>b sent all     release
  c>b sent part    release
  c>b send failed  release
  c>b ended        release
  b>c received     release
  b>c end          nothing
  b>c recv failed  nothing
  b>c no buffer    nothing
closing, starved, receive in flight
  timer, early     cancel recv b>c, timer in 1s
  timer, due       cancel recv b>c, timer in 1s
  cut              nothing
  c>b buffer free  nothing
  b>c received     release, free KD cut with reset
  b>c end          free KD cut with reset
  b>c recv failed  free KD cut with reset
  b>c no buffer    free KD cut with reset
closing, watching, receive in flight
  timer, early     cancel poll c>b, cancel recv b>c, timer in 1s
  timer, due       cancel poll c>b, cancel recv b>c, timer in 1s
  cut              nothing
  c>b ready        nothing
  c>b poll failed  nothing
  b>c received     release
  b>c end          nothing
  b>c recv failed  nothing
  b>c no buffer    nothing
closing, blocked, receive in flight
  timer, early     cancel poll c>b, cancel recv b>c, timer in 1s
  timer, due       cancel poll c>b, cancel recv b>c, timer in 1s
  cut              nothing
  c>b ready        close pipe
  c>b poll failed  close pipe
  b>c received     release
  b>c end          nothing
  b>c recv failed  nothing
  b>c no buffer    nothing
closing, finished, send in flight
  timer, early     cancel send b>c, timer in 1s
  timer, due       cancel send b>c, timer in 1s
  cut              nothing
  c>b buffer free  nothing
  b>c sent all     release, free KD cut with reset of the client
  b>c sent part    release, free KD cut with reset of the client
  b>c send failed  release, free KD cut with reset of the client
  b>c ended        release, free KD cut with reset of the client
";

/// The poll of the client that is in flight has ended: it has something to say.
fn polled(mut session: Session) -> Session {
    on_relay(&mut session, ClientToBackend, relay::Event::Ready);
    session
}

fn deferred() -> Session {
    let mut session = connecting();
    session.on(Event::ConnectDeferred, NOW, &RULES);
    session
}

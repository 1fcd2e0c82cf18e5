//! A backend ends abnormally, and the session goes on with another: every event in every state.

use super::moving::{FAILOVER, kept, lost, moved, moved_with_pipe, send_failed};
use super::saying::{FILLED, WAIT_BACKEND, table};
use super::*;

/// Every event in every state of a move. What is the same as without, such as a session that connects
/// for the first time, is in the other table.
#[test]
fn every_event_in_every_state_of_a_move() {
    let states = [
        ("receiving, receiving", relaying([], [])),
        ("sending, receiving", relaying([RECEIVED], [])),
        ("receiving, sending", relaying([], [RECEIVED])),
        ("watching, watching", relaying(WATCHING, WATCHING)),
        ("draining, filling", relaying([BULK[0], BULK[1], FILLED], BULK)),
        ("blocked, blocked", relaying(BLOCKED, BLOCKED)),
        ("finished, receiving", relaying([relay::Event::EndOfStream], [])),
        ("sending, finished", relaying([RECEIVED], [relay::Event::EndOfStream])),
        ("moving, the client is heard", lost([], [])),
        ("moving, the client is watched", lost(WATCHING, [])),
        ("moving, a send to cancel", lost([RECEIVED], [])),
        ("moving, a pipe to cancel", lost(BLOCKED, [])),
        ("moving, starved", lost([relay::Event::NoBuffer], [])),
        ("moving, the last words in flight", send_failed([RECEIVED])),
        ("moving, the last words in a pipe", send_failed(BLOCKED)),
        ("moving, nothing more to hear", send_failed([])),
        ("waiting, the client is heard", moved([], WAIT_BACKEND)),
        ("waiting, bytes kept", kept(moved([], WAIT_BACKEND))),
        ("connecting, the client is heard", moved([], Next::Go(SECOND))),
        ("connecting, bytes kept", kept(moved([], Next::Go(SECOND)))),
        ("connecting, a pipe kept", moved_with_pipe()),
        ("closing, the client was heard", cut(moved([], Next::Go(SECOND)))),
    ];
    let table = table(states, &FAILOVER);
    assert_eq!(table, TABLE, "\n{table}");
}

const TABLE: &str = "\
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
  b>c recv failed  move
  b>c no buffer    await b>c
sending, receiving
  timer, early     timer in 59s
  timer, due       cancel send c>b, cancel recv b>c, timer in 1s
  cut              cancel send c>b, cancel recv b>c, timer in 1s
  c>b sent all     release, recv c>b
  c>b sent part    send c>b 40..100
  c>b send failed  cancel recv b>c, timer in 1s
  c>b ended        release, cancel recv b>c, timer in 1s
  b>c received     send b>c 0..100
  b>c end          fin b>c, timer in 10s
  b>c recv failed  cancel send c>b, timer in 1s
  b>c no buffer    await b>c
receiving, sending
  timer, early     timer in 59s
  timer, due       cancel recv c>b, cancel send b>c, timer in 1s
  cut              cancel recv c>b, cancel send b>c, timer in 1s
  c>b received     send c>b 0..100
  c>b end          fin c>b, timer in 10s
  c>b recv failed  cancel send b>c, timer in 1s
  c>b no buffer    await c>b
  b>c sent all     release, recv b>c
  b>c sent part    send b>c 40..100
  b>c send failed  release, cancel recv c>b, timer in 1s
  b>c ended        release, cancel recv c>b, timer in 1s
watching, watching
  timer, early     timer in 59s
  timer, due       cancel poll c>b, cancel poll b>c, timer in 1s
  cut              cancel poll c>b, cancel poll b>c, timer in 1s
  c>b ready        fill c>b
  c>b poll failed  cancel poll b>c, timer in 1s
  b>c ready        fill b>c
  b>c poll failed  move
draining, filling
  timer, early     timer in 59s
  timer, due       free tD idle-timeout with reset
  cut              free KD cut with reset
  c>b send failed  timer in 1s
  c>b ended        close pipe, free SD backend-gone with reset
  c>b drained      fill c>b
  c>b drained part poll destination c>b
  b>c recv failed  move
  b>c filled       drain b>c
  b>c nothing      count Nothing b>c, recv b>c
  b>c pipe end     count End b>c, recv b>c
  b>c no pipe      count NoPipe b>c, recv b>c
blocked, blocked
  timer, early     timer in 59s
  timer, due       cancel poll c>b, cancel poll b>c, timer in 1s
  cut              cancel poll c>b, cancel poll b>c, timer in 1s
  c>b ready        drain c>b
  c>b poll failed  timer in 1s
  b>c ready        drain b>c
  b>c poll failed  close pipe, cancel poll c>b, timer in 1s
finished, receiving
  timer, early     timer in 9s
  timer, due       cancel recv b>c, timer in 1s
  cut              cancel recv b>c, timer in 1s
  b>c received     send b>c 0..100
  b>c end          free -- finished
  b>c recv failed  free SD backend-gone with reset of the client
  b>c no buffer    await b>c
sending, finished
  timer, early     timer in 9s
  timer, due       cancel send c>b, timer in 1s
  cut              cancel send c>b, timer in 1s
  c>b sent all     release, recv c>b
  c>b sent part    send c>b 40..100
  c>b send failed  release, free SD backend-gone with reset of the backend
  c>b ended        release, free SD backend-gone with reset of the backend
moving, the client is heard
  placed           timer in 3s, connect 2
  placed, wait     timer in 20s
  placed nowhere   cancel recv c>b, timer in 1s
  denied           cancel recv c>b, timer in 1s
  timer, early     timer in 1s
  timer, due       cancel recv c>b, timer in 1s
  cut              cancel recv c>b, timer in 1s
  c>b received     move
  c>b end          free SD backend-gone with reset
  c>b recv failed  free CD client-gone with reset
  c>b no buffer    move
moving, the client is watched
  placed           timer in 3s, connect 2
  placed, wait     timer in 20s
  placed nowhere   cancel poll c>b, timer in 1s
  denied           cancel poll c>b, timer in 1s
  timer, early     timer in 1s
  timer, due       cancel poll c>b, timer in 1s
  cut              cancel poll c>b, timer in 1s
  c>b ready        move
  c>b poll failed  free CD client-gone with reset
moving, a send to cancel
  timer, early     cancel send c>b, timer in 1s
  timer, due       cancel send c>b, timer in 1s
  cut              cancel send c>b, timer in 1s
  c>b sent all     release, move
  c>b sent part    move
  c>b send failed  move
  c>b ended        move
moving, a pipe to cancel
  timer, early     cancel poll c>b, timer in 1s
  timer, due       cancel poll c>b, timer in 1s
  cut              cancel poll c>b, timer in 1s
  c>b ready        move
  c>b poll failed  move
moving, starved
  placed           timer in 3s, connect 2
  placed, wait     timer in 20s
  placed nowhere   free SC backend-unreachable with reset
  denied           free PD denied with reset
  timer, early     timer in 1s
  timer, due       free SD backend-gone with reset
  cut              free KD cut with reset
  c>b buffer free  move
moving, the last words in flight
  timer, early     timer in 1s
  timer, due       release, cancel send b>c, timer in 1s
  cut              release, cancel send b>c, timer in 1s
  b>c sent all     release, recv b>c
  b>c sent part    send b>c 40..100
  b>c send failed  release, release, free CD client-gone with reset
  b>c ended        release, release, free CD client-gone with reset
moving, the last words in a pipe
  timer, early     timer in 1s
  timer, due       release, cancel poll b>c, timer in 1s
  cut              release, cancel poll b>c, timer in 1s
  b>c ready        drain b>c
  b>c poll failed  close pipe, release, free CD client-gone with reset
moving, nothing more to hear
  timer, early     cancel recv b>c, timer in 1s
  timer, due       release, cancel recv b>c, timer in 1s
  cut              release, cancel recv b>c, timer in 1s
  b>c received     send b>c 0..100
  b>c end          move
  b>c recv failed  move
  b>c no buffer    await b>c
waiting, the client is heard
  placed           timer in 3s, connect 2
  placed, wait     timer in 20s
  placed nowhere   cancel recv c>b, timer in 1s
  denied           cancel recv c>b, timer in 1s
  timer, early     timer in 29s
  timer, due       cancel recv c>b, timer in 1s
  cut              cancel recv c>b, timer in 1s
  c>b received     nothing
  c>b end          free SD backend-gone with reset
  c>b recv failed  free CD client-gone with reset
  c>b no buffer    nothing
waiting, bytes kept
  placed           timer in 3s, connect 2
  placed, wait     timer in 20s
  placed nowhere   release, free SC backend-unreachable with reset
  denied           release, free PD denied with reset
  timer, early     timer in 29s
  timer, due       release, free SC backend-unreachable with reset
  cut              release, free KD cut with reset
connecting, the client is heard
  connected        timer in 60s, recv b>c
  failed, another  timer in 3s, connect 2
  failed, wait     timer in 20s
  failed, nobody   cancel recv c>b, timer in 1s
  deferred         timer in 100ms
  timer, early     timer in 2s
  timer, due       cancel connect, timer in 1s
  cut              cancel connect, cancel recv c>b, timer in 1s
  c>b received     nothing
  c>b end          cancel connect, timer in 1s
  c>b recv failed  cancel connect, timer in 1s
  c>b no buffer    nothing
connecting, bytes kept
  connected        timer in 60s, send c>b 0..100, recv b>c
  failed, another  timer in 3s, connect 2
  failed, wait     timer in 20s
  failed, nobody   release, free SC backend-unreachable with reset
  deferred         timer in 100ms
  timer, early     timer in 2s
  timer, due       cancel connect, timer in 1s
  cut              release, cancel connect, timer in 1s
connecting, a pipe kept
  connected        timer in 60s, drain c>b, recv b>c
  failed, another  timer in 3s, connect 2
  failed, wait     timer in 20s
  failed, nobody   close pipe, free SC backend-unreachable with reset
  deferred         timer in 100ms
  timer, early     timer in 2s
  timer, due       cancel connect, timer in 1s
  cut              close pipe, cancel connect, timer in 1s
closing, the client was heard
  connected        nothing
  failed, another  nothing
  failed, wait     nothing
  failed, nobody   nothing
  deferred         nothing
  timer, early     cancel connect, cancel recv c>b, timer in 1s
  timer, due       cancel connect, cancel recv c>b, timer in 1s
  cut              nothing
  c>b received     release
  c>b end          nothing
  c>b recv failed  nothing
  c>b no buffer    nothing
  b>c buffer free  nothing
";

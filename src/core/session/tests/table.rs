//! The whole behaviour of a session: every event in every state.

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
    let mut table = String::new();
    for (name, session) in states {
        table += &format!("{name}\n");
        for (event, at, event_name) in events() {
            let answer = answer(&session, event, at);
            if answer != "count" {
                table += &format!("  {event_name:<17}{answer}\n");
            }
        }
    }
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
";

const WAIT_BACKEND: Next = Next::Wait(WaitFor::Backend);
const WAIT_ROOM: Next = Next::Wait(WaitFor::Room);
const NOWHERE: Next = Next::Nowhere(EndReason::BackendUnreachable);

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

const FILLED: relay::Event = relay::Event::Filled(PIPE);

/// Every event; timers come once before and once after every deadline.
fn events() -> Vec<(Event, Moment, String)> {
    let mut events = vec![
        (Event::Connected, NOW, "connected".to_owned()),
        (Event::ConnectFailed { next: Next::Go(SECOND) }, NOW, "failed, another".to_owned()),
        (Event::ConnectFailed { next: WAIT_ROOM }, NOW, "failed, wait".to_owned()),
        (Event::ConnectFailed { next: NOWHERE }, NOW, "failed, nobody".to_owned()),
        (Event::ConnectDeferred, NOW, "deferred".to_owned()),
        (Event::Placed(Next::Go(SECOND)), NOW, "placed".to_owned()),
        (Event::Placed(WAIT_ROOM), NOW, "placed, wait".to_owned()),
        (Event::Placed(NOWHERE), NOW, "placed nowhere".to_owned()),
        (Event::Placed(Next::Nowhere(EndReason::Denied)), NOW, "denied".to_owned()),
        (Event::Greeted(Greeting::Part), NOW, "greeted, part".to_owned()),
        (Event::Greeted(Greeting::Whole), NOW, "greeted".to_owned()),
        (Event::Greeted(Greeting::Bad), NOW, "greeted badly".to_owned()),
        (Event::Discarded { more: true }, NOW, "discarded".to_owned()),
        (Event::Discarded { more: false }, NOW, "discarded all".to_owned()),
        (Event::TimerFired, NOW + Duration::from_secs(1), "timer, early".to_owned()),
        (Event::TimerFired, NOW + Duration::from_secs(3600), "timer, due".to_owned()),
        (Event::Cut(EndReason::Cut), NOW, "cut".to_owned()),
    ];
    for direction in Direction::BOTH {
        for (event, name) in [
            (RECEIVED, "received"),
            (relay::Event::EndOfStream, "end"),
            (relay::Event::RecvFailed, "recv failed"),
            (relay::Event::NoBuffer, "no buffer"),
            (relay::Event::BufferFree, "buffer free"),
            (SENT_ALL, "sent all"),
            (SENT_PART, "sent part"),
            (relay::Event::SendFailed, "send failed"),
            (relay::Event::Ready, "ready"),
            (relay::Event::PollFailed, "poll failed"),
            (FILLED, "filled"),
            (relay::Event::FilledNothing, "nothing"),
            (relay::Event::FilledEnd, "pipe end"),
            (relay::Event::NoPipe, "no pipe"),
            (relay::Event::Drained { bytes: 9, empty: true }, "drained"),
            (relay::Event::Drained { bytes: 9, empty: false }, "drained part"),
        ] {
            let name = format!("{} {name}", arrow(direction));
            events.push((Event::Relay(direction, event), NOW, name));
        }
    }
    events
}

/// What `session` wants after `event`, in words; nothing changes where it only counts.
fn answer(session: &Session, event: Event, at: Moment) -> String {
    let mut after = session.clone();
    let actions = after.on(event, at, &RULES);
    if actions.contains(&Action::CountUnexpected) {
        assert_eq!(format!("{after:?}"), format!("{session:?}"), "changed by {event:?}");
        // What comes with something that nobody asked for is not lost.
        let brings = matches!(event, Event::Relay(_, relay::Event::Received(_)));
        assert_eq!(actions.contains(&Action::Release(HELD.buffer)), brings, "{event:?}");
        let brings = matches!(event, Event::Relay(_, FILLED));
        assert_eq!(actions.contains(&Action::ClosePipe(PIPE)), brings, "{event:?}");
        return "count".to_owned();
    }
    let words: Vec<String> = actions.iter().map(|action| word(action, at)).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn word(action: &Action, now: Moment) -> String {
    match *action {
        Action::Place => "place".to_owned(),
        Action::Greet => "greet".to_owned(),
        Action::TurnAway => "turn away".to_owned(),
        Action::Discard => "discard".to_owned(),
        Action::Connect(candidate) => format!("connect {}", candidate.backend.0),
        Action::CancelConnect => "cancel connect".to_owned(),
        Action::Recv { direction, .. } => format!("recv {}", arrow(direction)),
        Action::Send { direction, held: Held { start, end, .. } } => {
            format!("send {} {start}..{end}", arrow(direction))
        }
        Action::Fill(direction) => format!("fill {}", arrow(direction)),
        Action::Drain(direction, _) => format!("drain {}", arrow(direction)),
        Action::Poll(direction, side) if side == direction.source() => {
            format!("poll source {}", arrow(direction))
        }
        Action::Poll(direction, _) => format!("poll destination {}", arrow(direction)),
        Action::ClosePipe(_) => "close pipe".to_owned(),
        Action::CountPath(direction, change) => format!("count {change:?} {}", arrow(direction)),
        Action::AwaitBuffer(direction) => format!("await {}", arrow(direction)),
        Action::FinishWriting(direction) => format!("fin {}", arrow(direction)),
        Action::Cancel(direction, InFlight::Recv) => format!("cancel recv {}", arrow(direction)),
        Action::Cancel(direction, InFlight::Poll) => format!("cancel poll {}", arrow(direction)),
        Action::Cancel(direction, InFlight::Send) => format!("cancel send {}", arrow(direction)),
        Action::Release(_) => "release".to_owned(),
        Action::ArmTimer(deadline) => format!("timer in {:?}", deadline.since(now)),
        Action::Free { reason, reset_client, reset_backend } => {
            let resets = match (reset_client, reset_backend) {
                (false, false) => "",
                (true, true) => " with reset",
                (true, false) => " with reset of the client",
                (false, true) => " with reset of the backend",
            };
            format!("free {}{resets}", reason.label())
        }
        Action::CountUnexpected => "count".to_owned(),
    }
}

fn arrow(direction: Direction) -> &'static str {
    match direction {
        ClientToBackend => "c>b",
        BackendToClient => "b>c",
    }
}

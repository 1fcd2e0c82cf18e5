//! What a session does, in words: one line for each event that something can have caused.

use super::*;

/// What each session wants after each event.
pub(super) fn table<const N: usize>(states: [(&str, Session); N], rules: &Rules) -> String {
    let mut table = String::new();
    for (name, session) in states {
        table += &format!("{name}\n");
        for (event, at, event_name) in events() {
            let answer = answer(&session, event, at, rules);
            if answer != "count" {
                table += &format!("  {event_name:<17}{answer}\n");
            }
        }
    }
    table
}

pub(super) const WAIT_BACKEND: Next = Next::Wait(WaitFor::Backend);
pub(super) const WAIT_ROOM: Next = Next::Wait(WaitFor::Room);
pub(super) const NOWHERE: Next = Next::Nowhere(EndReason::BackendUnreachable);

pub(super) const FILLED: relay::Event = relay::Event::Filled(PIPE);

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
            (relay::Event::DestinationEnded, "ended"),
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
fn answer(session: &Session, event: Event, at: Moment, rules: &Rules) -> String {
    let mut after = session.clone();
    let actions = after.on(event, at, rules);
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
        Action::Move => "move".to_owned(),
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

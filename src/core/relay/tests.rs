use super::*;

pub(in crate::core) const HELD: Held =
    Held { buffer: BufferId(4), start: 0, end: 100, more: false };

pub(in crate::core) const PIPE: PipeId = PipeId(7);

const BULK: Bulk = Bulk::MEASURED;
const AUTO: Splice = Splice::Auto(BULK);

const STATES: [State; 13] = [
    State::Unopened,
    State::Receiving,
    State::Starved,
    State::Sending(HELD),
    State::Watching,
    State::Filling,
    State::Draining(PIPE),
    State::Blocked(PIPE),
    State::Finished,
    State::Paused(Cargo::Nothing),
    State::Paused(Cargo::Held(HELD)),
    State::Paused(Cargo::Pipe(PIPE)),
    State::Stopped,
];

const EVENTS: [Event; 18] = [
    Event::Opened,
    Event::Received(HELD),
    Event::EndOfStream,
    Event::RecvFailed,
    Event::NoBuffer,
    Event::BufferFree,
    Event::Sent(100),
    Event::Sent(40),
    Event::SendFailed,
    Event::DestinationEnded,
    Event::Ready,
    Event::PollFailed,
    Event::Filled(PIPE),
    Event::FilledNothing,
    Event::FilledEnd,
    Event::NoPipe,
    Event::Drained { bytes: 9, empty: true },
    Event::Drained { bytes: 9, empty: false },
];

fn relay(state: State) -> Relay {
    Relay { state, ..Relay::UNOPENED }
}

/// The whole behaviour: every event in every state, `!` where nothing could have caused it.
#[test]
fn every_event_in_every_state_while_the_session_lives() {
    let table = STATES.map(|state| row(EVENTS.map(|event| name(relay(state).on(event, &AUTO)))));
    #[rustfmt::skip]
    assert_eq!(table, [
        /* unopened */  "opened: recv",
        /* receiving */ "received: send; end: finish; recv failed: source gone; no buffer: await",
        /* starved */   "buffer free: recv",
        /* sending */   "sent all: release recv; sent part: send; send failed: release, destination gone; \
                         ended: release, destination gone",
        /* watching */  "ready: fill; poll failed: source gone",
        /* filling */   "recv failed: source gone; filled: drain; nothing: recv because Nothing; \
                         pipe end: recv because End; no pipe: recv because NoPipe",
        /* draining */  "send failed: close pipe, destination gone; \
                         ended: close pipe, destination gone; drained: fill; drained part: poll destination",
        /* blocked */   "ready: drain; poll failed: close pipe, destination gone",
        /* finished */  "",
        /* paused */    "opened: recv",
        /* with bytes */ "opened: send",
        /* with a pipe */ "opened: drain",
        /* stopped */   "",
    ]);
}

#[test]
fn every_event_in_every_state_while_the_session_closes() {
    let table = STATES.map(|state| {
        row(EVENTS.map(|event| match relay(state).wind_up(event) {
            Ok(Some(Holder::Buffer(_))) => "release".to_owned(),
            Ok(Some(Holder::Pipe(_))) => "close pipe".to_owned(),
            Ok(None) => "end".to_owned(),
            Err(_) => "!".to_owned(),
        }))
    });
    #[rustfmt::skip]
    assert_eq!(table, [
        /* unopened */  "",
        /* receiving */ "received: release; end: end; recv failed: end; no buffer: end",
        /* starved */   "",
        /* sending */   "sent all: release; sent part: release; send failed: release; ended: release",
        /* watching */  "ready: end; poll failed: end",
        /* filling */   "",
        /* draining */  "",
        /* blocked */   "ready: close pipe; poll failed: close pipe",
        /* finished */  "buffer free: end",
        /* paused */    "",
        /* with bytes */ "",
        /* with a pipe */ "",
        /* stopped */   "buffer free: end",
    ]);
}

#[test]
fn every_event_in_every_state_while_another_destination_is_looked_for() {
    let table = STATES.map(|state| {
        row(EVENTS.map(|event| {
            let mut relay = relay(state);
            match (relay.keep(event), relay.state) {
                (Ok(Kept::All), State::Paused(Cargo::Nothing)) => "paused".to_owned(),
                (Ok(Kept::Release(_)), State::Paused(Cargo::Nothing)) => "release".to_owned(),
                (Ok(Kept::All), State::Paused(Cargo::Held(held))) => {
                    format!("kept {}..{}", held.start, held.end)
                }
                (Ok(Kept::All), State::Paused(Cargo::Pipe(PIPE))) => "pipe kept".to_owned(),
                (Ok(Kept::SourceFinished), State::Stopped) => "source finished".to_owned(),
                (Ok(Kept::SourceGone), State::Stopped) => "source gone".to_owned(),
                (Err(_), unchanged) if unchanged == state => "!".to_owned(),
                odd => format!("{odd:?}"),
            }
        }))
    });
    #[rustfmt::skip]
    assert_eq!(table, [
        /* unopened */  "",
        /* receiving */ "received: kept 0..100; end: source finished; recv failed: source gone; \
                         no buffer: paused",
        /* starved */   "buffer free: paused",
        /* sending */   "sent all: release; sent part: kept 40..100; send failed: kept 0..100; \
                         ended: kept 0..100",
        /* watching */  "ready: paused; poll failed: source gone",
        /* filling */   "",
        /* draining */  "send failed: pipe kept",
        /* blocked */   "ready: pipe kept; poll failed: pipe kept",
        /* finished */  "",
        /* paused */    "",
        /* with bytes */ "",
        /* with a pipe */ "",
        /* stopped */   "",
    ]);
}

#[test]
fn what_is_lost_is_the_side_that_the_operation_was_on() {
    let table = STATES.map(|state| {
        row(EVENTS.map(|event| {
            let relay = relay(state);
            match (relay.loses_source(event), relay.loses_destination(event)) {
                (true, false) => "source".to_owned(),
                (false, true) => "destination".to_owned(),
                (false, false) => "!".to_owned(),
                (true, true) => "both".to_owned(),
            }
        }))
    });
    let lossy = table.into_iter().filter(|row| !row.is_empty());
    let expected = [
        /* receiving */ "recv failed: source",
        /* sending */ "send failed: destination",
        /* watching */ "poll failed: source",
        /* filling */ "recv failed: source",
        /* draining */ "send failed: destination",
        /* blocked */ "poll failed: destination",
    ];
    assert_eq!(lossy.collect::<Vec<_>>(), expected);
}

#[test]
fn who_stops_gives_back_what_was_kept() {
    let stopped = STATES.map(|state| {
        let mut stopped = relay(state);
        (stopped.stop(), stopped.in_flight() == relay(state).in_flight())
    });
    let kept = stopped.iter().filter_map(|(holder, _)| *holder).collect::<Vec<_>>();
    assert_eq!(kept, [Holder::Buffer(HELD.buffer), Holder::Pipe(PIPE)]);
    assert!(stopped.iter().all(|&(_, same)| same), "what is in flight ends by itself");
}

#[test]
fn what_was_taken_before_the_destination_was_lost_is_counted_and_not_sent_again() {
    let mut relay = relay(State::Sending(HELD));
    relay.keep(Event::Sent(40)).expect("it is in flight");
    assert_eq!(relay.on(Event::Opened, &AUTO), Ok(Step::Send(Held { start: 40, ..HELD })));
    assert_eq!(relay.copied(), 40);
}

/// What is not `!`, with the event's name.
fn row(answers: [String; EVENTS.len()]) -> String {
    let names = [
        "opened",
        "received",
        "end",
        "recv failed",
        "no buffer",
        "buffer free",
        "sent all",
        "sent part",
        "send failed",
        "ended",
        "ready",
        "poll failed",
        "filled",
        "nothing",
        "pipe end",
        "no pipe",
        "drained",
        "drained part",
    ];
    let answers = names.iter().zip(answers).filter(|(_, answer)| answer != "!");
    answers.map(|(name, answer)| format!("{name}: {answer}")).collect::<Vec<_>>().join("; ")
}

fn name(step: Result<Step, Unexpected>) -> String {
    let because = |change: Option<PathChange>| {
        change.map_or_else(String::new, |change| format!(" because {change:?}"))
    };
    let release = |buffer: Option<BufferId>| if buffer.is_some() { "release " } else { "" };
    match step {
        Ok(Step::Recv { release: buffer, change, .. }) => {
            format!("{}recv{}", release(buffer), because(change))
        }
        Ok(Step::Fill { release: buffer, change }) => {
            format!("{}fill{}", release(buffer), because(change))
        }
        Ok(Step::Send(_)) => "send".to_owned(),
        Ok(Step::Drain(_)) => "drain".to_owned(),
        Ok(Step::PollSource) => "poll source".to_owned(),
        Ok(Step::PollDestination) => "poll destination".to_owned(),
        Ok(Step::AwaitBuffer) => "await".to_owned(),
        Ok(Step::Finish) => "finish".to_owned(),
        Ok(Step::SourceGone) => "source gone".to_owned(),
        Ok(Step::DestinationGone(Holder::Buffer(_))) => "release, destination gone".to_owned(),
        Ok(Step::DestinationGone(Holder::Pipe(_))) => "close pipe, destination gone".to_owned(),
        Err(_) => "!".to_owned(),
    }
}

#[test]
fn a_short_send_goes_on_where_it_stopped() {
    let mut relay = relay(State::Sending(HELD));
    let rest = Held { start: 40, ..HELD };
    assert_eq!(relay.on(Event::Sent(40), &AUTO), Ok(Step::Send(rest)));
    assert_eq!(relay.on(Event::Sent(60), &AUTO).map(is_copying), Ok(true));
    assert_eq!(relay.copied(), 100);
}

#[test]
fn what_comes_unasked_is_handed_back() {
    let mut relay = Relay::UNOPENED;
    let buffer = Unexpected { holder: Some(Holder::Buffer(HELD.buffer)) };
    assert_eq!(relay.on(Event::Received(HELD), &AUTO), Err(buffer));
    assert_eq!(
        relay.on(Event::Filled(PIPE), &AUTO),
        Err(Unexpected { holder: Some(Holder::Pipe(PIPE)) })
    );
}

// The path ----------------------------------------------------------------------------------------

#[test]
fn a_direction_that_proves_to_be_bulk_is_spliced() {
    let mut relay = relay(State::Receiving);
    let enough = BULK.after / BULK.large_receive;
    for _ in 1..enough {
        assert!(is_copying(copy(&mut relay, BULK.large_receive)));
    }
    let step = copy(&mut relay, BULK.large_receive);
    assert_eq!(step, fill(Some(HELD.buffer), Some(PathChange::Bulk)));
}

#[test]
fn small_messages_are_never_bulk_however_many() {
    let mut relay = relay(State::Receiving);
    for _ in 0..10_000 {
        assert!(is_copying(copy(&mut relay, BULK.large_receive - 1)));
    }
}

#[test]
fn one_small_message_starts_the_count_again() {
    let mut relay = relay(State::Receiving);
    copy(&mut relay, BULK.after - 1);
    copy(&mut relay, 1);
    assert!(is_copying(copy(&mut relay, BULK.after - 1)));
    assert!(!is_copying(copy(&mut relay, BULK.large_receive)));
}

#[test]
fn a_path_is_changed_only_when_everything_from_the_buffer_is_sent() {
    let mut relay = relay(State::Receiving);
    let held = Held { end: BULK.after, ..HELD };
    on(&mut relay, Event::Received(held));
    let rest = Held { start: 1, ..held };
    assert_eq!(on(&mut relay, Event::Sent(1)), Step::Send(rest));
    assert!(!is_copying(on(&mut relay, Event::Sent(BULK.after - 1))));
}

#[test]
fn off_never_splices() {
    let mut relay = relay(State::Receiving);
    let held = Held { end: u32::MAX, ..HELD };
    relay.on(Event::Received(held), &Splice::Off).expect("it receives");
    assert!(relay.on(Event::Sent(u32::MAX), &Splice::Off).is_ok_and(is_copying));
}

#[test]
fn always_splices_from_the_first_byte_and_after_every_copied_one() {
    let mut relay = Relay::UNOPENED;
    assert_eq!(relay.on(Event::Opened, &Splice::Always), Ok(Step::PollSource));
    assert_eq!(relay.on(Event::Ready, &Splice::Always), Ok(fill(None, None)));
    relay.on(Event::NoPipe, &Splice::Always).expect("it fills");
    relay.on(Event::Received(HELD), &Splice::Always).expect("it receives");
    let again = fill(Some(HELD.buffer), Some(PathChange::Bulk));
    assert_eq!(relay.on(Event::Sent(100), &Splice::Always), Ok(again));
}

/// Two small pumps in a row, each as the poll, the pipe and the poll show it.
#[test]
fn little_twice_in_a_row_is_copied_again() {
    let mut relay = relay(State::Watching);
    assert_eq!(pump(&mut relay, &[BULK.little - 1]), Step::PollSource);
    assert_eq!(
        pump(&mut relay, &[BULK.little - 1]),
        Step::Recv { release: None, ready: false, change: Some(PathChange::Little) }
    );
}

#[test]
fn little_now_and_then_stays_spliced() {
    let mut relay = relay(State::Watching);
    for _ in 0..10 {
        assert_eq!(pump(&mut relay, &[BULK.little - 1]), Step::PollSource);
        assert_eq!(pump(&mut relay, &[BULK.little - 1, 1]), Step::PollSource);
    }
}

#[test]
fn always_stays_spliced_however_little_comes() {
    let mut relay = relay(State::Watching);
    for _ in 0..10 {
        on(&mut relay, Event::Ready);
        on(&mut relay, Event::Filled(PIPE));
        on(&mut relay, Event::Drained { bytes: 1, empty: true });
        assert_eq!(relay.on(Event::FilledNothing, &Splice::Always), Ok(Step::PollSource));
    }
}

/// Urgent data keeps splice from reading, for ever, while poll says that there is something.
#[test]
fn a_source_that_is_readable_and_yields_nothing_is_received_from() {
    let mut relay = relay(State::Watching);
    assert_eq!(
        pump(&mut relay, &[]),
        Step::Recv { release: None, ready: true, change: Some(PathChange::Nothing) }
    );
}

/// Splice says 0 also when urgent data stands before the FIN.
#[test]
fn an_end_that_splice_saw_is_confirmed_by_a_receive() {
    let mut relay = relay(State::Watching);
    on(&mut relay, Event::Ready);
    let step = on(&mut relay, Event::FilledEnd);
    assert_eq!(step, Step::Recv { release: None, ready: true, change: Some(PathChange::End) });
    assert_eq!(on(&mut relay, Event::EndOfStream), Step::Finish);
}

#[test]
fn a_destination_that_takes_only_a_part_is_waited_for_before_the_source_is_looked_at() {
    let mut relay = relay(State::Draining(PIPE));
    for taken in [0, 5] {
        let part = Event::Drained { bytes: taken, empty: false };
        assert_eq!(on(&mut relay, part), Step::PollDestination);
        assert!(relay.holds_bytes());
        assert_eq!(on(&mut relay, Event::Ready), Step::Drain(PIPE));
    }
    assert_eq!(on(&mut relay, Event::Drained { bytes: 1, empty: true }), fill(None, None));
    assert_eq!((relay.spliced(), relay.copied()), (6, 0));
}

#[test]
fn a_source_without_end_gives_others_their_turn() {
    let mut relay = relay(State::Watching);
    on(&mut relay, Event::Ready);
    for _ in 1..ROUNDS {
        on(&mut relay, Event::Filled(PIPE));
        assert_eq!(on(&mut relay, Event::Drained { bytes: 1, empty: true }), fill(None, None));
    }
    on(&mut relay, Event::Filled(PIPE));
    assert_eq!(on(&mut relay, Event::Drained { bytes: 1, empty: true }), Step::PollSource);
}

// What the tests above share ----------------------------------------------------------------------

fn on(relay: &mut Relay, event: Event) -> Step {
    relay.on(event, &AUTO).expect("the event is one that can come")
}

/// A receive of so many bytes, and the send of all of them; what comes then.
fn copy(relay: &mut Relay, bytes: u32) -> Step {
    on(relay, Event::Received(Held { end: bytes, ..HELD }));
    on(relay, Event::Sent(bytes))
}

/// The source becomes readable and has pipes of so many bytes, then nothing; what comes then.
fn pump(relay: &mut Relay, pipes: &[u32]) -> Step {
    assert_eq!(on(relay, Event::Ready), fill(None, None));
    for &bytes in pipes {
        assert_eq!(on(relay, Event::Filled(PIPE)), Step::Drain(PIPE));
        assert_eq!(on(relay, Event::Drained { bytes, empty: true }), fill(None, None));
    }
    on(relay, Event::FilledNothing)
}

const fn fill(release: Option<BufferId>, change: Option<PathChange>) -> Step {
    Step::Fill { release, change }
}

fn is_copying(step: Step) -> bool {
    matches!(step, Step::Recv { .. })
}

//! What is drawn for a state, cell by cell, and what keys do.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::draw::{Palette, as_text, draw};
use super::keys::{Ask, Effect, on_key};
use super::state::{BackendSort, Lost, News, Popup, SessionSort, State, View};
use crate::api::{
    Backend, Banner, Bottleneck, Bytes, Event, Explanation, Latency, Listener, Pool, Session,
    Sessions, Shard, Status,
};

/// A balancer after so many seconds: `web/a` is up, `web/b` was ejected, `web/c` is drained.
fn status(second: u64) -> Status {
    let backend = |name: &str, state: &str, a_second: u64| Backend {
        host: "10.0.0.11".to_owned(),
        port: 8080,
        active: state == "up",
        connections: 12,
        pool: "web".to_owned(),
        name: name.to_owned(),
        state: state.to_owned(),
        admin: "ready".to_owned(),
        health: if state == "ejected" { "ejected" } else { "up" }.to_owned(),
        evidence: (state == "ejected").then(|| "5 connects in a row: refused".to_owned()),
        weight: 1,
        warmth: 256,
        connected: 1000 + a_second * second,
        to_backend: Bytes { copied: 100 * a_second * second, spliced: 0 },
        to_clients: Bytes { copied: 0, spliced: 9900 * a_second * second },
        response: Latency { buckets: vec![10 * second, 0, 0], ..Latency::default() },
        ..Backend::default()
    };
    let backends =
        vec![backend("a", "up", 200), backend("b", "ejected", 0), backend("c", "drain", 0)];
    let shard = |index: usize, sessions: u32| Shard {
        index,
        cpu: index,
        sessions,
        cpu_ms: 250 * second,
        to_backend: Bytes { copied: 10_000 * second, spliced: 0 },
        to_clients: Bytes { copied: 0, spliced: 990_000 * second },
        alive: true,
        ..Shard::default()
    };
    let event = |seq: u64, level: &str, message: &str| Event {
        seq,
        time: format!("2026-11-30T12:00:0{seq}.000Z"),
        level: level.to_owned(),
        message: message.to_owned(),
        evidence: "connect: refused".to_owned(),
        ..Event::default()
    };
    Status {
        version: "0.1.0".to_owned(),
        pid: 7,
        engine: "uring".to_owned(),
        state: "running".to_owned(),
        schema: "evenkeel-status-1".to_owned(),
        time_ms: 1_000_000 + second * 1000,
        uptime_seconds: 60 + second,
        sessions: 24,
        sessions_max: 9832,
        bottleneck: Bottleneck {
            who: "backend".to_owned(),
            sentence: "web/a holds the traffic up: answers take 3 ms".to_owned(),
            ..Bottleneck::default()
        },
        listeners: vec![Listener { accepted: 200 * second, ..Listener::default() }],
        pools: vec![Pool {
            name: "web".to_owned(),
            algorithm: "least-connections".to_owned(),
            backends: 3,
            active: 1,
            connections: 36,
            connected: 3000 + 200 * second,
            ..Pool::default()
        }],
        backends,
        shards: vec![shard(0, 16), shard(1, 8)],
        events: vec![event(1, "INFO", "listening"), event(2, "WARNING", "web/b is ejected")],
        bounds_us: vec![1000, 2000],
        ..Status::default()
    }
}

fn session(id: &str, age_ms: u64, received: u64) -> Session {
    Session {
        id: id.to_owned(),
        client: Some("10.1.0.1:4711".to_owned()),
        listener: "main".to_owned(),
        pool: "web".to_owned(),
        backend: Some("a".to_owned()),
        state: "relaying".to_owned(),
        age_ms,
        to_client: Bytes { copied: received, spliced: 0 },
        ..Session::default()
    }
}

fn look(second: u64) -> News {
    let list = vec![session("0-1-1", 5000, 100), session("1-2-1", 9000, 100 + second * 1000)];
    let sessions = Sessions { matched: 2, total: 24, sessions: list, incomplete: false };
    let sessions = Some((SessionSort::Rate, sessions));
    News::Look { status: Box::new(status(second)), sessions }
}

/// After two looks, a second apart.
fn state() -> State {
    let mut state = State::of("unix:/run/evenkeel/admin.sock".to_owned());
    state.receive(look(1));
    state.receive(look(2));
    state
}

fn drawn(state: &State, palette: Palette, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("cells in memory");
    terminal
        .draw(|frame| draw(state, palette, frame.area(), frame.buffer_mut()))
        .expect("cells in memory")
        .buffer
        .clone()
}

fn lines_of(buffer: &Buffer) -> Vec<String> {
    let line = |cells: &[Cell]| {
        let line: String = cells.iter().map(Cell::symbol).collect();
        line.trim_end().to_owned()
    };
    buffer.content.chunks(usize::from(buffer.area.width).max(1)).map(line).collect()
}

fn shown(state: &State, width: u16, height: u16) -> Vec<String> {
    lines_of(&drawn(state, Palette::Shades, width, height))
}

fn press(state: &mut State, keys: &str) -> Effect {
    let mut effect = Effect::None;
    for key in keys.chars() {
        effect = on_key(state, KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE));
    }
    effect
}

fn press_code(state: &mut State, code: KeyCode) -> Effect {
    on_key(state, KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn the_overview_in_a_terminal_of_the_usual_size() {
    let lines = shown(&state(), 80, 24);
    let all = lines.join("\n");
    println!("{all}");
    assert_eq!(
        lines[0],
        " evenkeel 0.1.0  running for 1 min 2 s  uring  pid 7                            "
            .trim_end()
    );
    assert!(lines[1].contains("sessions 24 of 9 832   new 200/s"), "{all}");
    assert!(lines[1].contains("↑ 20.0 kB/s"), "{all}");
    assert!(all.contains("↓ 1.98 MB/s") && all.contains("spliced 99 %"), "{all}");
    assert!(all.contains(" bottleneck web/a holds the traffic up: answers take 3 ms"), "{all}");
    let pool = lines.iter().find(|line| line.starts_with(" web ")).expect("the pool");
    assert!(pool.contains("1 of 3") && pool.contains("36") && pool.contains(" 200"), "{pool}");
    let row = |name: &str| lines.iter().find(|line| line.starts_with(name)).expect(name);
    // Ten answers in the window, all in the first bucket of a millisecond.
    assert!(row(" web/a ").contains("● up"), "{all}");
    assert!(row(" web/a ").contains("500 µs   990 µs"), "{all}");
    assert!(row(" web/b ").contains("○ ejected"), "{all}");
    assert!(lines[23].contains("d drain") && lines[23].ends_with("q quit"), "{}", lines[23]);
}

#[test]
fn a_wide_terminal_has_everything() {
    let all = shown(&state(), 200, 50).join("\n");
    println!("{all}");
    for part in [
        "unix:/run/evenkeel/admin.sock",
        "new sessions",
        "bytes both ways",
        "10.0.0.11:8080",
        "5 connects in a row: refused",
        "CONNECT p50",
        "█",
        "━━━",
        "SHARD",
        " 25 %",
    ] {
        assert!(all.contains(part), "no {part} in\n{all}");
    }
}

#[test]
fn any_size_can_be_drawn_and_small_ones_keep_what_matters() {
    let mut lost = state();
    lost.receive(News::Lost(Lost { error: "nobody listens".to_owned(), attempts: 3 }));
    let waiting = State::of("unix:/x".to_owned());
    for width in [1, 2, 7, 20, 40, 80, 300] {
        for height in [1, 2, 3, 5, 8, 10, 24, 60] {
            for palette in [Palette::Colours, Palette::Shades, Palette::Plain] {
                for view in View::ALL {
                    lost.view = view;
                    drawn(&lost, palette, width, height);
                    lost.popup = Some(Popup::Help);
                    drawn(&lost, palette, width, height);
                    lost.popup = None;
                }
                drawn(&waiting, palette, width, height);
            }
        }
    }
    let lines = shown(&state(), 40, 10);
    println!("{}", lines.join("\n"));
    assert!(lines.iter().any(|line| line.contains("sessions 24")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("web/b") && line.contains("ejected")));
}

#[test]
fn colours_are_used_where_they_may_be() {
    let coloured = |palette| {
        let buffer = drawn(&state(), palette, 80, 24);
        let own = |cell: &&Cell| cell.fg != Color::Reset || cell.bg != Color::Reset;
        buffer.content.iter().filter(own).count()
    };
    assert_eq!(coloured(Palette::Shades), 0);
    assert!(coloured(Palette::Colours) > 200);
}

#[test]
fn what_came_from_elsewhere_moves_no_cursor() {
    let mut hostile = status(3);
    hostile.backends[0].name = "a\u{1b}[2J".to_owned();
    hostile.bottleneck.sentence = "it is \u{1b}]0;x\u{7} so".to_owned();
    hostile.banners = vec![Banner { kind: "drift".to_owned(), text: "\u{1b}[1m".to_owned() }];
    let mut state = State::of("unix:/x".to_owned());
    state.receive(News::Look { status: Box::new(hostile), sessions: None });
    let controls = |text: &str| text.chars().any(|letter| letter.is_control() && letter != '\n');
    assert!(!controls(&shown(&state, 100, 30).join("\n")));
    assert!(!controls(&as_text(&state, 100)), "{:?}", as_text(&state, 100));
}

#[test]
fn a_lost_connection_is_said_and_the_last_picture_stays() {
    let mut state = state();
    state.receive(News::Lost(Lost { error: "nobody listens at unix:/x".to_owned(), attempts: 3 }));
    let lines = shown(&state, 120, 24);
    assert!(
        lines[1].contains("no connection") && lines[1].contains("nobody listens"),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.contains("web/a")));
    state.receive(look(3));
    assert!(!shown(&state, 120, 24).join("\n").contains("no connection"));
    let mut never = State::of("unix:/x".to_owned());
    assert!(shown(&never, 80, 24).join("\n").contains("connecting"));
    never.receive(News::Lost(Lost { error: "nobody listens".to_owned(), attempts: 1 }));
    assert!(shown(&never, 80, 24).join("\n").contains("nobody listens; trying again"));
}

#[test]
fn banners_stand_above_all_figures() {
    let mut with = status(3);
    let text = "pool web uses backends that should be out".to_owned();
    with.banners = vec![Banner { kind: "fail-open".to_owned(), text }];
    let mut state = state();
    state.receive(News::Look { status: Box::new(with), sessions: None });
    let lines = shown(&state, 80, 24);
    assert_eq!(lines[1], " fail-open: pool web uses backends that should be out");
}

#[test]
fn text_has_every_backend_and_no_hint_of_keys() {
    let text = as_text(&state(), 120);
    println!("{text}");
    for part in ["web/a", "web/b", "web/c", "SHARD", "bottleneck", "least-connections"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert!(!text.contains("quit"));
    assert!(text.lines().all(|line| line.chars().count() <= 120 && line == line.trim_end()));
}

#[test]
fn the_selected_row_is_among_those_that_are_shown() {
    let mut many = status(1);
    let one = many.backends[0].clone();
    many.backends =
        (0..500).map(|index| Backend { name: format!("b{index}"), ..one.clone() }).collect();
    let mut state = State::of("unix:/x".to_owned());
    state.receive(News::Look { status: Box::new(many), sessions: None });
    let has = |state: &State, name: &str| {
        shown(state, 80, 24).iter().any(|line| line.starts_with(&format!(" {name} ")))
    };
    assert!(has(&state, "web/b0") && !has(&state, "web/b499"));
    press(&mut state, "G");
    assert!(has(&state, "web/b499") && !has(&state, "web/b0"));
    press(&mut state, "kkk");
    assert!(has(&state, "web/b496"));
    assert_eq!(state.row(), 496);
    press_code(&mut state, KeyCode::PageUp);
    assert_eq!(state.row(), 486);
}

#[test]
fn nothing_is_changed_without_a_yes() {
    let set = |to: &'static str| {
        Effect::Ask(Ask::SetState { pool: "web".to_owned(), name: "b".to_owned(), state: to })
    };
    let kill = Ask::KillBackend { pool: "web".to_owned(), name: "b".to_owned() };
    for (key, effect) in
        [("d", set("drain")), ("r", set("ready")), ("m", set("maint")), ("K", Effect::Ask(kill))]
    {
        let mut state = state();
        assert_eq!(press(&mut state, &format!("j{key}")), Effect::None, "{key}");
        let Some(Popup::Confirm { question, .. }) = &state.popup else { panic!("no question") };
        assert!(question.contains("web/b"), "{question}");
        assert!(shown(&state, 80, 24).join("\n").contains("y yes"));
        // Neither another key nor no.
        assert_eq!(press(&mut state, "dx"), Effect::None);
        assert!(matches!(state.popup, Some(Popup::Confirm { .. })));
        assert_eq!(press(&mut state, "n"), Effect::None);
        assert_eq!(state.popup, None);
        assert_eq!(press(&mut state, "y"), Effect::None, "the question is gone");
        assert_eq!(press(&mut state, &format!("{key}y")), effect, "{key}");
    }
}

#[test]
fn a_session_is_killed_by_its_id() {
    let mut state = state();
    assert_eq!(press(&mut state, "2"), Effect::Look);
    let lines = shown(&state, 100, 24);
    // The busiest first.
    let at = |id: &str| lines.iter().position(|line| line.contains(id)).expect(id);
    assert!(at("1-2-1") < at("0-1-1"), "{lines:#?}");
    assert!(lines[at("1-2-1")].contains("1.00 kB"), "{lines:#?}");
    let effect = press(&mut state, "jKy");
    assert_eq!(effect, Effect::Ask(Ask::KillSession { id: "0-1-1".to_owned() }));
}

#[test]
fn the_balancer_picks_which_of_many_sessions_are_listed() {
    let mut state = state();
    press(&mut state, "2");
    let title = |state: &State| {
        let lines = shown(state, 100, 24);
        let line = lines.iter().find(|line| line.contains("listed are"));
        line.map(|line| line.trim().to_owned()).unwrap_or_default()
    };
    assert_eq!(title(&state), "", "all are listed");
    let many = |sort| {
        let list = vec![session("0-1-1", 5000, 100), session("1-2-1", 9000, 9000)];
        let sessions = Sessions { matched: 701, total: 701, sessions: list, incomplete: false };
        News::Look { status: Box::new(status(3)), sessions: Some((sort, sessions)) }
    };
    state.receive(many(SessionSort::Rate));
    assert_eq!(title(&state), "701 sessions; listed are the 2 in which bytes moved last");
    // Another order is another list, and what is there is called what it is until that comes.
    assert_eq!(press(&mut state, "s"), Effect::Look);
    let asked = super::wanted(&state).sort.asked();
    assert_eq!((state.session_sort, asked), (SessionSort::Bytes, "bytes"));
    assert!(title(&state).ends_with("moved last"), "{}", title(&state));
    state.receive(many(SessionSort::Bytes));
    assert_eq!(title(&state), "701 sessions; listed are the 2 with the most bytes");
    // Backends are all there.
    assert_eq!(press(&mut state, "1s"), Effect::None);
}

#[test]
fn a_long_name_is_cut_before_a_state_is_left_out() {
    for (letters, width, height) in [(37, 40, 12), (70, 80, 24), (200, 80, 24), (37, 30, 14)] {
        let mut long = status(3);
        long.backends[1].name = format!("b{}7", "x".repeat(letters - 2));
        let mut state = state();
        state.receive(News::Look { status: Box::new(long), sessions: None });
        let lines = shown(&state, width, height);
        println!("{}", lines.join("\n"));
        let row = |what: &str| lines.iter().find(|line| line.contains(what)).cloned();
        let ejected = row("○ ejected").unwrap_or_default();
        assert!(ejected.starts_with(" web/bx") && ejected.contains("x7 "), "{lines:#?}");
        assert!(ejected.contains('…') && ejected.contains(" 12"), "{lines:#?}");
        assert!(row("● up").is_some_and(|row| row.starts_with(" web/a ")), "{lines:#?}");
    }
    // Where there is room, it is whole.
    let mut long = status(3);
    long.backends[1].name = "x".repeat(37);
    let mut state = state();
    state.receive(News::Look { status: Box::new(long), sessions: None });
    assert!(shown(&state, 120, 24).join("\n").contains(&"x".repeat(37)));
}

#[test]
fn one_session_is_no_sessions() {
    let mut alone = status(3);
    alone.backends[0].connections = 1;
    let mut state = state();
    state.receive(News::Look { status: Box::new(alone), sessions: None });
    press(&mut state, "K");
    let Some(Popup::Confirm { question, .. }) = &state.popup else { panic!("no question") };
    assert_eq!(question, "Cut the 1 session of web/a?");
}

#[test]
fn what_is_selected_stays_so_when_the_order_changes() {
    let mut state = state();
    press(&mut state, "jj");
    assert_eq!(state.backend().expect("the third").name, "c");
    state.backend_sort = BackendSort::Rate;
    let mut next = status(3);
    next.backends[2].connected += 5000;
    state.receive(News::Look { status: Box::new(next), sessions: None });
    assert_eq!((state.row(), state.backend().expect("the first now").name.as_str()), (0, "c"));
}

#[test]
fn views_are_gone_to_and_come_back_from() {
    let mut state = state();
    for (code, view) in [
        (KeyCode::Tab, View::Sessions),
        (KeyCode::Tab, View::Shards),
        (KeyCode::Right, View::Events),
        (KeyCode::Tab, View::Overview),
        (KeyCode::BackTab, View::Events),
        (KeyCode::Char('3'), View::Shards),
        (KeyCode::Esc, View::Overview),
    ] {
        assert_eq!((press_code(&mut state, code), state.view), (Effect::Look, view));
    }
    // The sessions of one backend, all of them, and back.
    press_code(&mut state, KeyCode::Enter);
    assert_eq!(state.of_backend, Some(("web".to_owned(), "a".to_owned())));
    press_code(&mut state, KeyCode::Esc);
    assert_eq!((state.of_backend.clone(), state.view), (None, View::Sessions));
    press_code(&mut state, KeyCode::Esc);
    assert_eq!(state.view, View::Overview);
}

#[test]
fn an_explanation_is_read_and_closed() {
    let mut state = state();
    let ask = Ask::ExplainBackend { pool: "web".to_owned(), name: "a".to_owned() };
    assert_eq!(press(&mut state, "e"), Effect::Ask(ask));
    let explanation = Explanation {
        answer: "web/a is up".to_owned(),
        because: vec!["the last check answered in 1 ms".to_owned()],
        events: Vec::new(),
    };
    state.receive(News::Explained { title: "web/a".to_owned(), answer: Ok(explanation) });
    let all = shown(&state, 80, 24).join("\n");
    assert!(all.contains("• the last check answered in 1 ms"), "{all}");
    assert_eq!(press(&mut state, "q"), Effect::None, "it closes the popup only");
    assert_eq!(state.popup, None);
    assert_eq!(press(&mut state, "q"), Effect::Quit);
}

#[test]
fn an_event_shows_what_it_was_based_on() {
    let mut state = state();
    press(&mut state, "4");
    let lines = shown(&state, 80, 24);
    let at = |word: &str| lines.iter().position(|line| line.contains(word)).expect(word);
    assert!(at("web/b is ejected") < at("listening"), "the newest first: {lines:#?}");
    press_code(&mut state, KeyCode::Enter);
    assert!(shown(&state, 80, 24).join("\n").contains("based on: connect: refused"));
}

#[test]
fn a_pause_keeps_the_picture() {
    let mut state = state();
    press(&mut state, "p");
    state.receive(look(9));
    assert_eq!(state.picture.as_ref().expect("two looks").status.uptime_seconds, 62);
    assert!(shown(&state, 80, 24).join("\n").contains("paused"));
    press(&mut state, "p");
    state.receive(look(12));
    let rates = state.picture.as_ref().and_then(|picture| picture.rates.as_ref());
    assert_eq!(rates.map(|rates| rates.accepted), Some(200.0), "over all the time between");
}

#[test]
fn the_outcome_of_a_wish_is_said_for_a_while() {
    let mut state = state();
    state.receive(News::Done(Err("there is no backend".to_owned())));
    assert!(shown(&state, 80, 24)[23].contains("there is no backend"));
    (3..10).for_each(|second| state.receive(look(second)));
    assert!(shown(&state, 80, 24)[23].contains("q quit"));
}

#[test]
fn a_balancer_that_was_started_again_has_no_rates_yet() {
    let mut state = state();
    let again = Status { pid: 8, uptime_seconds: 1, ..status(3) };
    state.receive(News::Look { status: Box::new(again), sessions: None });
    assert!(state.picture.as_ref().is_some_and(|picture| picture.rates.is_none()));
    shown(&state, 80, 24);
}

#[test]
fn ctrl_c_quits_whatever_is_open() {
    let mut state = state();
    press(&mut state, "?");
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(on_key(&mut state, key), Effect::Quit);
}

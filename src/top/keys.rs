//! What a key does: to the state at once, and as an [`Effect`] to the balancer.
//!
//! Nothing is changed there without a question that was answered with `y`.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::{Popup, State, View, full_name, sessions_in_words};

/// What is to be done beside the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// The end.
    Quit,
    /// The balancer is asked.
    Ask(Ask),
    /// Another view needs another look, at once.
    Look,
}

/// What the balancer is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// `ready`, `drain` or `maint`.
    SetState {
        pool: String,
        name: String,
        state: &'static str,
    },
    KillSession {
        id: String,
    },
    KillBackend {
        pool: String,
        name: String,
    },
    ExplainBackend {
        pool: String,
        name: String,
    },
    ExplainSession {
        id: String,
    },
}

/// A key was pressed.
pub(crate) fn on_key(state: &mut State, key: KeyEvent) -> Effect {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Effect::Quit } else { Effect::None };
    }
    match state.popup.take() {
        Some(popup) => in_popup(state, popup, key.code),
        None => in_view(state, key.code),
    }
}

fn in_popup(state: &mut State, popup: Popup, key: KeyCode) -> Effect {
    match (popup, key) {
        (Popup::Confirm { ask, .. }, KeyCode::Char('y' | 'Y')) => return Effect::Ask(ask),
        (Popup::Confirm { .. }, KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc) => {
            state.say(Ok("nothing was changed".to_owned()));
        }
        // Whatever else was pressed was not meant for this question.
        (popup @ Popup::Confirm { .. }, _) => state.popup = Some(popup),
        (Popup::Text { title, lines, above }, KeyCode::Down | KeyCode::Char('j')) => {
            let last = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_sub(1);
            let above = above.saturating_add(1).min(last);
            state.popup = Some(Popup::Text { title, lines, above });
        }
        (Popup::Text { title, lines, above }, KeyCode::Up | KeyCode::Char('k')) => {
            let above = above.saturating_sub(1);
            state.popup = Some(Popup::Text { title, lines, above });
        }
        // Any other key closes what is only to be read.
        (Popup::Help | Popup::Text { .. }, _) => {}
    }
    Effect::None
}

fn in_view(state: &mut State, key: KeyCode) -> Effect {
    match key {
        KeyCode::Char('q') => return Effect::Quit,
        KeyCode::Char('?' | 'h') => state.popup = Some(Popup::Help),
        KeyCode::Char('p' | ' ') => state.paused = !state.paused,
        KeyCode::Char('s') => return sort(state),
        KeyCode::Down | KeyCode::Char('j') => select(state, |row, _| row.saturating_add(1)),
        KeyCode::Up | KeyCode::Char('k') => select(state, |row, _| row.saturating_sub(1)),
        KeyCode::PageDown => select(state, |row, _| row.saturating_add(PAGE)),
        KeyCode::PageUp => select(state, |row, _| row.saturating_sub(PAGE)),
        KeyCode::Home | KeyCode::Char('g') => select(state, |_, _| 0),
        KeyCode::End | KeyCode::Char('G') => select(state, |_, last| last),
        KeyCode::Tab | KeyCode::Right => return go(state, state.view.further(1)),
        KeyCode::BackTab | KeyCode::Left => {
            return go(state, state.view.further(View::ALL.len() - 1));
        }
        KeyCode::Char(digit @ '1'..='4') => {
            let index = usize::try_from(u32::from(digit) - u32::from('1')).unwrap_or(0);
            return go(state, View::ALL[index]);
        }
        KeyCode::Esc | KeyCode::Backspace => return back(state),
        KeyCode::Enter => return open(state),
        KeyCode::Char('e') => return explain(state),
        KeyCode::Char('d') => set_state(state, "drain"),
        KeyCode::Char('r') => set_state(state, "ready"),
        KeyCode::Char('m') => set_state(state, "maint"),
        KeyCode::Char('K') => kill(state),
        _ => {}
    }
    Effect::None
}

fn go(state: &mut State, view: View) -> Effect {
    state.view = view;
    Effect::Look
}

fn select(state: &mut State, to: impl FnOnce(usize, usize) -> usize) {
    let rows = state.rows();
    let Some(last) = rows.len().checked_sub(1) else { return };
    let row = to(state.row(), last).min(last);
    state.selected.insert(state.view, rows[row].clone());
}

/// Backends are all here; of sessions the balancer tells those that come first.
fn sort(state: &mut State) -> Effect {
    match state.view {
        View::Overview => state.backend_sort = state.backend_sort.next(),
        View::Sessions => {
            state.session_sort = state.session_sort.next();
            return Effect::Look;
        }
        View::Shards | View::Events => {}
    }
    Effect::None
}

/// From the sessions of one backend to all of them, and from there to where they came from.
fn back(state: &mut State) -> Effect {
    if state.view == View::Sessions && state.of_backend.take().is_some() {
        state.sessions = None;
        return Effect::Look;
    }
    go(state, View::Overview)
}

/// What is behind a row.
fn open(state: &mut State) -> Effect {
    match state.view {
        View::Overview => {
            let Some(backend) = state.backend() else { return Effect::None };
            state.of_backend = Some((backend.pool.clone(), backend.name.clone()));
            state.sessions = None;
            go(state, View::Sessions)
        }
        View::Sessions | View::Events => explain(state),
        View::Shards => Effect::None,
    }
}

fn explain(state: &mut State) -> Effect {
    match state.view {
        View::Overview => state.backend().map_or(Effect::None, |backend| {
            let (pool, name) = (backend.pool.clone(), backend.name.clone());
            Effect::Ask(Ask::ExplainBackend { pool, name })
        }),
        View::Sessions => state
            .session()
            .map_or(Effect::None, |one| Effect::Ask(Ask::ExplainSession { id: one.id.clone() })),
        View::Events => {
            let row = state.row();
            let Some(event) = state.events().get(row).map(|event| (*event).clone()) else {
                return Effect::None;
            };
            let mut lines = vec![event.message, String::new()];
            let facts = [("about", event.subject), ("based on", event.evidence)];
            let facts = facts.into_iter().filter(|(_, text)| !text.is_empty());
            lines.extend(facts.map(|(name, text)| format!("{name}: {text}")));
            lines.push(format!("kind: {}, number {}", event.kind, event.seq));
            state.popup = Some(Popup::Text { title: event.time, lines, above: 0 });
            Effect::None
        }
        View::Shards => Effect::None,
    }
}

fn set_state(state: &mut State, to: &'static str) {
    if state.view != View::Overview {
        return;
    }
    let Some(backend) = state.backend() else { return };
    let name = full_name(backend);
    let question = match to {
        "drain" => format!("Drain {name}? No new clients but sticky ones; sessions go on."),
        "maint" => format!("Take {name} out? Nobody comes, nothing is checked; sessions go on."),
        _ => format!("Let {name} have new connections again?"),
    };
    let (pool, name) = (backend.pool.clone(), backend.name.clone());
    let ask = Ask::SetState { pool, name, state: to };
    state.popup = Some(Popup::Confirm { ask, question });
}

fn kill(state: &mut State) {
    let asked = match state.view {
        View::Overview => state.backend().map(|backend| {
            let (pool, name) = (backend.pool.clone(), backend.name.clone());
            let all = if backend.connections == 1 { "the" } else { "all" };
            let many = sessions_in_words(backend.connections.into());
            let question = format!("Cut {all} {many} of {}?", full_name(backend));
            (Ask::KillBackend { pool, name }, question)
        }),
        View::Sessions => state.session().map(|session| {
            let client = session.client.as_deref().unwrap_or("a client that is gone");
            let question = format!("Cut session {} of {client}?", session.id);
            (Ask::KillSession { id: session.id.clone() }, question)
        }),
        View::Shards | View::Events => None,
    };
    if let Some((ask, question)) = asked {
        state.popup = Some(Popup::Confirm { ask, question });
    }
}

/// Rows that a page is.
const PAGE: usize = 10;

//! Sessions: as a table, and as lines for a bug report.

use std::fmt::Write as _;

use crate::api::{Session, Sessions};
use crate::ctl::table::{Cell, Paper, Table, Tone, clean, left, right};
use crate::ctl::units::{both, bytes, count, many, millis};

/// Sessions, one a line, and how many of how many these are.
pub(crate) fn sessions(sessions: &Sessions, paper: Paper) -> String {
    let mut table = Table::new([
        left("SESSION", 0),
        left("CLIENT", 0),
        left("LISTENER", 4),
        left("BACKEND", 1),
        left("STATE", 2),
        right("AGE", 2),
        right("IDLE", 3),
        right("TO BACKEND", 3),
        right("TO CLIENT", 3),
        right("MOVES", 5),
        left("BY", 6),
    ]);
    for session in &sessions.sessions {
        let tone = if session.state == "relaying" { Tone::Good } else { Tone::Warn };
        let moves = if session.moves > 0 { session.moves.to_string() } else { String::new() };
        table.push([
            Cell::new(&session.id, Tone::Strong),
            session.client.as_deref().unwrap_or("?").into(),
            session.listener.as_str().into(),
            whose(session).into(),
            Cell::new(&session.state, tone),
            millis(session.age_ms).into(),
            millis(session.idle_ms).into(),
            bytes(both(session.to_backend)).into(),
            bytes(both(session.to_client)).into(),
            moves.into(),
            session.by.as_deref().unwrap_or_default().into(),
        ]);
    }
    let mut text = String::new();
    if !sessions.sessions.is_empty() {
        text += &table.render(paper);
    }
    text + &paper.paint(&how_many(sessions), Tone::Dim) + "\n"
}

/// `100 of 4 711 that fit are shown, of 5 000 sessions`
fn how_many(sessions: &Sessions) -> String {
    let shown = sessions.sessions.len() as u64;
    let mut text = match sessions.matched {
        0 if sessions.total == 0 => "no sessions".to_owned(),
        0 => format!("none of {} fits", many(sessions.total, "session")),
        matched if matched == sessions.total => many(matched, "session"),
        matched => format!("{} of {} sessions", count(matched), count(sessions.total)),
    };
    if shown < sessions.matched {
        write!(text, ", {} of them shown; --limit shows more", count(shown))
            .expect("a String takes all");
    }
    if sessions.incomplete {
        text += "; a shard did not answer in time, some are missing";
    }
    text
}

/// One line for each session, with a legend: all that is known, for programs that cut by columns and
/// for bug reports.
pub(crate) fn dump(sessions: &Sessions) -> String {
    let mut text = LEGEND.to_owned();
    for session in &sessions.sessions {
        writeln!(text, "{}", line(session)).expect("a String takes all");
    }
    let whole =
        if sessions.incomplete { ", incomplete: a shard did not answer in time" } else { "" };
    let shown = sessions.sessions.len();
    writeln!(text, "# {shown} lines, {} fit, {} sessions{whole}", sessions.matched, sessions.total)
        .expect("a String takes all");
    text
}

fn line(session: &Session) -> String {
    let word = |text: &str| clean(text).replace(' ', "_");
    format!(
        "{} shard={} {} {} > {} > {} by={} age={} idle={} up={}+{} down={}+{} moves={}",
        word(&session.id),
        session.shard,
        word(&session.state),
        word(session.client.as_deref().unwrap_or("-")),
        word(&session.listener),
        word(&whose(session)),
        word(session.by.as_deref().unwrap_or("-")),
        session.age_ms,
        session.idle_ms,
        session.to_backend.copied,
        session.to_backend.spliced,
        session.to_client.copied,
        session.to_client.spliced,
        session.moves,
    )
}

/// `pool/backend`, or `pool/-` while there is none.
pub(crate) fn whose(session: &Session) -> String {
    format!("{}/{}", session.pool, session.backend.as_deref().unwrap_or("-"))
}

const LEGEND: &str = "\
# ID shard=N STATE CLIENT > LISTENER > POOL/BACKEND by=WHY age=MS idle=MS up=COPIED+SPLICED down=COPIED+SPLICED moves=N
# STATE  greeting: must say whom it speaks for (PROXY) | waiting: for a backend, or for room in one | connecting
#        relaying | moving: to another backend | turned-away: is being told so | closing: waits for the last completion
# by     what chose the backend; up: bytes to the backend; down: to the client; - is nobody, or gone
";

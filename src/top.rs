//! `evenkeel top`: a running evenkeel, live in the terminal.
//!
//! One thread draws; keys, signals and what the [`feed`] brings come to it through one channel. What is
//! drawn is a function of the [`state`], what a key does is one of state and key, and rates are one of
//! two looks: all three are tested without a terminal.

mod draw;
mod feed;
mod keys;
mod rates;
mod screen;
mod state;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use ratatui::crossterm::event::{self, Event as TerminalEvent, KeyEvent, KeyEventKind};

use crate::cli::Top;
use crate::ctl::client::{Client, ClientError};
use crate::ctl::table::{Paper, clean};
use feed::{Order, Want};
use keys::Effect;
use screen::Screen;
use state::{News, State, View};

/// Why it ends with exit code 1.
#[derive(Debug, thiserror::Error)]
enum TopError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("a terminal is needed to draw on; --once prints one picture as text")]
    NoTerminal,
    #[error(
        "TERM=dumb says that this terminal cannot be drawn on; --once prints one picture as text"
    )]
    DumbTerminal,
    #[error("it cannot go on: {0}")]
    Terminal(#[from] io::Error),
}

/// What comes to the thread that draws.
enum Input {
    Key(KeyEvent),
    Resized,
    Signal,
    News(News),
    /// The terminal is gone, or the feed.
    Gone(io::Error),
}

/// Shows it until somebody has seen enough: 0 then, 1 when it could not.
pub fn main(top: &Top) -> ExitCode {
    let done = Client::of(&top.admin).map_err(TopError::from).and_then(|client| {
        if top.once { once(&client, top.interval) } else { live(client, top.interval) }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "evenkeel top: {}", clean(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// One picture as text: two looks, as rates need them.
fn once(client: &Client, interval: Duration) -> Result<(), TopError> {
    let mut state = State::of(client.address().to_string());
    state.receive(feed::look(client, &Want::default())?);
    std::thread::sleep(interval);
    state.receive(feed::look(client, &Want::default())?);
    let width = Paper::of_stdout().width.unwrap_or(WIDTH_OF_TEXT);
    let text = draw::as_text(&state, u16::try_from(width).unwrap_or(u16::MAX));
    match io::stdout().write_all(text.as_bytes()) {
        // Who reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

fn live(client: Client, interval: Duration) -> Result<(), TopError> {
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(TopError::DumbTerminal);
    }
    let (input_tx, input) = channel();
    // Before other threads are there, so that all of them leave signals to the one that waits.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().map_err(io::Error::from)?;
    let mut state = State::of(client.address().to_string());
    let (orders, orders_rx) = channel();
    spawn_signals(signals, input_tx.clone())?;
    spawn_feed(client, interval, orders_rx, input_tx.clone())?;
    let screen = Screen::open()?;
    spawn_keys(input_tx)?;
    show(screen, &mut state, &input, &orders)
}

/// Draws after whatever comes, until the end.
fn show(
    mut screen: Screen,
    state: &mut State,
    input: &Receiver<Input>,
    orders: &Sender<Order>,
) -> Result<(), TopError> {
    let mut asked = Want::default();
    screen.draw(state)?;
    while let Ok(first) = input.recv() {
        // What has come meanwhile is drawn together.
        for one in std::iter::once(first).chain(input.try_iter()) {
            let effect = match one {
                Input::Key(key) => keys::on_key(state, key),
                Input::News(news) => {
                    state.receive(news);
                    Effect::None
                }
                Input::Resized => Effect::None,
                Input::Signal => Effect::Quit,
                Input::Gone(error) => return Err(error.into()),
            };
            let order = match effect {
                Effect::None => None,
                Effect::Quit => return Ok(()),
                Effect::Ask(ask) => Some(Order::Ask(ask)),
                Effect::Look => {
                    asked = wanted(state);
                    Some(Order::Look(asked.clone()))
                }
            };
            // The feed lives as long as somebody hears it.
            order.map(|order| orders.send(order));
        }
        debug_assert_eq!(asked, wanted(state), "whatever changes the view asks for a look");
        screen.draw(state)?;
    }
    Ok(())
}

/// What the view needs beside the status.
fn wanted(state: &State) -> Want {
    let sessions = state.view == View::Sessions;
    let of_backend = state.of_backend.clone().filter(|_| sessions);
    Want { sessions, of_backend, sort: state.session_sort }
}

fn spawn_signals(signals: SigSet, tell: Sender<Input>) -> io::Result<()> {
    spawn("signals", move || while signals.wait().is_ok() && tell.send(Input::Signal).is_ok() {})
}

fn spawn_feed(
    client: Client,
    interval: Duration,
    orders: Receiver<Order>,
    tell: Sender<Input>,
) -> io::Result<()> {
    spawn("feed", move || {
        let last_words = LastWords(tell);
        let tell = |news| last_words.0.send(Input::News(news)).is_ok();
        feed::run(&client, interval, &orders, tell);
    })
}

/// A feed that has ended, by a panic even, brings nothing any more: better no picture than an old one.
struct LastWords(Sender<Input>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let _ = self.0.send(Input::Gone(io::Error::other("nobody asks any more")));
    }
}

fn spawn_keys(tell: Sender<Input>) -> io::Result<()> {
    spawn("keys", move || {
        loop {
            let input = match event::read() {
                Ok(TerminalEvent::Key(key)) if key.kind == KeyEventKind::Press => Input::Key(key),
                Ok(TerminalEvent::Resize(..)) => Input::Resized,
                Ok(_) => continue,
                Err(error) => Input::Gone(error),
            };
            let gone = matches!(input, Input::Gone(_));
            if tell.send(input).is_err() || gone {
                return;
            }
        }
    })
}

/// They end with the process.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Of a picture that goes to a file or a pipe.
const WIDTH_OF_TEXT: usize = 120;

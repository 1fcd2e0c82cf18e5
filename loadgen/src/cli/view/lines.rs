//! A line a second, where there is no terminal.

use std::time::{Duration, Instant};

use loadgen::report::{Phase, plot};

use super::state::{Rate, State};

/// When the last line was.
#[derive(Debug, Default)]
pub(super) struct Lines {
    began: Option<Instant>,
    last: Option<Instant>,
}

impl Lines {
    /// The line that is due, of what takes longer than two seconds.
    pub(super) fn due(&mut self, state: &State, now: Instant) -> Option<String> {
        let began = *self.began.get_or_insert(now);
        let last = *self.last.get_or_insert(began);
        let long = state.expected_s.is_some_and(|expected| expected > LONG.as_secs_f64())
            || now.duration_since(began) > LONG;
        // A little early is better than a second late.
        let due = now.duration_since(last) + SLACK >= Duration::from_secs(1);
        if !long || !due || state.phase == Phase::Done {
            return None;
        }
        self.last = Some(now);
        Some(line(state))
    }
}

/// Elapsed time, phase, and what goes through.
pub(super) fn line(state: &State) -> String {
    let (connected, wanted) = state.connections;
    let mut line = format!("{:>5.0} s  {:<10}", state.elapsed_s, state.phase_name());
    match (&state.last, state.phase) {
        (_, Phase::Connecting) | (None, _) => {
            line += &format!("  {connected} of {wanted} connections");
        }
        (Some(last), _) => {
            line += &match last.rate {
                Rate::Answers(rate) => format!("  {:>9}/s", plain(&plot::rate(rate))),
                Rate::Bulk { up, down } => {
                    format!("  up {} down {} Gbit/s", plot::gbit(up), plot::gbit(down))
                }
            };
            let [p50, _, p99, _, _] = last.response;
            for (name, ns) in [("p50", p50), ("p99", p99)] {
                let text = ns.map_or_else(|| "-".to_owned(), plot::time);
                line += &format!("  {name} {text:>7}");
            }
            line += &format!("  {} errors", plain(&plot::count(state.totals.errors)));
            if connected < wanted {
                line += &format!("  {connected} of {wanted} connections");
            }
        }
    }
    line
}

/// With spaces that every log shows.
fn plain(number: &str) -> String {
    number.replace('\u{202f}', " ")
}

const LONG: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(50);

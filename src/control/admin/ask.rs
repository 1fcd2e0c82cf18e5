//! Asking all shards something at once, and not waiting for one that is stuck.

use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, timeout_at};

use crate::shard::commands::{Command, Reply};
use crate::shard::shared::Shared;

/// What each shard answered, in their order; nothing of one that did not in time.
pub(in crate::control) async fn all_shards<T: Send + 'static>(
    shared: &Shared,
    patience: Duration,
    command: impl Fn(Reply<T>) -> Command,
) -> Vec<Option<T>> {
    let (sender, mut answers) = unbounded_channel();
    let shards = shared.counters.len();
    for shard in 0..shards {
        let sender = sender.clone();
        let reply = Reply::new(move |answer| {
            // Who asked may have gone.
            let _ = sender.send((shard, answer));
        });
        // One that has been asked too much drops the question, and is missed below.
        let _ = shared.ask(shard, command(reply));
    }
    drop(sender);
    let mut answered: Vec<Option<T>> = (0..shards).map(|_| None).collect();
    let deadline = Instant::now() + patience;
    while let Ok(Some((shard, answer))) = timeout_at(deadline, answers.recv()).await {
        answered[shard] = Some(answer);
    }
    answered
}

/// A shard answers in microseconds, or a few milliseconds where it has thousands of sessions.
pub(in crate::control) const PATIENCE: Duration = Duration::from_secs(2);

//! Asking all shards something at once, and not waiting for one that is stuck.

use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, timeout_at};

use crate::shard::commands::{Command, Reply};
use crate::shard::driver::Counts;
use crate::shard::shared::{LastWords, Shared};

/// What each shard answered, in their order; nothing of one that did not in time. One that has ended
/// answers by its last words.
pub(in crate::control) async fn all_shards<T: Send + 'static>(
    shared: &Shared,
    patience: Duration,
    command: impl Fn(Reply<T>) -> Command,
    ended: impl Fn(&LastWords) -> T,
) -> Vec<Option<T>> {
    let (sender, mut answers) = unbounded_channel();
    let shards = shared.counters.len();
    // A question that comes when a shard has ended waits for nobody: it is looked at once more below.
    for shard in (0..shards).filter(|&shard| shared.last_words(shard).is_none()) {
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
    let is_missing = |answered: &[Option<T>]| {
        let mut all = answered.iter().enumerate();
        all.any(|(shard, answer)| answer.is_none() && shared.last_words(shard).is_none())
    };
    while is_missing(&answered) {
        let look_again = deadline.min(Instant::now() + LOOK_AGAIN_AFTER);
        match timeout_at(look_again, answers.recv()).await {
            Ok(Some((shard, answer))) => answered[shard] = Some(answer),
            Ok(None) => break,
            Err(_) if Instant::now() >= deadline => break,
            // One may have ended before it saw the question.
            Err(_) => {}
        }
    }
    for (shard, answer) in answered.iter_mut().enumerate() {
        *answer = answer.take().or_else(|| shared.last_words(shard).map(&ended));
    }
    answered
}

/// What the driver of each shard has counted.
pub(in crate::control) async fn counts(shared: &Shared, patience: Duration) -> Vec<Option<Counts>> {
    all_shards(shared, patience, Command::Counts, |last| last.counts.clone()).await
}

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A shard answers in microseconds, or a few milliseconds where it has thousands of sessions.
pub(in crate::control) const PATIENCE: Duration = Duration::from_secs(2);

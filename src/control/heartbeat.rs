//! Whether every shard goes on turning.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::shard::shared::{Shared, Stopping};

/// Shards that do not turn once more within this time after they were woken. While the program ends, a
/// shard without sessions has ended, and is not missed.
pub async fn silent_shards(shared: &Shared, within: Duration) -> Vec<usize> {
    let turns = |shard: usize| shared.counters[shard].turns.value();
    let before: Vec<u64> = (0..shared.counters.len()).map(turns).collect();
    shared.bells.ring_all();
    let (began, mut pause) = (Instant::now(), FIRST_LOOK);
    loop {
        let ending = shared.stopping() != Stopping::No;
        let silent = before.iter().enumerate().filter(|&(shard, &before)| {
            let is_done = ending && shared.counters[shard].sessions.value() == 0;
            turns(shard) == before && !is_done
        });
        let silent: Vec<usize> = silent.map(|(shard, _)| shard).collect();
        if silent.is_empty() || began.elapsed() >= within {
            return silent;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A turn takes less where nothing is wrong.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Not much is lost by a look.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::shard::bells::Bells;

    #[tokio::test(flavor = "current_thread")]
    async fn a_shard_that_does_not_turn_is_named_and_one_that_does_is_not() {
        let shared = Arc::new(Shared::new(2, Duration::ZERO, Arc::new(Bells::default())));
        let of_shard = Arc::clone(&shared);
        let turning = tokio::spawn(async move {
            loop {
                of_shard.counters[1].turns.add(1);
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert_eq!(silent_shards(&shared, Duration::from_millis(50)).await, [0]);
        // While the program ends, one without sessions has ended.
        shared.stop(Stopping::Drain);
        assert_eq!(silent_shards(&shared, Duration::from_secs(60)).await, [0; 0]);
        shared.counters[0].sessions.set(1);
        assert_eq!(silent_shards(&shared, Duration::from_millis(50)).await, [0]);
        turning.abort();
    }
}

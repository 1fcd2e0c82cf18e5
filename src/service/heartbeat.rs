//! Whether every shard goes round its loop. A shard that hangs does so between two waits, so one that
//! is woken and takes no turn is stuck; asking costs each shard one wake-up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, info};

use crate::shard::shared::{Shared, Stopping};

use super::notify::Notifier;

/// Shards that take no turn within this time after they were woken. While the program ends, a shard
/// without sessions has ended, and is not missed.
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

/// Tells the service manager at least every `interval` that all is well, as long as it is.
pub async fn keep_watchdog(shared: Arc<Shared>, notifier: Arc<Notifier>, interval: Duration) {
    let mut was_stuck = false;
    loop {
        // Half of the time, as sd_watchdog_enabled(3) advises, of which half is for the answer.
        let next = Instant::now() + interval / 2;
        let silent = silent_shards(&shared, interval / 4).await;
        if silent.is_empty() {
            notifier.watchdog();
            if std::mem::take(&mut was_stuck) {
                info!("watchdog: every shard takes turns again");
            }
        } else {
            was_stuck = true;
            let told = told(&silent);
            error!("watchdog: {told}; the service manager is not told that all is well");
            notifier.status(&told);
        }
        tokio::time::sleep_until(next).await;
    }
}

fn told(silent: &[usize]) -> String {
    let shards: Vec<String> = silent.iter().map(usize::to_string).collect();
    format!("shard {} takes no turn", shards.join(", "))
}

/// A turn takes less where nothing is wrong.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Not much is lost by a look.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;
    use crate::shard::bells::Bells;

    /// After this long a test fails; nothing that is judged takes as long.
    const LONG: Duration = Duration::from_secs(40);

    fn two_shards() -> Arc<Shared> {
        Arc::new(Shared::new(2, Duration::ZERO, Arc::new(Bells::new(Vec::new()))))
    }

    /// Plays shards: these take turns without an end.
    async fn turn(shared: &Shared, shards: &[usize]) {
        loop {
            shards.iter().for_each(|&shard| shared.counters[shard].turns.add(1));
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(future)
    }

    fn silent(turning: &[usize], within: Duration) -> Vec<usize> {
        let shared = two_shards();
        run(async {
            tokio::select! {
                silent = silent_shards(&shared, within) => silent,
                () = turn(&shared, turning) => unreachable!("shards go on"),
            }
        })
    }

    #[test]
    fn one_shard_that_takes_no_turn_is_named() {
        assert_eq!(silent(&[0, 1], LONG), [0; 0]);
        let short = Duration::from_millis(50);
        assert_eq!(silent(&[0], short), [1]);
        assert_eq!(silent(&[], short), [0, 1]);
        assert_eq!(told(&[0, 3]), "shard 0, 3 takes no turn");
    }

    #[test]
    fn a_shard_that_has_ended_with_the_program_is_not_stuck() {
        let shared = two_shards();
        shared.stop(Stopping::Drain);
        assert_eq!(run(silent_shards(&shared, LONG)), [0; 0]);
        shared.counters[0].sessions.set(1);
        assert_eq!(run(silent_shards(&shared, Duration::from_millis(10))), [0]);
    }

    #[test]
    fn the_watchdog_is_silent_while_one_shard_is_stuck_and_speaks_again_after_that() {
        let name = format!("evenkeel-watchdog-{}", std::process::id());
        let manager = SocketAddr::from_abstract_name(&name).expect("a short name");
        let manager = UnixDatagram::bind_addr(&manager).expect("a free name");
        manager.set_nonblocking(true).expect("a socket");
        let heard = || {
            let mut message = [0; 512];
            let bytes = manager.recv(&mut message).ok();
            bytes.map(|bytes| String::from_utf8_lossy(&message[..bytes]).into_owned())
        };
        let shared = two_shards();
        let notifier = Arc::new(Notifier::to(format!("@{name}").as_ref()));
        let interval = Duration::from_millis(200);
        let watch = keep_watchdog(Arc::clone(&shared), notifier, interval);
        run(async {
            let watch = std::pin::pin!(watch);
            let until = |words: &'static str| async move {
                loop {
                    if let Some(said) = heard() {
                        return assert_eq!(said.trim_end(), words);
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            };
            let story = async {
                let stuck = "STATUS=shard 1 takes no turn";
                tokio::select! {
                    () = turn(&shared, &[0]) => {}
                    () = async { until(stuck).await; until(stuck).await } => {}
                }
                while heard().is_some() {}
                tokio::select! {
                    () = turn(&shared, &[0, 1]) => {}
                    () = until("WATCHDOG=1") => {}
                }
            };
            tokio::select! {
                () = watch => {}
                told = tokio::time::timeout(LONG, story) => told.expect("in time"),
            }
        });
    }
}

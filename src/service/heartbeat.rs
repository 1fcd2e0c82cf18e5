//! Whether every shard goes round its loop. A shard that hangs does so between two waits, so one that
//! is woken and takes no turn is stuck; asking costs each shard one wake-up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};

use crate::shard::shared::{Shared, Stopping};

use super::notify::Notifier;

/// Asks shards for a turn.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    shared: Arc<Shared>,
}

/// These shards took no turn although they were woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck(pub Vec<usize>);

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shards: Vec<String> = self.0.iter().map(usize::to_string).collect();
        write!(f, "shard {} takes no turn", shards.join(", "))
    }
}

impl Heartbeat {
    /// Of these shards.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Wakes all shards, and waits until each has begun a turn since.
    ///
    /// # Errors
    /// Those that have not when `patience` is over.
    pub async fn check(&self, patience: Duration) -> Result<(), Stuck> {
        let before = self.turns();
        let until = Instant::now() + patience;
        self.shared.bells.ring_all();
        loop {
            let stuck = self.still_at(&before);
            if stuck.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Stuck(stuck));
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER.min(patience)).await;
        }
    }

    fn turns(&self) -> Vec<u64> {
        self.shared.counters.iter().map(|one| one.turns.value()).collect()
    }

    fn still_at(&self, before: &[u64]) -> Vec<usize> {
        let stopping = self.shared.stopping() != Stopping::No;
        let shards = self.shared.counters.iter().zip(before).enumerate();
        let still = shards.filter(|(_, (now, before))| {
            // A shard that has nothing left to do when the program ends has ended.
            let has_ended = stopping && now.sessions.value() == 0;
            now.turns.value() == **before && !has_ended
        });
        still.map(|(shard, _)| shard).collect()
    }
}

/// Tells the service manager at least every `interval` that all is well, as long as it is.
pub async fn keep_watchdog(heartbeat: Heartbeat, notifier: Arc<Notifier>, interval: Duration) {
    let mut was_stuck = false;
    loop {
        // Half of the time, as sd_watchdog_enabled(3) advises, of which half is for the answer.
        let next = Instant::now() + interval / 2;
        match heartbeat.check(interval / 4).await {
            Ok(()) => {
                notifier.watchdog();
                if std::mem::take(&mut was_stuck) {
                    info!("watchdog: every shard takes turns again");
                }
            }
            Err(stuck) => {
                was_stuck = true;
                error!("watchdog: {stuck}; the service manager is not told that all is well");
                notifier.status(&stuck.to_string());
            }
        }
        tokio::time::sleep_until(next).await;
    }
}

/// A turn that was asked for takes microseconds.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

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
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(future)
    }

    fn check(turning: &[usize], patience: Duration) -> Result<(), Stuck> {
        let shared = two_shards();
        let heartbeat = Heartbeat::new(Arc::clone(&shared));
        run(async {
            tokio::select! {
                told = heartbeat.check(patience) => told,
                () = turn(&shared, turning) => unreachable!("shards go on"),
            }
        })
    }

    #[test]
    fn one_shard_that_takes_no_turn_is_named() {
        assert_eq!(check(&[0, 1], LONG), Ok(()));
        let short = Duration::from_millis(50);
        assert_eq!(check(&[0], short), Err(Stuck(vec![1])));
        assert_eq!(check(&[], short), Err(Stuck(vec![0, 1])));
        assert_eq!(Stuck(vec![0, 3]).to_string(), "shard 0, 3 takes no turn");
    }

    #[test]
    fn a_shard_that_has_ended_with_the_program_is_not_stuck() {
        let shared = two_shards();
        shared.stop(Stopping::Drain);
        shared.counters[0].sessions.set(1);
        let told = run(Heartbeat::new(Arc::clone(&shared)).check(Duration::from_millis(10)));
        assert_eq!(told, Err(Stuck(vec![0])));
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
        let watch = keep_watchdog(Heartbeat::new(Arc::clone(&shared)), notifier, interval);
        run(async {
            let watch = std::pin::pin!(watch);
            let until = |words: &'static str| async move {
                loop {
                    if let Some(said) = heard() {
                        return assert_eq!(said.trim_end(), words);
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
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

//! Long computations of the control thread. They go to a thread that gives way to whoever else wants its
//! CPU: that may be a shard, which has clients waiting.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;

/// The thread "background", from the first time that there is something for it to do.
#[derive(Debug, Default)]
pub struct Background {
    /// None when there is no thread to be had.
    works: OnceLock<Option<Sender<Work>>>,
}

type Work = Box<dyn FnOnce() + Send>;

impl Background {
    /// Runs this there, after what was given to it before, and waits for what comes of it. Without a
    /// thread it is run here and now.
    ///
    /// # Panics
    /// When the work does.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let Some(works) = self.works.get_or_init(start) else { return work() };
        let (done, outcome) = oneshot::channel();
        let work = move || {
            // Who asked may have gone.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        };
        works.send(Box::new(work)).expect("it ends when there is nobody left to ask it");
        let outcome = outcome.await.expect("all work is done");
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

fn start() -> Option<Sender<Work>> {
    let (sender, works) = channel();
    let run = move || do_all(&works);
    match std::thread::Builder::new().name("background".to_owned()).spawn(run) {
        Ok(_) => Some(sender),
        Err(error) => {
            warn!(%error, "no thread for long computations; metrics are made beside the checks");
            None
        }
    }
}

fn do_all(works: &Receiver<Work>) {
    if let Err(error) = uring::give_way(LONGEST_SLICE) {
        warn!(%error, "metrics are computed with the weight of a shard; clients may notice");
    }
    works.iter().for_each(|work| work());
}

/// The longest that the kernel takes.
const LONGEST_SLICE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::thread::current;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn work_is_done_in_turn_on_a_thread_of_its_own_that_gives_way() {
        let background = Background::default();
        let (name, nice) = block_on(async {
            background.run(|| ()).await;
            background.run(|| (current().name().map(str::to_owned), nice())).await
        });
        assert_eq!((name.as_deref(), nice), (Some("background"), 19));
        assert_ne!(nice, self::nice(), "only that thread");
    }

    /// Of the calling thread: the nineteenth field, proc_pid_stat(5).
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("a file of the kernel");
        let (_, fields) = stat.rsplit_once(')').expect("the name of the thread");
        let nice = fields.split_whitespace().nth(16).expect("a long line");
        nice.parse().expect("a number")
    }

    #[test]
    fn a_panic_is_that_of_who_asked_and_the_thread_goes_on() {
        let background = Background::default();
        let asked = || block_on(background.run(|| panic!("on purpose")));
        assert!(catch_unwind(AssertUnwindSafe(asked)).is_err());
        assert_eq!(block_on(background.run(|| 3)), 3);
    }
}

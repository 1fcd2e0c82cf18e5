//! The thread that asks: looks at intervals, and wishes as they come. Its client blocks, so that the
//! view never does.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hyper::Method;

use crate::api::{Backend, BackendChange, Explanation, Killed, Sessions, Status};
use crate::ctl::client::{ApiPath, Client, ClientError};

use super::keys::Ask;
use super::state::{Lost, News, SessionSort, sessions_in_words};

/// What it is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// To look now, and from now on for this.
    Look(Want),
    /// To ask for something, and then to look.
    Ask(Ask),
}

/// What a look is to bring beside the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Want {
    /// Sessions.
    pub(crate) sessions: bool,
    /// Of this backend only.
    pub(crate) of_backend: Option<(String, String)>,
    /// Which, if there are too many.
    pub(crate) sort: SessionSort,
}

/// Looks until nobody wants to know.
pub(crate) fn run(
    client: &Client,
    interval: Duration,
    orders: &Receiver<Order>,
    tell: impl Fn(News) -> bool,
) {
    let (mut want, mut failed, mut next) = (Want::default(), 0_u32, Instant::now());
    loop {
        match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Order::Look(wanted)) => want = wanted,
            Ok(Order::Ask(ask)) => {
                if !tell(obey(client, ask)) {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let began = Instant::now();
        let news = match look(client, &want) {
            Ok(news) => {
                (failed, next) = (0, began + interval);
                news
            }
            Err(error) => {
                failed = failed.saturating_add(1);
                next = Instant::now() + backoff(failed, interval);
                News::Lost(Lost { error: error.to_string(), attempts: failed })
            }
        };
        if !tell(news) {
            return;
        }
    }
}

/// The status, and what else is wanted.
pub(crate) fn look(client: &Client, want: &Want) -> Result<News, ClientError> {
    let status: Status = client.value("/api/status")?;
    if !status.schema.starts_with("evenkeel-status-") {
        let (address, what) = (client.address().clone(), "its status has another form".to_owned());
        return Err(ClientError::NotEvenkeel { address, what });
    }
    let sessions = want.sessions.then(|| {
        let (pool, name) = want.of_backend.as_ref().map(|(pool, name)| (&**pool, &**name)).unzip();
        let path = ApiPath::from("/api/sessions").with_some("pool", pool);
        let path = path.with_some("backend", name).with("sort", want.sort.asked());
        let sessions = client.value::<Sessions>(path.with("limit", SESSIONS))?;
        Ok::<_, ClientError>((want.sort, sessions))
    });
    Ok(News::Look { status: Box::new(status), sessions: sessions.transpose()? })
}

fn obey(client: &Client, ask: Ask) -> News {
    match ask {
        Ask::SetState { pool, name, state } => {
            let change = BackendChange { weight: None, state: Some(state.to_owned()) };
            let path = ApiPath::backend(&pool, &name);
            let done = client.change(&Method::PATCH, path, Some(&change));
            let done = done.and_then(|answer| answer.value::<Backend>());
            News::Done(told(done.map(|backend| format!("{pool}/{name} is {}", backend.state))))
        }
        Ask::KillSession { id } => {
            let done = client.act(&Method::DELETE, ApiPath::session(&id));
            News::Done(told(done.map(|_| format!("session {id} is killed"))))
        }
        Ask::KillBackend { pool, name } => {
            let path = ApiPath::from("/api/sessions").with("pool", &pool).with("backend", &name);
            let done = client.act(&Method::DELETE, path);
            let done = done.and_then(|answer| answer.value::<Killed>());
            News::Done(told(done.map(|Killed { killed }| {
                let be = if killed == 1 { "is" } else { "are" };
                format!("{} of {pool}/{name} {be} killed", sessions_in_words(killed))
            })))
        }
        Ask::ExplainBackend { pool, name } => {
            let path = ApiPath::from("/api/explain/backend").with("pool", &pool);
            explained(client, format!("{pool}/{name}"), path.with("name", &name))
        }
        Ask::ExplainSession { id } => {
            let path = ApiPath::from("/api/explain/session").with("id", &id);
            explained(client, format!("session {id}"), path)
        }
    }
}

fn explained(client: &Client, title: String, path: ApiPath) -> News {
    News::Explained { title, answer: told(client.value::<Explanation>(path)) }
}

fn told<T>(done: Result<T, ClientError>) -> Result<T, String> {
    done.map_err(|error| error.to_string())
}

/// Longer after each failure, so that nobody is knocked down who gets up.
fn backoff(failed: u32, interval: Duration) -> Duration {
    interval.saturating_mul(2_u32.saturating_pow(failed.min(8) - 1)).clamp(RETRY_MIN, RETRY_MAX)
}

/// More than fit a screen, and little enough to ask for every second.
const SESSIONS: &str = "500";
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_become_rarer_and_never_stop() {
        let second = Duration::from_secs(1);
        let after: Vec<u64> = (1..6).map(|failed| backoff(failed, second).as_secs()).collect();
        assert_eq!(after, [1, 2, 4, 5, 5]);
        assert_eq!(backoff(u32::MAX, second), RETRY_MAX);
        assert_eq!(backoff(1, Duration::from_millis(1)), RETRY_MIN);
        assert_eq!(backoff(1, Duration::from_secs(3600)), RETRY_MAX);
    }
}

//! `/metrics`, in the form that the scraper asks for.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError};

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;

use super::App;
use crate::control::background::Background;
use crate::control::metrics::families;
use crate::control::metrics::family::Family;
use crate::control::metrics::gather::{Facts, gather};
use crate::control::metrics::text::{Format, Writer};

/// Everything that a scraper wants to know.
pub(super) async fn metrics(app: &App, headers: &HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&accepted.collect::<Vec<_>>().join(","));
    let seen = gather(&app.handle, &app.background, facts(app)).await;
    let writer = Writer::new(families(seen), format);
    let body = written(writer, Arc::clone(&app.background));
    ([(CONTENT_TYPE, format.content_type())], body).into_response()
}

/// The text, of which a piece is written when the one before has been sent: a scrape of hundreds of
/// backends has megabytes, and may be taken slowly.
fn written(
    writer: Writer<impl Iterator<Item = Family> + Send + 'static>,
    background: Arc<Background>,
) -> Body {
    Body::from_stream(unfold(writer, move |mut writer| {
        let background = Arc::clone(&background);
        let write = move || writer.next().map(|piece| (Ok::<_, Infallible>(piece), writer));
        async move { background.run(write).await }
    }))
}

fn facts(app: &App) -> Facts {
    let (about, notes) = (&app.about, app.notes.load());
    Facts {
        version: about.version.clone(),
        kernel: uring::kernel_release(),
        engine: about.engine.clone(),
        engine_reason: about.engine_reason.clone(),
        control: about.control.get().cloned().unwrap_or_default(),
        started_ms: about.started_ms,
        sessions_max: about.sessions_max,
        fds_max: about.files_limit,
        cpus: about.cpus.clone(),
        shards_cpu_ns: about.threads.cpu_ns(app.handle.shared()),
        log_dropped: app.lost_lines.lines(),
        reloads: *app.reloads.lock().unwrap_or_else(PoisonError::into_inner),
        unkept_changes: notes.unkept.len(),
        pending_settings: notes.pending.len(),
        admin: app.tally.list().to_vec(),
    }
}

//! What the operator is told: lines of the log, and events.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::api::Event;
use crate::balancer::Handle;
use crate::config::ProcessConfig;
use crate::control::admin::Notes;
use crate::control::events::{Events, Kind, News};
use crate::control::world::Changes;
use crate::core::moment::Moment;
use crate::shard::notices::{Notice, What};

use super::{Manager, key};

/// What was told of and is not over.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    known: Rc<RefCell<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Backends of which it was told that they are ejected.
    ejected: HashMap<String, u32>,
    /// When it was last told of each that its pool fails open.
    fail_open: HashMap<String, Instant>,
    /// What takes a restart.
    pending: Vec<String>,
}

impl Told {
    /// What checks say is stronger: nobody is told afterwards that an ejection is over.
    pub(super) fn note_health(&self, key: &str, up: bool) {
        if !up {
            self.known.borrow_mut().ejected.remove(key);
        }
    }
}

impl Manager {
    /// The first events.
    pub(super) fn begin(&self) {
        let about = &self.app.about;
        let text = format!("evenkeel {} takes clients, engine {}", about.version, about.engine);
        self.app.events.push(News::info(Kind::Start, "evenkeel", text));
        let kept = self.overrides.list();
        if !kept.is_empty() {
            let (file, kept) = (self.config.process.state_file.as_ref(), kept.join(", "));
            let (subject, from) = match file {
                Some(path) => (path.display().to_string(), "as the state file keeps it"),
                None => ("evenkeel".to_owned(), "as it was before the hand-over"),
            };
            let text = format!("over the configuration, {from}: {kept}");
            info!("{text}");
            self.app.events.push(News::info(Kind::State, subject, text));
        }
        if let Some(reason) = &about.engine_reason {
            let news = News::warning(
                Kind::EngineFallback,
                "engine",
                "epoll moves the bytes, not io_uring",
            );
            self.app.events.push(news.because(reason.clone()));
        }
    }

    /// The file that the configuration comes from.
    pub(super) fn file(&self) -> String {
        let path = self.serve.config.as_ref();
        path.map_or_else(|| "command line".to_owned(), |path| path.display().to_string())
    }

    /// What others may know of what is in force.
    pub(super) fn note(&self) {
        let config = Some(self.in_force());
        let unkept = if self.keeper.is_some() { Vec::new() } else { self.overrides.list() };
        let pending = self.told.known.borrow().pending.clone();
        self.app.notes.store(Arc::new(Notes { config, unkept, pending }));
        let world = self.balancer.world();
        let there: Vec<String> = world
            .pools()
            .flat_map(|(_, pool)| pool.members.iter().map(|member| key(pool, &member.backend)))
            .collect();
        drop(world);
        let there: std::collections::HashSet<&str> = there.iter().map(String::as_str).collect();
        self.app.events.keep_latest(|subject| there.contains(subject));
        self.told
            .known
            .borrow_mut()
            .fail_open
            .retain(|subject, _| there.contains(subject.as_str()));
    }

    /// Makes events of what shards had to say, and of ejections that are over.
    pub(super) fn look(&self) {
        while let Some(notice) = self.balancer.shared().notices.pop() {
            self.on_notice(notice);
        }
        self.look_for_restored();
        self.balancer.look_for_bottlenecks();
        self.app.look_for_losses();
    }

    fn on_notice(&self, notice: Notice) {
        let events = &self.app.events;
        match notice.what {
            What::Ejected { pool, backend, time, why } => {
                let backend = &pool.member(backend).backend;
                let (subject, time) = (key(&pool, backend), humantime::format_duration(time));
                self.told.known.borrow_mut().ejected.insert(subject.clone(), backend.uid);
                let text = format!("backend {subject} is ejected for {time}: its connects fail");
                let news = News::warning(Kind::BackendEjected, subject, text);
                events.push_at(notice.time, news.because(why));
            }
            What::FailOpen { pool, backend, why } => {
                let subject = key(&pool, &pool.member(backend).backend);
                let mut known = self.told.known.borrow_mut();
                let last = known.fail_open.insert(subject.clone(), Instant::now());
                if last.is_some_and(|last| last.elapsed() < FAIL_OPEN_AGAIN_AFTER) {
                    return;
                }
                let text = format!(
                    "pool {} fails open: connects to {subject} fail, and it stays in, because half of \
                     the pool is out already",
                    pool.name
                );
                events.push_at(
                    notice.time,
                    News::warning(Kind::FailOpen, subject, text).because(why),
                );
            }
            What::AcceptPaused { shard, why } => {
                let text = format!(
                    "shard {shard} cannot accept for a moment; raise `ulimit -n` or lower --max-sessions"
                );
                let news = News::warning(Kind::AcceptPaused, format!("shard {shard}"), text);
                events.push_at(notice.time, news.because(why));
            }
        }
    }

    fn look_for_restored(&self) {
        let mut known = self.told.known.borrow_mut();
        if known.ejected.is_empty() {
            return;
        }
        let now = Moment::from_ns(uring::monotonic_ns());
        let snapshot = self.balancer.shared().snapshot();
        let mut members = HashMap::new();
        for pool in &snapshot.pools {
            members.extend(pool.members.iter().map(|member| (member.backend.uid, &member.backend)));
        }
        known.ejected.retain(|subject, uid| {
            // One that is gone is not restored.
            let Some(backend) = members.get(uid) else { return false };
            let over = backend.condition.ejected_until(now).is_none();
            if over {
                let text = format!("backend {subject} is not ejected any more");
                let evidence = "its time is over, a connect succeeded, or it answers checks";
                let news = News::info(Kind::BackendRestored, subject.clone(), text);
                self.app.events.push(news.because(evidence));
            }
            !over
        });
    }

    /// What another configuration changed, and what was lost of what the operator had changed.
    pub(super) fn tell_reload(&self, changes: &Changes, lost: &[String], by: &str) -> Event {
        let Changes {
            listeners_added,
            listeners_removed,
            backends_added,
            backends_removed,
            changed,
            ignored,
        } = changes;
        let parts = [
            ("listening on", listeners_added),
            ("not listening any more on", listeners_removed),
            ("new backends", backends_added),
            ("backends removed", backends_removed),
            ("changed", changed),
        ];
        let parts = parts.into_iter().filter(|(_, list)| !list.is_empty());
        let parts: Vec<_> =
            parts.map(|(what, list)| format!("{what} {}", list.join(", "))).collect();
        let mut text = match parts.is_empty() {
            true => "the configuration is the same".to_owned(),
            false => format!("the new configuration is in force: {}", parts.join("; ")),
        };
        let kept = if self.keeper.is_some() { self.overrides.list() } else { Vec::new() };
        if !kept.is_empty() {
            text += &format!("; over it, from the state file: {}", kept.join(", "));
        }
        info!("{by}: {text}");
        if !ignored.is_empty() {
            let ignored = ignored.join(", ");
            warn!("{by}: to be changed by a restart only: {ignored}");
            text += &format!("; to be changed by a restart only: {ignored}");
        }
        if !lost.is_empty() {
            let lost = lost.join(", ");
            warn!("what was changed while the program ran is not in force any more: {lost}");
            text += &format!("; not in force any more: {lost}");
        }
        self.told.known.borrow_mut().pending.clone_from(ignored);
        self.note();
        let news = News::info(Kind::Reload, self.file(), text).because(by);
        let alarming = !ignored.is_empty() || !lost.is_empty();
        let level = if alarming { crate::control::events::Level::Warning } else { news.level };
        self.app.events.push(News { level, ..news })
    }
}

/// Those who wait look again, and sessions of a dead backend are cut if that is wanted.
pub(super) fn on_health_change(
    balancer: &Handle,
    events: &Events,
    changed: &str,
    up: bool,
    evidence: &str,
) {
    let (kind, state) = if up { (Kind::BackendUp, "up") } else { (Kind::BackendDown, "down") };
    let news = News::info(kind, changed, format!("backend {changed} is {state}: {evidence}"));
    let level = if up { news.level } else { crate::control::events::Level::Warning };
    events.push(News { level, ..news }.because(evidence));
    let world = balancer.world();
    for (_, pool) in world.pools() {
        let mut members = pool.members.iter();
        let Some(member) = members.find(|member| key(pool, &member.backend) == changed) else {
            continue;
        };
        pool.state.stir();
        if !up && pool.close_when_down {
            let (shared, uid) = (Arc::clone(balancer.shared()), member.backend.uid);
            tokio::task::spawn_local(async move {
                while shared.cut_sessions_of(uid).is_err() {
                    tokio::time::sleep(CUT_AGAIN_AFTER).await;
                }
            });
        }
    }
}

/// What a running program cannot change.
pub(super) fn needs_restart(before: &ProcessConfig, now: &ProcessConfig) -> Vec<String> {
    let differs = [
        ("shards or cpus", before.cpus != now.cpus),
        ("engine", before.engine != now.engine),
        // Where nothing is said they follow from what else is in the file.
        ("max_sessions", before.asked.max_sessions != now.asked.max_sessions),
        ("buffers", before.asked.buffers != now.asked.buffers),
        ("busy_poll", before.busy_poll != now.busy_poll),
        ("report_interval", before.report_interval != now.report_interval),
        ("tcp_info", before.tcp_info != now.tcp_info),
        ("log_level", before.log_level != now.log_level),
        ("log_file or session_log", before.log != now.log),
        ("admin", before.admin.endpoints != now.admin.endpoints),
        ("state_file", before.state_file != now.state_file),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(what, _)| format!("{what} of the process")).collect()
}

/// Shards that are behind with what they have to cut are asked again.
const CUT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A pool that goes on failing open is told of this often.
const FAIL_OPEN_AGAIN_AFTER: Duration = Duration::from_secs(60);

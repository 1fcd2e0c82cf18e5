//! From the text of a file to a draft: a pure function, so that it can be called with anything.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;
use std::ops::Range;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use uring::ListenOptions;

use super::admin::AdminDraft;
use super::draft::{At, BACKLOG, Draft, ListenerDraft, PROXY_TIMEOUT, PoolDraft, ProcessDraft};
use super::plan::{AcceptProxy, Access, On, PerIp, Target};
use super::pools;
use super::problem::{Place, Problem, Problems, did_you_mean};
use super::source::{Raw, Source};
use super::tables::{
    BackendTable, HealthTable, Key, List, ListenerTable, PoolTable, ProcessTable, keys,
};
use super::text;
use super::value::{ListenAddress, OrOff};

/// Reads a configuration. `env` gives environment variables; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong with it: first with its syntax, else with its keys and values, else with
/// what does not go together.
pub fn parse(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Draft, Problems> {
    let mut source = Source::new(text, file);
    let root = source.parse(env)?;
    let document = Document::read(&mut source, root);
    source.check()?;
    let draft = document.combine(&mut source);
    source.check()?;
    Ok(draft)
}

/// The tables of a file, each with what the defaults say and it does not.
struct Document {
    process: ProcessTable,
    listeners: Vec<ListenerSource>,
    pools: Vec<PoolSource>,
}

/// Where each key of a table is written, those of the defaults left out.
pub(super) type Own = BTreeMap<String, Range<usize>>;

struct ListenerSource {
    span: Range<usize>,
    own: Own,
    table: ListenerTable,
}

/// A pool's tables.
pub(super) struct PoolSource {
    pub(super) name: String,
    pub(super) span: Range<usize>,
    pub(super) own: Own,
    pub(super) table: PoolTable,
    pub(super) own_health: Own,
    pub(super) health: HealthTable,
    pub(super) backends: Vec<(Range<usize>, BackendTable)>,
}

impl Document {
    fn read<'i>(source: &mut Source<'i>, root: DeTable<'i>) -> Self {
        let mut root = Raw { title: "the file".to_owned(), span: 0..0, entries: root };
        source.refuse_unknown(&mut root, &TABLES, &|key| {
            let of_process = keys::<ProcessTable>().contains(&key);
            of_process.then_some(PROCESS).or_else(|| table_of_default(key))
        });
        let mut table = |name: &str, title: &str| {
            let table = root.take(name).and_then(|value| source.table(value, title.to_owned()));
            table.unwrap_or_else(|| Raw { title: title.to_owned(), ..Raw::default() })
        };
        let (mut process, defaults) = (table("process", PROCESS), table("defaults", DEFAULTS));
        let pools = table("pool", POOL);
        source.refuse_unknown(&mut process, keys::<ProcessTable>(), &table_of_default);
        let process = source.read(&process);
        let defaults = Defaults::read(source, defaults);
        let listeners = root.take("listener");
        let listeners = listeners.map_or_else(Vec::new, |value| source.tables(value, LISTENER));
        let listeners =
            listeners.into_iter().map(|raw| ListenerSource::read(source, raw, &defaults));
        let listeners = listeners.collect();
        let pools = pools.entries.into_iter();
        let mut pools: Vec<_> = pools
            .filter_map(|(name, value)| PoolSource::read(source, &name, value, &defaults))
            .collect();
        // In the order of the file, in which a person looks for them.
        pools.sort_by_key(|pool| pool.span.start);
        Self { process, listeners, pools }
    }

    fn combine(self, source: &mut Source<'_>) -> Draft {
        let names: Vec<_> = self.pools.iter().map(|pool| pool.name.clone()).collect();
        let whole = source.whole();
        if self.listeners.is_empty() {
            source.problem(
                &(0..0),
                "there is no listener; write a [[listener]] with `listen` and `pool`",
            );
        }
        refuse_same_names(source, &self.listeners);
        let mut listeners = Vec::new();
        for listener in self.listeners {
            listener.combine(source, &names, &mut listeners);
        }
        let mut warnings = Vec::new();
        let used = |pool| listeners.iter().any(|listener| listener.pool == pool);
        for (index, pool) in self.pools.iter().enumerate().filter(|(index, _)| !used(*index)) {
            let text = format!(
                "no listener uses pool `{}`; name it in a listener, or leave it out",
                names[index]
            );
            warnings.push(Problem::new(&source.place(&pool.span), text));
        }
        let pools = self
            .pools
            .into_iter()
            .map(|pool| pools::combine(pool, source))
            .collect::<Vec<PoolDraft>>();
        Draft { process: process(self.process, source), listeners, pools, place: whole, warnings }
    }
}

/// What holds where a listener or a pool says nothing.
struct Defaults<'i> {
    entries: DeTable<'i>,
    health: DeTable<'i>,
}

impl<'i> Defaults<'i> {
    fn read(source: &mut Source<'i>, mut raw: Raw<'i>) -> Self {
        let known: Vec<_> = default_keys().chain(["health"]).collect();
        source.refuse_unknown(&mut raw, &known, &|key| match key {
            "listen" | "name" => Some(LISTENER),
            "backend" | "backends" | "destination" => Some("[pool.NAME]"),
            _ => keys::<ProcessTable>().contains(&key).then_some(PROCESS),
        });
        let title = "[defaults.health]".to_owned();
        let health = raw.take("health").and_then(|value| source.table(value, title.clone()));
        let mut health = health.unwrap_or_else(|| Raw { title, ..Raw::default() });
        source.refuse_unknown(&mut health, keys::<HealthTable>(), &nowhere);
        // They are read with each table that they complete; this is for those that complete none.
        source.read::<ListenerTable>(&raw);
        source.read::<PoolTable>(&raw);
        source.read::<HealthTable>(&health);
        Self { entries: raw.entries, health: health.entries }
    }
}

impl ListenerSource {
    fn read<'i>(source: &mut Source<'i>, mut raw: Raw<'i>, defaults: &Defaults<'i>) -> Self {
        source.refuse_unknown(&mut raw, keys::<ListenerTable>(), &|key| {
            let elsewhere = keys::<PoolTable>().contains(&key) && key != "backends";
            elsewhere.then_some("[pool.NAME] or [defaults]")
        });
        let own = raw.places();
        raw.complete(&defaults.entries, |key| keys::<ListenerTable>().contains(&key));
        Self { span: raw.span.clone(), own, table: source.read(&raw) }
    }

    /// One listener for each of its addresses.
    fn combine(
        self,
        source: &mut Source<'_>,
        pools: &[String],
        listeners: &mut Vec<ListenerDraft>,
    ) {
        let Self { span, own, table } = self;
        let pool = pool_of(source, &span, table.pool, pools);
        if let (Some(key), None) = (own.get("proxy_timeout"), &table.accept_proxy) {
            source.problem(
                key,
                "`proxy_timeout` does nothing without `accept_proxy`; name the proxies there",
            );
        }
        let nets = |list: Option<Spanned<List<IpNet>>>| -> Vec<IpNet> {
            list.into_iter().flat_map(List::placed).map(|(_, net)| net).collect()
        };
        let proxies = nets(table.accept_proxy);
        let timeout = value(table.proxy_timeout).unwrap_or(PROXY_TIMEOUT);
        let accept_proxy = (!proxies.is_empty()).then_some(AcceptProxy { from: proxies, timeout });
        let count = |key: Key<OrOff<super::value::Whole<1, { u32::MAX }>>>| -> Option<NonZeroU32> {
            unless_off(key).map(super::value::Whole::non_zero)
        };
        let per_ip = PerIp {
            sessions: count(table.max_sessions_per_ip),
            rate: unless_off(table.max_rate_per_ip),
        };
        let access = Access { allow: nets(table.allow), deny: nets(table.deny) };
        let options = ListenOptions {
            defer_accept: unless_off(table.defer_accept),
            fast_open: value(table.tcp_fastopen).map_or(0, super::value::Whole::small),
            keepalive: some_time(table.tcp_keepalive),
            user_timeout: some_time(table.tcp_user_timeout),
        };
        let backlog = value(table.backlog).map_or(BACKLOG, super::value::Whole::small);
        let (name, max_sessions) = (value(table.name), count(table.max_sessions));
        let addresses: Vec<(Range<usize>, ListenAddress)> =
            table.listen.into_iter().flat_map(List::placed).collect();
        if addresses.is_empty() {
            source.problem(&span, "the listener has no address; write listen = \"0.0.0.0:8080\"");
        }
        for (span, ListenAddress(on)) in addresses {
            let place = source.place(&span);
            if listeners.iter().any(|other| other.on == on && !any_port(&on)) {
                source.problem(
                    &span,
                    format!("`{on}` is listened on already; write another address or port"),
                );
            }
            let name = name.as_ref().map_or_else(|| on.to_string(), |name| name.0.clone());
            let (access, accept_proxy) = (access.clone(), accept_proxy.clone());
            listeners.push(ListenerDraft {
                place,
                name,
                on,
                pool,
                backlog,
                options,
                max_sessions,
                access,
                per_ip,
                accept_proxy,
            });
        }
    }
}

/// The pool of a listener, which need not be named if there is one only.
fn pool_of(
    source: &mut Source<'_>,
    span: &Range<usize>,
    named: Key<super::value::Name>,
    pools: &[String],
) -> usize {
    let known = || format!("`{}`", pools.join("`, `"));
    match (named, pools) {
        (_, []) => {
            source.problem(span, "there is no pool for it; write [pool.NAME] with `backends`")
        }
        (None, [_]) => {}
        (None, _) => source
            .problem(span, format!("the listener names no pool; write pool = one of {}", known())),
        (Some(named), _) => {
            let (span, name) = (named.span(), named.into_inner().0.0);
            match pools.iter().position(|pool| *pool == name) {
                Some(index) => return index,
                None => {
                    let meant = did_you_mean(&name, pools.iter().map(String::as_str));
                    source.problem(
                        &span,
                        format!("there is no pool `{name}`; expected one of {}{meant}", known()),
                    );
                }
            }
        }
    }
    0
}

/// A name may be that of several addresses of one table, but not of two tables.
fn refuse_same_names(source: &mut Source<'_>, listeners: &[ListenerSource]) {
    let mut names = HashSet::new();
    for name in listeners.iter().filter_map(|listener| listener.table.name.as_ref()) {
        let text = &name.get_ref().0.0;
        if !names.insert(text) {
            let text = format!("there is a listener `{text}` already; write another name");
            source.problem(&name.span(), text);
        }
    }
}

impl PoolSource {
    fn read<'i>(
        source: &mut Source<'i>,
        name: &Spanned<std::borrow::Cow<'i, str>>,
        value: Spanned<DeValue<'i>>,
        defaults: &Defaults<'i>,
    ) -> Option<Self> {
        let (span, name) = (name.span(), name.get_ref().to_string());
        if let Err(problem) = text::name(&name) {
            source.problem(&span, problem);
        }
        let mut raw = source.table(value, format!("[pool.{name}]"))?;
        let known: Vec<_> =
            keys::<PoolTable>().iter().copied().chain(["health", "backend"]).collect();
        source.refuse_unknown(&mut raw, &known, &|key| {
            let elsewhere =
                keys::<ListenerTable>().contains(&key) && !["pool", "name"].contains(&key);
            elsewhere.then_some("[[listener]] or [defaults]")
        });
        let title = format!("[pool.{name}.health]");
        let health = raw.take("health").and_then(|value| source.table(value, title.clone()));
        let mut health = health.unwrap_or_else(|| Raw { title, ..Raw::default() });
        source.refuse_unknown(&mut health, keys::<HealthTable>(), &nowhere);
        let title = format!("[[pool.{name}.backend]]");
        let backends = raw.take("backend");
        let backends = backends.map_or_else(Vec::new, |value| source.tables(value, &title));
        let (own, own_health) = (raw.places(), health.places());
        raw.complete(&defaults.entries, |key| keys::<PoolTable>().contains(&key));
        health.complete(&defaults.health, |_| true);
        let (table, health) = (source.read(&raw), source.read(&health));
        let backends = backends.into_iter().map(|mut raw| {
            source.refuse_unknown(&mut raw, keys::<BackendTable>(), &nowhere);
            (raw.span.clone(), source.read(&raw))
        });
        let backends = backends.collect();
        Some(Self { name, span, own, table, own_health, health, backends })
    }
}

fn process(table: ProcessTable, source: &Source<'_>) -> ProcessDraft {
    let defaults = ProcessDraft::defaults();
    let endpoints = table.admin.into_iter().flat_map(List::placed);
    let endpoints = endpoints.map(|(span, value)| At { value, place: source.place(&span) });
    let admin = AdminDraft {
        endpoints: endpoints.collect(),
        token_file: at(table.admin_token_file, source, |path| path.0),
        public_read: value(table.admin_public_read).unwrap_or(false),
        dashboard: None,
    };
    ProcessDraft {
        shards: at(table.shards, source, super::value::Whole::small),
        cpus: at(table.cpus, source, |cpus| cpus),
        engine: value(table.engine).map_or(defaults.engine, |word| word.0),
        max_sessions: at(table.max_sessions, source, |number| number.0),
        buffers: value(table.buffers).map(super::value::Whole::small),
        busy_poll: unless_off(table.busy_poll).map(|time| time.0),
        drain_timeout: value(table.drain_timeout).map_or(defaults.drain_timeout, |time| time.0),
        report_interval: unless_off(table.report_interval),
        tcp_info: value(table.tcp_info).map_or(defaults.tcp_info, |word| word.0),
        log_level: value(table.log_level).map_or(defaults.log_level, |word| word.0),
        log_file: value(table.log_file).map(|path| path.0),
        session_log: value(table.session_log),
        session_log_format: value(table.session_log_format)
            .map_or(defaults.session_log_format, |word| word.0),
        session_log_queue: value(table.session_log_queue)
            .map_or(defaults.session_log_queue, |number| number.0),
        resolve_ttl_min: value(table.resolve_ttl_min).unwrap_or(defaults.resolve_ttl_min),
        admin,
        state_file: value(table.state_file).map(|path| path.0),
    }
}

/// A value without its place.
pub(super) fn value<T>(key: Key<T>) -> Option<T> {
    key.map(|spanned| spanned.into_inner().0)
}

/// A value that is not switched off.
pub(super) fn unless_off<T>(key: Key<OrOff<T>>) -> Option<T> {
    value(key).and_then(|value| value.0)
}

/// A time; none if it is nothing.
pub(super) fn some_time(key: Key<super::value::TimeOrNone>) -> Option<std::time::Duration> {
    value(key).map(|time| time.0).filter(|time| !time.is_zero())
}

fn at<T, U>(key: Key<T>, source: &Source<'_>, as_it_is_used: impl FnOnce(T) -> U) -> Option<At<U>> {
    let place = |spanned: &Spanned<_>| -> Place { source.place(&spanned.span()) };
    key.map(|spanned| At { place: place(&spanned), value: as_it_is_used(spanned.into_inner().0) })
}

/// Whether the kernel chooses: another one each time.
fn any_port(on: &On<Target>) -> bool {
    matches!(on, On::At(Target::Host(endpoint)) if endpoint.port == 0)
}

/// The keys of listeners and pools that make sense for several of them.
fn default_keys() -> impl Iterator<Item = &'static str> {
    // A key of both is one key here.
    let listener = keys::<ListenerTable>();
    let pool = keys::<PoolTable>().iter().filter(|key| !listener.contains(key));
    listener
        .iter()
        .chain(pool)
        .copied()
        .filter(|key| !["listen", "name", "backends", "destination"].contains(key))
}

fn table_of_default(key: &str) -> Option<&'static str> {
    let listener = keys::<ListenerTable>().contains(&key);
    let pool = keys::<PoolTable>().contains(&key);
    match (listener, pool) {
        (true, _) => Some("[[listener]] or [defaults]"),
        (_, true) => Some("[pool.NAME] or [defaults]"),
        _ => None,
    }
}

fn nowhere(_: &str) -> Option<&'static str> {
    None
}

const TABLES: [&str; 4] = ["process", "defaults", "listener", "pool"];
const PROCESS: &str = "[process]";
const DEFAULTS: &str = "[defaults]";
const LISTENER: &str = "[[listener]]";
const POOL: &str = "[pool.NAME]";

//! What the keys of a pool in a file come to together.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::Range;

use toml::Spanned;

use super::draft::PoolDraft;
use super::parse::{Own, PoolSource, some_time, unless_off, value};
use super::plan::{
    BackendConfig, Check, Connect, EjectionConfig, HealthConfig, MaxAge, PoolConfig, Queue,
    StickyConfig,
};
use super::problem::Place;
use super::source::Source;
use super::tables::{BackendTable, DestinationName, HealthTable, Key, List, PoolTable};
use super::value::{OrOff, Whole};
use crate::cli::{HealthType, MarkedDown, StickyKey};

/// A pool with its defaults; what does not go together is told of.
pub(super) fn combine(pool: PoolSource, source: &mut Source<'_>) -> PoolDraft {
    let place = source.place(&pool.span);
    let PoolSource { name, span, own, mut table, own_health, health, backends } = pool;
    let original = table
        .destination
        .take()
        .is_some_and(|name| name.into_inner().0.0 == DestinationName::OriginalDst);
    let ejection = ejection(&mut table, &own, source);
    let health = combine_health(health, &own_health, source);
    let (backends, backend_places) = combine_backends(&mut table, backends, source);
    let (sources, source_places) = combine_sources(&mut table, source);
    let connect = Connect {
        sources,
        keepalive: some_time(table.tcp_keepalive.take()),
        user_timeout: some_time(table.tcp_user_timeout.take()),
    };
    let rest = combine_rest(table, name, &own, source);
    let config = PoolConfig { backends, health, ejection, connect, ..rest };
    if original {
        refuse_beside_original_dst(&config, &own, &own_health, &backend_places, &span, source);
        let backend_places = vec![place.clone()];
        let config = config.with_original_destination();
        return PoolDraft { place, config, backend_places, source_places };
    }
    if config.backends.is_empty() {
        let text =
            format!("pool `{}` has no backend; write backends = [\"host:port\"]", config.name);
        source.problem(&span, text);
    }
    PoolDraft { place, config, backend_places, source_places }
}

fn combine_rest(table: PoolTable, name: String, own: &Own, source: &mut Source<'_>) -> PoolConfig {
    let defaults = PoolConfig::defaults(name);
    let max_age = max_age(table.max_connection_age, table.max_connection_age_jitter, own, source);
    let queue_size = value(table.queue_size).map_or(defaults.queue.size, |size| size.0);
    let queue_timeout = value(table.queue_timeout).unwrap_or(defaults.queue.timeout);
    let (key, ttl, size, returns) =
        (table.sticky_key, table.sticky_ttl, table.sticky_size, table.sticky_return);
    PoolConfig {
        algorithm: value(table.algorithm).map_or(defaults.algorithm, |word| word.0.into()),
        sticky: sticky(
            value(key).map(|word| word.0),
            value(ttl),
            value(size),
            value(returns),
            own,
            source,
        ),
        connect_timeout: value(table.connect_timeout).unwrap_or(defaults.connect_timeout),
        idle_timeout: value(table.idle_timeout).unwrap_or(defaults.idle_timeout),
        half_closed_timeout: value(table.half_closed_timeout)
            .unwrap_or(defaults.half_closed_timeout),
        wait_for_backend: value(table.wait_for_backend_timeout)
            .map_or(defaults.wait_for_backend, |time| time.0),
        on_unavailable: value(table.on_unavailable).unwrap_or(defaults.on_unavailable),
        queue: Queue { size: queue_size, timeout: queue_timeout },
        session_failover: value(table.session_failover).unwrap_or(defaults.session_failover),
        close_when_down: value(table.on_marked_down)
            .is_some_and(|word| word.0 == MarkedDown::Close),
        send_proxy: value(table.send_proxy).and_then(|word| word.0.version()),
        max_age,
        splice: value(table.splice).map_or(defaults.splice, |word| word.0.into()),
        slow_start: some_time(table.slow_start),
        status_port_offset: unless_off(table.status_port_offset),
        ..defaults
    }
}

fn sticky(
    key: Option<StickyKey>,
    ttl: Option<std::time::Duration>,
    size: Option<Whole<1, { u32::MAX }>>,
    returns: Option<bool>,
    own: &Own,
    source: &mut Source<'_>,
) -> Option<StickyConfig> {
    let Some(sticky) = key.and_then(StickyConfig::of) else {
        for name in ["sticky_ttl", "sticky_size", "sticky_return"] {
            does_nothing(own, name, "sticky_key = \"ip\"", source);
        }
        return None;
    };
    Some(StickyConfig {
        key: sticky.key,
        ttl: ttl.unwrap_or(sticky.ttl),
        size: size.map_or(sticky.size, Whole::non_zero),
        returns: returns.unwrap_or(sticky.returns),
    })
}

fn max_age(
    age: Key<OrOff<std::time::Duration>>,
    jitter: Key<super::value::TimeOrNone>,
    own: &Own,
    source: &mut Source<'_>,
) -> Option<MaxAge> {
    let Some(age) = unless_off(age) else {
        does_nothing(own, "max_connection_age_jitter", "max_connection_age", source);
        return None;
    };
    let span = jitter.as_ref().map(Spanned::span).unwrap_or_default();
    let age = MaxAge::new(age, value(jitter).map(|time| time.0));
    age.map_err(|problem| source.problem(&span, format!("`max_connection_age_jitter`: {problem}")))
        .ok()
}

fn ejection(table: &mut PoolTable, own: &Own, source: &mut Source<'_>) -> Option<EjectionConfig> {
    let defaults = EjectionConfig::defaults();
    let after = value(table.eject_after.take()).map_or(defaults.after.get(), |after| after.0);
    let (first, longest) = (table.eject_time.take(), table.eject_time_max.take());
    let Some(after) = NonZeroU32::new(after) else {
        for name in ["eject_time", "eject_time_max"] {
            does_nothing(own, name, "eject_after", source);
        }
        return None;
    };
    let span = longest.as_ref().or(first.as_ref()).map(Spanned::span).unwrap_or_default();
    let first = value(first).unwrap_or(defaults.first);
    let longest = value(longest).unwrap_or(defaults.longest.max(first));
    if longest < first {
        source.problem(&span, "`eject_time_max` is less than `eject_time`; write a longer one");
    }
    Some(EjectionConfig { after, first, longest })
}

fn combine_sources(table: &mut PoolTable, source: &Source<'_>) -> (Vec<IpAddr>, Vec<Place>) {
    let sources = table.source.take().into_iter().flat_map(List::placed);
    sources.map(|(span, address)| (address.0, source.place(&span))).unzip()
}

fn combine_health(table: HealthTable, own: &Own, source: &mut Source<'_>) -> Option<HealthConfig> {
    let kind = value(table.r#type).map_or(HealthType::Tcp, |word| word.0);
    for (keys, of, written) in [
        (&["send", "expect"][..], HealthType::SendExpect, "send-expect"),
        (&["path", "host", "status"], HealthType::Http, "http"),
    ] {
        for name in keys.iter().filter(|_| kind != of) {
            does_nothing(own, name, &format!("type = \"{written}\""), source);
        }
    }
    let check = match kind {
        HealthType::Off => return None,
        HealthType::Tcp => Check::Tcp,
        HealthType::SendExpect => {
            let send = value(table.send).unwrap_or_default().into_bytes();
            let expect = value(table.expect).unwrap_or_default().into_bytes();
            if expect.is_empty() {
                let span = own.get("type").cloned().unwrap_or_default();
                source.problem(
                    &span,
                    "a `send-expect` check expects something; write expect = \"...\"",
                );
            }
            Check::SendExpect { send, expect }
        }
        HealthType::Http => Check::Http {
            path: value(table.path).map_or_else(|| HEALTH_PATH.to_owned(), |path| path.0),
            host: value(table.host).map(|host| host.0),
            status: status(table.status),
        },
    };
    let defaults = HealthConfig::defaults()
        .every(value(table.interval).unwrap_or(HealthConfig::defaults().interval));
    let count =
        |key: Key<Whole<1, { u32::MAX }>>, otherwise| value(key).map_or(otherwise, Whole::non_zero);
    Some(HealthConfig {
        check,
        interval: defaults.interval,
        fast_interval: value(table.fast_interval).unwrap_or(defaults.fast_interval),
        timeout: value(table.timeout).unwrap_or(defaults.timeout),
        rise: count(table.rise, defaults.rise),
        fall: count(table.fall, defaults.fall),
        jitter: value(table.jitter).map_or(defaults.jitter, |jitter| jitter.0),
        port: value(table.port),
    })
}

fn status(listed: Option<Spanned<List<super::value::StatusRange>>>) -> Vec<(u16, u16)> {
    let listed: Vec<_> =
        listed.into_iter().flat_map(List::placed).map(|(_, range)| (range.0, range.1)).collect();
    if listed.is_empty() { HEALTHY_STATUS.to_vec() } else { listed }
}

fn combine_backends(
    table: &mut PoolTable,
    long: Vec<(Range<usize>, BackendTable)>,
    source: &mut Source<'_>,
) -> (Vec<BackendConfig>, Vec<Place>) {
    let short = table.backends.take().into_iter().flat_map(List::placed);
    let mut backends: Vec<(Range<usize>, BackendConfig)> =
        short.map(|(span, address)| (span, BackendConfig::defaults(address.0, None))).collect();
    for (span, table) in long {
        let Some(address) = table.address else {
            source.problem(&span, "the backend has no address; write address = \"host:port\"");
            continue;
        };
        let name_span = table.name.as_ref().map_or_else(|| address.span(), Spanned::span);
        let name = value(table.name).map(|name| name.0);
        let defaults = BackendConfig::defaults(address.into_inner().0.0, name);
        let backend = BackendConfig {
            weight: value(table.weight).map_or(defaults.weight, Whole::small),
            backup: value(table.backup).unwrap_or(defaults.backup),
            max_connections: value(table.max_connections).map(Whole::non_zero),
            ..defaults
        };
        backends.push((name_span, backend));
    }
    let mut names = std::collections::HashSet::new();
    for (span, backend) in &backends {
        if !names.insert(backend.name.clone()) {
            let text =
                format!("there is a backend `{}` already; write another `name`", backend.name);
            source.problem(span, text);
        }
    }
    if let Some((span, _)) = backends.get(MOST_BACKENDS) {
        source
            .problem(span, format!("a pool has at most {MOST_BACKENDS} backends; make two of it"));
    }
    backends.into_iter().map(|(span, backend)| (backend, source.place(&span))).unzip()
}

fn refuse_beside_original_dst(
    config: &PoolConfig,
    own: &Own,
    own_health: &Own,
    backends: &[Place],
    span: &Range<usize>,
    source: &mut Source<'_>,
) {
    if !backends.is_empty() {
        let span = own.get("backends").unwrap_or(span);
        let text = format!(
            "pool `{}` goes to the original destination and has no backends; leave them out",
            config.name
        );
        source.problem(span, text);
    }
    for name in OF_BACKENDS {
        if let Some(span) = own.get(name) {
            let text = format!(
                "`{name}` chooses between backends, and an `original-dst` pool has none; leave it out"
            );
            source.problem(span, text);
        }
    }
    if let Some(span) = own_health.values().next().filter(|_| config.health.is_some()) {
        source
            .problem(span, "an `original-dst` pool has no backend to check; leave its health out");
    }
}

fn does_nothing(own: &Own, name: &str, needed: &str, source: &mut Source<'_>) {
    if let Some(span) = own.get(name) {
        source.problem(
            span,
            format!("`{name}` does nothing here; write `{needed}` too, or leave it out"),
        );
    }
}

/// What a check by HTTP asks for.
pub(super) const HEALTH_PATH: &str = "/health";
/// What is a good answer.
pub(super) const HEALTHY_STATUS: [(u16, u16); 1] = [(200, 399)];

/// The tables of the algorithms have a few places for each.
pub(crate) const MOST_BACKENDS: usize = 4096;

const OF_BACKENDS: [&str; 9] = [
    "algorithm",
    "sticky_key",
    "slow_start",
    "eject_after",
    "eject_time",
    "eject_time_max",
    "session_failover",
    "on_marked_down",
    "status_port_offset",
];

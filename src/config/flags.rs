//! From the options of the command line to a draft.

use std::path::PathBuf;
use std::time::Duration;

use uring::ListenOptions;

use super::admin::AdminListen;
use super::draft::{
    At, Draft, ListenerDraft, PROXY_TIMEOUT, PoolDraft, ProcessDraft, service_unavailable,
};
use super::plan::{
    AcceptProxy, Access, BackendConfig, Check, Connect, HealthConfig, MaxAge, On, OnUnavailable,
    PerIp, PoolConfig, Queue, StickyConfig, Target,
};
use super::pools::{HEALTH_PATH, HEALTHY_STATUS};
use super::problem::{Place, Problem, Problems};
use super::text::passed;
use crate::cli::{
    Endpoint, HealthCheck, HealthFlags, ListenerFlags, MarkedDown, PoolFlags, ProcessFlags,
    ProxyName, Serve, Unavailable,
};

/// One listener and one pool, as the options say.
pub(super) fn draft(serve: &Serve) -> Result<Draft, Problems> {
    let mut process = ProcessDraft::defaults();
    override_by(&mut process, &serve.process);
    Ok(Draft {
        process,
        listeners: vec![listener(&serve.listener, &serve.pool)],
        pools: vec![pool(&serve.pool, &serve.health)?],
        place: Place::CommandLine,
        warnings: Vec::new(),
    })
}

/// What options say about the program is stronger than what a file says.
pub(super) fn override_by(process: &mut ProcessDraft, flags: &ProcessFlags) {
    fn set<T: Clone>(value: &mut T, given: &Option<T>) {
        if let Some(given) = given {
            *value = given.clone();
        }
    }
    fn set_at<T: Clone>(value: &mut Option<At<T>>, given: &Option<T>) {
        if let Some(given) = given {
            *value = Some(At { value: given.clone(), place: Place::CommandLine });
        }
    }
    set_at(&mut process.shards, &flags.shards);
    set_at(&mut process.cpus, &flags.cpus);
    set_at(&mut process.max_sessions, &flags.max_sessions);
    set(&mut process.engine, &flags.engine);
    set(&mut process.drain_timeout, &flags.drain_timeout);
    set(&mut process.tcp_info, &flags.tcp_info);
    set(&mut process.log_level, &flags.log_level);
    if !flags.admin.is_empty() {
        let given = |value: &AdminListen| At { value: value.clone(), place: Place::CommandLine };
        process.admin.endpoints = flags.admin.iter().map(given).collect();
    }
    set_at(&mut process.admin.token_file, &flags.admin_token_file);
    process.admin.public_read |= flags.admin_public_read;
    if let Some(port) = flags.http_port {
        let value = Endpoint { host: flags.http_host.clone(), port };
        process.admin.dashboard = Some(At { value, place: Place::CommandLine });
    }
    process.state_file = flags.state_file.clone().or(process.state_file.take());
    set(&mut process.session_log_format, &flags.session_log_format);
    set(&mut process.session_log_queue, &flags.session_log_queue);
    process.buffers = flags.buffers.or(process.buffers);
    process.busy_poll = flags.busy_poll.or(process.busy_poll);
    process.report_interval = flags.report_interval.or(process.report_interval);
    process.log_file = flags.log_file.clone().or_else(|| process.log_file.take());
    process.session_log = flags.session_log.clone().or_else(|| process.session_log.take());
}

fn listener(flags: &ListenerFlags, both_sides: &PoolFlags) -> ListenerDraft {
    let host = flags.host.clone();
    let on = match (host.strip_prefix("unix:"), passed(&host)) {
        (Some(path), _) => On::At(Target::Unix(PathBuf::from(path))),
        (_, Some(Ok(number))) => On::Fd(number),
        // What is wrong with a number was said when it was read.
        (_, None | Some(Err(_))) => On::At(Target::Host(Endpoint { host, port: flags.port })),
    };
    let accept_proxy = AcceptProxy { from: flags.accept_proxy.clone(), timeout: PROXY_TIMEOUT };
    ListenerDraft {
        place: Place::CommandLine,
        name: on.to_string(),
        on,
        pool: 0,
        backlog: flags.backlog,
        options: ListenOptions {
            defer_accept: flags.defer_accept,
            fast_open: flags.tcp_fastopen.unwrap_or(0),
            keepalive: some(both_sides.tcp_keepalive),
            user_timeout: some(both_sides.tcp_user_timeout),
        },
        max_sessions: None,
        access: Access { allow: flags.allow.clone(), deny: flags.deny.clone() },
        per_ip: PerIp { sessions: flags.max_sessions_per_ip, rate: flags.max_rate_per_ip },
        accept_proxy: (!accept_proxy.from.is_empty()).then_some(accept_proxy),
    }
}

fn pool(flags: &PoolFlags, health: &HealthFlags) -> Result<PoolDraft, Problems> {
    let defaults = PoolConfig::defaults(POOL.to_owned());
    let max_age =
        flags.max_connection_age.map(|age| MaxAge::new(age, flags.max_connection_age_jitter));
    let config = PoolConfig {
        backends: backends(flags),
        algorithm: flags.algorithm.into(),
        sticky: flags.sticky_key.and_then(StickyConfig::of),
        connect_timeout: flags.connect_timeout,
        idle_timeout: flags.idle_timeout,
        half_closed_timeout: flags.half_closed_timeout,
        wait_for_backend: flags.wait_for_backend_timeout,
        on_unavailable: match flags.on_unavailable {
            Unavailable::Close => OnUnavailable::Close,
            Unavailable::Reset => OnUnavailable::Reset,
            Unavailable::Text503 => service_unavailable(),
        },
        queue: Queue { timeout: flags.queue_timeout, ..defaults.queue },
        session_failover: flags.session_failover,
        close_when_down: health.on_marked_down == MarkedDown::Close,
        send_proxy: flags.send_proxy.and_then(ProxyName::version),
        max_age: max_age
            .transpose()
            .map_err(|problem| wrong("max_connection_age_jitter", problem))?,
        connect: Connect {
            sources: flags.source.clone(),
            keepalive: some(flags.tcp_keepalive),
            user_timeout: some(flags.tcp_user_timeout),
        },
        splice: flags.splice.into(),
        slow_start: some(flags.slow_start),
        status_port_offset: flags.backend_status_port_offset,
        health: health_config(health)?,
        ..defaults
    };
    let config = if flags.original_dst { config.with_original_destination() } else { config };
    let backend_places = vec![Place::CommandLine; config.backends.len()];
    let source_places = vec![Place::CommandLine; config.connect.sources.len()];
    Ok(PoolDraft { place: Place::CommandLine, config, backend_places, source_places })
}

/// A time; none if it is nothing.
fn some(time: Option<Duration>) -> Option<Duration> {
    time.filter(|time| !time.is_zero())
}

fn backends(flags: &PoolFlags) -> Vec<BackendConfig> {
    let max_connections = flags.backend_max_connections;
    let backends = flags.backends.iter().flat_map(|some| &some.0).map(|target| BackendConfig {
        max_connections,
        ..BackendConfig::defaults(target.clone(), None)
    });
    backends.collect()
}

fn health_config(flags: &HealthFlags) -> Result<Option<HealthConfig>, Problems> {
    let check = match (flags.health_check, &flags.health_check_path) {
        (HealthCheck::Tcp, None) => Check::Tcp,
        (HealthCheck::Tcp, Some(_)) => {
            return Err(wrong("health_check_path", "it needs --health-check http"));
        }
        (HealthCheck::Http, path) => Check::Http {
            path: path.clone().unwrap_or_else(|| HEALTH_PATH.to_owned()),
            host: None,
            status: HEALTHY_STATUS.to_vec(),
        },
    };
    let defaults =
        HealthConfig { check, timeout: flags.health_check_timeout, ..HealthConfig::defaults() };
    let config = HealthConfig { rise: flags.rise, fall: flags.fall, ..defaults };
    let interval = flags.health_check_interval;
    Ok((!interval.is_zero()).then(|| config.every(interval)))
}

fn wrong(key: &str, problem: &str) -> Problems {
    let text = format!("{}: {problem}", Place::CommandLine.option(key));
    Problem::new(&Place::CommandLine, text).into()
}

/// The pool of the command line in logs.
const POOL: &str = "default";

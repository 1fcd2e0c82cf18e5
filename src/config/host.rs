//! What this host has room for.

use std::io;

use uring::{CpuList, NofileLimit};

use super::admin::AdminConfig;
use super::cpus::{CpuProblem, HostCpus};
use super::descriptors::Takers;
use super::draft::{At, Draft, ProcessDraft};
use super::plan::{ListenerConfig, PoolConfig};
use super::problem::{Place, Problem, Problems};
use super::{Asked, ProcessConfig};
use crate::cli::OnOff;
use crate::shard::Room;

/// Why a configuration that is well written cannot be used here. How an option is called depends on
/// where it was written, so that is part of it.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// More sessions than descriptors.
    #[error(
        "{asked} needs {needed} file descriptors and the limit is {limit}: \
         raise it with `ulimit -n {needed}`, or use at most {most}"
    )]
    TooManySessions {
        /// What was asked for, as it is written.
        asked: String,
        /// What it takes.
        needed: u64,
        /// What there is.
        limit: u64,
        /// What fits, as it would be written.
        most: String,
    },
    /// The file limit leaves nothing for sessions.
    #[error(
        "the limit of {limit} file descriptors leaves no room for {shards} shards: \
         raise it with `ulimit -n 4096`, or use fewer {option}"
    )]
    NoRoom {
        /// What there is.
        limit: u64,
        /// What was asked for.
        shards: usize,
        /// How their number is written.
        option: String,
    },
    /// Fewer sessions than shards.
    #[error(
        "{asked} is less than one for each of {shards} shards: use at least {least}, or {fewer}"
    )]
    FewerSessionsThanShards {
        /// What was asked for, as it is written.
        asked: String,
        /// How many shards there are.
        shards: usize,
        /// What would do, as it would be written.
        least: String,
        /// How many shards would do, as it would be written.
        fewer: String,
    },
    /// A shard cannot be where it was wanted.
    #[error("{option} names CPU {cpu}, {problem}; choose from {allowed}")]
    CpuUnusable {
        /// How the list is called.
        option: String,
        /// The first such CPU.
        cpu: usize,
        /// What is wrong with it.
        problem: CpuProblem,
        /// What could be used, as it would be written.
        allowed: String,
    },
    /// The kernel does not tell what the process may use.
    #[error("cannot read {what}: {source}")]
    Host {
        /// What was asked.
        what: &'static str,
        /// What it answered.
        source: io::Error,
    },
}

/// The settings of the program, fitted to this host under that file limit.
pub(super) fn process(
    draft: &ProcessDraft,
    listeners: &[ListenerConfig],
    pools: &[PoolConfig],
    admin: AdminConfig,
    nofile: NofileLimit,
) -> Result<ProcessConfig, Problems> {
    let at = |place: &Place, error: HostError| Problem::new(place, error.to_string());
    let nowhere = Place::CommandLine;
    let host_cpus = HostCpus::read().map_err(|error| at(&nowhere, error))?;
    let cpus_place = draft.cpus.as_ref().map_or(&nowhere, |cpus| &cpus.place);
    let shards = draft.shards.as_ref().map(|shards| shards.value);
    let cpus =
        host_cpus.for_shards(shards, draft.cpus.as_ref()).map_err(|error| at(cpus_place, error))?;
    let takers = Takers::new(cpus.len(), listeners.len(), admin.endpoints.len(), pools);
    let max_pipes = takers.max_pipes(nofile.now);
    let sessions_place = draft.max_sessions.as_ref().map_or(&nowhere, |sessions| &sessions.place);
    let max_sessions = max_sessions(draft.max_sessions.as_ref(), takers, nofile)
        .map_err(|error| at(sessions_place, error))?;
    let max_sessions_a_shard = max_sessions / cpus.len();
    Ok(ProcessConfig {
        cpu_quota: host_cpus.narrowing_quota(),
        engine: draft.engine,
        room_a_shard: Room { max_sessions: max_sessions_a_shard, max_pipes },
        buffers: draft.buffers.unwrap_or_else(|| buffers_for(max_sessions_a_shard)),
        asked: Asked {
            max_sessions: draft.max_sessions.as_ref().map(|sessions| sessions.value),
            buffers: draft.buffers,
        },
        busy_poll: draft.busy_poll,
        nofile,
        drain_timeout: draft.drain_timeout,
        report_interval: draft.report_interval,
        tcp_info: draft.tcp_info == OnOff::On,
        log_level: draft.log_level,
        log: draft.log(),
        resolve_ttl_min: draft.resolve_ttl_min,
        admin,
        state_file: draft.state_file.clone(),
        cpus,
    })
}

/// What was asked for and the host does not give.
pub(super) fn warnings(draft: &Draft) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let (somaxconn, fast_open) = (somaxconn(), uring::sysctl("net/ipv4/tcp_fastopen"));
    let fast_open = fast_open.and_then(|setting| setting.parse::<u32>().ok());
    for listener in &draft.listeners {
        let option = |key| listener.place.option(key);
        // The default is a wish; what was written is meant.
        if listener.backlog > somaxconn && listener.backlog != super::draft::BACKLOG {
            let (option, asked) = (option("backlog"), listener.backlog);
            let text = format!(
                "{option} is {asked}, and net.core.somaxconn allows {somaxconn}: \
                 try `sysctl -w net.core.somaxconn={asked}`"
            );
            warnings.push(Problem::new(&listener.place, text));
        }
        let Some(setting) = fast_open.filter(|setting| setting & FAST_OPEN_SERVER == 0) else {
            continue;
        };
        // The option changes nothing while the kernel's own setting keeps servers from it.
        if listener.options.fast_open > 0 {
            let (option, mended) = (option("tcp_fastopen"), setting | FAST_OPEN_SERVER);
            let text = format!(
                "{option} has no effect while net.ipv4.tcp_fastopen is {setting}, which lacks the \
                 server's bit: try `sysctl -w net.ipv4.tcp_fastopen={mended}`"
            );
            warnings.push(Problem::new(&listener.place, text));
        }
    }
    warnings
}

/// The limit of this process, raised as far as it may be.
pub(super) fn raised_nofile() -> Result<NofileLimit, Problem> {
    let error = host("the file limit");
    uring::raise_nofile_limit()
        .map_err(|source| Problem::new(&Place::CommandLine, error(source).to_string()))
}

fn max_sessions(
    wanted: Option<&At<u32>>,
    takers: Takers,
    nofile: NofileLimit,
) -> Result<usize, HostError> {
    let (shards, most) = (takers.shards, takers.sessions(nofile.now));
    if most < shards {
        let option = Place::CommandLine.option("shards");
        return Err(HostError::NoRoom { limit: nofile.now, shards, option });
    }
    let Some(At { value, place }) = wanted else { return Ok(most) };
    let wanted = *value as usize;
    let written = |sessions: usize| place.setting("max_sessions", sessions);
    let asked = written(wanted);
    if wanted > most {
        let needed = takers.limit_for(wanted as u64);
        let (limit, most) = (nofile.now, written(most));
        return Err(HostError::TooManySessions { asked, needed, limit, most });
    }
    if wanted < shards {
        let (least, fewer) = (written(shards), place.setting("shards", wanted));
        return Err(HostError::FewerSessionsThanShards { asked, shards, least, fewer });
    }
    Ok(wanted)
}

fn buffers_for(max_sessions_a_shard: usize) -> u16 {
    let wanted = max_sessions_a_shard.saturating_mul(2);
    u16::try_from(wanted).map_or(MOST_BUFFERS, |wanted| wanted.clamp(LEAST_BUFFERS, MOST_BUFFERS))
}

pub(super) fn somaxconn() -> u16 {
    let limit = uring::sysctl("net/core/somaxconn").and_then(|limit| limit.parse().ok());
    limit.unwrap_or(u16::MAX)
}

pub(super) fn host(what: &'static str) -> impl FnOnce(io::Error) -> HostError {
    move |source| HostError::Host { what, source }
}

pub(super) fn cpu_unusable(
    place: &Place,
    cpu: usize,
    problem: CpuProblem,
    allowed: &CpuList,
) -> HostError {
    let allowed = match place {
        Place::CommandLine => place.setting("cpus", allowed),
        Place::File { .. } => place.setting("cpus", format_args!("\"{allowed}\"")),
    };
    HostError::CpuUnusable { option: place.option("cpus"), cpu, problem, allowed }
}

/// A busy shard has this many receives and sends under way without waiting.
const LEAST_BUFFERS: u16 = 512;
/// 512 MiB for each shard, if as many clients stop reading at once.
const MOST_BUFFERS: u16 = 16384;

/// What one receive can bring. Half of it cost a third more CPU for each byte of a bulk stream, twice
/// of it hardly less (docs/decisions/0002-buffers-few-published-many-to-spare.md).
pub const BUFFER_BYTES: u32 = 32 * 1024;

/// `TFO_SERVER_ENABLE` (include/net/tcp.h, Linux).
const FAST_OPEN_SERVER: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: NofileLimit = NofileLimit { before: 1024, now: 20_000 };
    const TAKERS: Takers = Takers { shards: 2, listeners: 1, endpoints: 0, splices: false };

    fn wanted(value: u32) -> Option<At<u32>> {
        Some(At { value, place: Place::CommandLine })
    }

    #[test]
    fn sessions_fit_the_descriptors() {
        let most = max_sessions(None, TAKERS, LIMIT).expect("plenty");
        assert_eq!(most, TAKERS.sessions(20_000));
        let fewer = wanted(100);
        assert_eq!(max_sessions(fewer.as_ref(), TAKERS, LIMIT).expect("fewer than fit"), 100);
    }

    #[test]
    fn more_sessions_than_descriptors_are_refused_with_what_fits() {
        let mut many = At { value: 10_000, place: Place::CommandLine };
        let error = max_sessions(Some(&many), TAKERS, LIMIT).expect_err("too many").to_string();
        assert!(error.contains("20080") && error.contains("--max-sessions 9960"), "{error}");
        many.place = Place::File { file: "a.toml".into(), line: 1, column: 1 };
        let error = max_sessions(Some(&many), TAKERS, LIMIT).expect_err("too many").to_string();
        assert!(error.contains("max_sessions = 9960") && !error.contains("--"), "{error}");
    }

    #[test]
    fn the_limit_that_a_refusal_names_is_enough() {
        let few = NofileLimit { before: 1024, now: 1024 };
        let takers = Takers { splices: true, ..TAKERS };
        let Err(HostError::TooManySessions { needed, .. }) =
            max_sessions(wanted(10_000).as_ref(), takers, few)
        else {
            panic!("10000 sessions and 1024 descriptors")
        };
        let raised = NofileLimit { before: 1024, now: needed };
        assert_eq!(max_sessions(wanted(10_000).as_ref(), takers, raised).expect("enough"), 10_000);
    }

    #[test]
    fn a_shard_without_a_session_makes_no_sense() {
        assert!(max_sessions(wanted(1).as_ref(), TAKERS, LIMIT).is_err());
        let takers = Takers { shards: 9, ..TAKERS };
        assert!(max_sessions(None, takers, NofileLimit { before: 64, now: 64 }).is_err());
    }
}

//! What the host says of itself. Whatever it does not tell is `None`; nothing is judged here.

use std::fs::read_to_string;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use uring::{CpuQuota, Errno, Offloads, SetupError, sysctl};

use crate::shard::PIPE_BYTES;

/// All of it.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) files: Option<Files>,
    pub(super) queues: Queues,
    pub(super) ports: Ports,
    pub(super) pipes: Pipes,
    pub(super) ring: Ring,
    pub(super) locked: Locked,
    /// Nothing where connections are not tracked.
    pub(super) conntrack: Option<Conntrack>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) cpus: Cpus,
    pub(super) congestion: Congestion,
}

/// Limits of descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files {
    pub(super) soft: u64,
    pub(super) hard: u64,
    /// What the hard limit of any process can be (`fs.nr_open`).
    pub(super) highest: Option<u64>,
}

/// Where clients wait before they are accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queues {
    pub(super) somaxconn: Option<u64>,
    /// Clients that found a queue full since the network was there.
    pub(super) overflows: Option<u64>,
    pub(super) max_syn_backlog: Option<u64>,
    pub(super) syncookies: Option<u64>,
    pub(super) migrate_req: Option<u64>,
}

/// Ports of this host.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    /// The first and the last that the kernel picks.
    pub(super) range: Option<(u16, u16)>,
    /// But these, as the kernel writes it.
    pub(super) reserved: String,
    pub(super) tw_reuse: Option<u64>,
    /// From here on everybody may listen.
    pub(super) unprivileged_from: Option<u64>,
    /// Whether this user may listen on all of them.
    pub(super) may_bind_all: bool,
}

/// How much may be in pipes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pipes {
    pub(super) page_bytes: u64,
    /// Pages of all pipes of a user, above which new ones are tiny; 0 is no limit.
    pub(super) soft_pages: Option<u64>,
    /// Pages above which there are no new ones; 0 is no limit.
    pub(super) hard_pages: Option<u64>,
    /// Bytes of one.
    pub(super) bytes_max: Option<u64>,
    /// Whether this user is above all that.
    pub(super) exempt: bool,
    /// Bytes that one of ours holds, which was made to see.
    pub(super) tried: Result<u32, Errno>,
}

/// Whether there is io_uring.
#[derive(Debug)]
pub(super) struct Ring {
    /// What it grants, as text.
    pub(super) tried: Result<String, SetupError>,
    /// Whether a seccomp filter is on this process.
    pub(super) filtered: bool,
}

/// How much memory may be locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Locked {
    /// In bytes; nothing if the kernel does not tell.
    pub(super) limit: Option<u64>,
    /// Whether this user is above it.
    pub(super) exempt: bool,
    /// Whether this kernel counts rings as locked memory: the first did (before 5.12), and so do those from
    /// 6.14 on (`io_create_region`, io_uring/memmap.c).
    pub(super) counts_rings: bool,
}

/// The kernel's table of connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conntrack {
    pub(super) max: u64,
    /// In this network now.
    pub(super) count: Option<u64>,
}

/// A network interface that carries packets from or to other hosts, or other networks on this one.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    /// It has a device, and is no end of a cable between two networks of this host (veth).
    pub(super) physical: bool,
    /// Nothing where it has no word for it.
    pub(super) offloads: Option<Offloads>,
}

/// Processors.
#[derive(Clone, Debug)]
pub(super) struct Cpus {
    /// How many this process may use.
    pub(super) allowed: usize,
    /// How much time on them.
    pub(super) quota: Option<CpuQuota>,
}

/// How TCP fills a line.
#[derive(Clone, Debug, Default)]
pub(super) struct Congestion {
    pub(super) name: Option<String>,
    /// What interfaces get that come up from now on; only the host's own network tells.
    pub(super) default_qdisc: Option<String>,
}

impl Facts {
    /// Asks the host.
    pub(super) fn read() -> Self {
        let status = read_to_string("/proc/self/status").unwrap_or_default();
        let capabilities = capabilities(&status);
        let has = |capability: u32| capabilities & (1 << capability) != 0;
        let tried = uring::self_test().map(|flags| flags.to_string());
        Self {
            files: Files::read(),
            queues: Queues::read(),
            ports: Ports::read(has(CAP_NET_BIND_SERVICE)),
            pipes: Pipes::read(has(CAP_SYS_RESOURCE) || has(CAP_SYS_ADMIN)),
            ring: Ring {
                tried,
                filtered: field(&status, "Seccomp:").is_some_and(|mode| mode == "2"),
            },
            locked: Locked {
                limit: getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft),
                exempt: has(CAP_IPC_LOCK),
                counts_rings: counts_rings(&uring::kernel_release()),
            },
            conntrack: Conntrack::read(),
            interfaces: interfaces(),
            cpus: Cpus {
                allowed: uring::allowed_cpus().map_or(1, |cpus| cpus.len()),
                quota: uring::cpu_quota(),
            },
            congestion: Congestion {
                name: sysctl("net/ipv4/tcp_congestion_control"),
                default_qdisc: sysctl("net/core/default_qdisc"),
            },
        }
    }
}

impl Files {
    fn read() -> Option<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        Some(Self { soft, hard, highest: number("fs/nr_open") })
    }
}

impl Queues {
    fn read() -> Self {
        let netstat = read_to_string("/proc/self/net/netstat").unwrap_or_default();
        Self {
            somaxconn: number("net/core/somaxconn"),
            overflows: counter(&netstat, "TcpExt:", "ListenOverflows"),
            max_syn_backlog: number("net/ipv4/tcp_max_syn_backlog"),
            syncookies: number("net/ipv4/tcp_syncookies"),
            migrate_req: number("net/ipv4/tcp_migrate_req"),
        }
    }
}

impl Ports {
    fn read(may_bind_all: bool) -> Self {
        let range = sysctl("net/ipv4/ip_local_port_range");
        Self {
            range: range.as_deref().and_then(two_numbers),
            reserved: sysctl("net/ipv4/ip_local_reserved_ports").unwrap_or_default(),
            tw_reuse: number("net/ipv4/tcp_tw_reuse"),
            unprivileged_from: number("net/ipv4/ip_unprivileged_port_start"),
            may_bind_all,
        }
    }
}

impl Pipes {
    fn read(exempt: bool) -> Self {
        let mappings = read_to_string("/proc/self/smaps").unwrap_or_default();
        Self {
            page_bytes: page_kib(&mappings).map_or(4096, |kib| kib * 1024),
            soft_pages: number("fs/pipe-user-pages-soft"),
            hard_pages: number("fs/pipe-user-pages-hard"),
            bytes_max: number("fs/pipe-max-size"),
            exempt,
            tried: uring::Pipe::new(PIPE_BYTES)
                .map(|pipe| pipe.capacity())
                .map_err(|error| uring::errno(&error)),
        }
    }
}

impl Conntrack {
    /// The settings are there when the module is.
    fn read() -> Option<Self> {
        let max = number("net/netfilter/nf_conntrack_max")?;
        Some(Self { max, count: number("net/netfilter/nf_conntrack_count") })
    }
}

/// Those of this process's network; /sys may show those of another one, and then it is not believed.
fn interfaces() -> Vec<Interface> {
    let text = read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.filter(|&name| name != "lo").filter_map(interface).take(MOST_INTERFACES).collect()
}

fn interface(name: &str) -> Option<Interface> {
    let folder = Path::new("/sys/class/net").join(name);
    let has = |file: &str| folder.join(file).exists();
    let state = read_to_string(folder.join("operstate")).unwrap_or_default();
    let physical = has("device");
    // What has no carrier (dummies, tunnels) is never up. Bridges and bonds hand on what others carry.
    let cable = state.trim() == "up" && !["bridge", "bonding", "tun_flags"].into_iter().any(has);
    if folder.exists() && (state.trim() == "down" || !(physical || cable)) {
        return None;
    }
    Some(Interface { name: name.to_owned(), physical, offloads: uring::offloads(name).ok() })
}

fn number(path: &str) -> Option<u64> {
    sysctl(path)?.parse().ok()
}

fn two_numbers(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// From a release such as `6.18.44-fc`.
fn counts_rings(release: &str) -> bool {
    let mut numbers =
        release.split(|one: char| !one.is_ascii_digit()).map(|text| text.parse::<u32>());
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return true };
    (major, minor) < (5, 12) || (major, minor) >= (6, 14)
}

/// The words after a name at the start of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Of the first mapping, the program itself, as in `4 kB`.
fn page_kib(mappings: &str) -> Option<u64> {
    field(mappings, "KernelPageSize:")?.strip_suffix(" kB")?.parse().ok()
}

/// The effective ones, a bit each.
fn capabilities(status: &str) -> u64 {
    let bits = field(status, "CapEff:").and_then(|bits| u64::from_str_radix(bits, 16).ok());
    bits.unwrap_or_default()
}

/// A table of two lines with the same start, names and values.
fn counter(table: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = table.lines().filter_map(|line| line.strip_prefix(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut counters = names.split_whitespace().zip(values.split_whitespace());
    counters.find(|&(one, _)| one == name)?.1.parse().ok()
}

// include/uapi/linux/capability.h; the last two are above the limits of pipes (pipe_is_unprivileged_user,
// fs/pipe.c).
const CAP_NET_BIND_SERVICE: u32 = 10;
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
/// A host of containers has hundreds.
const MOST_INTERFACES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_tells_something_of_itself() {
        let facts = Facts::read();
        assert!(facts.files.is_some_and(|files| files.soft <= files.hard));
        assert!(facts.queues.somaxconn.is_some() && facts.ports.range.is_some(), "{facts:?}");
        assert!(facts.cpus.allowed > 0 && facts.congestion.name.is_some(), "{facts:?}");
    }

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(two_numbers("32768\t60999\n"), Some((32768, 60999)));
        assert_eq!(two_numbers("32768"), None);
        let status = "Name:\tx\nCapEff:\t0000000001000400\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(capabilities(status), 1 << CAP_SYS_RESOURCE | 1 << CAP_NET_BIND_SERVICE);
        assert_eq!(field(status, "Seccomp:"), Some("2"));
        let releases =
            ["5.10.0-8", "5.12.1", "6.1.0", "6.13.12", "6.14-rc1", "6.18.44-fc", "7.0", "x"];
        let counted = [true, false, false, false, true, true, true, true];
        assert_eq!(releases.map(counts_rings), counted);
        assert_eq!(page_kib("Size:    8 kB\nKernelPageSize:        4 kB\n"), Some(4));
        let table = "TcpExt: A ListenOverflows B\nTcpExt: 1 23 4\nIpExt: A\nIpExt: 5\n";
        assert_eq!(counter(table, "TcpExt:", "ListenOverflows"), Some(23));
        assert_eq!(counter(table, "TcpExt:", "C"), None);
        assert_eq!(counter("", "TcpExt:", "A"), None);
    }
}

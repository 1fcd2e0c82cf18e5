//! Times, rates, networks and addresses as people write them, on the command line and in a file.

use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::plan::{On, Rate, SessionLogTo, Target, Targets};
use super::value::{FromValue as _, HttpPath, SourceAddress, Whole};
use crate::cli::Endpoint;

/// A time that is longer than nothing.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = duration_or_none(text)?;
    if duration.is_zero() {
        return Err("it must be longer than nothing, as in 500ms, 3s or 1h".to_owned());
    }
    Ok(duration)
}

/// A time that may be nothing, and that the present can be added to.
pub(crate) fn duration_or_none(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|error| format!("`{text}`: {error}; {TIME}"))?;
    if duration > LONGEST_TIME {
        return Err(
            "it is longer than ten years; write a shorter one, as in 500ms, 3s or 1h".to_owned()
        );
    }
    Ok(duration)
}

/// Seconds without a unit, as older command lines have them, or a time with one.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let problem =
        || "write seconds, as in 5 or 0.5, or a time with its unit, as in 500ms".to_owned();
    let Ok(number) = text.parse() else { return duration_or_none(text).map_err(|_| problem()) };
    let seconds = Duration::try_from_secs_f64(number).ok();
    seconds.filter(|&time| time <= LONGEST_TIME).ok_or_else(problem)
}

/// The same, but more than none.
pub(crate) fn some_seconds(text: &str) -> Result<Duration, String> {
    let time = seconds(text)?;
    if time.is_zero() {
        return Err("it must be longer than nothing, as in 5 or 0.5".to_owned());
    }
    Ok(time)
}

/// A path in a request line.
pub(crate) fn http_path(text: &str) -> Result<String, String> {
    HttpPath::from_text(text).map(|path| path.0)
}

/// Where a line for each session goes.
pub(crate) fn session_log(text: &str) -> Result<SessionLogTo, String> {
    SessionLogTo::from_text(text)
}

/// A time that can pay.
pub(crate) fn busy_poll(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time > BUSY_POLL_MAX {
        return Err("it is at most 10ms; what pays is about as long as an answer takes, as in \
                    50us or 200us"
            .to_owned());
    }
    Ok(time)
}

/// `100/s`, `6000/1m`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("`{text}` is no rate; {}", Rate::how());
    let (events, period) = text.split_once('/').ok_or_else(wrong)?;
    let events = events.trim().parse().map_err(|_| wrong())?;
    let period = period.trim();
    let with_number = if period.starts_with(|letter: char| letter.is_ascii_digit()) {
        period.to_owned()
    } else {
        format!("1{period}")
    };
    let period = duration(&with_number).map_err(|_| wrong())?;
    Ok(Rate { events, period })
}

/// A network; an address is one of a single member.
pub(crate) fn net(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = || text.parse().map(|address: IpAddr| IpNet::from(address));
    let net = text.parse::<IpNet>().or_else(|_| address());
    net.map(|net| net.trunc()).map_err(|_| format!("`{text}` is no network; {}", IpNet::how()))
}

/// An address that a connection can come from.
pub(crate) fn source(text: &str) -> Result<IpAddr, String> {
    let wrong = |what| format!("`{text}` {what}; {}", SourceAddress::how());
    let address: IpAddr = text.trim().parse().map_err(|_| wrong("is no address"))?;
    match address.to_canonical() {
        all if all.is_unspecified() => Err(wrong("stands for all addresses")),
        group if group.is_multicast() => Err(wrong("is the address of a group")),
        IpAddr::V4(all) if all.is_broadcast() => Err(wrong("stands for all hosts")),
        // It would take the interface too.
        IpAddr::V6(link) if link.is_unicast_link_local() => Err(wrong("is good for one link only")),
        one => Ok(one),
    }
}

/// A number that is not 0.
pub(crate) fn number(text: &str) -> Result<NonZeroU32, String> {
    Whole::<1, { u32::MAX }>::from_text(text).map(Whole::non_zero)
}

/// What is added to a port.
pub(crate) fn port_offset(text: &str) -> Result<NonZeroU16, String> {
    text.trim().parse().map_err(|_| "write a whole number from 1 to 65535".to_owned())
}

/// What can be connected to, as one word of a command line; a path may have spaces in it.
pub(crate) fn backends(text: &str) -> Result<Targets, String> {
    let words = |part: &'_ str| -> Vec<String> {
        match part.trim_start().starts_with("unix:") {
            true => vec![part.trim_start().to_owned()],
            false => part.split_whitespace().map(str::to_owned).collect(),
        }
    };
    let mut parts: Vec<&str> = text.split(',').collect();
    // One too many at the end of a list is no mistake, one in it may be.
    if parts.len() > 1 && parts.last().is_some_and(|last| last.trim().is_empty()) {
        parts.pop();
    }
    if parts.iter().any(|part| part.trim().is_empty()) {
        return Err(format!("a backend is missing; {FORM}"));
    }
    let words: Vec<String> = parts.into_iter().flat_map(words).collect();
    let targets: Result<_, String> = words
        .iter()
        .map(|word| match (backend(word), words.len()) {
            (Err(problem), 2..) => Err(format!("`{word}`: {problem}")),
            (target, _) => target,
        })
        .collect();
    targets.map(Targets)
}

/// What can be connected to: port 0 cannot.
pub(crate) fn backend(text: &str) -> Result<Target, String> {
    let target = target(text)?;
    if matches!(&target, Target::Host(endpoint) if endpoint.port == 0) {
        return Err(
            "port 0 cannot be connected to; write host:port, as in 10.0.0.11:8881".to_owned()
        );
    }
    Ok(target)
}

/// What can be listened on: an address, or what was passed.
pub(crate) fn listen(text: &str) -> Result<On<Target>, String> {
    passed(text).map_or_else(|| target(text).map(On::At), |number| number.map(On::Fd))
}

/// The number of a descriptor that was passed, as in `fd@3`; nothing if it is something else.
pub(crate) fn passed(text: &str) -> Option<Result<u32, String>> {
    let number = text.strip_prefix("fd@")?;
    let known = number.parse().ok().filter(|known| FDS.contains(known));
    Some(known.ok_or_else(|| {
        format!(
            "`{number}` is no descriptor that can be passed, of which the first is 3; write fd@3, or \
             what the program that starts evenkeel says"
        )
    }))
}

/// What something can be called, so that it can be named again in one line and in the path of a request.
pub(crate) fn name(text: &str) -> Result<(), String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("a name is not empty and has no control characters".to_owned());
    }
    if text.trim().is_empty() {
        return Err("a name has more than spaces".to_owned());
    }
    // Clients take such a part out of a path before they ask.
    if matches!(text, "." | "..") {
        return Err(format!("`{text}` is a folder in a path, and no name"));
    }
    if text.len() > LONGEST_NAME {
        let bytes = text.len();
        return Err(format!("the name has {bytes} bytes; write at most {LONGEST_NAME}"));
    }
    Ok(())
}

/// A host with its port, or the path of a socket.
pub(crate) fn target(text: &str) -> Result<Target, String> {
    match text.strip_prefix("unix:") {
        Some(path) => unix_path(path).map(Target::Unix),
        None => endpoint(text).map(Target::Host),
    }
}

/// The path of a stream socket.
pub(crate) fn unix_path(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() || path.contains('\0') {
        return Err("it has no path; write unix:/run/name.sock".to_owned());
    }
    if path.len() > LONGEST_UNIX_PATH {
        return Err(format!(
            "the path has {} bytes and a socket's has at most {LONGEST_UNIX_PATH}; write a shorter one, \
             as in unix:/run/name.sock",
            path.len()
        ));
    }
    Ok(path.into())
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("it has no port; {FORM}"))?;
    let port =
        port.parse().map_err(|_| format!("`{port}` is not a port from 1 to 65535; {FORM}"))?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
        Some(_) => return Err(format!("`{host}` is not an IPv6 address; {FORM}")),
        None if host.contains(':') => {
            return Err(format!("an IPv6 address needs brackets, as in [{host}]:{port}"));
        }
        None if host.is_empty() => return Err(format!("it has no host; {FORM}")),
        None => host,
    };
    Ok(Endpoint { host: host.to_owned(), port })
}

/// How a time is written.
pub(super) const TIME: &str = "write a number with a unit, as in 500ms, 3s or 1h";
/// How the address of a backend is written.
pub(super) const FORM: &str = "write host:port, as in 10.0.0.11:8881, web1:8881 or [::1]:8881";

/// Such a time is meant as without end, and can be added to any point in time.
const LONGEST_TIME: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// A sleep and a wake-up take some tens of microseconds; who looks longer than this wants no sleep
/// at all.
const BUSY_POLL_MAX: Duration = Duration::from_millis(10);

/// After the standard streams; a descriptor is an int.
const FDS: std::ops::RangeInclusive<u32> = 3..=i32::MAX.unsigned_abs();

/// As long as a host's name or the name of a file gets. Two of them, percent-encoded, are a small part of the head
/// of a request.
const LONGEST_NAME: usize = 255;

/// `sun_path` has 108 bytes, the last of which is 0 (unix(7)).
const LONGEST_UNIX_PATH: usize = 107;

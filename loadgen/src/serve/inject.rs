//! Faults that a backend can be told to have: what they are, and how they are written.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// A fault, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// The name of one backend; without one it is for all.
    pub backend: Option<String>,
    /// What happens there.
    pub fault: Fault,
}

/// What goes wrong at a backend. Requests are counted for each backend over all its threads and
/// connections, from 1. Times are counted from its first connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every reply comes so much after its request. Delays of requests that came together overlap.
    Delay(Delay),
    /// No reply leaves in this time.
    Stall(Windows),
    /// These requests are answered with an error: 500 by HTTP, else a line `ERROR injected`.
    Error(Share),
    /// At these requests the connection ends, in order and without an answer.
    Close(Share),
    /// At these requests the connection is reset.
    Reset(Share),
    /// These requests are never answered; the connection stays.
    Drop(Share),
    /// Each connection is read no faster than this, in bytes a second.
    SlowRead(NonZeroU64),
    /// A connection is accepted and then left alone for so long.
    AcceptDelay(Duration),
    /// Nobody listens in this time.
    Refuse(Windows),
}

/// How long replies are delayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// All the same.
    Constant(Duration),
    /// Each somewhere from the first to the second, all equally likely; the seed decides.
    Uniform(Duration, Duration),
    /// A share of them by the second, the others by the first.
    Bimodal(Duration, Duration, Share),
}

/// Which requests are meant. They are counted out and not drawn, so that of N requests it is always
/// the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Each whose number is a multiple.
    Every(NonZeroU64),
    /// So many of a million, evenly spread.
    PartsPerMillion(u32),
}

/// A time, once or again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// When it begins for the first time.
    pub at: Duration,
    /// How long it is.
    pub length: Duration,
    /// From one beginning to the next.
    pub every: Option<Duration>,
}

/// A fault that is not written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectionError {
    spec: String,
    why: String,
}

impl Fault {
    /// The word that asks for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::Stall(_) => "stall",
            Self::Error(_) => "error",
            Self::Close(_) => "close",
            Self::Reset(_) => "reset",
            Self::Drop(_) => "drop",
            Self::SlowRead(_) => "slow-read",
            Self::AcceptDelay(_) => "accept-delay",
            Self::Refuse(_) => "refuse",
        }
    }

    /// Whether it is about single requests, which bulk has not.
    pub(super) const fn needs_requests(&self) -> bool {
        match self {
            Self::Delay(_) | Self::Error(_) | Self::Close(_) | Self::Reset(_) | Self::Drop(_) => {
                true
            }
            Self::Stall(_) | Self::SlowRead(_) | Self::AcceptDelay(_) | Self::Refuse(_) => false,
        }
    }
}

impl Share {
    /// Whether the request with this number, from 1, is one of them.
    pub(super) fn hits(self, number: u64) -> bool {
        match self {
            Self::Every(every) => number.is_multiple_of(every.get()),
            Self::PartsPerMillion(parts) => {
                let due = |number: u64| u128::from(number) * u128::from(parts) / MILLION;
                due(number) > due(number - 1)
            }
        }
    }
}

impl Windows {
    /// When the window ends that is open at `since`, if one is.
    pub(super) fn end_of_open(&self, since: Duration) -> Option<Duration> {
        let begun = self.begin_before(since)?;
        Some(begun + self.length).filter(|&end| since < end)
    }

    /// The next beginning or end after `since`.
    pub(super) fn next_change(&self, since: Duration) -> Option<Duration> {
        let Some(begun) = self.begin_before(since) else { return Some(self.at) };
        let next = self.every.map(|every| begun + every);
        self.end_of_open(since).or(next)
    }

    /// The last beginning until `since`.
    fn begin_before(&self, since: Duration) -> Option<Duration> {
        let later = since.checked_sub(self.at)?;
        let Some(every) = self.every else { return Some(self.at) };
        let into = later.as_nanos() % every.as_nanos();
        Some(since - Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX)))
    }
}

impl FromStr for Injection {
    type Err = InjectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| InjectionError { spec: text.to_owned(), why };
        // No fault has a colon, and a name may.
        let (backend, spec) = match text.rsplit_once(':') {
            Some((name, spec)) => (Some(name.trim()), spec),
            None => (None, text),
        };
        if backend == Some("") {
            return Err(refuse("there is no name before the colon".to_owned()));
        }
        let fault = fault(spec).map_err(refuse)?;
        Ok(Self { backend: backend.map(str::to_owned), fault })
    }
}

impl fmt::Display for InjectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no fault: {}; write\n{GRAMMAR}", self.spec, self.why)
    }
}

impl std::error::Error for InjectionError {}

fn fault(spec: &str) -> Result<Fault, String> {
    let words: Vec<&str> = spec.split_whitespace().collect();
    let Some((&word, rest)) = words.split_first() else { return Err("it is empty".to_owned()) };
    match (word, rest) {
        ("delay", _) => delay(rest).map(Fault::Delay),
        ("stall", [length, "at", at, every @ ..]) => windows(at, length, every).map(Fault::Stall),
        ("refuse", ["at", at, "for", length, every @ ..]) => {
            windows(at, length, every).map(Fault::Refuse)
        }
        ("error", _) => share(rest).map(Fault::Error),
        ("close", _) => share(rest).map(Fault::Close),
        ("reset", _) => share(rest).map(Fault::Reset),
        ("drop", _) => share(rest).map(Fault::Drop),
        ("slow-read", [rate]) => bytes_per_second(rate).map(Fault::SlowRead),
        ("accept-delay", [length]) => duration(length).map(Fault::AcceptDelay),
        ("stall" | "refuse" | "slow-read" | "accept-delay", _) => {
            Err(format!("that is not how {word} is written"))
        }
        _ => Err(format!("there is no fault `{word}`")),
    }
}

fn delay(words: &[&str]) -> Result<Delay, String> {
    match *words {
        [one] => match one.split_once("..") {
            None => duration(one).map(Delay::Constant),
            Some((from, to)) => {
                let (from, to) = (duration(from)?, duration(to)?);
                if from > to {
                    return Err(format!("`{one}` goes down"));
                }
                Ok(Delay::Uniform(from, to))
            }
        },
        [fast, fast_share, slow, slow_share] => {
            let (fast, slow) = (duration(fast)?, duration(slow)?);
            let (others, share) = (percent(fast_share)?, percent(slow_share)?);
            if u128::from(others) + u128::from(share) != MILLION {
                return Err(format!("{fast_share} and {slow_share} are not 100% together"));
            }
            Ok(Delay::Bimodal(fast, slow, Share::PartsPerMillion(share)))
        }
        _ => Err("that is not how delay is written".to_owned()),
    }
}

fn windows(at: &str, length: &str, every: &[&str]) -> Result<Windows, String> {
    let (at, length) = (duration(at)?, duration(length)?);
    if length.is_zero() {
        return Err("it takes no time".to_owned());
    }
    let every = match *every {
        [] => None,
        ["every", every] => Some(duration(every)?),
        _ => return Err(format!("`{}` is too much", every.join(" "))),
    };
    if every.is_some_and(|every| every <= length) {
        return Err("it comes again before it is over".to_owned());
    }
    Ok(Windows { at, length, every })
}

fn share(words: &[&str]) -> Result<Share, String> {
    match *words {
        ["every", number] => {
            let every = number.parse().map_err(|_| format!("`{number}` is no number from 1"))?;
            Ok(Share::Every(every))
        }
        [share] if share.ends_with('%') => percent(share).map(Share::PartsPerMillion),
        _ => Err("it says not which requests: `every 10` or `1%`".to_owned()),
    }
}

/// Parts of a million.
fn percent(text: &str) -> Result<u32, String> {
    let refuse = || format!("`{text}` is no percentage from 0.0001% to 100%");
    let number = text.strip_suffix('%').ok_or_else(refuse)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_decimal = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !is_decimal || fraction.len() > 4 {
        return Err(refuse());
    }
    let parts = format!("{whole}{fraction:0<4}").parse().ok();
    parts.filter(|parts| (1..=1_000_000).contains(parts)).ok_or_else(refuse)
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text);
    parsed.map_err(|_| format!("`{text}` is no time such as 5ms, 1s or 1m30s"))
}

fn bytes_per_second(text: &str) -> Result<NonZeroU64, String> {
    let refuse = || format!("`{text}` is no rate such as 64k/s or 10M/s");
    let number = text.strip_suffix("/s").ok_or_else(refuse)?;
    let factors = [('k', 1_000), ('K', 1_000), ('M', 1_000_000), ('G', 1_000_000_000)];
    let scaled =
        factors.iter().find_map(|(unit, factor)| Some((number.strip_suffix(*unit)?, *factor)));
    let (digits, factor) = scaled.unwrap_or((number, 1));
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.and_then(NonZeroU64::new).ok_or_else(refuse)
}

const MILLION: u128 = 1_000_000;

/// How faults are written; part of the command line's help too.
pub const GRAMMAR: &str = "  \
  delay 5ms                     every reply
  delay 1ms..9ms                somewhere between, by --seed
  delay 1ms 90% 100ms 10%       every 10th reply is a slow one
  stall 1s at 5s [every 10s]    no reply leaves; times count from the first connection
  error every 10 | error 1%     500, or a line `ERROR injected`
  close every 100 | close 1%    the connection ends instead of an answer
  reset every 100 | reset 1%    the connection is reset instead of an answer
  drop every 10 | drop 1%       no answer; the connection stays
  slow-read 64k/s               a connection is read no faster
  accept-delay 10ms             a connection is left alone at first
  refuse at 5s for 2s [every 10s]   nobody listens
for all backends, or with `B1:` in front for the one of that name";

#[cfg(test)]
#[path = "inject_tests.rs"]
mod tests;

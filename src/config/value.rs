//! The values of a file: each says what it should have been if it is something else.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;
use uring::CpuList;

use super::admin::AdminListen;
use super::plan::{On, OnUnavailable, Rate, SessionLogTo, Target};
use super::problem::did_you_mean;
use super::text::{
    FORM, TIME, backend, busy_poll, duration, duration_or_none, listen, name, net, rate, source,
};

/// What a value of a file can be made of. The error is the whole line: what is wrong and the cure.
pub(crate) trait FromValue: Sized {
    /// How it is written, as in `write a number`.
    fn how() -> String;

    /// From a string, which is also what an environment variable gives.
    fn from_text(text: &str) -> Result<Self, String>;

    /// From a whole number.
    fn from_integer(number: i64) -> Result<Self, String> {
        Err(format!("{number} is a plain number; {}", Self::how()))
    }

    /// From a number with a fraction.
    fn from_float(number: f64) -> Result<Self, String> {
        Err(format!("{number} is a plain number; {}", Self::how()))
    }

    /// From `true` or `false`.
    fn from_bool(value: bool) -> Result<Self, String> {
        Err(format!("{value} is no answer here; {}", Self::how()))
    }

    /// From a table with one key.
    fn from_pair(_key: &str, _value: &str) -> Result<Self, String> {
        Err(format!("it is a table; {}", Self::how()))
    }
}

/// A time that may be nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeOrNone(pub(crate) Duration);

/// Something, or the word that takes it back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrOff<T>(pub(crate) Option<T>);

/// How long a shard looks for work before it sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BusyPoll(pub(crate) Duration);

/// A whole number between bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<const LEAST: u32, const MOST: u32>(pub(crate) u32);

/// A number from 0 to less than 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fraction(pub(crate) f64);

/// One of a few words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<T>(pub(crate) T);

/// A status code or several that follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusRange(pub(crate) u16, pub(crate) u16);

/// What can be connected to.
#[derive(Clone, Debug)]
pub(crate) struct BackendAddress(pub(crate) Target);

/// What can be listened on.
#[derive(Clone, Debug)]
pub(crate) struct ListenAddress(pub(crate) On<Target>);

/// What a connection can come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceAddress(pub(crate) IpAddr);

/// A path in a request line.
#[derive(Clone, Debug)]
pub(crate) struct HttpPath(pub(crate) String);

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct FilePath(pub(crate) PathBuf);

/// What something can be called.
#[derive(Clone, Debug)]
pub(crate) struct Name(pub(crate) String);

impl<const LEAST: u32, const MOST: u32> Whole<LEAST, MOST> {
    /// Itself where 0 is out of the bounds.
    pub(crate) fn non_zero(self) -> NonZeroU32 {
        const { assert!(LEAST > 0) };
        NonZeroU32::new(self.0).expect("the least is not 0")
    }

    /// Itself where the bounds are narrow enough.
    pub(crate) fn small(self) -> u16 {
        const { assert!(MOST <= 65535) };
        u16::try_from(self.0).expect("the most is less than 65536")
    }
}

impl FromValue for Duration {
    fn how() -> String {
        TIME.to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        duration(text)
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Err(format!("{number} has no unit; {TIME}"))
    }
}

impl FromValue for TimeOrNone {
    fn how() -> String {
        TIME.to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let time = if text == OFF { Ok(Duration::ZERO) } else { duration_or_none(text) };
        time.map(Self)
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Duration::from_integer(number).map(Self)
    }
}

impl<T: FromValue> FromValue for OrOff<T> {
    fn how() -> String {
        format!("{}, or \"off\"", T::how())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text == OFF { Ok(Self(None)) } else { T::from_text(text).map(|value| Self(Some(value))) }
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        T::from_integer(number).map(|value| Self(Some(value)))
    }
}

impl FromValue for BusyPoll {
    fn how() -> String {
        "write a time up to 10ms, as in \"50us\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        busy_poll(text).map(Self)
    }
}

impl<const LEAST: u32, const MOST: u32> FromValue for Whole<LEAST, MOST> {
    fn how() -> String {
        match MOST {
            u32::MAX => format!("write a whole number from {LEAST}"),
            _ => format!("write a whole number from {LEAST} to {MOST}"),
        }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let number = text.trim().parse();
        number.map_or_else(
            |_| Err(format!("`{text}` is no such number; {}", Self::how())),
            Self::from_integer,
        )
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(number) if (LEAST..=MOST).contains(&number) => Ok(Self(number)),
            _ => Err(format!("{number} is out of range; {}", Self::how())),
        }
    }
}

impl FromValue for Fraction {
    fn how() -> String {
        "write a number from 0 to less than 1, as in 0.1".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let number = text.trim().parse();
        number.map_or_else(
            |_| Err(format!("`{text}` is no such number; {}", Self::how())),
            Self::from_float,
        )
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        match number {
            0 => Ok(Self(0.0)),
            _ => Err(format!("{number} is out of range; {}", Self::how())),
        }
    }

    fn from_float(number: f64) -> Result<Self, String> {
        if !(0.0..1.0).contains(&number) {
            return Err(format!("{number} is out of range; {}", Self::how()));
        }
        Ok(Self(number))
    }
}

impl FromValue for bool {
    fn how() -> String {
        "write true or false".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("`{text}` is neither; {}", Self::how()))
    }

    fn from_bool(value: bool) -> Result<Self, String> {
        Ok(value)
    }
}

impl FromValue for String {
    fn how() -> String {
        "write a text in quotes".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl FromValue for Name {
    fn how() -> String {
        "write a name in quotes".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match name(text) {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(problem) => Err(format!("{problem}; {}", Self::how())),
        }
    }
}

impl<T: ValueEnum> FromValue for Word<T> {
    fn how() -> String {
        let words: Vec<_> =
            words::<T>().into_iter().map(|mut names| names.swap_remove(0)).collect();
        format!("write one of \"{}\"", words.join("\", \""))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        T::from_str(text, true).map(Self).map_err(|_| {
            let known = words::<T>();
            let known: Vec<&str> = known.iter().flatten().map(String::as_str).collect();
            format!("`{text}` is not known; {}{}", Self::how(), did_you_mean(text, known))
        })
    }
}

impl FromValue for StatusRange {
    fn how() -> String {
        "write status codes from 100 to 599, as in \"200-399\" or [200, 204]".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let code = |text: &str| text.trim().parse().ok().filter(|code| CODES.contains(code));
        match (code(from), code(to)) {
            (Some(from), Some(to)) if from <= to => Ok(Self(from, to)),
            _ => Err(format!("`{text}` is no range of status codes; {}", Self::how())),
        }
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Self::from_text(&number.to_string())
    }
}

impl FromValue for FilePath {
    fn how() -> String {
        "write the path of a file, as in \"/etc/evenkeel/token\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text.is_empty() || text.contains('\0') {
            true => Err(format!("it is no path; {}", Self::how())),
            false => Ok(Self(text.into())),
        }
    }
}

impl FromValue for AdminListen {
    fn how() -> String {
        "write \"unix:/run/evenkeel/admin.sock\", with \",mode=0660\" for a group, or \
         \"127.0.0.1:9000\""
            .to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}; {}", Self::how()))
    }
}

impl FromValue for HttpPath {
    fn how() -> String {
        "write a path, as in \"/health\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let fits = text.starts_with('/') && text.chars().all(|letter| letter.is_ascii_graphic());
        let wrong =
            || format!("`{text}` is no path of visible ASCII that begins with /; {}", Self::how());
        fits.then(|| Self(text.to_owned())).ok_or_else(wrong)
    }
}

impl FromValue for BackendAddress {
    fn how() -> String {
        format!("{FORM}, or unix:/path")
    }

    fn from_text(text: &str) -> Result<Self, String> {
        backend(text).map(Self)
    }
}

impl FromValue for ListenAddress {
    fn how() -> String {
        "write host:port, as in \"0.0.0.0:8080\", \"[::]:8080\" or \"unix:/run/lb.sock\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        listen(text).map(Self)
    }
}

impl FromValue for SourceAddress {
    fn how() -> String {
        "write an address of this host, as in \"10.0.0.1\" or \"fd00::1\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        source(text).map(Self)
    }
}

impl FromValue for IpNet {
    fn how() -> String {
        "write an address or a network, as in \"10.0.0.1\" or \"fd00::/8\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        net(text)
    }
}

impl FromValue for Rate {
    fn how() -> String {
        "write so many in a time, as in \"100/s\" or \"6000/1m\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        rate(text)
    }
}

impl FromValue for CpuList {
    fn how() -> String {
        "write a list, as in \"0,2-5\"".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Self::from_text(&number.to_string())
    }
}

impl FromValue for OnUnavailable {
    fn how() -> String {
        "write \"close\", \"reset\" or { reply = \"503 Service Unavailable\" }".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "close" => Ok(Self::Close),
            "reset" => Ok(Self::Reset),
            _ => {
                let meant = did_you_mean(text, ["close", "reset"]);
                Err(format!("`{text}` is not known; {}{meant}", Self::how()))
            }
        }
    }

    fn from_pair(key: &str, value: &str) -> Result<Self, String> {
        if key != "reply" {
            return Err(format!(
                "unknown key `{key}`; {}{}",
                Self::how(),
                did_you_mean(key, ["reply"])
            ));
        }
        if value.len() > LONGEST_REPLY {
            return Err(format!(
                "the reply has {} bytes; write at most {LONGEST_REPLY}",
                value.len()
            ));
        }
        Ok(Self::Reply(Arc::from(value.as_bytes())))
    }
}

impl FromValue for SessionLogTo {
    fn how() -> String {
        "write \"off\", \"stderr\", \"journald\" or the path of a file".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "stderr" => Ok(Self::Stderr),
            "journald" => Ok(Self::Journald),
            _ => {
                // A file by such a name would be found late.
                let meant = did_you_mean(text, ["off", "stderr", "journald", "journal"]);
                match text.is_empty() || !meant.is_empty() {
                    true => Err(format!("`{text}` is not known; {}{meant}", Self::how())),
                    false => Ok(Self::File(text.into())),
                }
            }
        }
    }
}

impl FromValue for NonZeroU16 {
    fn how() -> String {
        "write a port from 1 to 65535".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("`{text}` is no port; {}", Self::how()))
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Self::from_text(&number.to_string())
    }
}

/// Every word with its other spellings, the first one being that of the help.
fn words<T: ValueEnum>() -> Vec<Vec<String>> {
    let words = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    words.map(|word| word.get_name_and_aliases().map(str::to_lowercase).collect()).collect()
}

/// Takes back what a default gives.
const OFF: &str = "off";

/// Those that HTTP has.
const CODES: std::ops::RangeInclusive<u16> = 100..=599;

/// It is sent in one piece, from one buffer.
const LONGEST_REPLY: usize = 16 * 1024;

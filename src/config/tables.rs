//! The tables of a configuration file, key by key, as serde reads them: everything is optional, has
//! its place, and knows what it should be. Defaults and what goes together come later
//! ([`super::draft`]).

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU16;
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use uring::CpuList;

use super::admin::AdminListen;
use super::plan::{OnUnavailable, Rate, SessionLogTo};
use super::value::{
    BackendAddress, BusyPoll, FilePath, Fraction, FromValue, HttpPath, ListenAddress, Name, OrOff,
    SourceAddress, StatusRange, TimeOrNone, Whole, Word,
};
use crate::cli::{
    AlgorithmName, EngineName, HealthType, LogLevel, MarkedDown, OnOff, ProxyName,
    SessionLogFormat, SpliceName, StickyKey,
};

/// A key that may be missing.
pub(super) type Key<T> = Option<Spanned<Value<T>>>;

/// A value of a file.
#[derive(Clone, Debug)]
pub(super) struct Value<T>(pub(super) T);

/// One value or a list of them, each with its place.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<(Range<usize>, T)>);

/// `[process]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessTable {
    pub(super) shards: Key<Whole<1, 1024>>,
    pub(super) cpus: Key<CpuList>,
    pub(super) engine: Key<Word<EngineName>>,
    pub(super) max_sessions: Key<Whole<1, { u32::MAX }>>,
    pub(super) buffers: Key<Whole<1, 32768>>,
    pub(super) busy_poll: Key<OrOff<BusyPoll>>,
    pub(super) drain_timeout: Key<TimeOrNone>,
    pub(super) report_interval: Key<OrOff<Duration>>,
    pub(super) tcp_info: Key<Word<OnOff>>,
    pub(super) log_level: Key<Word<LogLevel>>,
    pub(super) log_file: Key<FilePath>,
    pub(super) session_log: Key<SessionLogTo>,
    pub(super) session_log_format: Key<Word<SessionLogFormat>>,
    pub(super) session_log_queue: Key<Whole<1, 1_048_576>>,
    pub(super) resolve_ttl_min: Key<Duration>,
    pub(super) admin: Option<Spanned<List<AdminListen>>>,
    pub(super) admin_token_file: Key<FilePath>,
    pub(super) admin_public_read: Key<bool>,
    pub(super) state_file: Key<FilePath>,
}

/// `[[listener]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenerTable {
    pub(super) name: Key<Name>,
    pub(super) listen: Option<Spanned<List<ListenAddress>>>,
    pub(super) pool: Key<Name>,
    pub(super) backlog: Key<Whole<1, 65535>>,
    pub(super) max_sessions: Key<OrOff<Whole<1, { u32::MAX }>>>,
    pub(super) allow: Option<Spanned<List<IpNet>>>,
    pub(super) deny: Option<Spanned<List<IpNet>>>,
    pub(super) max_sessions_per_ip: Key<OrOff<Whole<1, { u32::MAX }>>>,
    pub(super) max_rate_per_ip: Key<OrOff<Rate>>,
    pub(super) accept_proxy: Option<Spanned<List<IpNet>>>,
    pub(super) proxy_timeout: Key<Duration>,
    pub(super) defer_accept: Key<OrOff<Duration>>,
    pub(super) tcp_fastopen: Key<Whole<0, 65535>>,
    pub(super) tcp_keepalive: Key<TimeOrNone>,
    pub(super) tcp_user_timeout: Key<TimeOrNone>,
}

/// `[pool.NAME]`, but for its tables `health` and `backend`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolTable {
    pub(super) algorithm: Key<Word<AlgorithmName>>,
    pub(super) destination: Key<Word<DestinationName>>,
    pub(super) backends: Option<Spanned<List<BackendAddress>>>,
    pub(super) sticky_key: Key<Word<StickyKey>>,
    pub(super) sticky_ttl: Key<Duration>,
    pub(super) sticky_size: Key<Whole<1, { u32::MAX }>>,
    pub(super) sticky_return: Key<bool>,
    pub(super) connect_timeout: Key<Duration>,
    pub(super) idle_timeout: Key<Duration>,
    pub(super) half_closed_timeout: Key<Duration>,
    pub(super) wait_for_backend_timeout: Key<TimeOrNone>,
    pub(super) on_unavailable: Key<OnUnavailable>,
    pub(super) queue_size: Key<Whole<0, { u32::MAX }>>,
    pub(super) queue_timeout: Key<Duration>,
    pub(super) session_failover: Key<bool>,
    pub(super) on_marked_down: Key<Word<MarkedDown>>,
    pub(super) send_proxy: Key<Word<ProxyName>>,
    pub(super) max_connection_age: Key<OrOff<Duration>>,
    pub(super) max_connection_age_jitter: Key<TimeOrNone>,
    pub(super) source: Option<Spanned<List<SourceAddress>>>,
    pub(super) tcp_keepalive: Key<TimeOrNone>,
    pub(super) tcp_user_timeout: Key<TimeOrNone>,
    pub(super) splice: Key<Word<SpliceName>>,
    pub(super) slow_start: Key<TimeOrNone>,
    pub(super) eject_after: Key<Whole<0, { u32::MAX }>>,
    pub(super) eject_time: Key<Duration>,
    pub(super) eject_time_max: Key<Duration>,
    pub(super) status_port_offset: Key<OrOff<NonZeroU16>>,
}

/// `[pool.NAME.health]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthTable {
    pub(super) r#type: Key<Word<HealthType>>,
    pub(super) interval: Key<Duration>,
    pub(super) fast_interval: Key<Duration>,
    pub(super) timeout: Key<Duration>,
    pub(super) rise: Key<Whole<1, { u32::MAX }>>,
    pub(super) fall: Key<Whole<1, { u32::MAX }>>,
    pub(super) jitter: Key<Fraction>,
    pub(super) port: Key<NonZeroU16>,
    pub(super) send: Key<String>,
    pub(super) expect: Key<String>,
    pub(super) path: Key<HttpPath>,
    pub(super) host: Key<Name>,
    pub(super) status: Option<Spanned<List<StatusRange>>>,
}

/// `[[pool.NAME.backend]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackendTable {
    pub(super) address: Key<BackendAddress>,
    pub(super) name: Key<Name>,
    pub(super) weight: Key<Whole<0, 256>>,
    pub(super) backup: Key<bool>,
    pub(super) max_connections: Key<Whole<1, { u32::MAX }>>,
}

/// Where the sessions of a pool go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum DestinationName {
    /// To its backends.
    Backends,
    /// To where the client wanted.
    OriginalDst,
}

/// The keys that a table can have, in the order of its type.
pub(super) fn keys<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // It asks for the fields, and gets none.
    let _ = T::deserialize(FieldsOf(&mut keys));
    keys
}

/// Takes note of the fields that a type asks for.
struct FieldsOf<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldsOf<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("not a table"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Self::Error::custom("only its fields are of interest"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de, T: FromValue> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor(PhantomData)).map(Self)
    }
}

struct ValueVisitor<T>(PhantomData<T>);

impl<'de, T: FromValue> Visitor<'de> for ValueVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&T::how())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        T::from_integer(number).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        Err(E::custom(format!("{number} is too large; {}", T::how())))
    }

    fn visit_i128<E: serde::de::Error>(self, number: i128) -> Result<T, E> {
        Err(E::custom(format!("{number} is out of range; {}", T::how())))
    }

    fn visit_u128<E: serde::de::Error>(self, number: u128) -> Result<T, E> {
        Err(E::custom(format!("{number} is too large; {}", T::how())))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        T::from_float(number).map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<T, E> {
        T::from_bool(value).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(format!("it is a list; {}", T::how())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let wrong = || A::Error::custom(format!("it is a table; {}", T::how()));
        // A date is a map for serde, too; its value is not asked for as a string.
        let key = map.next_key::<String>()?.ok_or_else(wrong)?;
        let value = map.next_value::<Value<String>>().map_err(|_| wrong())?;
        if let Some(more) = map.next_key::<String>()? {
            return Err(A::Error::custom(format!("`{more}` is too much; {}", T::how())));
        }
        T::from_pair(&key, &value.0).map_err(A::Error::custom)
    }
}

impl<'de, T: FromValue> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: FromValue> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&T::how())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element::<Spanned<Value<T>>>()? {
            values.push((value.span(), value.into_inner().0));
        }
        Ok(List(values))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<List<T>, E> {
        T::from_text(text).map(List::alone).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<List<T>, E> {
        T::from_integer(number).map(List::alone).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<List<T>, E> {
        T::from_float(number).map(List::alone).map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<List<T>, E> {
        T::from_bool(value).map(List::alone).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<List<T>, A::Error> {
        Err(A::Error::custom(format!("it is a table; {}", T::how())))
    }
}

impl<T> List<T> {
    /// Its place is that of the list.
    fn alone(value: T) -> Self {
        Self(vec![(0..0, value)])
    }

    /// The values, each with a place, given that of the list.
    pub(super) fn placed(spanned: Spanned<Self>) -> impl Iterator<Item = (Range<usize>, T)> {
        let whole = spanned.span();
        let place = move |span: Range<usize>| if span.is_empty() { whole.clone() } else { span };
        spanned.into_inner().0.into_iter().map(move |(span, value)| (place(span), value))
    }
}

//! Values of the configuration: texts, checked by the same functions as flags, and numbers in
//! ranges.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use toml::Spanned;
use wasmetry_export::scrape::Target;
use wasmetry_host::record::Level;
use wasmetry_host::{AccessLog, Filter};

use super::route::{Host, Prefix};
use crate::flag::limit::Limit;
use crate::flag::value;
use crate::guest::outgoing::policy::{Allowed, Propagated};
use crate::serve::limits;

/// A value that is written as a string.
struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        (self.parse)(value).map_err(E::custom)
    }
}

impl<'de, T> DeserializeSeed<'de> for Text<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Spanned<SocketAddr>>, D::Error> {
    struct Address(SocketAddr);
    impl<'de> Deserialize<'de> for Address {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let expected = "an address in quotes, such as `\"127.0.0.1:8080\"`";
            Text { expected, parse: value::address }.deserialize(deserializer).map(Self)
        }
    }
    let spanned = Spanned::<Address>::deserialize(deserializer)?;
    Ok(Some(Spanned::new(spanned.span(), spanned.into_inner().0)))
}

pub(super) fn target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Target>, D::Error> {
    deserializer.deserialize_str(TARGET).map(Some)
}

const TARGET: Text<Target> =
    Text { expected: "a host and a port in quotes, such as `\"10.0.0.7:9464\"`", parse: value::target };

pub(super) fn targets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Target>, D::Error> {
    struct Peer(Target);
    impl<'de> Deserialize<'de> for Peer {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(TARGET).map(Self)
        }
    }
    let peers = Vec::<Peer>::deserialize(deserializer)?;
    Ok(peers.into_iter().map(|Peer(target)| target).collect())
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let expected = "a duration in quotes, such as `\"30s\"`";
    Text { expected, parse: value::duration }.deserialize(deserializer).map(Some)
}

pub(super) fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Text { expected: "a string in quotes", parse: value::label }.deserialize(deserializer).map(Some)
}

pub(super) fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Filter>, D::Error> {
    let expected = "levels in quotes, such as `\"info,shop::cart=debug\"`";
    Text { expected, parse: value::filter }.deserialize(deserializer).map(Some)
}

pub(super) fn access_log<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AccessLog>, D::Error> {
    let expected = "requests in quotes, such as `\"failed,slow\"`";
    Text { expected, parse: value::access_log }.deserialize(deserializer).map(Some)
}

pub(super) fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Level>, D::Error> {
    let expected = "a level in quotes, such as `\"debug\"`";
    Text { expected, parse: value::level }.deserialize(deserializer).map(Some)
}

pub(super) fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Size { parse: value::memory }).map(Some)
}

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Size { parse: value::size }).map(Some)
}

/// Reads a table of limits.
pub(super) fn limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Limit>, D::Error> {
    struct Limits;
    impl<'de> Visitor<'de> for Limits {
        type Value = Vec<Limit>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of limits, such as `open-spans = 64`")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut limits = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                limits.push(map.next_value_seed(LimitValue { name })?);
            }
            Ok(limits)
        }
    }
    deserializer.deserialize_map(Limits)
}

/// The value of the limit of this name, which is written as a string or as a number.
struct LimitValue {
    name: String,
}

impl<'de> DeserializeSeed<'de> for LimitValue {
    type Value = Limit;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Limit, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for LimitValue {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a size or duration in quotes, such as `\"64MiB\"` or `\"100ms\"`")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Limit, E> {
        Limit::new(&self.name, value).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Limit, E> {
        self.visit_str(&value.to_string())
    }
}

/// A size that is written as a string or as a number.
struct Size {
    parse: fn(&str) -> Result<u64, String>,
}

impl Visitor<'_> for Size {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size in quotes, such as `\"64MiB\"`, or a number of bytes")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<u64, E> {
        (self.parse)(value).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        let bytes = u64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))?;
        self.visit_str(&bytes.to_string())
    }
}

/// An integer in a range.
struct Number {
    min: i64,
    max: i64,
}

impl Visitor<'_> for Number {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max {
            i64::MAX => write!(f, "a number, {} or more", self.min),
            max => write!(f, "a number from {} to {max}", self.min),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<i64, E> {
        if (self.min..=self.max).contains(&value) {
            return Ok(value);
        }
        Err(E::invalid_value(Unexpected::Signed(value), &self))
    }
}

pub(super) fn concurrency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = deserializer.deserialize_i64(Number { min: 1, max: limits::MAX_CONCURRENT_REQUESTS })?;
    Ok(u32::try_from(number).ok())
}

pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let number = deserializer.deserialize_i64(Number { min: 0, max: i64::MAX })?;
    Ok(usize::try_from(number).ok())
}

/// One value, or a list of at least one.
#[derive(Clone, Debug)]
pub(in crate::serve) struct OneOrMore<T>(pub(in crate::serve) Vec<T>);

/// A type of which [`OneOrMore`] can be written.
trait Item: Sized {
    const EXPECTED: &'static str;
    fn parse(value: &str) -> Result<Self, String>;
}

impl Item for Host {
    const EXPECTED: &'static str = "a host in quotes, or a list of hosts";
    fn parse(value: &str) -> Result<Self, String> {
        Self::parse(value)
    }
}

impl Item for Prefix {
    const EXPECTED: &'static str = "a prefix in quotes, such as `\"/shop\"`, or a list of prefixes";
    fn parse(value: &str) -> Result<Self, String> {
        Self::parse(value)
    }
}

/// A host name without a port.
#[derive(Clone, Debug)]
pub(in crate::serve) struct HostName(pub(in crate::serve) String);

impl Item for HostName {
    const EXPECTED: &'static str = "a host name in quotes, or a list of host names";
    fn parse(value: &str) -> Result<Self, String> {
        value::host_name(value).map(Self)
    }
}

impl Item for Allowed {
    const EXPECTED: &'static str = "a destination in quotes, such as `\"10.0.0.0/8\"`, or a list of destinations";
    fn parse(value: &str) -> Result<Self, String> {
        value::allowed(value)
    }
}

impl Item for Propagated {
    const EXPECTED: &'static str = "a host in quotes, or a list of hosts";
    fn parse(value: &str) -> Result<Self, String> {
        value::propagated(value)
    }
}

impl<'de, T: Item> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor<T>(PhantomData<T>);
        impl<'de, T: Item> Visitor<'de> for ItemVisitor<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<OneOrMore<T>, E> {
                Ok(OneOrMore(vec![T::parse(value).map_err(E::custom)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMore<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element_seed(Text { expected: T::EXPECTED, parse: T::parse })? {
                    all.push(item);
                }
                if all.is_empty() {
                    return Err(A::Error::custom("the list is empty; name at least one, or remove the key"));
                }
                Ok(OneOrMore(all))
            }
        }
        deserializer.deserialize_any(ItemVisitor(PhantomData))
    }
}

/// Environment variables, each of a different name.
#[derive(Clone, Debug, Default)]
pub(in crate::serve) struct Environment(pub(in crate::serve) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Environment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Variables;
        impl<'de> Visitor<'de> for Variables {
            type Value = Environment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of environment variables")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Environment, A::Error> {
                let mut all = Vec::new();
                while let Some(key) = entries.next_key_seed(Text { expected: "a name", parse: variable_name })? {
                    let value = Text { expected: "a value in quotes", parse: variable_value };
                    all.push((key, entries.next_value_seed(value)?));
                }
                Ok(Environment(all))
            }
        }
        deserializer.deserialize_map(Variables)
    }
}

fn variable_name(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("the name of a variable must not be empty".to_owned());
    }
    if name.contains(['=', '\0']) {
        return Err("the name of a variable must not contain `=` or NUL".to_owned());
    }
    Ok(name.to_owned())
}

fn variable_value(value: &str) -> Result<String, String> {
    if value.contains('\0') {
        return Err("the value of a variable must not contain NUL".to_owned());
    }
    Ok(value.to_owned())
}

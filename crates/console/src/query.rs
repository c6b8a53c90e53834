//! The parameters of a query.

use crate::limits;
use crate::problem::Problem;

/// The parameters of a query, each of which is read once.
#[derive(Debug)]
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Parses a query.
    ///
    /// # Errors
    ///
    /// If it is too long, is no UTF-8, or has a parameter twice.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let query = query.unwrap_or_default();
        if query.len() > limits::QUERY_BYTES {
            let detail = format!("the query has more than {} bytes; use fewer or shorter filters", limits::QUERY_BYTES);
            return Err(Problem::bad_request(detail));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(key), Some(value)) = (decode(key), decode(value)) else {
                return Err(Problem::bad_request(
                    "a parameter is no percent-encoded UTF-8; encode it, for example `%20`",
                ));
            };
            if parameters.iter().any(|(known, _)| *known == key) {
                return Err(Problem::bad_request(format!("`{}` is there twice; remove one", shown(&key))));
            }
            parameters.push((key, value));
        }
        Ok(Self { parameters })
    }

    /// Takes a parameter.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        let at = self.parameters.iter().position(|(known, _)| known == key)?;
        Some(self.parameters.remove(at).1)
    }

    /// Takes the parameters whose keys have a prefix, without it.
    pub(crate) fn take_all(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (taken, rest) =
            std::mem::take(&mut self.parameters).into_iter().partition(|(key, _)| key.starts_with(prefix));
        self.parameters = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(key, value)| (key[prefix.len()..].to_owned(), value)).collect()
    }

    /// Takes a parameter that `parse` reads. `expected` describes what it accepts.
    ///
    /// # Errors
    ///
    /// If `parse` returns `None`.
    pub(crate) fn parse_as<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let wrong = || Problem::bad_request(format!("`{key}`: `{}` cannot be read; use {expected}", shown(&value)));
        parse(&value).map(Some).ok_or_else(wrong)
    }

    /// Takes a number of seconds, as nanoseconds.
    ///
    /// # Errors
    ///
    /// If it is no number from 0 on.
    pub(crate) fn seconds(&mut self, key: &str) -> Result<Option<u64>, Problem> {
        self.parse_as(key, "seconds, for example `1764374400.5`", |value| {
            let seconds: f64 = value.parse().ok()?;
            (0.0..1e10).contains(&seconds).then_some((seconds * 1e9) as u64)
        })
    }

    /// Takes the number of entries of a page.
    ///
    /// # Errors
    ///
    /// If it is no number from 1 to `most`.
    pub(crate) fn limit(&mut self, default: usize, most: usize) -> Result<usize, Problem> {
        let limit = self.parse_as("limit", &format!("a number from 1 to {most}"), |value| {
            value.parse().ok().filter(|limit| (1..=most).contains(limit))
        })?;
        Ok(limit.unwrap_or(default))
    }

    /// Ends the query.
    ///
    /// # Errors
    ///
    /// If a parameter is left, which the path does not have.
    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.parameters.first() {
            Some((key, _)) => Err(Problem::bad_request(format!(
                "`{}` is no parameter of this path; remove it, API.md lists the parameters",
                shown(key)
            ))),
            None => Ok(()),
        }
    }
}

/// Returns the beginning of a client's text, for a message.
pub(crate) fn shown(text: &str) -> String {
    let shown: String = text.chars().take(64).filter(|char| !char.is_control()).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}

/// Decodes a part of a query; `None` if it is no UTF-8, or a `%` has no two digits behind it.
///
/// Source: WHATWG, URL, `application/x-www-form-urlencoded` parsing.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (digit(bytes.next()?)? << 4 | digit(bytes.next()?)?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// The filters that several paths share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) component: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) route: Option<String>,
}

impl Filter {
    /// Takes the filters.
    pub(crate) fn take(query: &mut Query) -> Self {
        Self { component: query.take("component"), tenant: query.take("tenant"), route: query.take("route") }
    }

    /// Takes the filters of a path without routes.
    pub(crate) fn take_identity(query: &mut Query) -> Self {
        Self { component: query.take("component"), tenant: query.take("tenant"), route: None }
    }

    /// Returns `true` if all that is wanted is there.
    pub(crate) fn accepts(&self, component: &str, tenant: &str, route: impl FnOnce() -> String) -> bool {
        self.accepts_identity(component, tenant) && self.route.as_ref().is_none_or(|wanted| *wanted == route())
    }

    pub(crate) fn accepts_identity(&self, component: &str, tenant: &str) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        is(&self.component, component) && is(&self.tenant, tenant)
    }
}

/// A range of time, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) seconds: u64,
    /// The end, in nanoseconds; `None` is now.
    pub(crate) end: Option<u64>,
}

impl Range {
    /// Takes a range.
    ///
    /// # Errors
    ///
    /// If it is none of those that are offered, or its end is no time.
    pub(crate) fn take(query: &mut Query) -> Result<Self, Problem> {
        let seconds = query.parse_as("range", "300, 900 or 3600", |value| {
            value.parse().ok().filter(|seconds| [300, 900, 3600].contains(seconds))
        })?;
        Ok(Self { seconds: seconds.unwrap_or(300), end: query.seconds("end")? })
    }

    pub(crate) fn steps(self) -> u32 {
        (self.seconds / limits::STEP_SECONDS) as u32
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    #[test]
    fn parameters_are_read_once() {
        let mut query = Query::parse(Some("a=1&b=x%20y+z&label.k=v&label.l=")).unwrap();
        assert_eq!(query.take("b").as_deref(), Some("x y z"));
        assert_eq!(query.take("b"), None);
        assert_eq!(query.take_all("label."), [("k".into(), "v".into()), ("l".into(), String::new())]);
        assert!(query.end().is_err());
        assert!(Query::parse(None).unwrap().end().is_ok());
    }

    #[test]
    fn hostile_queries_are_refused() {
        for query in ["a=1&a=2", "a=%", "a=%4", "a=%zz", "a=%ff", &"a".repeat(limits::QUERY_BYTES + 1)] {
            assert!(Query::parse(Some(query)).is_err(), "{query}");
        }
        for value in ["", "-1", "NaN", "inf", "1e11", "x", "0x1"] {
            let mut query = Query::parse(Some(&format!("end={value}&limit={value}&range={value}"))).unwrap();
            assert!(query.seconds("end").is_err(), "{value}");
            assert!(query.limit(1, 10).is_err(), "{value}");
            assert!(Range::take(&mut query).is_err(), "{value}");
        }
    }
}

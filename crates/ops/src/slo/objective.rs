//! The table `[[slo]]`: what is good, which share of it must be, and in which window.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Unexpected, Visitor};

use super::DAY;
use crate::host::{self, DURATION_BOUNDS};
use crate::promql::syntax;
use crate::{Component, Error, settings};

/// The shortest and the longest window, in days: below, the alerts' windows of days do not fit into
/// it; above, Prometheus rarely keeps the data.
const DAYS: std::ops::RangeInclusive<u64> = 7..=90;

/// The window if none is given.
const DEFAULT_WINDOW: u64 = 30 * DAY;

/// A service level objective, as a table `[[slo]]` or an OpenSLO document has it.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), toml::de::Error> {
/// let slo: wasmetry_ops::Objective = toml::from_str(
///     "
///     name = 'fast'
///     objective = 99.5
///     latency = '250ms'
///     ",
/// )?;
/// assert_eq!((slo.objective, slo.window), (99.5, 30 * 86_400));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Objective {
    /// The name: the label `slo`, and a part of the alerts' names.
    pub name: String,
    /// The component; it may be left out if there is only one.
    pub component: Option<String>,
    /// The percentage of good events.
    pub objective: f64,
    /// The period of the budget, in seconds.
    pub window: u64,
    /// The rate of events per second below which a window is measured against this rate. Without
    /// it, requests have the setting `min-request-rate`, and other events none.
    pub min_rate: Option<f64>,
    /// The events, and which of them are good.
    pub indicator: Indicator,
}

/// The events of an objective, and which of them are good.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Indicator {
    /// Requests; those that were answered with 5xx are bad.
    Availability {
        /// The route; all of them if there is none.
        route: Option<String>,
    },
    /// Requests, or the values of a declared histogram; those above a threshold are bad.
    Latency {
        /// The threshold, in seconds or in the histogram's unit.
        threshold: f64,
        /// The declared histogram; the host's request durations if there is none.
        metric: Option<String>,
        /// The route of requests; all of them if there is none.
        route: Option<String>,
    },
    /// The evaluations of the rules; one is bad if the last success is longer ago.
    Freshness {
        /// The longest age in seconds.
        age: u64,
        /// A declared gauge with the Unix time of the last success in seconds, or a declared
        /// counter of successes.
        metric: String,
    },
    /// The rates of events per second that PromQL expressions have.
    Query {
        /// The expression of the events that are counted.
        counted: String,
        /// `true` if the bad events are counted, `false` if the good ones are.
        is_bad: bool,
        /// The expression of all events.
        total: String,
    },
}

impl Objective {
    /// Returns `true` if the objective is on this component.
    pub fn is_on(&self, component: &Component) -> bool {
        self.component.as_deref().is_none_or(|name| name == component.name)
    }
}

impl<'de> Deserialize<'de> for Objective {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys)
    }
}

/// Reads the keys and checks them together, so that the error has the position of the table.
struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Objective;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table [[slo]]")
    }

    fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<Objective, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(keys))?;
        let indicator = indicator(&table).map_err(A::Error::custom)?;
        let Table { name, component, objective, window, min_rate, .. } = table;
        Ok(Objective { name, component, objective, window, min_rate, indicator })
    }
}

/// The keys of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    #[serde(deserialize_with = "settings::text")]
    name: String,
    #[serde(default, deserialize_with = "settings::optional_text")]
    component: Option<String>,
    #[serde(deserialize_with = "percentage")]
    objective: f64,
    #[serde(default = "default_window", deserialize_with = "window")]
    window: u64,
    #[serde(default, deserialize_with = "rate")]
    min_rate: Option<f64>,
    #[serde(default, deserialize_with = "settings::optional_text")]
    route: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    latency: Option<f64>,
    #[serde(default, deserialize_with = "age")]
    freshness: Option<u64>,
    #[serde(default, deserialize_with = "settings::optional_text")]
    metric: Option<String>,
    #[serde(default, deserialize_with = "query")]
    good: Option<String>,
    #[serde(default, deserialize_with = "query")]
    bad: Option<String>,
    #[serde(default, deserialize_with = "query")]
    total: Option<String>,
}

/// Returns the indicator that the keys describe.
fn indicator(table: &Table) -> Result<Indicator, Error> {
    let refuse = |keys, remedy| Err(Error::Keys { objective: table.name.clone(), keys, remedy });
    let (metric, route) = (table.metric.clone(), table.route.clone());
    let queries = (&table.good, &table.bad, &table.total);
    if queries != (&None, &None, &None) {
        let (counted, is_bad, total) = match queries {
            (Some(good), None, Some(total)) => (good, false, total),
            (None, Some(bad), Some(total)) => (bad, true, total),
            _ => return refuse("not two of `good`, `bad` and `total`", "write `total`, and either `good` or `bad`"),
        };
        if table.latency.is_some() || table.freshness.is_some() {
            return refuse("`total` beside `latency` or `freshness`", "write a [[slo]] for each");
        }
        if metric.is_some() || route.is_some() {
            return refuse("`total` beside `metric` or `route`", "write these into the expressions");
        }
        return Ok(Indicator::Query { counted: counted.clone(), is_bad, total: total.clone() });
    }
    match (table.latency, table.freshness) {
        (Some(_), Some(_)) => refuse("`latency` and `freshness`", "write a [[slo]] for each"),
        (None, None) if metric.is_some() => {
            refuse("`metric` without a threshold", "add `latency` or `freshness`, or remove `metric`")
        }
        (None, None) => Ok(Indicator::Availability { route }),
        (Some(_), None) if metric.is_some() && route.is_some() => {
            refuse("`metric` and `route`", "remove one: only the host's request durations have a route")
        }
        (Some(threshold), None) => {
            if metric.is_none() && !DURATION_BOUNDS.contains(&threshold) {
                return Err(Error::OffBound {
                    objective: table.name.clone(),
                    metric: host::DURATION.to_owned(),
                    threshold,
                    bounds: DURATION_BOUNDS.to_vec(),
                });
            }
            Ok(Indicator::Latency { threshold, metric, route })
        }
        (None, Some(_)) if route.is_some() => refuse("`freshness` and `route`", "remove `route`"),
        (None, Some(age)) => match metric {
            Some(metric) => Ok(Indicator::Freshness { age, metric }),
            None => refuse(
                "`freshness` without `metric`",
                "add as `metric` a declared gauge with the Unix time of the last success, or a declared counter of successes",
            ),
        },
    }
}

/// A percentage of good events.
struct Percentage;

impl Visitor<'_> for Percentage {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PERCENTAGE)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<f64, E> {
        if is_objective(value) { Ok(value) } else { Err(E::invalid_value(Unexpected::Float(value), &self)) }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<f64, E> {
        self.visit_f64(value as f64)
    }
}

pub(super) const PERCENTAGE: &str =
    "a percentage from 50 to 99.999, such as `99.9`: no service is always good, and a budget of everything is none";

/// Returns `true` if a percentage can be an objective.
pub(super) fn is_objective(percentage: f64) -> bool {
    (50.0..=99.999).contains(&percentage)
}

fn percentage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Percentage)
}

fn default_window() -> u64 {
    DEFAULT_WINDOW
}

pub(super) const WINDOW: &str = "whole days or weeks from `7d` to `90d`, such as `30d` or `4w`";

/// Returns the seconds of a window.
pub(super) fn parse_window(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let days = match unit {
        'd' => number,
        'w' => number.checked_mul(7)?,
        _ => return None,
    };
    DAYS.contains(&days).then_some(days * DAY)
}

fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_window(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no window: expected {WINDOW}")))
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    settings::positive(deserializer).map(Some)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text).map(|duration| duration.as_secs_f64()) {
        Ok(seconds) if seconds > 0.0 => Ok(Some(seconds)),
        _ => Err(D::Error::custom(format!("`{text}` is no duration: expected one in quotes such as `\"250ms\"`"))),
    }
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let seconds = humantime::parse_duration(&text).map(|duration| duration.as_secs());
    match seconds {
        Ok(seconds) if (5 * 60..=7 * DAY).contains(&seconds) => Ok(Some(seconds)),
        _ => Err(D::Error::custom(format!(
            "`{text}` is no age: expected a duration in quotes from `\"5m\"` to `\"7d\"`, such as `\"26h\"` for a daily job"
        ))),
    }
}

fn query<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match syntax::check(&text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(D::Error::custom(Error::Query(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Objective, String> {
        toml::from_str::<Objective>(text).map_err(|error| error.message().to_owned())
    }

    const HEAD: &str = "name = 'a'\nobjective = 99.9\n";

    #[test]
    fn indicators_are_read() {
        let of = |keys: &str| parse(&format!("{HEAD}{keys}")).unwrap().indicator;
        assert_eq!(of(""), Indicator::Availability { route: None });
        assert_eq!(of("route = '/a'"), Indicator::Availability { route: Some("/a".into()) });
        let latency = |threshold, metric: Option<&str>| Indicator::Latency {
            threshold,
            metric: metric.map(str::to_owned),
            route: None,
        };
        assert_eq!(of("latency = '250ms'"), latency(0.25, None));
        // The bounds of a declared histogram are not known here.
        assert_eq!(of("latency = '300ms'\nmetric = 'x_seconds'"), latency(0.3, Some("x_seconds")));
        let age = 26 * 3600;
        assert_eq!(of("freshness = '26h'\nmetric = 'x'"), Indicator::Freshness { age, metric: "x".into() });
        let query = Indicator::Query { counted: "a".into(), is_bad: true, total: "b".into() };
        assert_eq!(of("bad = 'a'\ntotal = 'b'"), query);
        assert_eq!(parse(&format!("{HEAD}window = '4w'")).unwrap().window, 28 * DAY);
    }

    #[test]
    fn errors_have_cause_and_remedy() {
        for percentage in ["0", "100", "100.1", "-1.5", "49.9"] {
            let error = parse(&format!("name = 'a'\nobjective = {percentage}")).unwrap_err();
            assert!(error.contains("a percentage from 50 to 99.999, such as `99.9`"), "{error}");
        }
        let cases = [
            ("latency = '300ms'", ["has no bucket with this bound", "250ms, 400ms, 500ms, 1s, 2500ms, 10s"]),
            ("latency = '250'", ["`250` is no duration", "`\"250ms\"`"]),
            ("latency = '250ms'\nfreshness = '1h'", ["`latency` and `freshness`", "a [[slo]] for each"]),
            ("latency = '1s'\nmetric = 'a'\nroute = 'b'", ["`metric` and `route`", "remove one"]),
            ("metric = 'a'", ["`metric` without a threshold", "add `latency` or `freshness`"]),
            ("freshness = '1h'", ["`freshness` without `metric`", "a declared gauge"]),
            ("freshness = '1h'\nmetric = 'a'\nroute = '/'", ["`freshness` and `route`", "remove `route`"]),
            ("freshness = '1s'\nmetric = 'a'", ["`1s` is no age", "from `\"5m\"`"]),
            ("good = 'a'", ["not two of `good`, `bad` and `total`", "write `total`"]),
            ("good = 'a'\nbad = 'b'\ntotal = 'c'", ["not two of", "either `good` or `bad`"]),
            ("good = 'a'\ntotal = 'c'\nroute = '/'", ["beside `metric` or `route`", "into the expressions"]),
            ("good = 'a'\ntotal = 'c'\nlatency = '1s'", ["beside `latency`", "a [[slo]] for each"]),
            ("good = 'sum(a'\ntotal = 'b'", ["column 6", "expected `)`"]),
            ("window = '1d'", ["`1d` is no window", "from `7d` to `90d`"]),
            ("window = '18446744073709551615w'", ["is no window", "such as `30d`"]),
            ("windw = '30d'", ["unknown field `windw`", "`window`"]),
        ];
        for (keys, parts) in cases {
            let error = parse(&format!("{HEAD}{keys}")).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "`{part}` is missing in: {error}");
            }
        }
        // The line is that of the value, or else that of the table.
        let line = |second: &str| {
            let text = format!("[[slo]]\nname = 'a'\nobjective = 99\n[[slo]]\n{second}");
            let error = toml::from_str::<std::collections::BTreeMap<String, Vec<toml::Spanned<Objective>>>>(&text);
            text[..error.unwrap_err().span().unwrap().start].matches('\n').count() + 1
        };
        for (second, expected) in [
            ("name = 'b'\nobjective = 99\nmetric = 'a'", 4),
            ("name = 'b'", 4),
            ("name = 'b'\nobjective = 0", 6),
            ("x = 1", 5),
        ] {
            assert_eq!(line(second), expected, "{second}");
        }
        assert!(parse("objective = 99").unwrap_err().contains("missing field `name`"));
        assert!(parse("name = ''\nobjective = 99").unwrap_err().contains("not empty"));
    }
}

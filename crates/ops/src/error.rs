//! The errors of objectives and their reports.

use std::fmt;

use crate::promql::syntax::SyntaxError;

/// An objective that no rules can be made of, or a report that cannot be made. Each message has the
/// cause and the remedy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The keys of an objective contradict each other.
    Keys {
        /// The objective's name.
        objective: String,
        /// The keys.
        keys: &'static str,
        /// The remedy.
        remedy: &'static str,
    },
    /// An objective has the name of another one on the same component.
    Duplicate {
        /// The name.
        objective: String,
    },
    /// An objective is on no component, and there are several.
    NoComponent {
        /// The objective's name.
        objective: String,
        /// The names of the components.
        served: Vec<String>,
    },
    /// An objective is on a component that is not served.
    UnknownComponent {
        /// The objective's name.
        objective: String,
        /// The component.
        component: String,
        /// The names of the components.
        served: Vec<String>,
    },
    /// An objective is on a metric that the component does not declare, or not with the kind that
    /// is needed.
    Metric {
        /// The objective's name.
        objective: String,
        /// The component.
        component: String,
        /// The metric.
        metric: String,
        /// The kind of the metric, if it is declared.
        found: Option<&'static str>,
        /// The kinds that are needed.
        expected: &'static str,
        /// The names of declared metrics of such a kind.
        declared: Box<[String]>,
    },
    /// A threshold is not on a bucket bound, so that the values up to it are not counted.
    OffBound {
        /// The objective's name.
        objective: String,
        /// The histogram.
        metric: String,
        /// The threshold in seconds.
        threshold: f64,
        /// The bounds in seconds.
        bounds: Vec<f64>,
    },
    /// An expression is not PromQL.
    Query(SyntaxError),
    /// There is no objective.
    NoObjective,
    /// A text is not a month.
    Month(String),
    /// No day of a month is over.
    FutureMonth(String),
    /// A query of a report was not answered.
    Answer {
        /// The query.
        query: String,
        /// The error of Prometheus, or what is wrong with the answer.
        message: String,
    },
}

/// Returns names as a list in backticks, which is not too long for a line.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

/// Returns a number of seconds as `[[slo]]` has it: whole, in the largest unit in which it is.
pub(crate) fn threshold(seconds: f64) -> String {
    let nanos = (seconds * 1e9).round();
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "us")];
    match units.into_iter().find(|(unit, _)| nanos % unit == 0.0) {
        Some((unit, name)) => format!("{}{name}", nanos / unit),
        None => format!("{nanos}ns"),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { objective, keys, remedy } => write!(f, "the objective `{objective}` has {keys}; {remedy}"),
            Self::Duplicate { objective } => {
                write!(f, "another objective on the component has the name `{objective}` too; choose another `name`")
            }
            Self::NoComponent { objective, served } => {
                write!(f, "the objective `{objective}` has no `component`; name one of {}", list(served))
            }
            Self::UnknownComponent { objective, component, served } => write!(
                f,
                "the objective `{objective}` is on the component `{component}`, which is not served; name one of {}",
                list(served)
            ),
            Self::Metric { objective, component, metric, found, expected, declared } => {
                write!(f, "the objective `{objective}` is on the metric `{metric}`, which ")?;
                match found {
                    Some(found) => write!(f, "is a {found}")?,
                    None => write!(f, "`{component}` does not declare")?,
                }
                match &declared[..] {
                    [] => write!(f, "; declare {expected}, or use `good` and `total`"),
                    _ => write!(f, "; name {expected}, such as {}", list(declared)),
                }
            }
            Self::OffBound { objective, metric, threshold: value, bounds } => write!(
                f,
                "the objective `{objective}` has the threshold {}, and {metric} has no bucket with this bound; choose one of {}",
                threshold(*value),
                bounds.iter().map(|bound| threshold(*bound)).collect::<Vec<_>>().join(", ")
            ),
            Self::Query(error) => error.fmt(f),
            Self::NoObjective => f.write_str(
                "there is no objective; add a table [[slo]] to the configuration, or give an OpenSLO document with --openslo",
            ),
            Self::Month(text) => {
                write!(f, "`{}` is not a month; write year and month, such as `2026-11`", text.escape_debug())
            }
            Self::FutureMonth(month) => write!(f, "no day of {month} is over yet; name an earlier month"),
            Self::Answer { query, message } => {
                write!(f, "Prometheus has no answer to `{query}`: {}; check its rules", message.escape_debug())
            }
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_written_as_read() {
        let cases = [(0.001, "1ms"), (0.0025, "2500us"), (0.25, "250ms"), (1.0, "1s"), (2.5, "2500ms"), (10.0, "10s")];
        for (seconds, text) in cases {
            assert_eq!(threshold(seconds), text);
            assert_eq!(humantime::parse_duration(text).unwrap().as_secs_f64(), seconds);
        }
    }
}

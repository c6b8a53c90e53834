//! OpenSLO v1 documents as objectives: <https://github.com/OpenSLO/OpenSLO>.
//!
//! In comes YAML of one or more documents. Out come objectives, with their positions, or the first
//! thing in it that has no counterpart here, with its position, cause and remedy.

mod document;
mod query;

use std::collections::BTreeMap;
use std::fmt;

use serde_saphyr::{Location, Spanned};

use super::objective::{self, Indicator, Objective};
use crate::promql::syntax;
use document::{Condition, Document, Metric, MetricSource, RatioMetric, Sli, Slo, Window};

/// An OpenSLO document that is not valid, or has a part without a counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenSloError {
    /// The line, counted from 1, or 0 if it is not known.
    pub line: u64,
    /// The column in characters, counted from 1.
    pub column: u64,
    /// The cause and the remedy.
    pub message: String,
}

impl fmt::Display for OpenSloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.message),
            line => write!(f, "{line}:{}: {}", self.column, self.message),
        }
    }
}

impl std::error::Error for OpenSloError {}

impl OpenSloError {
    fn at(location: Location, message: impl Into<String>) -> Self {
        Self { line: location.line(), column: location.column(), message: message.into() }
    }

    fn of<T>(value: &Spanned<T>, message: impl Into<String>) -> Self {
        Self::at(value.referenced, message)
    }
}

/// An objective of a document, and its position in it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Positioned {
    /// The line of the objective's name, counted from 1.
    pub line: u64,
    /// The column of it in characters, counted from 1.
    pub column: u64,
    /// The objective. Its component is the document's `service`.
    pub objective: Objective,
}

/// Returns the objectives of OpenSLO v1 documents.
///
/// Kinds `SLO`, `SLI`, `DataSource` of Prometheus, and `Service` are read. An indicator is a
/// `ratioMetric` of `good` or `bad` and `total`, or a `thresholdMetric`, whose value is compared at
/// every evaluation of the rules. The time window is rolling, the budgeting method `Occurrences`.
/// A query of a counter is a selector or a sum of selectors, of which rates are made; any other
/// query has rates, in which `{{.window}}` is five minutes.
///
/// # Errors
///
/// Returns an error with position, cause and remedy for a document that is not valid, and for every
/// part that has no counterpart.
///
/// # Example
///
/// ```
/// let objectives = wasmetry_ops::openslo(
///     "
/// apiVersion: openslo/v1
/// kind: SLO
/// metadata: { name: orders }
/// spec:
///   service: shop
///   budgetingMethod: Occurrences
///   timeWindow: [{ duration: 28d, isRolling: true }]
///   objectives: [{ target: 0.995 }]
///   indicator:
///     metadata: { name: orders }
///     spec:
///       ratioMetric:
///         counter: true
///         bad: { metricSource: { type: Prometheus, spec: { query: 'orders_failed_total' } } }
///         total: { metricSource: { type: Prometheus, spec: { query: 'orders_total' } } }
/// ",
/// )?;
/// assert_eq!(objectives[0].objective.objective, 99.5);
/// # Ok::<(), wasmetry_ops::OpenSloError>(())
/// ```
pub fn openslo(text: &str) -> Result<Vec<Positioned>, OpenSloError> {
    let (mut slos, mut shared) = (Vec::new(), Shared::default());
    for document in document::documents(text)? {
        match document {
            Document::Slo(slo) => slos.push(slo),
            Document::Sli(sli) => {
                let name = sli.metadata.name.clone();
                if shared.indicators.insert(name.value.clone(), sli).is_some() {
                    return Err(OpenSloError::of(&name, format!("there are two SLIs `{}`; rename one", name.value)));
                }
            }
            Document::DataSource(name, of_prometheus) => {
                shared.sources.insert(name, of_prometheus);
            }
            Document::Service => {}
        }
    }
    let mut all = Vec::new();
    for slo in &slos {
        all.extend(shared.objectives(slo)?);
    }
    Ok(all)
}

/// The indicators and data sources to which objectives refer by name.
#[derive(Default)]
struct Shared {
    indicators: BTreeMap<String, Box<Sli>>,
    /// Each data source; `true` if it is a Prometheus.
    sources: BTreeMap<String, bool>,
}

impl Shared {
    /// Returns the objectives of a document.
    fn objectives(&self, slo: &Slo) -> Result<Vec<Positioned>, OpenSloError> {
        let spec = &slo.spec;
        if spec.budgeting_method.value != "Occurrences" {
            return Err(OpenSloError::of(
                &spec.budgeting_method,
                format!("the budgeting method `{}` has no counterpart; use `Occurrences`", spec.budgeting_method.value),
            ));
        }
        if let Some(policies) = spec.alert_policies.as_ref().filter(|policies| !policies.value.is_empty()) {
            return Err(OpenSloError::of(
                policies,
                "alert policies have no counterpart: every objective has alerts on burn rates; remove `alertPolicies`",
            ));
        }
        let window = window(&spec.time_window)?;
        let several = spec.objectives.value.len() > 1;
        if spec.objectives.value.is_empty() {
            return Err(OpenSloError::of(&spec.objectives, "there is no objective; add one with a `target`"));
        }
        let of = |(number, goal): (usize, &Spanned<document::Goal>)| {
            let sli = self.indicator(slo, &goal.value)?;
            let name = &slo.metadata.name;
            let suffix = if several { format!("-{}", number + 1) } else { String::new() };
            if name.value.is_empty() || name.value.chars().any(char::is_control) {
                return Err(OpenSloError::of(name, "the name is empty or has control characters; correct it"));
            }
            Ok(Positioned {
                line: name.referenced.line(),
                column: name.referenced.column(),
                objective: Objective {
                    name: format!("{}{suffix}", name.value),
                    component: Some(spec.service.value.clone()),
                    objective: percentage(goal)?,
                    window,
                    min_rate: None,
                    indicator: self.events(sli, goal)?,
                },
            })
        };
        spec.objectives.value.iter().enumerate().map(of).collect()
    }

    /// Returns the one indicator of an objective.
    fn indicator<'a>(&'a self, slo: &'a Slo, goal: &'a document::Goal) -> Result<&'a Sli, OpenSloError> {
        let inline = [&slo.spec.indicator, &goal.indicator].into_iter().flatten();
        let named = [&slo.spec.indicator_ref, &goal.indicator_ref].into_iter().flatten();
        let mut found: Vec<&Sli> = inline.collect();
        for name in named {
            let sli = self.indicators.get(&name.value).map(|sli| &**sli);
            found.push(sli.ok_or_else(|| {
                OpenSloError::of(name, format!("there is no SLI `{}`; add its document to the file", name.value))
            })?);
        }
        match found.as_slice() {
            [only] => Ok(only),
            [] => {
                Err(OpenSloError::of(&slo.metadata.name, "the SLO has no indicator; add `indicator` or `indicatorRef`"))
            }
            _ => Err(OpenSloError::of(&slo.metadata.name, "the SLO has more than one indicator; keep one")),
        }
    }

    /// Returns the expressions of an indicator.
    fn events(&self, sli: &Sli, goal: &Spanned<document::Goal>) -> Result<Indicator, OpenSloError> {
        let spec = &sli.spec;
        match (&spec.ratio_metric, &spec.threshold_metric) {
            (Some(ratio), None) => {
                if let Some(op) = &goal.value.op {
                    return Err(OpenSloError::of(op, "`op` needs a `thresholdMetric`; remove it"));
                }
                self.ratio(ratio)
            }
            (None, Some(threshold)) => self.threshold(threshold, goal),
            _ => Err(OpenSloError::of(
                &sli.metadata.name,
                "the indicator needs one of `ratioMetric` and `thresholdMetric`; add or remove one",
            )),
        }
    }

    fn ratio(&self, ratio: &Spanned<RatioMetric>) -> Result<Indicator, OpenSloError> {
        let RatioMetric { counter, good, bad, total, raw, .. } = &ratio.value;
        if let Some(raw) = raw {
            return Err(OpenSloError::of(
                raw,
                "a raw ratio has no traffic to weigh it with; use `good` or `bad`, and `total`",
            ));
        }
        let (counted, is_bad) = match (good, bad) {
            (Some(good), None) => (good, false),
            (None, Some(bad)) => (bad, true),
            _ => return Err(OpenSloError::of(ratio, "expected either `good` or `bad`; write one of them")),
        };
        let Some(total) = total else {
            return Err(OpenSloError::of(ratio, "expected `total`; add the query of all events"));
        };
        let rate = |metric: &Metric| {
            let query = self.query(&metric.metric_source)?;
            query::rate(&query.value, *counter).map_err(|message| OpenSloError::of(query, message))
        };
        Ok(Indicator::Query { counted: rate(counted)?, is_bad, total: rate(total)? })
    }

    fn threshold(&self, metric: &Metric, goal: &Spanned<document::Goal>) -> Result<Indicator, OpenSloError> {
        let query = self.query(&metric.metric_source)?;
        let (Some(op), Some(value)) = (&goal.value.op, &goal.value.value) else {
            return Err(OpenSloError::of(
                goal,
                "a `thresholdMetric` needs `op` and `value`; add them to the objective",
            ));
        };
        let text = query::rate(&query.value, false).map_err(|message| OpenSloError::of(query, message))?;
        let operator = match op.value {
            Condition::Lte => "<=",
            Condition::Lt => "<",
            Condition::Gte => ">=",
            Condition::Gt => ">",
        };
        let is_scalar = syntax::check(&text).is_ok_and(|checked| checked.value == syntax::Type::Scalar);
        let text = if is_scalar { format!("vector({text})") } else { text };
        // Good if all series are; an evaluation without any is not counted.
        Ok(Indicator::Query {
            counted: format!("min(({text}) {operator} bool {value})"),
            is_bad: false,
            total: format!("clamp_max(count({text}), 1)"),
        })
    }

    /// Returns the query of a source, which is a Prometheus.
    fn query<'a>(&self, source: &'a MetricSource) -> Result<&'a Spanned<String>, OpenSloError> {
        if let Some(kind) = source.kind.as_ref().filter(|kind| !kind.value.eq_ignore_ascii_case("prometheus")) {
            return Err(OpenSloError::of(
                kind,
                format!("the data source `{}` is not supported; use `Prometheus`", kind.value),
            ));
        }
        match &source.metric_source_ref {
            Some(name) if self.sources.get(&name.value) == Some(&false) => {
                return Err(OpenSloError::of(
                    name,
                    format!("the data source `{}` is no Prometheus; name one that is", name.value),
                ));
            }
            Some(name) if source.kind.is_none() && !self.sources.contains_key(&name.value) => {
                return Err(OpenSloError::of(
                    name,
                    format!("there is no data source `{}`; add its document, or `type: Prometheus`", name.value),
                ));
            }
            None if source.kind.is_none() => {
                return Err(OpenSloError::of(&source.spec.query, "the query has no `type`; add `type: Prometheus`"));
            }
            _ => {}
        }
        Ok(&source.spec.query)
    }
}

/// Returns the seconds of the only time window.
fn window(windows: &Spanned<Vec<Spanned<Window>>>) -> Result<u64, OpenSloError> {
    let [window] = windows.value.as_slice() else {
        return Err(OpenSloError::of(windows, "expected one time window; write one with `duration` and `isRolling`"));
    };
    let Window { duration, is_rolling, calendar } = &window.value;
    if !is_rolling || calendar.is_some() {
        return Err(OpenSloError::of(
            window,
            "a window by the calendar has no counterpart; use `isRolling: true`. `wasmetry ops slo --report` reports months",
        ));
    }
    objective::parse_window(&duration.value).ok_or_else(|| {
        OpenSloError::of(duration, format!("`{}` is no window; write {}", duration.value, objective::WINDOW))
    })
}

/// Returns the objective in percent.
fn percentage(goal: &Spanned<document::Goal>) -> Result<f64, OpenSloError> {
    let (at, percentage) = match (&goal.value.target, &goal.value.target_percent) {
        (Some(target), None) => (target, super::rounded(target.value * 100.0)),
        (None, Some(percent)) => (percent, percent.value),
        _ => return Err(OpenSloError::of(goal, "expected either `target` or `targetPercent`; write one of them")),
    };
    if objective::is_objective(percentage) {
        return Ok(percentage);
    }
    Err(OpenSloError::of(at, format!("the objective is {percentage}%; expected {}", objective::PERCENTAGE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a document with an indicator, and lines of the SLO's specification.
    fn slo(indicator: &str, lines: &str) -> String {
        let text = format!(
            "apiVersion: openslo/v1
kind: SLO
metadata:
  name: orders
spec:
  service: shop
  budgetingMethod: Occurrences
{lines}
  indicator:
    metadata: {{ name: orders }}
    spec:
{indicator}
"
        );
        text.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect()
    }

    const RATIO: &str = "      ratioMetric:
        counter: true
        good: { metricSource: { type: Prometheus, spec: { query: 'sum(a)' } } }
        total: { metricSource: { type: prometheus, spec: { query: 'b' } } }";
    const THRESHOLD: &str = "      thresholdMetric:
        metricSource: { type: Prometheus, spec: { query: 'queue_age_seconds' } }";
    const GOALS: &str = "  timeWindow: [{ duration: 4w, isRolling: true }]
  objectives: [{ target: 0.999 }]";

    #[test]
    fn ratios_become_rates() {
        let [only] = openslo(&slo(RATIO, GOALS)).unwrap().try_into().unwrap();
        assert_eq!((only.line, only.column), (4, 9));
        let expected = Objective {
            name: "orders".into(),
            component: Some("shop".into()),
            objective: 99.9,
            window: 28 * super::super::DAY,
            min_rate: None,
            indicator: Indicator::Query {
                counted: "sum(rate(a[5m]))".into(),
                is_bad: false,
                total: "rate(b[5m])".into(),
            },
        };
        assert_eq!(only.objective, expected);
    }

    #[test]
    fn thresholds_become_comparisons() {
        let goals = "  timeWindow: [{ duration: 30d, isRolling: true }]
  objectives: [{ op: lte, value: 60, targetPercent: 99 }, { op: gt, value: 0.5, target: 0.95 }]";
        let [first, second] = openslo(&slo(THRESHOLD, goals)).unwrap().try_into().unwrap();
        let query = |counted: &str| Indicator::Query {
            counted: counted.into(),
            is_bad: false,
            total: "clamp_max(count(queue_age_seconds), 1)".into(),
        };
        assert_eq!(first.objective.indicator, query("min((queue_age_seconds) <= bool 60)"));
        assert_eq!(second.objective.indicator, query("min((queue_age_seconds) > bool 0.5)"));
        let named = [first, second].map(|positioned| (positioned.objective.name, positioned.objective.objective));
        assert_eq!(named, [("orders-1".to_owned(), 99.0), ("orders-2".to_owned(), 95.0)]);
    }

    #[test]
    fn references_are_found() {
        let text = "# A comment.
---
apiVersion: openslo/v1
kind: Service
metadata: { name: shop }
spec: { description: x }
---
apiVersion: openslo/v1
kind: DataSource
metadata: { name: main }
spec: { type: Prometheus, connectionDetails: { url: 'http://a' } }
---
apiVersion: openslo/v1
kind: SLI
metadata: { name: orders, labels: { team: a } }
spec:
  ratioMetric:
    bad: { metricSource: { metricSourceRef: main, spec: { query: 'sum(rate(a[{{.window}}]))' } } }
    total: { metricSource: { metricSourceRef: main, spec: { query: 'sum(rate(b[{{.window}}]))' } } }
---
apiVersion: openslo/v1
kind: SLO
metadata: { name: x }
spec:
  service: shop
  indicatorRef: orders
  budgetingMethod: Occurrences
  timeWindow: [{ duration: 30d, isRolling: true }]
  objectives: [{ target: 0.99 }]
";
        let [only] = openslo(text).unwrap().try_into().unwrap();
        assert_eq!((only.line, only.column), (23, 19));
        let query = |text: &str| format!("sum(rate({text}[5m]))");
        let expected = Indicator::Query { counted: query("a"), is_bad: true, total: query("b") };
        assert_eq!(only.objective.indicator, expected);
        let cases: [(_, _, &[&str]); 5] = [
            ("indicatorRef: orders", "indicatorRef: other", &["26:17: ", "there is no SLI `other`"]),
            ("metricSourceRef: main", "metricSourceRef: other", &["18:45: ", "there is no data source `other`"]),
            ("type: Prometheus, conn", "type: Datadog, conn", &["18:45: ", "`main` is no Prometheus"]),
            ("kind: Service", "kind: AlertPolicy", &["4:7: ", "`AlertPolicy` has no counterpart; remove"]),
            ("apiVersion", "apiversion", &["6:1: missing field `apiVersion`; correct the document"]),
        ];
        for (from, to, parts) in cases {
            let error = openslo(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} are not in: {error}");
        }
    }

    #[test]
    fn other_parts_are_refused() {
        let cases = [
            ("Occurrences", "Timeslices", ["7:20: ", "`Timeslices` has no counterpart; use `Occurrences`"]),
            ("isRolling: true", "isRolling: false", ["8:16: ", "use `isRolling: true`"]),
            ("isRolling: true", "isRolling: true, calendar: { timeZone: UTC }", ["8:16: ", "by the calendar"]),
            ("duration: 4w", "duration: 1h", ["8:28: ", "`1h` is no window; write whole days or weeks"]),
            ("[{ duration: 4w, isRolling: true }]", "[]", ["8:15: ", "one time window"]),
            ("0.999", "0", ["9:26: ", "the objective is 0%; expected a percentage from 50 to 99.999"]),
            ("0.999", "1", ["9:26: ", "the objective is 100%"]),
            ("0.999", "1.001", ["9:26: ", "the objective is 100.1%"]),
            ("target: 0.999", "target: 0.9, targetPercent: 90", ["9:16: ", "either `target` or `targetPercent`"]),
            ("target: 0.999", "target: 0.9, op: lt", ["9:35: ", "`op` needs a `thresholdMetric`"]),
            ("{ target: 0.999 }", "", ["9:15: ", "there is no objective"]),
            ("target: 0.999", "target: 0.9, timeSliceTarget: 1", ["9:", "timeSliceTarget"]),
            ("  service: shop", "  service: shop\n  alertPolicies: [a]", ["7:18: ", "remove `alertPolicies`"]),
            ("type: Prometheus", "type: Datadog", ["15:39: ", "`Datadog` is not supported; use `Prometheus`"]),
            ("type: Prometheus, ", "", ["15:48: ", "add `type: Prometheus`"]),
            ("sum(a)", "max(a)", ["15:66: ", "no rate can be made of `max(a)`"]),
            ("sum(a)", "sum(a", ["15:66: ", "`sum(a` is not PromQL: column 6"]),
            ("good:", "raw:", ["15:14: ", "a raw ratio has no traffic"]),
            ("good:", "goods:", ["15:9: ", "goods"]),
            ("        total", "        bad", ["14:9: ", "either `good` or `bad`"]),
            ("openslo/v1", "openslo/v2alpha", ["1:13: ", "use `openslo/v1`"]),
            ("kind: SLO", "kind: SLO\nextra: 1", ["3:1: ", "extra"]),
            ("name: orders\n", "name: [a]\n", ["4:", "correct the document"]),
            ("spec:", "spec: [", ["7:18: ", "correct the document"]),
        ];
        let mut wrong = Vec::new();
        for (from, to, parts) in cases {
            let text = slo(RATIO, GOALS);
            assert!(text.contains(from), "{from}");
            let error = openslo(&text.replacen(from, to, 1)).unwrap_err().to_string();
            if error.lines().count() != 1 || !parts.iter().all(|part| error.contains(part)) {
                wrong.push(format!("{from} to {to}: {parts:?} are not in: {error}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let error = openslo(&slo(THRESHOLD, GOALS)).unwrap_err().to_string();
        assert!(error.contains("a `thresholdMetric` needs `op` and `value`"), "{error}");
        for empty in ["", "# nothing\n", "---\n---\n"] {
            assert!(openslo(empty).unwrap_err().to_string().starts_with("it has no OpenSLO document"));
        }
    }
}

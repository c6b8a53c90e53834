//! The recording rules of an objective: events and bad events over each window, burn rates, and
//! what is left of the budget.

use wasmetry_host::Metric;

use super::alert::WINDOWS;
use super::objective::Indicator;
use super::{LEAST_RATE, Slo, name, rounded};
use crate::alert::component::{OWN, RANGE};
use crate::alert::proof::{InputSeries, Labels, counter, gauge, labels};
use crate::host;
use crate::promql::{Expr, Selector};
use crate::recording::Recording;

/// The groups of the rules. The second one reads the whole period, and is evaluated less often.
pub(crate) const GROUP: &str = "slo";
pub(crate) const PERIOD_GROUP: &str = "slo.period";

/// The first rules of an objective, which record the rates of all events and of the bad ones.
pub(crate) const RATES: usize = 2;

/// Returns the label `le` of a bucket, as the host and Go write it.
fn le(bound: f64) -> String {
    let scientific = format!("{bound:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..21).contains(&exponent) {
        let text = bound.to_string();
        return if text.contains('.') { text } else { text + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// The series of the tests of the recording rules, and the rates that they have.
pub(crate) struct Example {
    /// Series as they are scraped, for the rules of the rates. There are none for histograms with
    /// exponential buckets: promtool 2.42 has no notation for them.
    pub(crate) scraped: Vec<InputSeries>,
    /// The rates as they are recorded, for all other rules. A rate that is computed is too low at
    /// its begin, so the mean of a window would depend on the version of Prometheus. There are none
    /// for freshness, which has no such rate.
    pub(crate) recorded: Vec<InputSeries>,
    events: f64,
    bad: f64,
}

impl Slo<'_> {
    /// Returns the metric that the objective is on, if a component declares it.
    fn declared(&self) -> Option<&Metric> {
        let metric = match &self.objective.indicator {
            Indicator::Latency { metric, .. } => metric.as_ref()?,
            Indicator::Freshness { metric, .. } => metric,
            _ => return None,
        };
        self.component?
            .declarations
            .metrics()
            .iter()
            .find(|declared| declared.name == *metric)
            .map(|declared| &**declared)
    }

    /// Selects a metric of the component, and of the route if there is one.
    fn source(&self, metric: &str, route: Option<&str>) -> Selector {
        let selector = match self.scope() {
            Some(scope) => scope.select(metric),
            None => crate::scope::job(self.settings, metric),
        };
        match route {
            Some(route) => selector.with("route", "=", route),
            None => selector,
        }
    }

    /// Returns the rates of all events and of the bad ones over five minutes.
    fn rates(&self) -> [Expr; 2] {
        let rate = |selector| Expr::sum(&OWN, Expr::rate(selector, RANGE));
        let none = |events: Expr| events.op("*", Expr::Number(0.0));
        match &self.objective.indicator {
            Indicator::Availability { route } => {
                let requests = || self.source(host::REQUESTS, route.as_deref());
                let failed = rate(requests().with("status", "=~", "5.."));
                // Before the first failure there is no series of one.
                [rate(requests()), failed.op("or", none(rate(requests())))]
            }
            Indicator::Latency { threshold, metric, route } => {
                let metric = metric.as_deref().unwrap_or(host::DURATION);
                if self.declared().is_some_and(|metric| metric.kind.is_exponential()) {
                    let histogram = || rate(self.source(metric, None));
                    let events = || Expr::call("histogram_count", histogram());
                    let bounds = vec![Expr::Number(*threshold), Expr::Number(f64::INFINITY), histogram()];
                    let above = Expr::Call { function: "histogram_fraction", arguments: bounds };
                    return [events(), above.op("*", events()).op(">=", Expr::Number(0.0)).op("or", none(events()))];
                }
                let events = || rate(self.source(&format!("{metric}_count"), route.as_deref()));
                let bucket = self.source(&format!("{metric}_bucket"), route.as_deref());
                [events(), events().op("-", rate(bucket.with("le", "=", &le(*threshold))))]
            }
            Indicator::Freshness { age, metric } => {
                let source = || self.source(metric, None);
                let is_counter = self.declared().is_some_and(|metric| metric.kind.type_name() == "counter");
                // The maximum over the age, so that a restart does not forget the last success.
                let newest = |function| Expr::aggregate("max", &OWN, Expr::call(function, source().over(*age)));
                let stale = if is_counter {
                    let rises = Expr::sum(&OWN, Expr::call("increase", source().over(*age)));
                    rises.op("<= bool", Expr::Number(0.0))
                } else {
                    let time = Expr::Call { function: "time", arguments: Vec::new() };
                    time.op("-", newest("max_over_time")).op("> bool", Expr::Number(*age as f64))
                };
                let absent = Expr::sum(&OWN, Expr::call("absent_over_time", source().over(*age)));
                let stale = stale.op("or", absent);
                let evaluations = stale.clone().op("*", Expr::Number(0.0)).op("+", Expr::Number(1.0));
                [evaluations, stale]
            }
            Indicator::Query { counted, is_bad, total } => {
                let sum = |text: &String| {
                    let is_scalar = crate::promql::syntax::check(text)
                        .is_ok_and(|checked| checked.value == crate::promql::syntax::Type::Scalar);
                    let text = Expr::Text(text.clone());
                    Expr::sum(&[], if is_scalar { Expr::call("vector", text) } else { text })
                };
                let counted = sum(counted).op("or", none(sum(total)));
                let bad = if *is_bad { counted } else { sum(total).op("-", counted) };
                let bad = Expr::Call { function: "clamp_min", arguments: vec![bad, Expr::Number(0.0)] };
                [sum(total), bad]
            }
        }
    }

    /// Returns series for the test of the rules, with more traffic than the least rate. There are
    /// none for expressions: nothing is known of their metrics.
    pub(crate) fn example(&self) -> Option<Example> {
        /// The share of bad events. It is exact in binary.
        const BAD: f64 = 0.125;
        let events = 2.0 * self.min_rate().max(1.0);
        let (scope, bad) = (self.scope()?, BAD * events);
        let of_route =
            |route: &Option<String>| scope.series(&scope.faulty(&[("route", route.as_deref().unwrap_or("/"))]));
        let with = |series: &Labels, label: &str, value: &str| {
            let mut all = series.clone();
            all.extend(labels(&[(label, value)]));
            all
        };
        let own = scope.series(&scope.faulty(&[]));
        let (scraped, events, bad) = match &self.objective.indicator {
            Indicator::Availability { route } => {
                let route = of_route(route);
                let of_status = |status, rate| counter(host::REQUESTS, &with(&route, "status", status), rate);
                (vec![of_status("200", events - bad), of_status("404", 0.0), of_status("503", bad)], events, bad)
            }
            Indicator::Latency { .. } if self.declared().is_some_and(|metric| metric.kind.is_exponential()) => {
                (Vec::new(), events, bad)
            }
            Indicator::Latency { threshold, metric, route } => {
                let metric = metric.as_deref().unwrap_or(host::DURATION);
                let source = if self.declared().is_some() { own } else { of_route(route) };
                let bucket =
                    |bound: &str, rate| counter(&format!("{metric}_bucket"), &with(&source, "le", bound), rate);
                let count = counter(&format!("{metric}_count"), &source, events);
                (vec![count, bucket(&le(*threshold), events - bad), bucket("+Inf", events)], events, bad)
            }
            // The last success was before all tests: every evaluation is bad.
            Indicator::Freshness { age, metric } => (vec![gauge(metric, &own, -1.0 - *age as f64)], 1.0, 1.0),
            Indicator::Query { .. } => return None,
        };
        let rate = |record: String, rate| gauge(&record, &self.faulty(), rate);
        let recorded = match self.objective.indicator {
            Indicator::Freshness { .. } => Vec::new(),
            _ => vec![rate(name::events(RANGE), events), rate(name::bad_events(RANGE), bad)],
        };
        Some(Example { scraped, recorded, events, bad })
    }

    /// Returns the rules, in the order of their evaluation.
    pub(crate) fn recordings(&self, example: Option<&Example>) -> Vec<Recording> {
        let labels = self.faulty();
        let record = |group, record: String, expr, value: Option<f64>| Recording {
            group,
            record,
            expr,
            labels: self.added(),
            expected: value.map(|value| (labels.clone(), value)).into_iter().collect(),
        };
        let value = |of: &dyn Fn(&Example) -> f64| example.map(of);
        let recorded = |name: &str| self.select(name).now();
        let mean = |name: &str, window| Expr::call("avg_over_time", self.select(name).over(window));
        let number = Expr::Number;
        let (budget, period, min_rate) = (self.budget(), self.period(), self.min_rate());
        let [events, bad] = self.rates();
        let (of_events, of_bad) = (name::events(RANGE), name::bad_events(RANGE));
        let mut all = vec![
            record(GROUP, of_events.clone(), events, value(&|example| example.events)),
            record(GROUP, of_bad.clone(), bad, value(&|example| example.bad)),
        ];
        for window in WINDOWS {
            if window != RANGE {
                let [events, bad] = [&of_events, &of_bad].map(|record| mean(record, window));
                all.push(record(GROUP, name::events(window), events, value(&|example| example.events)));
                all.push(record(GROUP, name::bad_events(window), bad, value(&|example| example.bad)));
            }
        }
        for window in WINDOWS {
            let of_period = || recorded(&name::events(period));
            let own = || recorded(&name::events(window));
            // The greater one of both; a service that has just begun has no period yet.
            let traffic = of_period().op(">", own()).op("or", own());
            let traffic = Expr::Call { function: "clamp_min", arguments: vec![traffic, number(min_rate)] };
            let burn = recorded(&name::bad_events(window)).op("/", traffic).op("/", number(budget));
            let expected = value(&|example| example.bad / example.events.max(min_rate) / budget);
            all.push(record(GROUP, name::burn_rate(window), burn, expected));
        }
        let ratio = || {
            let events = recorded(&name::events(period));
            let events = Expr::Call { function: "clamp_min", arguments: vec![events, number(LEAST_RATE)] };
            recorded(&name::bad_events(period)).op("/", events)
        };
        let bad_ratio = |example: &Example| example.bad / example.events.max(LEAST_RATE);
        // With the labels of the events, so that both are joined without a list of labels.
        let constant = |value| recorded(&name::events(period)).op("*", number(0.0)).op("+", number(value));
        let objective = rounded(1.0 - budget);
        all.extend([
            record(PERIOD_GROUP, name::events(period), mean(&of_events, period), value(&|example| example.events)),
            record(PERIOD_GROUP, name::bad_events(period), mean(&of_bad, period), value(&|example| example.bad)),
            record(PERIOD_GROUP, name::ACHIEVED.into(), number(1.0).op("-", ratio()), value(&|e| 1.0 - bad_ratio(e))),
            record(
                PERIOD_GROUP,
                name::REMAINING.into(),
                number(1.0).op("-", ratio().op("/", number(budget))),
                value(&|example| 1.0 - bad_ratio(example) / budget),
            ),
            record(
                PERIOD_GROUP,
                name::BUDGET_EVENTS.into(),
                recorded(&name::events(period)).op("*", number(budget * period as f64)),
                value(&|example| example.events * budget * period as f64),
            ),
            record(PERIOD_GROUP, name::OBJECTIVE.into(), constant(objective), value(&|_| objective)),
            record(PERIOD_GROUP, name::BUDGET.into(), constant(budget), value(&|_| budget)),
        ]);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_exported() {
        let cases = [(0.25, "0.25"), (1.0, "1.0"), (10.0, "10.0"), (0.0001, "0.0001"), (0.000_01, "1e-05")];
        for (bound, text) in cases.into_iter().chain([(2.5e-7, "2.5e-07"), (1e20, "100000000000000000000.0")]) {
            assert_eq!(le(bound), text);
        }
        assert_eq!(le(1.5e21), "1.5e+21");
    }
}

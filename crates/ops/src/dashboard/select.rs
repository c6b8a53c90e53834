//! Selectors with the dashboards' variables.

use crate::promql::{Expr, Range, Selector, duration, escaped_regex};
use crate::scope::job;
use crate::{Service, Settings};

/// The variable of components.
pub(super) const COMPONENT: &str = "$component";

/// The variable of tenants.
pub(super) const TENANT: &str = "$tenant";

/// The range of rates: at least four scrape intervals, and all points between two of the graph.
pub(super) const RATE: Range = Range::Variable("$__rate_interval");

/// The seconds of a minute.
pub(super) const MINUTE: u64 = 60;

/// The labels that name a component.
pub(super) const OWN: [&str; 2] = ["component", "tenant"];

/// The selectors of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Select<'a> {
    settings: &'a Settings,
}

impl<'a> Select<'a> {
    pub(super) const fn new(settings: &'a Settings) -> Self {
        Self { settings }
    }

    /// The scrape interval.
    pub(super) fn interval(&self) -> String {
        duration(self.settings.scrape_interval)
    }

    /// Selects a metric of processes.
    pub(super) fn process(&self, metric: &str) -> Selector {
        job(self.settings, metric).with("instance", "=~", "$instance")
    }

    /// Selects a metric of components.
    pub(super) fn raw(&self, metric: &str) -> Selector {
        self.process(metric).with("component", "=~", COMPONENT).with("tenant", "=~", TENANT)
    }

    /// Selects a metric of routes.
    pub(super) fn route(&self, metric: &str) -> Selector {
        self.raw(metric).with("route", "=~", "$route")
    }

    /// Selects a recorded series of components.
    pub(super) fn recorded(&self, record: &str) -> Selector {
        plain(record).with("component", "=~", COMPONENT).with("tenant", "=~", TENANT)
    }
}

/// Selects all series of a name.
pub(super) fn plain(metric: &str) -> Selector {
    Selector { metric: metric.to_owned(), matchers: Vec::new(), range: None, offset: 0 }
}

/// Returns the summed rate of a counter.
pub(super) fn rate(by: &[&str], selector: Selector) -> Expr {
    Expr::sum(by, Expr::rate(selector, RATE))
}

/// Returns a quantile of a histogram with explicit buckets; `buckets` selects its `_bucket`.
pub(super) fn quantile(quantile: f64, by: &[&str], buckets: Selector) -> Expr {
    let by: Vec<&str> = by.iter().copied().chain(["le"]).collect();
    Expr::Call { function: "histogram_quantile", arguments: vec![Expr::Number(quantile), rate(&by, buckets)] }
}

/// Returns an expression that is 0 where the given one has no series.
pub(super) fn or_zero(expr: Expr) -> Expr {
    expr.op("or", Expr::call("vector", Expr::Number(0.0)))
}

/// Returns a regular expression that matches the components of a service.
pub(super) fn regex(service: &Service) -> String {
    let mut names: Vec<String> = service.components.iter().map(|component| escaped_regex(&component.name)).collect();
    names.sort();
    names.dedup();
    names.join("|")
}

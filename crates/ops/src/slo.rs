//! Service level objectives: the tables `[[slo]]` and OpenSLO documents, and the recording rules,
//! alerts and reports that are made of them.
//!
//! In come objectives; out come an [`Slo`] for each component that an objective is on, with the
//! names of its recorded series. The folder does not know files or HTTP.
//!
//! A budget is the share of bad events that an objective allows. A burn rate is the speed at which
//! a window spends it: at 1, the budget lasts for exactly the period of the objective. Windows with
//! less traffic than the period's mean are measured against that mean:
//!
//! ```text
//! burn(w) = bad(w) / (budget * max(events(w), events(period), min-rate))
//! ```
//!
//! All three are rates per second. So above the mean, a burn rate is that of the SRE Workbook, and
//! below it is the share of the period's budget that is really spent.

pub(crate) mod alert;
pub(crate) mod objective;
pub(crate) mod openslo;
pub(crate) mod record;
pub(crate) mod report;
mod resolve;

use crate::alert::proof::{Labels, labels};
use crate::promql::{Selector, duration};
use crate::scope::Scope;
use crate::{Component, Service, Settings};
use objective::{Indicator, Objective};

pub(crate) const HOUR: u64 = 3600;
pub(crate) const DAY: u64 = 24 * HOUR;

/// The label of an objective's name.
const LABEL: &str = "slo";

/// The least rate of events, per second, that a ratio is divided by: a window without events has no
/// bad ones.
const LEAST_RATE: f64 = 1e-9;

/// An objective on one component, or on a query, with the names of its recorded series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slo<'a> {
    pub(crate) objective: &'a Objective,
    /// The component, unless the objective is on a query of several.
    pub(crate) component: Option<&'a Component>,
    pub(crate) settings: &'a Settings,
    /// The prefix of the alerts' names.
    prefix: &'a str,
}

/// The names of recorded series. All have the label `slo`, and `component` and `tenant` where the
/// objective is on a component.
pub(crate) mod name {
    use super::duration;

    /// The objective, as a share of good events.
    pub(crate) const OBJECTIVE: &str = "slo:objective:ratio";
    /// The share of bad events that the objective allows.
    pub(crate) const BUDGET: &str = "slo:error_budget:ratio";
    /// The number of bad events that the period's traffic allows.
    pub(crate) const BUDGET_EVENTS: &str = "slo:error_budget:events";
    /// The share of the period's budget that is left; negative once it is overspent.
    pub(crate) const REMAINING: &str = "slo:error_budget:remaining_ratio";
    /// The share of good events in the period.
    pub(crate) const ACHIEVED: &str = "slo:good_events:ratio";

    /// Events per second in a window of seconds.
    pub(crate) fn events(window: u64) -> String {
        format!("slo:events:rate{}", duration(window))
    }

    /// Bad events per second in a window of seconds.
    pub(crate) fn bad_events(window: u64) -> String {
        format!("slo:bad_events:rate{}", duration(window))
    }

    /// The burn rate in a window of seconds: one of [`super::alert::WINDOWS`].
    pub(crate) fn burn_rate(window: u64) -> String {
        format!("slo:burn_rate:ratio{}", duration(window))
    }
}

impl Slo<'_> {
    /// The share of bad events that is allowed.
    pub(crate) fn budget(&self) -> f64 {
        rounded(1.0 - self.objective.objective / 100.0)
    }

    /// The period of the budget, in seconds.
    pub(crate) fn period(&self) -> u64 {
        self.objective.window
    }

    /// The rate of events per second below which a window is measured against this rate.
    pub(crate) fn min_rate(&self) -> f64 {
        let of_requests = match &self.objective.indicator {
            Indicator::Availability { .. } | Indicator::Latency { metric: None, .. } => self.settings.min_request_rate,
            _ => LEAST_RATE,
        };
        self.objective.min_rate.unwrap_or(of_requests).max(LEAST_RATE)
    }

    /// Selects a recorded series of the objective.
    pub(crate) fn select(&self, record: &str) -> Selector {
        let selector = Selector { metric: record.to_owned(), matchers: Vec::new(), range: None, offset: 0 };
        let selector = selector.with(LABEL, "=", &self.objective.name);
        match self.component {
            None => selector.with("component", "=", ""),
            Some(component) => {
                let selector = selector.with("component", "=", &component.name);
                match &component.tenant {
                    Some(tenant) => selector.with("tenant", "=", tenant),
                    None => selector,
                }
            }
        }
    }

    /// Returns the labels that a rule adds: the objective's, and those of the component.
    fn added(&self) -> Labels {
        let component = self.component.map_or("", |component| &component.name);
        let tenant = self.component.and_then(|component| component.tenant.as_deref()).unwrap_or_default();
        labels(&[(LABEL, &self.objective.name), ("component", component), ("tenant", tenant)])
    }

    /// Returns the labels of the recorded series in tests.
    pub(crate) fn faulty(&self) -> Labels {
        let mut all = self.added();
        if self.keeps_tenant() {
            all.entry("tenant".to_owned()).or_insert_with(|| "acme".to_owned());
        }
        all
    }

    /// Returns the labels of series that are not the objective's faulty ones: another tenant's if
    /// the objective is on all tenants.
    fn healthy(&self) -> Labels {
        let mut all = self.faulty();
        let (label, value) =
            if self.keeps_tenant() { ("tenant", "another tenant") } else { (LABEL, "another objective") };
        all.insert(label.to_owned(), value.to_owned());
        all
    }

    /// Returns `true` if the recorded series have the label `tenant` of their sources.
    fn keeps_tenant(&self) -> bool {
        self.component.is_some() && !matches!(self.objective.indicator, Indicator::Query { .. })
    }

    fn scope(&self) -> Option<Scope<'_>> {
        self.component.map(|component| Scope { settings: self.settings, component, prefix: self.prefix })
    }
}

/// Returns the objectives of a service, each once for every component that it is on.
///
/// `prefixes` are those of the components' alerts, `service` is that of all others.
pub(crate) fn slos<'a>(service: &'a Service, prefixes: &'a [String], name: &'a str) -> Vec<Slo<'a>> {
    let settings = &service.settings;
    let of = |objective: &'a Objective| -> Vec<Slo<'a>> {
        let is_free = matches!(objective.indicator, Indicator::Query { .. });
        let components = service.components.iter().zip(prefixes);
        if is_free && objective.component.is_none() && service.components.len() != 1 {
            return vec![Slo { objective, component: None, settings, prefix: name }];
        }
        components
            .filter(|(component, _)| objective.is_on(component))
            .map(|(component, prefix)| Slo { objective, component: Some(component), settings, prefix })
            .collect()
    };
    service.objectives.iter().flat_map(of).collect()
}

/// Removes the rounding errors of a difference or product.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

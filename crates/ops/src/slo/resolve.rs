//! Checks of objectives against the components of a service.

use std::collections::BTreeSet;

use wasmetry_host::{Kind, Metric};

use super::objective::{Indicator, Objective};
use crate::{Component, Error, Service};

impl Service {
    /// Adds an objective.
    ///
    /// # Errors
    ///
    /// Returns an error if no rules can be made of it: its component or its metric does not exist,
    /// its metric is not of a suitable kind, its threshold is not on a bucket bound, or another
    /// objective has its name.
    pub fn add_objective(&mut self, objective: Objective) -> Result<(), Error> {
        let name = || objective.name.clone();
        let served = || {
            let names: BTreeSet<&String> = self.components.iter().map(|component| &component.name).collect();
            names.into_iter().cloned().collect()
        };
        let on: Vec<&Component> = self.components.iter().filter(|component| objective.is_on(component)).collect();
        match &objective.component {
            Some(component) if on.is_empty() => {
                return Err(Error::UnknownComponent {
                    objective: name(),
                    component: component.clone(),
                    served: served(),
                });
            }
            None if on.len() != 1 && !matches!(objective.indicator, Indicator::Query { .. }) => {
                return Err(Error::NoComponent { objective: name(), served: served() });
            }
            _ => {}
        }
        let is_same = |other: &Objective| {
            let components = || self.components.iter();
            let both_free = [other, &objective].iter().all(|one| one.component.is_none());
            other.name == objective.name
                && (both_free || components().any(|component| other.is_on(component) && objective.is_on(component)))
        };
        if self.objectives.iter().any(is_same) {
            return Err(Error::Duplicate { objective: name() });
        }
        for component in on {
            check_metric(&objective, component)?;
        }
        self.objectives.push(objective);
        Ok(())
    }

    /// The objectives that were added.
    pub fn objectives(&self) -> &[Objective] {
        &self.objectives
    }
}

/// Checks that a component declares the metric of an objective, as the indicator needs it.
fn check_metric(objective: &Objective, component: &Component) -> Result<(), Error> {
    let is_time = |metric: &Metric| {
        matches!(metric.kind, Kind::HistogramNanos | Kind::ExponentialNanos) || metric.unit == "seconds"
    };
    let (name, expected, is_suitable): (_, _, &dyn Fn(&Metric) -> bool) = match &objective.indicator {
        Indicator::Latency { metric: Some(metric), .. } => {
            (metric, "a histogram in seconds", &|metric| metric.kind.type_name() == "histogram" && is_time(metric))
        }
        Indicator::Freshness { metric, .. } => (metric, "a gauge of seconds or a counter", &|metric| {
            matches!(metric.kind, Kind::GaugeI64 | Kind::GaugeF64) || metric.kind.type_name() == "counter"
        }),
        _ => return Ok(()),
    };
    let exported = component.exported();
    let found = exported.iter().find(|metric| metric.name == *name);
    match found {
        Some(metric) if is_suitable(metric) => {
            if let Indicator::Latency { threshold, .. } = objective.indicator
                && !metric.kind.is_exponential()
                && !metric.buckets.contains(&threshold)
            {
                return Err(Error::OffBound {
                    objective: objective.name.clone(),
                    metric: name.clone(),
                    threshold,
                    bounds: metric.buckets.to_vec(),
                });
            }
            Ok(())
        }
        _ => {
            let declared: BTreeSet<String> =
                exported.iter().filter(|metric| is_suitable(metric)).map(|metric| metric.name.clone()).collect();
            Err(Error::Metric {
                objective: objective.name.clone(),
                component: component.name.clone(),
                metric: name.clone(),
                found: found.map(|metric| metric.kind.type_name()),
                expected,
                declared: declared.into_iter().collect::<Vec<_>>().into(),
            })
        }
    }
}

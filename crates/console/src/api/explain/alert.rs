//! The generated alerts: the requests that one is about, and the component that its name begins
//! with.

use std::collections::BTreeSet;

use wasmetry_host::alert_name::prefix;

use crate::problem::Problem;
use crate::query::shown;

/// The duration in nanoseconds from which requests are slow for an alert on latency, unless `min`
/// is given: the default of `latency` in `crates/ops/src/settings.rs`.
pub(super) const LATENCY: u64 = 500_000_000;

/// Components that the message about a wrong name lists.
const LISTED: usize = 10;

/// The requests that are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requests {
    /// Those that failed, or were slow: by the host's measure, or from a duration in nanoseconds.
    Outcome { failed: bool, slow: bool, slow_from: Option<u64> },
    /// Those of a time, against all others.
    All,
    /// Those of a range of durations, against all others.
    Durations,
}

impl Requests {
    pub(super) const FAILED: Self = Self::Outcome { failed: true, slow: false, slow_from: None };
    pub(super) const SLOW: Self = Self::Outcome { failed: false, slow: true, slow_from: None };
    pub(super) const FAILED_AND_SLOW: Self = Self::Outcome { failed: true, slow: true, slow_from: None };

    /// The value of `outcome` in the answer. A range of durations has all outcomes.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Outcome { failed: true, slow: true, .. } => "failed,slow",
            Self::Outcome { failed: true, .. } => "failed",
            Self::Outcome { .. } => "slow",
            Self::All | Self::Durations => "all",
        }
    }
}

/// The part of an alert's name that is before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Middle {
    /// The component.
    Component,
    /// The component, and a metric that it declares.
    Metric,
    /// The component or the service, and an objective.
    Objective,
}

/// A kind of generated alerts about requests.
#[derive(Debug)]
pub(super) struct Alert {
    /// The end of its name.
    end: &'static str,
    middle: Middle,
    requests: Requests,
}

const fn alert(end: &'static str, middle: Middle, requests: Requests) -> Alert {
    Alert { end, middle, requests }
}

/// The generated alerts about requests. The others are about none.
///
/// Source: `requests` of the alerts in `crates/ops/src/alert` and `crates/ops/src/slo/alert.rs`.
static ALERTS: [Alert; 12] = [
    alert("HighErrorRate", Middle::Component, Requests::FAILED),
    alert("TrapRate", Middle::Component, Requests::FAILED),
    alert("DeadlineKills", Middle::Component, Requests::FAILED),
    alert("OutOfMemory", Middle::Component, Requests::FAILED),
    alert("ErrorLogsRising", Middle::Component, Requests::FAILED),
    alert("HighLatency", Middle::Component, Requests::SLOW),
    alert("LatencyAnomaly", Middle::Component, Requests::SLOW),
    alert("TrafficAnomaly", Middle::Component, Requests::All),
    alert("SlowBudgetBurn", Middle::Objective, Requests::FAILED_AND_SLOW),
    alert("BudgetBurn", Middle::Objective, Requests::FAILED_AND_SLOW),
    // The requests that a guest counts as failed need not be failed for the host.
    alert("Rising", Middle::Metric, Requests::FAILED),
    alert("High", Middle::Metric, Requests::SLOW),
];

impl Alert {
    /// Returns the kinds that a name can be of, each with what is before the end: the first one is
    /// the most exact.
    fn kinds(name: &str) -> impl Iterator<Item = (&'static Self, &str)> {
        // Equal names have numbers.
        let name = name.trim_end_matches(|char: char| char.is_ascii_digit());
        ALERTS.iter().filter_map(move |alert| Some((alert, name.strip_suffix(alert.end)?)))
    }

    /// Returns the requests that an alert is about.
    ///
    /// # Errors
    ///
    /// If no generated alert about requests has such a name.
    pub(super) fn requests(name: &str) -> Result<Requests, Problem> {
        Self::kinds(name).next().map(|(alert, _)| alert.requests).ok_or_else(|| {
            Problem::bad_request(format!(
                "`{}` is no generated alert about requests; use one such as `StorefrontHighErrorRate`",
                shown(name)
            ))
        })
    }

    /// Returns the component of an alert, and its tenant if the name has it.
    ///
    /// # Errors
    ///
    /// If no component has such an alert, or several have.
    pub(super) fn find(name: &str, served: &BTreeSet<(String, String)>) -> Result<(String, Option<String>), Problem> {
        let mut found: BTreeSet<(&str, Option<&str>)> = BTreeSet::new();
        // A name that is a component's as a whole is the most exact one, then the longest
        // beginning.
        let mut most_exact = (false, 0);
        for (component, tenant) in served {
            for tenant in [None, Some(&**tenant).filter(|tenant| !tenant.is_empty())] {
                let prefix = prefix(component, tenant);
                // A tenant without letters and digits is not in the name.
                if tenant.is_some() && prefix == self::prefix(component, None) {
                    continue;
                }
                let begins = |(alert, before): (&Self, &str)| match alert.middle {
                    Middle::Component => before == prefix,
                    // A metric and an objective have a name.
                    Middle::Metric | Middle::Objective => before.starts_with(&prefix) && before != prefix,
                };
                let kinds = Self::kinds(name).filter(|kind| begins(*kind));
                let ranks = kinds.map(|(alert, _)| (alert.middle == Middle::Component, prefix.len()));
                let Some(rank) = ranks.max().filter(|rank| *rank >= most_exact) else { continue };
                if rank > most_exact {
                    most_exact = rank;
                    found.clear();
                }
                found.insert((component.as_str(), tenant));
            }
        }
        let mut found = found.into_iter();
        let listed = |names: BTreeSet<&str>| -> String {
            let names: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{}`", shown(name))).collect();
            names.join(", ")
        };
        match (found.next(), found.next()) {
            (Some((component, tenant)), None) => Ok((component.to_owned(), tenant.map(str::to_owned))),
            (Some((first, _)), Some((second, _))) => {
                let names = found.map(|(component, _)| component).chain([first, second]).collect();
                Err(Problem::bad_request(format!(
                    "`{}` can be an alert of several components ({}); add `component`, and `tenant` if they differ by it",
                    shown(name),
                    listed(names)
                )))
            }
            (None, _) => {
                let names: BTreeSet<&str> = served.iter().map(|(component, _)| &**component).collect();
                let known =
                    if names.is_empty() { "no component is".to_owned() } else { format!("{} are", listed(names)) };
                Err(Problem::bad_request(format!(
                    "`{}` begins with no component that is served ({known}); correct the name, or add `component`",
                    shown(name)
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    fn found(name: &str, served: &[(&str, &str)]) -> Result<(String, Option<String>), ()> {
        let served = served.iter().map(|(name, tenant)| ((*name).to_owned(), (*tenant).to_owned())).collect();
        Alert::find(name, &served).map_err(|_| ())
    }

    #[test]
    fn names_begin_with_components() {
        let served = [("shop", "acme"), ("shop", "zeta"), ("größe-äpfel", ""), ("shop-api", ""), ("v2", "")];
        for (name, component, tenant) in [
            ("ShopHighErrorRate", "shop", None),
            ("ShopZetaHighErrorRate", "shop", Some("zeta")),
            ("GrößeÄpfelTrapRate", "größe-äpfel", None),
            // The number of a name that occurs twice, and one of a component.
            ("ShopApiHighLatency2", "shop-api", None),
            ("V2HighLatency2", "v2", None),
            ("ShopApiUploadErrorsRising", "shop-api", None),
            ("ShopHttpRequestDurationSecondsHigh", "shop", None),
            ("ShopAcmeAvailabilitySlowBudgetBurn", "shop", Some("acme")),
        ] {
            assert_eq!(found(name, &served), Ok((component.into(), tenant.map(str::to_owned))), "{name}");
        }
        for wrong in [
            "ServiceOrdersBudgetBurn",
            "ShpHighErrorRate",
            "ShopApHighErrorRate",
            "UploadErrorsRising",
            "HighErrorRate",
        ] {
            assert_eq!(found(wrong, &served), Err(()), "{wrong}");
        }
        assert_eq!(found("ShopHighErrorRate", &[("shop", ""), ("Shop", "")]), Err(()));
        assert_eq!(found("ComponentTrapRate", &[("???", "")]), Ok(("???".into(), None)));
        // A component whose name begins with another one's.
        assert_eq!(found("ShopErrorLogsRising", &[("shop", ""), ("shop-error", "")]), Ok(("shop".into(), None)));
    }
}

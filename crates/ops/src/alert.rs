//! Alerts: an expression, the time for which it must hold, and the tests that prove both.
//!
//! In come components, their limits and declared metrics. Out come [`Alert`]s. The folder does not
//! know files or their formats.

pub(crate) mod component;
pub(crate) mod custom;
pub(crate) mod process;
pub(crate) mod proof;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::promql::Expr;
use proof::Proof;

/// The urgency of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// Users are affected now: somebody is paged.
    Critical,
    /// Users may be affected soon: it is read during the working day.
    Warning,
    /// A fact that explains other alerts.
    Info,
}

impl Severity {
    /// The value of the label `severity`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// The requests that an alert is about, for `wasmetry explain --alert`.
///
/// Without a duration, they are those that the end of the alert's name stands for, as the console's
/// API lists them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Requests {
    /// The seconds that each of them took at least.
    pub slower_than: Option<f64>,
    /// Their route. Without one, they are those of all routes.
    pub route: Option<String>,
}

impl Requests {
    /// The requests that the end of the alert's name stands for.
    pub(crate) const BY_NAME: Self = Self { slower_than: None, route: None };

    /// The requests that took at least this long, in seconds.
    pub(crate) const fn slower_than(seconds: f64) -> Self {
        Self { slower_than: Some(seconds), route: None }
    }

    /// Keeps those of a route, if there is one.
    pub(crate) fn of(self, route: Option<&String>) -> Self {
        Self { route: route.cloned(), ..self }
    }
}

/// An alert and its tests.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The name, such as `StorefrontHighErrorRate`.
    pub name: String,
    /// The issue, such as `high-error-rate`: the name of its runbook.
    pub issue: &'static str,
    /// The requests that it is about; `None` if it is about a process, instances or telemetry.
    pub requests: Option<Requests>,
    /// The urgency.
    pub severity: Severity,
    /// The seconds for which the expression must hold before the alert fires.
    pub hold: u64,
    /// The expression.
    pub expr: Expr,
    /// One line about the problem, with placeholders of Prometheus' templates.
    pub summary: String,
    /// The values and their meaning, with placeholders.
    pub description: String,
    /// The tests.
    pub proofs: Vec<Proof>,
}

impl Alert {
    /// Returns the keys of the labels that the alert always has, as its tests show them, without
    /// `alertname` and `severity`.
    pub fn label_keys(&self) -> BTreeSet<&str> {
        let checks = self.proofs.iter().flat_map(|proof| &proof.checks);
        let labels = checks.flat_map(|check| &check.firing).map(|(labels, _)| labels);
        let keys = labels.map(|labels| labels.keys().map(String::as_str).collect::<BTreeSet<_>>());
        keys.reduce(|all, keys| all.intersection(&keys).copied().collect()).unwrap_or_default()
    }

    /// Returns the command that explains the requests of the alert, if it is about some.
    ///
    /// A name has letters and digits only, so nothing in it is special to a shell. A route may have
    /// anything.
    fn explain(&self) -> Option<String> {
        let Requests { slower_than, route } = self.requests.as_ref()?;
        let mut command = format!("wasmetry explain URL --alert {}", self.name);
        if let Some(seconds) = slower_than {
            let least = humantime::format_duration(Duration::from_secs_f64(*seconds)).to_string();
            command += &format!(" --slower-than {}", least.replace(' ', ""));
        }
        if let Some(route) = route {
            command += &format!(" --route '{}'", route.replace('\'', r"'\''").replace("{{", BRACES));
        }
        Some(command)
    }

    /// Returns the annotations of the alert with these URLs.
    pub(crate) fn annotations(&self, settings: &crate::Settings) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::from([
            ("summary".to_owned(), self.summary.clone()),
            ("description".to_owned(), self.description.clone()),
        ]);
        if let Some(command) = self.explain() {
            annotations.insert("explain".to_owned(), command);
        }
        if let Some(url) = &settings.runbook_url {
            let url = format!("{}/{}.md", url.trim_end_matches('/'), self.issue);
            annotations.insert("runbook_url".to_owned(), url.replace("{{", BRACES));
        }
        if let Some(url) = &settings.dashboard_url {
            annotations.insert("dashboard_url".to_owned(), url.replace("{{", BRACES));
        }
        annotations
    }
}

/// Two braces as a template writes them.
pub(crate) const BRACES: &str = "{{ \"{{\" }}";

/// The placeholder of a value as a percentage.
pub(crate) const PERCENT: &str = "{{ $value | humanizePercentage }}";

/// The placeholder of a value as a number.
pub(crate) const NUMBER: &str = "{{ printf \"%.4g\" $value }}";

/// The placeholder of the tenant, if there is one.
pub(crate) const TENANT: &str = "{{ with $labels.tenant }} (tenant {{ . }}){{ end }}";

/// Returns the text that Prometheus makes of a template with the placeholders of this module.
pub(crate) fn render(template: &str, labels: &BTreeMap<String, String>, value: f64) -> String {
    let tenant = labels.get("tenant").filter(|tenant| !tenant.is_empty());
    let tenant = tenant.map_or_else(String::new, |tenant| format!(" (tenant {tenant})"));
    let mut text = template
        .replace(TENANT, &tenant)
        .replace(PERCENT, &format!("{}%", significant(value * 100.0)))
        .replace(NUMBER, &significant(value));
    for (label, value) in labels {
        text = text.replace(&format!("{{{{ $labels.{label} }}}}"), value);
    }
    text.replace(BRACES, "{{")
}

/// Returns a number with four significant digits, as Go's verb `%.4g` writes it.
fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.3e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let short = |digits: &str| digits.trim_end_matches('0').trim_end_matches('.').to_owned();
    if (-4..4).contains(&exponent) {
        let decimals = usize::try_from(3 - exponent).unwrap_or(0);
        let fixed = format!("{value:.decimals$}");
        return if decimals > 0 { short(&fixed) } else { fixed };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", short(digits), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_match_go() {
        let cases = [(0.0, "0"), (7.5, "7.5"), (172.8, "172.8"), (0.75, "0.75"), (4.5, "4.5"), (100.0, "100")];
        let more = [(12_345.0, "1.234e+04"), (0.00001234, "1.234e-05"), (9999.9, "1e+04"), (0.015, "0.015")];
        for (value, text) in cases.into_iter().chain(more) {
            assert_eq!(significant(value), text);
        }
    }
}

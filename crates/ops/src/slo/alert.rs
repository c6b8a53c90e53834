//! The alerts of an objective: burn rates over a long and a short window.

use wasmetry_host::alert_name::camel_case;

use super::objective::Indicator;
use super::{DAY, HOUR, Slo, name};
use crate::alert::proof::{Proof, Trial, gauge};
use crate::alert::{Alert, NUMBER, Requests, Severity, TENANT};
use crate::promql::{Expr, duration};

const MINUTE: u64 = 60;

/// The issue of all alerts of objectives: the name of their runbook.
pub(crate) const ISSUE: &str = "budget-burn";

/// A long window, a short one, and the share of the budget that is spent in the long one when the
/// alert fires. The short window ends the alert soon after its cause.
struct Burn {
    long: u64,
    short: u64,
    share: f64,
    conditions: [&'static str; 2],
}

const fn burn(long: u64, short: u64, share: f64, conditions: [&'static str; 2]) -> Burn {
    Burn { long, short, share, conditions }
}

/// The windows and shares of the SRE Workbook, chapter 5: those that page, and those that are read
/// during the working day.
const BURNS: [(Severity, [Burn; 2]); 2] = [
    (
        Severity::Critical,
        [
            burn(HOUR, 5 * MINUTE, 0.02, ["burn rate over 1h", "burn rate over 5m"]),
            burn(6 * HOUR, 30 * MINUTE, 0.05, ["burn rate over 6h", "burn rate over 30m"]),
        ],
    ),
    (
        Severity::Warning,
        [
            burn(DAY, 2 * HOUR, 0.1, ["burn rate over 1d", "burn rate over 2h"]),
            burn(3 * DAY, 6 * HOUR, 0.1, ["burn rate over 3d", "burn rate over 6h"]),
        ],
    ),
];

/// Returns the long window of each alert, its short one, and the share of the budget that is spent
/// in the long one when it fires.
pub(crate) fn burns() -> impl Iterator<Item = (u64, u64, f64)> {
    BURNS.iter().flat_map(|(_, burns)| burns).map(|burn| (burn.long, burn.short, burn.share))
}

/// The windows of burn rates, in seconds.
pub(crate) const WINDOWS: [u64; 7] = [5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY];

/// The lowest burn rate that is alerted on. A period of 28 days has 0.93; in shorter ones, the slow
/// windows would alert although the objective is met.
const LEAST_BURN: f64 = 0.9;

/// The greatest share of bad events at a threshold, so that half as much again can occur.
const MAX_SHARE: f64 = 1.0;

impl Slo<'_> {
    /// Returns the burn rate at which a window has spent its share of the budget.
    fn factor(&self, burn: &Burn) -> f64 {
        super::rounded(burn.share * self.period() as f64 / burn.long as f64)
    }

    /// Returns the long windows of a severity's alerts, in seconds, and the shares of bad events
    /// above which these fire, while traffic is steady.
    pub(crate) fn bad_shares(&self, severity: Severity) -> impl Iterator<Item = (u64, f64)> {
        let burns = BURNS.iter().filter(move |(of, _)| *of == severity).flat_map(|(_, burns)| burns);
        burns
            .map(|burn| (burn.long, self.factor(burn)))
            .filter(|(_, factor)| *factor >= LEAST_BURN)
            .map(|(long, factor)| (long, factor * self.budget()))
            .filter(|(_, share)| *share < MAX_SHARE)
    }

    /// Returns the alerts. There is none for a burn rate that no share of bad events reaches.
    pub(crate) fn alerts(&self) -> Vec<Alert> {
        let of = |(severity, burns): &(Severity, [Burn; 2])| {
            let possible = |burn: &&Burn| {
                let factor = self.factor(burn);
                factor >= LEAST_BURN && factor * self.budget() < MAX_SHARE
            };
            let burns: Vec<&Burn> = burns.iter().filter(possible).collect();
            (!burns.is_empty()).then(|| self.alert(*severity, &burns))
        };
        BURNS.iter().filter_map(of).collect()
    }

    /// Returns the requests that the alerts are about.
    fn requests(&self) -> Option<Requests> {
        match &self.objective.indicator {
            Indicator::Availability { route } => Some(Requests::BY_NAME.of(route.as_ref())),
            Indicator::Latency { threshold, route, .. } => Some(Requests::slower_than(*threshold).of(route.as_ref())),
            Indicator::Freshness { .. } | Indicator::Query { .. } => None,
        }
    }

    fn alert(&self, severity: Severity, burns: &[&Burn]) -> Alert {
        let rate = |window| self.select(&name::burn_rate(window)).now();
        let exceeds = |burn: &&Burn| {
            let factor = self.factor(burn);
            rate(burn.long).above(factor).op("and", rate(burn.short).above(factor))
        };
        let expr = burns.iter().map(exceeds).reduce(|all, one| all.op("or", one)).unwrap_or(Expr::Number(0.0));
        let limit = |burn: &&Burn| format!("{} over {}", self.factor(burn), duration(burn.long));
        let limits: Vec<String> = burns.iter().map(limit).collect();
        let period = duration(self.period());
        let issue = if severity == Severity::Critical { "BudgetBurn" } else { "SlowBudgetBurn" };
        let of = if self.component.is_some() {
            format!("{{{{ $labels.component }}}}{TENANT}")
        } else {
            "The service".into()
        };
        Alert {
            name: format!("{}{}{issue}", self.prefix, camel_case(&self.objective.name)),
            issue: ISSUE,
            requests: self.requests(),
            severity,
            hold: 0,
            expr,
            summary: format!("{of} spends the error budget of {{{{ $labels.slo }}}} too fast"),
            description: format!(
                "The burn rate is {NUMBER}: at 1, the budget of {period} lasts for {period}. The threshold is {}. The objective \
                 is {}%.",
                limits.join(", or "),
                self.objective.objective
            ),
            proofs: self.proofs(burns),
        }
    }

    /// Returns the tests of each pair of windows, while the other pair is silent.
    fn proofs(&self, burns: &[&Burn]) -> Vec<Proof> {
        let of = |burn: &&Burn| {
            let factor = self.factor(burn);
            let trial = Trial {
                conditions: &burn.conditions,
                settle: 0,
                hold: 0,
                faulty: self.faulty(),
                healthy: self.healthy(),
                series: &|group, factors| {
                    let recorded = |window, value| gauge(&name::burn_rate(window), group, value);
                    let mut all =
                        vec![recorded(burn.long, factors[0] * factor), recorded(burn.short, factors[1] * factor)];
                    let others = burns.iter().flat_map(|other| [other.long, other.short]);
                    all.extend(
                        others
                            .filter(|other| ![burn.long, burn.short].contains(other))
                            .map(|other| recorded(other, 0.0)),
                    );
                    all
                },
                value: &|factors| factors[0] * factor,
            };
            trial.proofs()
        };
        burns.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_recorded() {
        for burn in BURNS.iter().flat_map(|(_, burns)| burns) {
            assert!(WINDOWS.contains(&burn.long) && WINDOWS.contains(&burn.short));
        }
    }
}

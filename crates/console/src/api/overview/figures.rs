//! The figures of a component or a route, and the state that they mean.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::series::write_points;
use crate::json::Json;
use crate::series::Grid;

/// The share of failed requests from which a service is failing.
const FAILING: f64 = 0.05;

/// The share of its memory limit from which an instance is at risk.
const MEMORY_AT_RISK: f64 = 0.9;

/// The state of a component or a route, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Failing,
    Degraded,
    Ok,
    Idle,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Degraded => "degraded",
            Self::Ok => "ok",
            Self::Idle => "idle",
        }
    }
}

/// The place of a component or a route in a list. What comes first is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(State, Reverse<u64>, Reverse<u64>);

/// The guests that ended early, by reason: in the range, and since the start.
pub(super) type Traps = BTreeMap<String, (f64, u64)>;

/// The figures of one component or route.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) total: u64,
    pub(super) requests: f64,
    pub(super) errors: f64,
    pub(super) rates: Vec<Option<f64>>,
    pub(super) error_rates: Vec<Option<f64>>,
    pub(super) quantiles: [Option<f64>; 3],
    pub(super) p99s: Vec<Option<f64>>,
    pub(super) in_flight: f64,
    pub(super) traps: Traps,
    /// Of components only.
    pub(super) refused: f64,
    pub(super) memory_peak: Option<f64>,
    /// The seconds that exist of it within the range, over which its rates are.
    pub(super) seconds: Option<f64>,
}

impl Figures {
    fn error_ratio(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| self.errors / self.requests)
    }

    fn trapped(&self) -> f64 {
        self.traps.values().map(|(count, _)| count).sum()
    }

    fn is_memory_at_risk(&self) -> bool {
        self.memory_peak.is_some_and(|peak| peak >= MEMORY_AT_RISK)
    }

    fn state(&self) -> State {
        let has_problem = self.trapped() > 0.0 || self.refused > 0.0 || self.is_memory_at_risk();
        match self.error_ratio().unwrap_or(0.0) {
            ratio if self.errors > 0.0 && ratio >= FAILING => State::Failing,
            _ if self.errors > 0.0 || has_problem => State::Degraded,
            _ if self.requests > 0.0 || self.in_flight > 0.0 => State::Ok,
            _ => State::Idle,
        }
    }

    /// Returns the problems as sentences, the worst first, each with its severity.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let ratio = self.error_ratio().unwrap_or(0.0);
        if self.errors > 0.0 {
            let severity = if ratio >= FAILING { "error" } else { "warning" };
            problems.push((severity, format!("{} of the requests failed", percent(ratio))));
        }
        let trapped = self.trapped();
        if trapped > 0.0 {
            let mut reasons: Vec<_> = self.traps.iter().filter(|(_, (count, _))| *count > 0.0).collect();
            reasons.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
            let reasons: Vec<&str> = reasons.into_iter().map(|(reason, _)| &**reason).take(3).collect();
            let guests = if trapped == 1.0 { "guest" } else { "guests" };
            problems.push(("error", format!("{trapped} {guests} ended early: {}", reasons.join(", "))));
        }
        if self.refused > 0.0 {
            problems.push(("error", format!("{} requests got no instance", self.refused)));
        }
        if let Some(peak) = self.memory_peak.filter(|_| self.is_memory_at_risk()) {
            problems
                .push(("warning", format!("an instance used {} of its memory limit or more", percent(peak.min(1.0)))));
        }
        problems.sort_by_key(|(severity, _)| *severity != "error");
        problems
    }

    pub(super) fn write(&self, json: &mut Json, grid: &Grid) {
        let rate = |count: f64| self.seconds.map(|seconds| count / seconds);
        json.member("state").text(self.state().name());
        json.member("problems").array(|json| {
            for (severity, text) in &self.problems() {
                json.object(|json| {
                    json.member("severity").text(severity);
                    json.member("text").text(text);
                });
            }
        });
        json.member("seconds").rounded(self.seconds);
        json.member("rate").rounded(rate(self.requests));
        json.member("error_rate").rounded(rate(self.errors));
        json.member("error_ratio").rounded(self.error_ratio());
        for (name, value) in ["p50", "p95", "p99"].into_iter().zip(self.quantiles) {
            json.member(name).rounded(value);
        }
        json.member("in_flight").float(self.in_flight);
        json.member("requests").object(|json| _ = json.member("total").unsigned(self.total));
        json.member("traps").array(|json| {
            for (reason, (count, total)) in self.traps.iter().filter(|(_, (_, total))| *total > 0) {
                json.object(|json| {
                    json.member("reason").text(reason);
                    json.member("count").float(*count);
                    json.member("total").unsigned(*total);
                });
            }
        });
        json.member("sparklines").object(|json| {
            json.member("start").unsigned(grid.first_seconds());
            json.member("step_seconds").unsigned(grid.step_seconds());
            write_points(json.member("rate"), &self.rates);
            write_points(json.member("error_rate"), &self.error_rates);
            write_points(json.member("p99"), &self.p99s);
        });
    }

    /// The order of a list: the worst state first, then the most failures, then the most requests.
    pub(super) fn rank(&self) -> Rank {
        // The bits of numbers that are not negative have their order.
        let bits = |count: f64| Reverse(count.max(0.0).to_bits());
        Rank(self.state(), bits(self.errors + self.trapped()), bits(self.requests))
    }
}

fn percent(ratio: f64) -> String {
    if ratio < 0.001 { "less than 0.1%".to_owned() } else { format!("{:.1}%", ratio * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(requests: f64, errors: f64) -> Figures {
        Figures { requests, errors, seconds: Some(300.0), ..Figures::default() }
    }

    fn with_traps(traps: &[(&str, f64)]) -> Figures {
        let traps = traps.iter().map(|(reason, count)| ((*reason).to_owned(), (*count, 1))).collect();
        Figures { traps, ..figures(100.0, 0.0) }
    }

    /// A list is ordered without the sentences, and marks exactly what has some.
    #[test]
    fn state_agrees_with_problems() {
        let cases = [
            (figures(0.0, 0.0), State::Idle, [].as_slice()),
            (figures(10.0, 0.0), State::Ok, &[]),
            (Figures { in_flight: 1.0, ..figures(0.0, 0.0) }, State::Ok, &[]),
            (figures(1000.0, 1.0), State::Degraded, &[("warning", "0.1% of the requests failed")]),
            (figures(100.0, 5.0), State::Failing, &[("error", "5.0% of the requests failed")]),
            (with_traps(&[("exit", 0.0)]), State::Ok, &[]),
            (
                with_traps(&[("exit", 1.0), ("unreachable", 2.0)]),
                State::Degraded,
                &[("error", "3 guests ended early: unreachable, exit")],
            ),
            (
                Figures { refused: 2.0, memory_peak: Some(0.95), ..figures(10.0, 0.0) },
                State::Degraded,
                &[
                    ("error", "2 requests got no instance"),
                    ("warning", "an instance used 95.0% of its memory limit or more"),
                ],
            ),
            (Figures { memory_peak: Some(0.8), ..figures(10.0, 0.0) }, State::Ok, &[]),
        ];
        for (figures, state, problems) in cases {
            let found = figures.problems();
            let found: Vec<_> = found.iter().map(|(severity, text)| (*severity, text.as_str())).collect();
            assert_eq!((figures.state(), found.as_slice()), (state, problems));
        }
    }

    #[test]
    fn worst_ranks_first() {
        let worst_first = [
            figures(100.0, 50.0),
            figures(100.0, 20.0),
            figures(200.0, 2.0),
            figures(100.0, 1.0),
            figures(300.0, 0.0),
            figures(20.0, 0.0),
            figures(0.0, 0.0),
        ];
        assert!(worst_first.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
    }
}

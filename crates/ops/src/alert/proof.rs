//! The tests of an alert, computed from its thresholds.
//!
//! Each threshold of an alert is a condition. The series of a test are made from one factor for
//! each condition: at 1.5 the value is half as large again as the threshold, at 0.75 it is below.

use std::collections::BTreeMap;

use super::significant;

/// The seconds between two samples and between two evaluations.
pub(crate) const STEP: u64 = 60;

/// The samples of each series.
const SAMPLES: u64 = 240;

/// Values above their threshold, as multiples. The first one is taken at which the alert's text
/// does not depend on how Prometheus rounds the value. The greatest latency that may be set, times
/// the last one, is below the last finite bound of the host's buckets.
pub(crate) const ABOVE: [f64; 3] = [1.5, 1.55, 1.6];

/// The relative difference between Prometheus' value and the one that is computed here.
const ROUNDING: f64 = 1e-9;

/// A value below its threshold, as a multiple.
const BELOW: f64 = 0.75;

/// The value at which counters start: so large that Prometheus does not take their first sample for
/// the counter's begin.
const START: u64 = 1_000_000;

/// Label keys and values.
pub type Labels = BTreeMap<String, String>;

/// Removes the rounding errors of products: the digits after the twelfth.
fn rounded(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

/// A series of a test.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InputSeries {
    /// Its name and labels, as promtool reads them.
    pub series: String,
    /// Its values.
    pub values: Values,
}

/// The values of a series of a test.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Values {
    /// Rates per second, one after another, each for a number of steps. They depend on the length
    /// of a step.
    Rates(Vec<(f64, u64)>),
    /// Values of each step, as promtool reads them.
    Steps(String),
}

impl InputSeries {
    /// Returns a series with these values of each step, as promtool reads them.
    pub(crate) fn steps(series: String, values: impl Into<String>) -> Self {
        Self { series, values: Values::Steps(values.into()) }
    }
}

impl Values {
    /// Returns the values as promtool reads them, for steps of these seconds.
    pub fn notation(&self, step: f64) -> String {
        let rates = match self {
            Self::Steps(values) => return values.clone(),
            Self::Rates(rates) => rates,
        };
        let mut begin = START as f64;
        let mut texts = Vec::new();
        for (i, (rate, steps)) in rates.iter().enumerate() {
            let increase = rounded(rate * step);
            // The first step of a rate follows the last one of the rate before.
            begin += if i > 0 { increase } else { 0.0 };
            texts.push(format!("{begin}+{increase}x{steps}"));
            begin += *steps as f64 * increase;
        }
        texts.join(" ")
    }
}

/// One test: series, and the alerts that fire at some times.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The property that is tested.
    pub title: String,
    /// The series.
    pub series: Vec<InputSeries>,
    /// The checks.
    pub checks: Vec<Check>,
}

/// The alerts that fire at a time.
#[derive(Clone, Debug)]
pub struct Check {
    /// The time in seconds.
    pub at: u64,
    /// The labels without `alertname` and `severity`, and the value, of each alert that fires.
    pub firing: Vec<(Labels, f64)>,
}

impl Check {
    pub(crate) fn new(at: u64, firing: Vec<(Labels, f64)>) -> Self {
        Self { at, firing }
    }
}

/// Returns labels.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().filter(|(_, value)| !value.is_empty()).map(|&(key, value)| (key.into(), value.into())).collect()
}

/// Returns the notation of a series.
pub(crate) fn series(metric: &str, labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", crate::promql::quoted(value))).collect();
    format!("{metric}{{{}}}", pairs.join(","))
}

/// Returns a counter that rises by this many per second.
pub(crate) fn counter(metric: &str, labels: &Labels, rate: f64) -> InputSeries {
    rates(metric, labels, &[(rate, SAMPLES)])
}

/// Returns a counter that rises by these rates per second, each for a number of steps.
pub(crate) fn rates(metric: &str, labels: &Labels, rates: &[(f64, u64)]) -> InputSeries {
    InputSeries { series: series(metric, labels), values: Values::Rates(rates.to_vec()) }
}

/// Returns a counter that rises by this number in each step, whatever its length.
pub(crate) fn steps(metric: &str, labels: &Labels, increase: f64) -> InputSeries {
    InputSeries::steps(series(metric, labels), format!("{START}+{increase}x{SAMPLES}"))
}

/// Returns a gauge with a constant value.
pub(crate) fn gauge(metric: &str, labels: &Labels, value: f64) -> InputSeries {
    InputSeries::steps(series(metric, labels), format!("{value}+0x{SAMPLES}"))
}

/// Makes the tests of an alert with thresholds.
pub(crate) struct Trial<'a> {
    /// The name of each condition.
    pub(crate) conditions: &'a [&'static str],
    /// The seconds after which the values no longer change: the range of the rates.
    pub(crate) settle: u64,
    /// The alert's `for` in seconds.
    pub(crate) hold: u64,
    /// The labels of the alert for the faulty group, and those of the healthy group.
    pub(crate) faulty: Labels,
    pub(crate) healthy: Labels,
    /// Makes the series of a group from a factor for each condition.
    pub(crate) series: &'a dyn Fn(&Labels, &[f64]) -> Vec<InputSeries>,
    /// The alert's value at the factors.
    pub(crate) value: &'a dyn Fn(&[f64]) -> f64,
}

impl Trial<'_> {
    /// Returns the factor of the conditions that are met.
    fn above(&self) -> f64 {
        let is_clear = |factor: &f64| {
            let value = (self.value)(&vec![*factor; self.conditions.len()]);
            significant(value * (1.0 - ROUNDING)) == significant(value * (1.0 + ROUNDING))
        };
        ABOVE.into_iter().find(is_clear).unwrap_or(ABOVE[0])
    }

    pub(crate) fn proofs(&self) -> Vec<Proof> {
        let factor = self.above();
        let above = vec![factor; self.conditions.len()];
        let below = |i: usize| {
            let mut factors = above.clone();
            factors[i] = BELOW;
            factors
        };
        let end = self.settle + self.hold + 10 * STEP;
        let fires = vec![(self.faulty.clone(), (self.value)(&above))];
        let mut checks = Vec::new();
        if self.hold > 0 {
            // A rate is known from the second sample on, and exact when its range is full.
            let begin = if self.settle > 0 { STEP } else { 0 };
            checks.push(Check::new(begin + self.hold - STEP, Vec::new()));
        }
        checks.push(Check::new(end, fires));
        let mut series = (self.series)(&self.faulty, &above);
        series.extend((self.series)(&self.healthy, &below(0)));
        let mut proofs = vec![Proof {
            title: format!("fires at {factor}x beside a healthy group, not before `for` ends"),
            series: unique(series),
            checks,
        }];
        for (i, condition) in self.conditions.iter().enumerate() {
            proofs.push(Proof {
                title: format!("silent at {BELOW}x of the {condition}"),
                series: unique((self.series)(&self.faulty, &below(i))),
                checks: vec![Check::new(end, Vec::new())],
            });
        }
        proofs
    }
}

/// Removes series that both groups have.
fn unique(series: Vec<InputSeries>) -> Vec<InputSeries> {
    let mut names = std::collections::BTreeSet::new();
    series.into_iter().filter(|one| names.insert(one.series.clone())).collect()
}

//! The monthly report on objectives: its queries, and the text that is made of their answers.
//!
//! The recorded rates of each day are read, so that a report costs two queries for each objective.
//! The folder does not send them.

mod month;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::{DAY, LEAST_RATE, Slo, name};
use crate::alert::component::RANGE;
use crate::promql::Expr;
use crate::{Error, Service};

pub use month::Month;

/// The days that a report lists for each objective.
const WORST_DAYS: usize = 5;

/// A query of Prometheus' endpoint `/api/v1/query_range`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RangeQuery {
    /// The expression.
    pub query: String,
    /// The time of the first value, in seconds since 1970.
    pub start: u64,
    /// The time of the last value, in seconds since 1970.
    pub end: u64,
    /// The seconds between two values.
    pub step: u64,
}

impl RangeQuery {
    /// Returns the body of a POST request, of the type `application/x-www-form-urlencoded`.
    pub fn form(&self) -> String {
        let mut query = String::new();
        for byte in self.query.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                query.push(char::from(byte));
            } else {
                let _ = write!(query, "%{byte:02X}");
            }
        }
        format!("query={query}&start={}&end={}&step={}", self.start, self.end, self.step)
    }
}

/// The answer of Prometheus to a query of a range, as it is in JSON.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Series>,
}

#[derive(Clone, Debug, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// The report of a month: first its queries, then its text.
#[derive(Clone, Debug)]
pub struct Report {
    month: Month,
    /// The days that are over.
    days: u64,
    source: String,
    levels: Vec<Level>,
}

/// An objective of a report, with the queries of all events and of the bad ones.
#[derive(Clone, Debug)]
struct Level {
    name: String,
    component: String,
    objective: f64,
    budget: f64,
    queries: [RangeQuery; 2],
}

/// The events of a day, and the bad ones.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Day {
    number: u64,
    events: f64,
    bad: f64,
}

impl Report {
    /// Returns the report of a month, as it is at a time in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Returns an error if the service has no objective, or no day of the month is over.
    pub fn new(service: &Service, month: Month, now: u64) -> Result<Self, Error> {
        let days = month.days().min(now.saturating_sub(month.start()) / DAY);
        if days == 0 {
            return Err(Error::FutureMonth(month.to_string()));
        }
        let query = |slo: &Slo<'_>, record: String| RangeQuery {
            query: Expr::call("avg_over_time", slo.select(&record).over(DAY)).to_string(),
            start: month.start() + DAY,
            end: month.start() + days * DAY,
            step: DAY,
        };
        let level = |slo: &Slo<'_>| Level {
            name: slo.objective.name.clone(),
            component: slo.component.map_or_else(String::new, |component| component.name.clone()),
            objective: slo.objective.objective,
            budget: slo.budget(),
            queries: [query(slo, name::events(RANGE)), query(slo, name::bad_events(RANGE))],
        };
        let levels: Vec<Level> = service.with_slos(|slos| slos.iter().map(level).collect());
        if levels.is_empty() {
            return Err(Error::NoObjective);
        }
        Ok(Self { month, days, source: service.source.clone(), levels })
    }

    /// Returns the queries, whose answers [`Report::markdown`] needs in the same order.
    pub fn queries(&self) -> Vec<RangeQuery> {
        self.levels.iter().flat_map(|level| level.queries.clone()).collect()
    }

    /// Returns the report as Markdown.
    ///
    /// # Errors
    ///
    /// Returns an error if an answer is missing or is an error itself.
    pub fn markdown(&self, answers: &[Answer]) -> Result<String, Error> {
        let mut rows = String::new();
        let mut details = String::new();
        for (number, level) in self.levels.iter().enumerate() {
            let of = |which: usize| -> Result<&Data, Error> {
                let fail = |message: &str| Error::Answer {
                    query: level.queries[which].query.clone(),
                    message: message.to_owned(),
                };
                let answer = answers.get(2 * number + which).ok_or_else(|| fail("there is none"))?;
                if let Some(error) = &answer.error {
                    return Err(fail(error));
                }
                answer.data.as_ref().ok_or_else(|| fail("it has no data"))
            };
            let groups = self.days_by_labels(of(0)?, of(1)?);
            if groups.is_empty() {
                let _ = writeln!(
                    rows,
                    "| {} | {} | | {}% | no data | | | | |",
                    cell(&level.name),
                    cell(&level.component),
                    level.objective
                );
            }
            for (labels, days) in &groups {
                level.write(labels, days, self, &mut rows, &mut details);
            }
        }
        let mut text = format!(
            "# Service levels of {}\n\nGenerated from {} by `wasmetry ops slo --report`. Days are those of UTC.",
            self.month,
            crate::format::argument(&self.source)
        );
        if self.days < self.month.days() {
            let _ = write!(text, " The month is not over: the report ends with {}.", self.month.day(self.days - 1));
        }
        text.push_str(
            "\n\n| objective | component | tenant | target | achieved | events | bad events | budget spent | met |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        text += &rows;
        text.push_str(
            "\nThe budget is the target's share of the month's events that may be bad. Where the objective is on time, an event is \
             a second. A gap within a day counts as the mean of the rest of the day; a day without data does not count.\n",
        );
        Ok(text + &details)
    }

    /// Returns the days with data of each set of labels.
    fn days_by_labels(&self, events: &Data, bad: &Data) -> BTreeMap<BTreeMap<String, String>, Vec<Day>> {
        let mut groups = BTreeMap::new();
        for series in &events.result {
            let of_bad = bad.result.iter().find(|bad| bad.metric == series.metric);
            let value = |series: &Series, number: u64| {
                let at = (self.month.start() + (number + 1) * DAY) as f64;
                let found = series.values.iter().find(|(time, _)| (time - at).abs() < 1.0);
                found.and_then(|(_, value)| value.parse::<f64>().ok()).filter(|rate| rate.is_finite())
            };
            let day = |number| {
                Some(Day {
                    number,
                    events: value(series, number)? * DAY as f64,
                    bad: of_bad.and_then(|bad| value(bad, number)).unwrap_or(0.0) * DAY as f64,
                })
            };
            groups.insert(series.metric.clone(), (0..self.days).filter_map(day).collect());
        }
        groups
    }
}

impl Level {
    /// Appends the row of a set of labels, and its worst days.
    fn write(
        &self,
        labels: &BTreeMap<String, String>,
        days: &[Day],
        report: &Report,
        rows: &mut String,
        details: &mut String,
    ) {
        let tenant = labels.get("tenant").map(String::as_str).unwrap_or_default();
        let sum = |of: fn(&Day) -> f64| days.iter().map(of).sum::<f64>();
        let (events, bad) = (sum(|day| day.events), sum(|day| day.bad));
        let allowed = self.budget * events;
        let spent = |bad: f64| bad / allowed.max(LEAST_RATE);
        let achieved = |events: f64, bad: f64| 1.0 - bad / events.max(LEAST_RATE);
        // A share that is exactly the budget is met; it has the rounding errors of sums.
        let is_met = spent(bad) <= 1.0 + 1e-9;
        let _ = writeln!(
            rows,
            "| {} | {} | {} | {}% | {} | {:.0} | {:.0} | {} | {} |",
            cell(&self.name),
            cell(&self.component),
            cell(tenant),
            self.objective,
            percent(achieved(events, bad)),
            events,
            bad,
            percent(spent(bad)),
            if is_met { "yes" } else { "no" }
        );
        let mut worst: Vec<&Day> = days.iter().filter(|day| day.bad > 0.0).collect();
        worst.sort_by(|a, b| b.bad.total_cmp(&a.bad).then(a.number.cmp(&b.number)));
        let missing = report.days - days.len() as u64;
        if worst.is_empty() && missing == 0 {
            return;
        }
        let names = [self.name.as_str(), &self.component, tenant];
        let names: Vec<String> = names.iter().filter(|name| !name.is_empty()).map(|name| cell(name)).collect();
        let _ = writeln!(details, "\n## {}\n", names.join(", "));
        if missing > 0 {
            let _ = writeln!(details, "Days without data: {missing} of {}.\n", report.days);
        }
        if worst.is_empty() {
            return;
        }
        details.push_str(
            "| worst days | achieved | events | bad events | share of the month's budget |\n|---|---|---|---|---|\n",
        );
        for day in worst.into_iter().take(WORST_DAYS) {
            let _ = writeln!(
                details,
                "| {} | {} | {:.0} | {:.0} | {} |",
                report.month.day(day.number),
                percent(achieved(day.events, day.bad)),
                day.events,
                day.bad,
                percent(spent(day.bad))
            );
        }
    }
}

/// Returns a share as a percentage of three decimals. It is rounded down, so that a missed
/// objective does not look met.
fn percent(share: f64) -> String {
    format!("{}%", (share * 1e5 + 1e-6).floor() / 1e3)
}

/// Returns a text as the cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace(char::is_control, " ")
}

#[cfg(test)]
mod tests;

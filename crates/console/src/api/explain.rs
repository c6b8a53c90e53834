//! `/api/v1/explain`: what failed or slow requests have in common and normal ones have not.

mod alert;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use wasmetry_explain::{Attribute, Cause, Comparison, Count, ERROR_LEVEL, Selection};

use super::logs::write_log;
use super::now;
use super::status::write_change;
use super::traces::write_entry;
use crate::console::Shared;
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::query::{Filter, Query};
use alert::{Alert, Requests};

/// The seconds back from now, unless others are given.
const SINCE: u64 = 900;

/// The most seconds back from now, for which changes are listed too.
const MAX_SINCE: u64 = 3600;

/// Logs of the selected requests in an answer.
const LOGS: usize = 10;

/// The parameters of a request.
struct Asked {
    filter: Filter,
    since: u64,
    from: Option<u64>,
    to: Option<u64>,
    min: Option<u64>,
    max: Option<u64>,
    alert: Option<String>,
    requests: Requests,
    /// The time of the answer.
    now: u64,
}

impl Asked {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        let filter = Filter::take(query);
        let since = query.parse_as("since", "seconds from 1 to 3600", |value| {
            value.parse().ok().filter(|since| (1..=MAX_SINCE).contains(since))
        })?;
        let outcome = query.parse_as("outcome", "`failed`, `slow`, `failed,slow` or `all`", |value| match value {
            "failed" => Some(Requests::FAILED),
            "slow" => Some(Requests::SLOW),
            "failed,slow" | "slow,failed" => Some(Requests::FAILED_AND_SLOW),
            "all" => Some(Requests::All),
            _ => None,
        })?;
        let (from, to) = (query.seconds("from")?, query.seconds("to")?);
        let (mut min, max) = (query.seconds("min")?, query.seconds("max")?);
        let alert = query.take("alert");
        let has_durations = min.is_some() || max.is_some();
        let requests = match &alert {
            Some(name) => match Alert::requests(name)? {
                // An alert on latency has a threshold of its own, which `min` is. Without one, an
                // objective is about what the host calls slow.
                Requests::Outcome { failed, slow: true, .. } if max.is_none() && (min.is_some() || !failed) => {
                    let least = *min.get_or_insert(alert::LATENCY);
                    Requests::Outcome { failed, slow: true, slow_from: Some(least) }
                }
                requests => {
                    if has_durations {
                        Requests::Durations
                    } else {
                        requests
                    }
                }
            },
            None if has_durations => Requests::Durations,
            None => outcome.unwrap_or(match (from, to) {
                (None, None) => Requests::FAILED_AND_SLOW,
                // A range of time was selected, and nothing else.
                _ => Requests::All,
            }),
        };
        let since = since.unwrap_or(SINCE);
        Ok(Self { filter, since, from, to, min, max, alert, requests, now: now() })
    }

    /// Sets the component and tenant of the alert.
    fn find_component(&mut self, served: &BTreeSet<(String, String)>) -> Result<(), Problem> {
        let Some(name) = self.alert.as_ref().filter(|_| self.filter.component.is_none()) else { return Ok(()) };
        let (component, tenant) = Alert::find(name, served)?;
        self.filter.component = Some(component);
        if tenant.is_some() && self.filter.tenant.is_none() {
            self.filter.tenant = tenant;
        }
        Ok(())
    }

    fn selection(&self) -> Selection {
        let duration = Duration::from_nanos;
        let mut selection = Selection {
            component: self.filter.component.clone(),
            tenant: self.filter.tenant.clone(),
            route: self.filter.route.clone(),
            from: self.from.unwrap_or_else(|| self.now.saturating_sub(self.since * 1_000_000_000)),
            to: self.to.unwrap_or(u64::MAX),
            ..Selection::default()
        };
        match self.requests {
            Requests::Outcome { failed, slow, slow_from } => {
                (selection.failed, selection.slow) = (failed, slow);
                selection.slow_from = slow_from.map(duration);
            }
            Requests::All => selection.all = true,
            Requests::Durations => {
                let most = self.max.map_or(Duration::MAX, duration);
                selection.durations = Some((duration(self.min.unwrap_or(0)), most));
            }
        }
        selection
    }

    /// The selection in words.
    fn text(&self) -> String {
        let seconds = |nanos: u64| format!("{} s", nanos as f64 / 1e9);
        let mut text = match self.requests {
            Requests::All => "all requests".to_owned(),
            Requests::Outcome { failed: true, slow_from: Some(least), .. } => {
                format!("requests that failed or took from {}", seconds(least))
            }
            Requests::Outcome { slow_from: Some(least), .. } => format!("requests that took from {}", seconds(least)),
            Requests::Outcome { .. } => format!("{} requests", self.requests.name().replace(',', " and ")),
            Requests::Durations => {
                let min = self.min.map(|min| format!(" from {}", seconds(min))).unwrap_or_default();
                let max = self.max.map(|max| format!(" to {}", seconds(max))).unwrap_or_default();
                format!("requests that took{min}{max}")
            }
        };
        if let Some(component) = &self.filter.component {
            text.push_str(&format!(" of `{component}`"));
        }
        match self.filter.tenant.as_deref() {
            Some("") => text.push_str(" without a tenant"),
            Some(tenant) => text.push_str(&format!(" of the tenant `{tenant}`")),
            None => {}
        }
        if let Some(route) = &self.filter.route {
            text.push_str(&format!(" on {route}"));
        }
        if self.from.is_some() || self.to.is_some() {
            text.push_str(" in the selected time");
        } else if self.since.is_multiple_of(60) {
            text.push_str(&format!(" in the last {} minutes", self.since / 60));
        } else {
            text.push_str(&format!(" in the last {} seconds", self.since));
        }
        text
    }

    fn write(&self, json: &mut Json) {
        let time = |json: &mut Json, time: Option<u64>| match time {
            Some(time) => _ = json.time(time),
            None => _ = json.null(),
        };
        json.object(|json| {
            json.member("component").optional_text(self.filter.component.as_deref());
            json.member("tenant").optional_text(self.filter.tenant.as_deref());
            json.member("route").optional_text(self.filter.route.as_deref());
            json.member("since").unsigned(self.since);
            time(json.member("from"), self.from);
            time(json.member("to"), self.to);
            for (key, value) in [("min", self.min), ("max", self.max)] {
                match value {
                    Some(value) => json.member(key).duration(value),
                    None => json.member(key).null(),
                };
            }
            json.member("outcome").text(self.requests.name());
            json.member("alert").optional_text(self.alert.as_deref());
            json.member("text").text(&self.text());
        });
    }
}

pub(crate) fn answer(shared: &Shared, mut query: Query) -> Result<String, Problem> {
    let mut asked = Asked::take(&mut query)?;
    query.end()?;
    let explainer = shared.explainer();
    if asked.alert.is_some() {
        let mut served: BTreeSet<(String, String)> = explainer.identities().into_iter().collect();
        served.extend(shared.served());
        asked.find_component(&served)?;
    }
    let groups = explainer.select(&asked.selection());
    // Requests are added while the groups are compared.
    drop(explainer);
    let comparison = groups.compare();
    let mut json = Json::new();
    json.object(|json| {
        asked.write(json.member("selection"));
        json.member("verdict").text(comparison.verdict.name());
        json.member("text").text(&comparison.text);
        for (key, (requests, of)) in [("selected", comparison.selected), ("normal", comparison.normal)] {
            json.member(key).object(|json| {
                json.member("requests").unsigned(requests as u64);
                json.member("of").unsigned(of);
            });
        }
        json.member("error_level").float(ERROR_LEVEL);
        json.member("compared").unsigned(comparison.compared as u64);
        for (key, causes) in [("causes", &comparison.causes), ("signs", &comparison.signs)] {
            json.member(key).array(|json| causes.iter().for_each(|cause| write_cause(json, cause)));
        }
        write_examples(json, shared, &comparison, &groups.traces());
        json.member("changes").array(|json| {
            let component = asked.filter.component.as_deref().unwrap_or_default();
            let oldest = asked.now.saturating_sub(MAX_SINCE * 1_000_000_000);
            for change in shared.latest_changes().iter().filter(|change| change.time >= oldest) {
                if component.is_empty() || change.component.is_empty() || change.component == component {
                    write_change(json, change);
                }
            }
        });
    });
    Ok(json.finish())
}

fn write_cause(json: &mut Json, cause: &Cause) {
    let attributes = |json: &mut Json, attributes: &[Attribute]| {
        json.array(|json| {
            for attribute in attributes {
                json.object(|json| {
                    json.member("kind").text(attribute.kind.name());
                    json.member("key").text(&attribute.key);
                    json.member("value").text(&attribute.value);
                    json.member("text").text(&attribute.text());
                });
            }
        });
    };
    let count = |json: &mut Json, count: Count| {
        json.object(|json| {
            json.member("with").unsigned(count.with as u64);
            json.member("share").rounded(Some(count.share));
        });
    };
    json.object(|json| {
        attributes(json.member("attributes"), &cause.attributes);
        attributes(json.member("together_with"), &cause.together_with);
        json.member("is_absence").boolean(cause.is_absence);
        count(json.member("selected"), cause.selected);
        count(json.member("normal"), cause.normal);
        json.member("effect").rounded(Some(cause.effect));
        json.member("information").rounded(Some(cause.information));
        json.member("ratio").rounded(Some(cause.ratio));
        json.member("p_value").float(cause.p_value);
        attributes(json.member("follows"), &cause.follows);
        json.member("text").text(&cause.text);
    });
}

/// Writes the traces that have the first cause, and the logs of the selected requests.
fn write_examples(json: &mut Json, shared: &Shared, comparison: &Comparison, selected: &[u128]) {
    let of_cause: Vec<u128> = comparison
        .causes
        .first()
        .map(|cause| cause.examples.iter().map(|id| id.number()).collect())
        .unwrap_or_default();
    let wanted = if of_cause.is_empty() { selected } else { &of_cause };
    let known: HashSet<u128> = wanted.iter().copied().collect();
    let records = shared.records();
    json.member("examples").array(|json| {
        let parts = wanted.iter().filter_map(|id| records.traces.of_trace(*id).next());
        for (_, part) in parts.take(wasmetry_explain::limits::EXAMPLES) {
            json.object(|json| write_entry(json, &records, part));
        }
    });
    let mut logs: Vec<_> = records
        .logs
        .before(u64::MAX)
        .take(limits::SEARCHED_LOGS)
        .filter(|log| log.trace_id != 0 && known.contains(&log.trace_id))
        .collect();
    // The most severe ones first; the sort keeps the newest of each first.
    logs.sort_by_key(|log| log.level);
    json.member("logs").array(|json| {
        for log in logs.iter().take(LOGS) {
            write_log(json, &records, log, Some(limits::LIST_TEXT), None);
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::*;

    fn asked(text: &str) -> Result<Asked, ()> {
        Asked::take(&mut Query::parse(Some(text)).unwrap()).map_err(|_| ())
    }

    #[test]
    fn alerts_name_their_component() {
        let served: BTreeSet<(String, String)> =
            ["shop", "shop-api", "other"].map(|name| (name.to_owned(), String::new())).into();
        let mut found = asked("alert=ShopApiHighErrorRate").unwrap();
        found.find_component(&served).unwrap();
        assert_eq!(found.filter.component.as_deref(), Some("shop-api"));
        assert_eq!(found.text(), "failed requests of `shop-api` in the last 15 minutes");
        let mut objective = asked("alert=OtherOrdersBudgetBurn&min=2").unwrap();
        objective.find_component(&served).unwrap();
        assert_eq!(objective.text(), "requests that failed or took from 2 s of `other` in the last 15 minutes");
        // The filter of a request is its own.
        let mut filtered = asked("alert=OtherHighLatency&component=shop").unwrap();
        filtered.find_component(&served).unwrap();
        assert_eq!(filtered.text(), "requests that took from 0.5 s of `shop` in the last 15 minutes");
    }

    /// A range of time alone selects all of its requests, and `outcome` is stronger.
    #[test]
    fn selections_are_read() {
        for (text, expected) in [
            ("", "failed and slow requests in the last 15 minutes"),
            ("since=30&outcome=all", "all requests in the last 30 seconds"),
            ("from=1&to=2", "all requests in the selected time"),
            ("from=1&to=2&outcome=failed,slow", "failed and slow requests in the selected time"),
            ("from=1&to=2&min=0.25", "requests that took from 0.25 s in the selected time"),
            ("alert=ShopHighLatency&max=3", "requests that took to 3 s in the last 15 minutes"),
            ("alert=ShopTrapRate&min=3", "requests that took from 3 s in the last 15 minutes"),
            ("alert=ShopTrafficAnomaly", "all requests in the last 15 minutes"),
        ] {
            assert_eq!(asked(text).unwrap().text(), expected, "{text}");
        }
        for wrong in ["alert=ShopAbsent", "outcome=ok", "since=0", "since=3601", "min=x"] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}

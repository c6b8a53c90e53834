//! `/api/v1/metrics`: every metric of the registry.

use std::collections::BTreeSet;

use crate::console::Shared;
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::query::{Filter, Query};

pub(crate) fn answer(shared: &Shared, mut query: Query) -> Result<String, Problem> {
    let filter = Filter::take_identity(&mut query);
    let text = query.take("text").map(|text| text.to_ascii_lowercase());
    let limit = query.limit(limits::PAGE, limits::MAX_PAGE)?;
    let cursor = query.take("cursor");
    query.end()?;
    let series = shared.series();
    let is_filtered = filter != Filter::default();
    let mut next = None;
    let mut json = Json::new();
    json.object(|json| {
        json.member("metrics").array(|json| {
            let mut shown: Vec<&str> = Vec::new();
            for family in series.families().filter(|family| cursor.as_ref().is_none_or(|after| family.name > *after)) {
                let has = |part: &String| {
                    family.name.contains(part.as_str()) || family.help.to_ascii_lowercase().contains(part.as_str())
                };
                if text.as_ref().is_some_and(|part| !has(part)) {
                    continue;
                }
                let (mut keys, mut count, mut known) = (BTreeSet::new(), 0u64, BTreeSet::new());
                for (_, set, _) in family.used() {
                    let labels = series.labels(set);
                    if is_filtered && !filter.accepts_identity(labels.get("component"), labels.get("tenant")) {
                        continue;
                    }
                    count += u64::from(known.insert(set));
                    keys.extend(labels.map(|(key, _)| key));
                }
                if is_filtered && count == 0 {
                    continue;
                }
                if shown.len() == limit {
                    next = shown.last().map(|name| (*name).to_owned());
                    break;
                }
                shown.push(&family.name);
                json.object(|json| {
                    json.member("name").text(&family.name);
                    json.member("kind").text(family.kind);
                    json.member("unit").text(&family.unit);
                    json.member("help").text(&family.help);
                    json.member("labels").array(|json| {
                        for key in &keys {
                            json.text(key);
                        }
                    });
                    json.member("series").unsigned(count);
                    json.member("is_kept").boolean(family.refused == 0);
                });
            }
        });
        json.member("next").optional_text(next.as_deref());
    });
    Ok(json.finish())
}

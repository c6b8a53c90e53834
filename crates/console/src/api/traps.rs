//! `/api/v1/traps`: the requests whose guests ended early, by reason and place.

use super::{take_cursor, trace_text};
use crate::console::Shared;
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::query::{Filter, Query};

pub(crate) fn answer(shared: &Shared, mut query: Query) -> Result<String, Problem> {
    let filter = Filter::take(&mut query);
    let limit = query.limit(limits::PAGE, limits::MAX_PAGE)?;
    let cursor = take_cursor(&mut query)?;
    query.end()?;
    let records = shared.records();
    let groups: Vec<_> = records
        .traps
        .latest_first()
        .into_iter()
        .filter(|(key, group)| {
            let identity = records.names.identity_of(key.identity);
            let route = || records.names.route_of(group.route).to_owned();
            filter.accepts(identity.component(), identity.tenant(), route)
        })
        .collect();
    let first = cursor.map_or(0, |cursor| usize::try_from(cursor).unwrap_or(usize::MAX)).min(groups.len());
    let shown = &groups[first..groups.len().min(first.saturating_add(limit))];
    let end = first + shown.len();
    let mut json = Json::new();
    json.object(|json| {
        json.member("traps").array(|json| {
            for (key, group) in shown {
                let identity = records.names.identity_of(key.identity);
                json.object(|json| {
                    json.member("reason").text(&key.reason);
                    json.member("place").text(&key.place);
                    json.member("message").text(&group.message);
                    json.member("component").text(identity.component());
                    json.member("version").text(identity.version());
                    json.member("tenant").text(identity.tenant());
                    json.member("route").text(records.names.route_of(group.route));
                    json.member("count").unsigned(group.count);
                    json.member("first_seen").time(group.first);
                    json.member("last_seen").time(group.last);
                    let is_kept = records.traces.has(group.trace_id);
                    json.member("example_trace_id")
                        .optional_text(is_kept.then(|| trace_text(group.trace_id)).as_deref());
                });
            }
        });
        json.member("next").optional_text((end < groups.len()).then(|| end.to_string()).as_deref());
    });
    Ok(json.finish())
}

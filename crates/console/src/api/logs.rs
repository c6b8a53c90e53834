//! `/api/v1/logs`: the latest logs, and one of them.

use super::{span_text, take_cursor, trace_id, trace_text};
use crate::console::Shared;
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::query::{Filter, Query};
use crate::record::Records;
use crate::record::code::{FieldView, Fields, LogView};
use crate::record::log::{LEVELS, StoredLog};
use crate::record::trace::Part;

/// The target of the host's own records of requests.
pub(super) const ACCESS: &str = "access";

/// Latest logs of the same call site in the answer for one log.
const SITE_LOGS: usize = 20;

/// The logs that are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogFilter {
    filter: Filter,
    /// The finest level, from 1 on.
    level: Option<u8>,
    /// In lower case.
    text: Option<String>,
    trace: Option<u128>,
    site: Option<String>,
}

impl LogFilter {
    /// Takes the filters.
    pub(crate) fn take(query: &mut Query) -> Result<Self, Problem> {
        let level = query.parse_as("level", "one of error, warn, info, debug, trace", |value| {
            LEVELS.iter().position(|level| *level == value).map(|at| at as u8 + 1)
        })?;
        Ok(Self {
            filter: Filter::take(query),
            level,
            text: query.take("text").filter(|text| !text.is_empty()).map(|text| text.to_ascii_lowercase()),
            trace: query.parse_as("trace", "32 hexadecimal digits", trace_id)?,
            site: query.take("site"),
        })
    }

    /// Returns `true` if a log is wanted.
    pub(crate) fn accepts(&self, records: &Records, log: &StoredLog<'_>) -> bool {
        if self.level.is_some_and(|finest| log.level > finest) || self.trace.is_some_and(|trace| log.trace_id != trace)
        {
            return false;
        }
        let identity = records.names.identity_of(log.identity);
        if !self.filter.accepts_identity(identity.component(), identity.tenant()) {
            return false;
        }
        if self.text.is_none() && self.site.is_none() && self.filter.route.is_none() {
            return true;
        }
        let view = log.view();
        self.text.as_ref().is_none_or(|text| has_text(&view, text))
            && self.site.as_ref().is_none_or(|site| view.is_at(site))
            && self.filter.route.as_ref().is_none_or(|route| route_of(records, log, &view) == Some(&**route))
    }

    /// Returns `true` if there is a filter that only logs have.
    pub(crate) fn is_of_logs(&self) -> bool {
        self.level.is_some() || self.text.is_some() || self.site.is_some()
    }

    /// Returns `true` if a request is wanted: its identity, route and trace. None is with a filter
    /// that only logs have.
    pub(crate) fn accepts_part(&self, records: &Records, part: &Part) -> bool {
        if self.is_of_logs() {
            return false;
        }
        let identity = records.names.identity_of(part.identity);
        let route = || records.names.route_of(part.route).to_owned();
        self.trace.is_none_or(|trace| part.trace_id == trace)
            && self.filter.accepts(identity.component(), identity.tenant(), route)
    }
}

/// Returns `true` if the message or a field has a text, which is in lower case.
fn has_text(view: &LogView<'_>, text: &str) -> bool {
    contains(view.message, text)
        || view.fields.clone().any(|(_, value)| matches!(value, FieldView::Text(value) if contains(value, text)))
}

/// Returns `true` if a text contains another, which is in lower case. The case of ASCII letters is
/// ignored.
fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// Returns the route of a log's request, if it is known.
fn route_of<'a>(records: &'a Records, log: &StoredLog<'a>, view: &LogView<'a>) -> Option<&'a str> {
    if view.target == ACCESS
        && let Some(route) = view.fields.text("route")
    {
        return Some(route);
    }
    if log.trace_id == 0 {
        return None;
    }
    records.traces.route_of(log.trace_id).map(|route| records.names.route_of(route))
}

pub(crate) fn answer(shared: &Shared, mut query: Query) -> Result<String, Problem> {
    let filter = LogFilter::take(&mut query)?;
    let (from, to) = (query.seconds("from")?, query.seconds("to")?);
    let limit = query.limit(limits::PAGE, limits::MAX_PAGE)?;
    let cursor = take_cursor(&mut query)?;
    let after: Option<u64> = query.parse_as("after", "the `id` of a log, or 0", |value| value.parse().ok())?;
    query.end()?;
    let records = shared.records();
    let is_wanted = |log: &StoredLog<'_>| {
        from.is_none_or(|from| log.time >= from) && to.is_none_or(|to| log.time < to) && filter.accepts(&records, log)
    };
    let mut json = Json::new();
    let (mut next, mut lost) = (None, 0);
    json.object(|json| {
        json.member("logs").array(|json| {
            let (mut read, mut shown, mut last) = (0, 0, None);
            let mut write = |json: &mut Json, log: StoredLog<'_>| {
                if shown == limit || read == limits::SEARCHED_LOGS {
                    next = last;
                    return false;
                }
                read += 1;
                last = Some(log.id);
                if is_wanted(&log) {
                    shown += 1;
                    write_log(json, &records, &log, Some(limits::LIST_TEXT), None);
                }
                true
            };
            match after.map(|after| cursor.unwrap_or(after)) {
                Some(after) => {
                    let mut expected = after.saturating_add(1);
                    for log in records.logs.after(|log| log.id > after) {
                        let id = log.id;
                        if !write(json, log) {
                            break;
                        }
                        lost += id - expected;
                        expected = id + 1;
                    }
                }
                None => {
                    for log in records.logs.before(cursor.unwrap_or(u64::MAX)) {
                        if !write(json, log) {
                            break;
                        }
                    }
                }
            }
        });
        json.member("newest").unsigned(records.logs.last_id());
        json.member("lost").unsigned(lost);
        json.member("next").optional_text(next.map(|next: u64| next.to_string()).as_deref());
    });
    Ok(json.finish())
}

/// Answers with one log. Its id may be `EPOCH-ID`: the numbers begin again with each process.
pub(crate) fn answer_one(shared: &Shared, id: &str) -> Result<String, Problem> {
    let (epoch, number) = id.split_once('-').map_or((None, id), |(epoch, number)| (Some(epoch), number));
    let number = number.parse::<u64>();
    let number = number.map_err(|_| Problem::bad_request("the id of a log is a number, or `EPOCH-NUMBER`"))?;
    let is_of_process = epoch.is_none_or(|epoch| epoch == shared.epoch());
    let records = shared.records();
    let Some(log) = records.logs.get(number).filter(|_| is_of_process) else {
        return Err(Problem::not_found("this log is not kept any more; a larger --console-memory keeps more"));
    };
    let site = log.view().site();
    let mut json = Json::new();
    write_log(
        &mut json,
        &records,
        &log,
        None,
        Some(&|json: &mut Json| {
            json.member("observed").time(log.view().observed);
            json.member("site_records").object(|json| {
                let mut count = 0;
                let mut latest = Vec::new();
                for other in records.logs.before(u64::MAX).take(limits::SEARCHED_LOGS) {
                    if other.identity == log.identity && other.view().is_at(&site) {
                        count += 1;
                        if latest.len() < SITE_LOGS {
                            latest.push(other);
                        }
                    }
                }
                json.member("count").unsigned(count);
                json.member("logs").array(|json| {
                    for other in &latest {
                        write_log(json, &records, other, Some(limits::LIST_TEXT), None);
                    }
                });
            });
        }),
    );
    Ok(json.finish())
}

/// Writes a log, with texts of at most `bytes`, and with further members.
pub(crate) fn write_log(
    json: &mut Json,
    records: &Records,
    log: &StoredLog<'_>,
    bytes: Option<usize>,
    more: Option<&dyn Fn(&mut Json)>,
) {
    let view = log.view();
    let identity = records.names.identity_of(log.identity);
    let most = bytes.unwrap_or(usize::MAX);
    json.object(|json| {
        json.member("id").unsigned(log.id);
        json.member("time").time(log.time);
        json.member("level").text(LEVELS.get(usize::from(log.level) - 1).copied().unwrap_or("info"));
        let mut is_cut = json.member("message").cut_text(view.message, most);
        json.member("target").cut_text(view.target, most);
        json.member("component").text(identity.component());
        json.member("version").text(identity.version());
        json.member("tenant").text(identity.tenant());
        json.member("route").optional_text(route_of(records, log, &view));
        let has_trace = log.trace_id != 0;
        json.member("trace_id").optional_text(has_trace.then(|| trace_text(log.trace_id)).as_deref());
        json.member("span_id").optional_text(has_trace.then(|| span_text(view.span_id)).as_deref());
        json.member("site").cut_text(&view.site(), most);
        match view.file {
            "" => json.member("source").null(),
            file => json.member("source").object(|json| {
                json.member("file").text(file);
                json.member("line").unsigned(view.line.into());
            }),
        };
        json.member("stream").optional_text(view.stream);
        json.member("is_audit").boolean(view.is_audit);
        json.member("fields");
        is_cut |= write_fields(json, view.fields.clone(), most) || view.dropped > 0;
        json.member("dropped").unsigned(view.dropped);
        json.member("is_cut").boolean(is_cut);
        if let Some(more) = more {
            more(json);
        }
    });
}

/// Writes fields as pairs. Returns `true` if a text was cut.
pub(crate) fn write_fields(json: &mut Json, fields: Fields<'_>, bytes: usize) -> bool {
    let mut is_cut = false;
    json.array(|json| {
        for (key, value) in fields {
            json.array(|json| {
                json.cut_text(key, bytes);
                is_cut |= json.value(&value, bytes);
            });
        }
    });
    is_cut
}

//! `/api/v1/traces`: the requests that are kept.

use std::collections::BTreeSet;

use super::logs::ACCESS;
use super::trace_text;
use crate::console::Shared;
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::query::{Filter, Query};
use crate::record::Records;
use crate::record::code::SpanView;
use crate::record::log::StoredLog;
use crate::record::trace::{Class, Part};
use crate::record::trap::trap_of;

/// Services of one trace in a list.
const SERVICES: usize = 16;

/// The level of warnings; more severe ones are less.
const WARN: u8 = 2;

/// Nanoseconds by which logs may arrive before and after their request.
const CLOCKS: u64 = 1_000_000_000;

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Problems,
    Newest,
    Slowest,
}

impl Order {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "problems" => Some(Self::Problems),
            "newest" => Some(Self::Newest),
            "slowest" => Some(Self::Slowest),
            _ => None,
        }
    }

    /// Returns the rank of a request, by which a list is sorted.
    fn rank(self, event: u64, part: &Part) -> (u64, u64) {
        match self {
            Self::Problems => (part.class as u64, u64::MAX - event),
            Self::Newest => (0, u64::MAX - event),
            Self::Slowest => (u64::MAX - part.duration, u64::MAX - event),
        }
    }
}

/// The requests that are wanted.
#[derive(Debug, Default)]
struct PartFilter {
    filter: Filter,
    status: Option<(u16, u16)>,
    outcomes: Option<Vec<Class>>,
    reason: Option<String>,
    min: Option<u64>,
    max: Option<u64>,
    from: Option<u64>,
    to: Option<u64>,
}

impl PartFilter {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        let status =
            query.parse_as("status", "a status such as `500`, or a class such as `5xx`", |value| {
                match value.strip_suffix("xx") {
                    Some(class) => {
                        let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
                        Some((class * 100, class * 100 + 99))
                    }
                    None => {
                        value.parse().ok().filter(|status| (100..=599).contains(status)).map(|status| (status, status))
                    }
                }
            })?;
        let outcomes = query.parse_as("outcome", "some of `failed,slow,normal`", |value| {
            value.split(',').map(|name| Class::ALL.into_iter().find(|class| class.name() == name)).collect()
        })?;
        Ok(Self {
            filter: Filter::take(query),
            status,
            outcomes,
            reason: query.take("reason"),
            min: query.seconds("min")?,
            max: query.seconds("max")?,
            from: query.seconds("from")?,
            to: query.seconds("to")?,
        })
    }

    fn accepts(&self, records: &Records, part: &Part) -> bool {
        let identity = records.names.identity_of(part.identity);
        let route = || records.names.route_of(part.route).to_owned();
        let end = part.start.saturating_add(part.duration);
        self.status.is_none_or(|(low, high)| (low..=high).contains(&part.status))
            && self.outcomes.as_ref().is_none_or(|outcomes| outcomes.contains(&part.class))
            && self.min.is_none_or(|min| part.duration >= min)
            && self.max.is_none_or(|max| part.duration <= max)
            && self.from.is_none_or(|from| end >= from)
            && self.to.is_none_or(|to| end < to)
            && self.filter.accepts(identity.component(), identity.tenant(), route)
            && self.reason.as_ref().is_none_or(|reason| trap_of(part).is_some_and(|trap| trap.reason == reason))
    }
}

pub(crate) fn answer(shared: &Shared, mut query: Query) -> Result<String, Problem> {
    let filter = PartFilter::take(&mut query)?;
    let order = query.parse_as("order", "`problems`, `newest` or `slowest`", Order::parse)?.unwrap_or(Order::Problems);
    let limit = query.limit(limits::PAGE, limits::MAX_PAGE)?;
    let cursor = query.parse_as("cursor", "the `next` of the page before", |value| {
        let (first, second) = value.split_once('-')?;
        Some((first.parse::<u64>().ok()?, second.parse::<u64>().ok()?))
    })?;
    query.end()?;
    let records = shared.records();
    let mut parts: Vec<((u64, u64), u64, &Part)> = records
        .traces
        .newest_first()
        .filter(|(_, part)| filter.accepts(&records, part))
        .map(|(event, part)| (order.rank(event, part), event, part))
        .filter(|(rank, ..)| cursor.is_none_or(|cursor| *rank > cursor))
        .collect();
    parts.sort_unstable_by_key(|(rank, ..)| *rank);
    let mut next = None;
    let mut json = Json::new();
    json.object(|json| {
        json.member("traces").array(|json| {
            let (mut shown, mut last) = (0, None);
            for (rank, event, part) in parts {
                if shown == limit {
                    next = last;
                    break;
                }
                last = Some(rank);
                // The first request of its trace stands for all of them.
                if !records.traces.is_inner(event, part) {
                    shown += 1;
                    json.object(|json| write_entry(json, &records, part));
                }
            }
        });
        let next = next.map(|(first, second)| format!("{first}-{second}"));
        json.member("next").optional_text(next.as_deref());
    });
    Ok(json.finish())
}

/// Writes the members of a request in a list.
pub(crate) fn write_entry(json: &mut Json, records: &Records, part: &Part) {
    let logs = RequestLogs::of(records, part);
    write_part(json, records, part, &logs);
    let parts = || records.traces.of_trace(part.trace_id).map(|(_, part)| part);
    json.member("spans").unsigned(parts().map(|part| u64::from(part.spans)).sum());
    json.member("logs").unsigned(logs.count);
    json.member("services").array(|json| {
        let mut services = BTreeSet::new();
        for span in parts().flat_map(Part::views) {
            services.insert(span.component.to_owned());
            services.extend(peer(&span));
            if services.len() >= SERVICES {
                break;
            }
        }
        services.iter().for_each(|service| _ = json.cut_text(service, limits::LIST_TEXT));
    });
}

/// The logs of a request, which arrive while it is served, in short.
#[derive(Debug, Default)]
pub(super) struct RequestLogs<'a> {
    count: u64,
    /// The last error that the guest has logged, else its last warning.
    worst: Option<StoredLog<'a>>,
}

impl<'a> RequestLogs<'a> {
    pub(super) fn of(records: &'a Records, part: &Part) -> Self {
        let mut found = Self::default();
        let near = logs_near(records, part, part.start, part.start.saturating_add(part.duration));
        for log in near.take(limits::NEAR_LOGS).filter(|log| log.trace_id == part.trace_id) {
            found.count += 1;
            let is_worse = found.worst.is_none_or(|known| (log.level, known.id) < (known.level, log.id));
            if is_worse && log.level <= WARN && log.identity == part.identity && log.view().target != ACCESS {
                found.worst = Some(log);
            }
        }
        found
    }

    /// Returns the text of a request that failed without one: its status, and what the guest has
    /// logged of it.
    fn error(&self, part: &Part) -> String {
        let logged = self.worst.map_or("no error or warning of it is kept", |log| log.view().message);
        let logged = &logged[..logged.floor_char_boundary(limits::LIST_TEXT)];
        if part.status == 0 { logged.to_owned() } else { format!("{}: {logged}", part.status) }
    }
}

/// Returns the logs that arrived around the time of a request's host, those of its owner first.
pub(super) fn logs_near<'a>(
    records: &'a Records,
    part: &Part,
    from: u64,
    to: u64,
) -> impl Iterator<Item = StoredLog<'a>> {
    records.logs.arrived(part.owner, from.saturating_sub(CLOCKS), to.saturating_add(CLOCKS))
}

/// Writes the members of a request that a list and a single trace have.
pub(super) fn write_part(json: &mut Json, records: &Records, part: &Part, logs: &RequestLogs<'_>) {
    let identity = records.names.identity_of(part.identity);
    let root = part.root_view();
    let trap = trap_of(part);
    json.member("trace_id").text(&trace_text(part.trace_id));
    json.member("component").text(identity.component());
    json.member("version").text(identity.version());
    json.member("tenant").text(identity.tenant());
    json.member("name").cut_text(root.as_ref().map_or("", |root| root.name), limits::LIST_TEXT);
    json.member("method").optional_text(root.as_ref().and_then(|root| root.attributes.text("http.request.method")));
    json.member("route").text(records.names.route_of(part.route));
    match part.status {
        0 => json.member("status").null(),
        status => json.member("status").unsigned(status.into()),
    };
    json.member("start").time(part.start);
    json.member("duration_seconds").duration(part.duration);
    json.member("outcome").text(part.class.name());
    json.member("reason").optional_text(trap.as_ref().map(|trap| trap.reason));
    json.member("error");
    let described = root.as_ref().filter(|root| root.status == "error" && !root.status_text.is_empty());
    match (described, part.class) {
        (Some(root), _) => _ = json.cut_text(root.status_text, limits::LIST_TEXT),
        (None, Class::Failed) => _ = json.cut_text(&logs.error(part), limits::LIST_TEXT),
        (None, _) => _ = json.null(),
    }
}

/// Returns the service that a client span calls, as host and port.
pub(crate) fn peer(span: &SpanView<'_>) -> Option<String> {
    let host = span.attributes.text("server.address").filter(|_| span.kind == "client")?;
    Some(match span.attributes.unsigned("server.port") {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

//! `/api/v1/traces/ID`: one trace, with its spans, logs, critical path and services.

use std::collections::{BTreeMap, HashMap};

use super::logs::{write_fields, write_log};
use super::series::DURATIONS;
use super::traces::{RequestLogs, logs_near, peer, write_part};
use super::{span_text, trace_id, trace_text};
use crate::console::Shared;
use crate::json::Json;
use crate::limits;
use crate::problem::Problem;
use crate::record::Records;
use crate::record::code::SpanView;
use crate::record::log::StoredLog;
use crate::record::trace::Part;
use crate::record::trap::trap_of;
use crate::series::{Groups, SeriesStore, quantile};

pub(crate) fn answer(shared: &Shared, id: &str) -> Result<String, Problem> {
    let Some(id) = trace_id(id) else {
        return Err(Problem::bad_request("the id of a trace has 32 hexadecimal digits"));
    };
    let distribution = {
        let records = shared.records();
        first_part(&records, id).map(|(_, part)| Place::of(&records, part))
    };
    let Some(place) = distribution else {
        return Err(Problem::not_found(
            "this trace is not kept any more, or was not sampled; /api/v1/traces lists those that are",
        ));
    };
    // The two locks are not held together.
    let distribution = place.distribution(&shared.series());
    let records = shared.records();
    let Some((_, part)) = first_part(&records, id) else {
        return Err(Problem::not_found("this trace is not kept any more; /api/v1/traces lists those that are"));
    };
    let tree = Tree::of(&records, part);
    let mut json = Json::new();
    json.object(|json| {
        write_part(json, &records, part, &RequestLogs::of(&records, part));
        tree.write(json);
        write_logs(json, &records, part, &tree);
        json.member("trap");
        write_trap(json, &records, part);
        write_services(json, &tree);
        json.member("distribution");
        match &distribution {
            Some(distribution) => distribution.write(json),
            None => _ = json.null(),
        }
    });
    Ok(json.finish())
}

/// Returns the first request of a trace: the one whose parent is in no other one.
fn first_part(records: &Records, id: u128) -> Option<(u64, &Part)> {
    let parts: Vec<(u64, &Part)> = records.traces.of_trace(id).collect();
    let first = parts.iter().find(|(event, part)| !records.traces.is_inner(*event, part));
    first.or(parts.last()).copied()
}

/// The spans of a trace as a tree.
struct Tree<'a> {
    start: u64,
    /// Depth first, with the depth of each.
    spans: Vec<(SpanView<'a>, usize)>,
    cut: u64,
    /// Consecutive pieces of the root: the span, its start and its end.
    critical: Vec<(u64, u64, u64)>,
}

impl<'a> Tree<'a> {
    fn of(records: &'a Records, first: &Part) -> Self {
        let parts: Vec<&Part> = records.traces.of_trace(first.trace_id).map(|(_, part)| part).collect();
        let mut all: Vec<SpanView<'a>> = parts.iter().flat_map(|part| part.views()).collect();
        let mut cut: u64 = parts.iter().map(|part| u64::from(part.cut)).sum();
        all.sort_by_key(|span| (span.span_id != first.root, span.start));
        let mut known = std::collections::HashSet::new();
        all.retain(|span| known.insert(span.span_id));
        cut += all.len().saturating_sub(limits::SHOWN_SPANS) as u64;
        all.truncate(limits::SHOWN_SPANS);
        let ids: HashMap<u64, usize> = all.iter().enumerate().map(|(at, span)| (span.span_id, at)).collect();
        let mut children: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut roots = Vec::new();
        for (at, span) in all.iter().enumerate() {
            if span.parent != span.span_id && ids.contains_key(&span.parent) && span.span_id != first.root {
                children.entry(span.parent).or_default().push(at);
            } else {
                roots.push(at);
            }
        }
        let mut order = Vec::with_capacity(all.len());
        let mut stack: Vec<(usize, usize)> = roots.into_iter().rev().map(|at| (at, 0)).collect();
        while let Some((at, depth)) = stack.pop() {
            order.push((at, depth));
            // A span is a child of one other, so that none is visited twice.
            let below = children.remove(&all[at].span_id).unwrap_or_default();
            stack.extend(below.into_iter().rev().map(|at| (at, depth + 1)));
        }
        // Spans that are each other's parents have no root.
        let mut is_placed = vec![false; all.len()];
        order.iter().for_each(|(at, _)| is_placed[*at] = true);
        order.extend((0..all.len()).filter(|at| !is_placed[*at]).map(|at| (at, 0)));
        let spans: Vec<(SpanView<'a>, usize)> = order.into_iter().map(|(at, depth)| (all[at].clone(), depth)).collect();
        let start = first.start;
        let critical = critical_path(&spans, first.root);
        Self { start, spans, cut, critical }
    }

    fn write(&self, json: &mut Json) {
        let mut on_path: HashMap<u64, u64> = HashMap::new();
        for (span, start, end) in &self.critical {
            *on_path.entry(*span).or_default() += end - start;
        }
        json.member("spans").array(|json| {
            for (span, depth) in &self.spans {
                self.write_span(json, span, *depth, on_path.get(&span.span_id).copied());
            }
        });
        json.member("critical_path").array(|json| {
            for (span, start, end) in &self.critical {
                json.object(|json| {
                    json.member("span_id").text(&span_text(*span));
                    self.write_offset(json, *start);
                    json.member("duration_seconds").duration(end - start);
                });
            }
        });
    }

    /// Writes a time of the trace. A clock that lags behind gives negative ones.
    fn write_offset(&self, json: &mut Json, time: u64) {
        json.member("offset_seconds");
        match time.checked_sub(self.start) {
            Some(offset) => json.duration(offset),
            None => json.float(-((self.start - time) as f64 / 1e9)),
        };
    }

    fn write_span(&self, json: &mut Json, span: &SpanView<'_>, depth: usize, critical: Option<u64>) {
        json.object(|json| {
            json.member("span_id").text(&span_text(span.span_id));
            json.member("parent_id").optional_text((span.parent != 0).then(|| span_text(span.parent)).as_deref());
            json.member("is_parent_remote").boolean(span.is_parent_remote);
            json.member("name").text(span.name);
            json.member("kind").text(span.kind);
            json.member("component").text(span.component);
            json.member("version").text(span.version);
            json.member("tenant").text(span.tenant);
            json.member("target").text(span.target);
            self.write_offset(json, span.start);
            json.member("duration_seconds").duration(span.duration);
            json.member("depth").unsigned(depth as u64);
            json.member("is_critical").boolean(critical.is_some());
            json.member("self_seconds").duration(critical.unwrap_or(0));
            json.member("status").text(span.status);
            json.member("status_text").text(span.status_text);
            json.member("attributes");
            write_fields(json, span.attributes.clone(), usize::MAX);
            json.member("events").array(|json| {
                for event in &span.events {
                    json.object(|json| {
                        self.write_offset(json, event.time);
                        json.member("name").text(event.name);
                        json.member("attributes");
                        write_fields(json, event.attributes.clone(), usize::MAX);
                    });
                }
            });
            json.member("links").array(|json| {
                for link in &span.links {
                    json.object(|json| {
                        json.member("trace_id").text(&trace_text(link.trace_id));
                        json.member("span_id").text(&span_text(link.span_id));
                        json.member("attributes");
                        write_fields(json, link.attributes.clone(), usize::MAX);
                    });
                }
            });
            json.member("dropped").unsigned(span.dropped);
        });
    }
}

/// Returns the critical path: for each moment of the root, the span that the end waited for. From
/// the end backwards, that is the child that ended last.
fn critical_path(spans: &[(SpanView<'_>, usize)], root: u64) -> Vec<(u64, u64, u64)> {
    let mut children: HashMap<u64, Vec<(u64, u64, u64)>> = HashMap::new();
    let mut first = None;
    for (span, depth) in spans {
        let end = span.start.saturating_add(span.duration);
        if span.span_id == root {
            first = Some((root, span.start, end));
        } else if *depth > 0 {
            children.entry(span.parent).or_default().push((span.span_id, span.start, end));
        }
    }
    let Some(first) = first else { return Vec::new() };
    children.values_mut().for_each(|children| children.sort_unstable_by_key(|(_, _, end)| *end));
    let mut pieces = Vec::new();
    // The span, the part of it that is left, and its children that were not visited.
    let mut stack = vec![(first.0, first.1, first.2, children.remove(&first.0).unwrap_or_default())];
    while let Some((id, start, end, mut below)) = stack.pop() {
        let child = loop {
            match below.pop() {
                // One that began after the end is no part of it.
                Some((_, child_start, _)) if child_start >= end => continue,
                other => break other,
            }
        };
        let Some((child, child_start, child_end)) = child.filter(|(_, _, child_end)| *child_end > start) else {
            if end > start {
                pieces.push((id, start, end));
            }
            continue;
        };
        let (from, to) = (child_start.max(start), child_end.min(end));
        if end > to {
            pieces.push((id, to, end));
        }
        // What lies before the child is visited after it.
        stack.push((id, start, from, below));
        stack.push((child, from, to, children.remove(&child).unwrap_or_default()));
    }
    pieces.reverse();
    pieces
}

fn write_logs(json: &mut Json, records: &Records, part: &Part, tree: &Tree<'_>) {
    let (mut logs, mut left_out): (Vec<StoredLog<'_>>, u64) = (Vec::new(), 0);
    let parts = || records.traces.of_trace(part.trace_id).map(|(_, part)| part);
    let from = parts().map(|part| part.start).min().unwrap_or(part.start);
    let to = parts().map(|part| part.start.saturating_add(part.duration)).max().unwrap_or(part.start);
    let searched = logs_near(records, part, from, to).take(limits::SEARCHED_LOGS);
    for log in searched.filter(|log| log.trace_id == part.trace_id) {
        if logs.len() < limits::SHOWN_LOGS {
            logs.push(log);
        } else {
            left_out += 1;
        }
    }
    logs.sort_by_key(|log| (log.time, log.id));
    json.member("logs").array(|json| {
        for log in &logs {
            let offset = |json: &mut Json| tree.write_offset(json, log.time);
            write_log(json, records, log, Some(limits::LIST_TEXT), Some(&offset));
        }
    });
    json.member("cut").object(|json| {
        json.member("spans").unsigned(tree.cut);
        json.member("logs").unsigned(left_out);
    });
}

fn write_trap(json: &mut Json, records: &Records, part: &Part) {
    let parts = records.traces.of_trace(part.trace_id).map(|(_, part)| part);
    let Some(trap) = trap_of(part).or_else(|| parts.filter_map(trap_of).next()) else {
        json.null();
        return;
    };
    json.object(|json| {
        json.member("reason").text(trap.reason);
        json.member("text").text(trap.message);
        json.member("place").text(&trap.place);
        json.member("span_id").text(&span_text(trap.span_id));
        json.member("offset_seconds").duration(trap.time.saturating_sub(part.start));
    });
}

/// Writes the calls between services: of client spans, to the component whose server span is the
/// child, else to the host and port.
fn write_services(json: &mut Json, tree: &Tree<'_>) {
    let servers: HashMap<u64, &str> = tree
        .spans
        .iter()
        .filter(|(span, _)| span.kind == "server" && span.parent != 0)
        .map(|(span, _)| (span.parent, span.component))
        .collect();
    let mut calls: BTreeMap<(&str, String), (u64, u64, u64)> = BTreeMap::new();
    for (span, _) in &tree.spans {
        let Some(peer) = peer(span) else { continue };
        let to = servers.get(&span.span_id).map_or(peer, |component| (*component).to_owned());
        let (count, errors, duration) = calls.entry((span.component, to)).or_default();
        *count += 1;
        *errors += u64::from(span.status == "error");
        *duration = duration.saturating_add(span.duration);
    }
    json.member("services").array(|json| {
        for ((from, to), (count, errors, duration)) in &calls {
            json.object(|json| {
                json.member("from").text(from);
                json.member("to").text(to);
                json.member("calls").unsigned(*count);
                json.member("errors").unsigned(*errors);
                json.member("seconds").duration(*duration);
            });
        }
    });
}

/// A request's place among those of its route.
struct Place {
    component: String,
    tenant: String,
    route: String,
    duration: f64,
}

impl Place {
    fn of(records: &Records, part: &Part) -> Self {
        let identity = records.names.identity_of(part.identity);
        Self {
            component: identity.component().to_owned(),
            tenant: identity.tenant().to_owned(),
            route: records.names.route_of(part.route).to_owned(),
            duration: part.duration as f64 / 1e9,
        }
    }

    /// Returns the durations of the route's requests in the last hour.
    fn distribution(&self, series: &SeriesStore) -> Option<Distribution> {
        let family = series.family(DURATIONS)?;
        let mut groups = Groups { of_slot: vec![None; family.slots.len()], len: 1 };
        for (at, set, _) in family.used() {
            let labels = series.labels(set);
            let of = [("component", &self.component), ("tenant", &self.tenant), ("route", &self.route)];
            if of.iter().all(|(key, value)| labels.get(key) == **value) {
                groups.of_slot[at] = Some(0);
            }
        }
        let grid = series.grid(series.newest()?, limits::STEPS, 1);
        let counts = series.histograms(family, &groups, &grid).all(0);
        Some(Distribution { bounds: family.bounds.clone(), counts, duration: self.duration })
    }
}

struct Distribution {
    bounds: Vec<f64>,
    counts: Vec<u64>,
    duration: f64,
}

impl Distribution {
    fn write(&self, json: &mut Json) {
        let bucket = self.bounds.partition_point(|bound| *bound < self.duration);
        let requests: u64 = self.counts.iter().sum();
        let upper = self.bounds.get(bucket).copied();
        let lower = bucket.checked_sub(1).map_or(0.0, |before| self.bounds[before]);
        let share = upper.map_or(1.0, |upper| (self.duration - lower) / (upper - lower));
        let below: u64 = self.counts[..bucket].iter().sum();
        let percentile = (below as f64 + self.counts[bucket] as f64 * share.clamp(0.0, 1.0)) / requests as f64;
        json.object(|json| {
            json.member("bounds").array(|json| self.bounds.iter().for_each(|bound| _ = json.float(*bound)));
            json.member("counts").array(|json| self.counts.iter().for_each(|count| _ = json.unsigned(*count)));
            json.member("bucket").unsigned(bucket as u64);
            json.member("percentile").rounded((requests > 0).then_some(percentile));
            for (name, rank) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
                json.member(name).rounded(quantile(rank, &self.bounds, &self.counts));
            }
            json.member("requests").unsigned(requests);
        });
    }
}

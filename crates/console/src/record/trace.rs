//! The requests that are kept, with their spans.

mod pending;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use wasmetry_host::Identity;
use wasmetry_host::limits::is_fair_share;
use wasmetry_host::record::{FieldValue, SpanRecord};

use super::code::{SpanView, put_span, read_spans};
use super::drop::{Drops, Signal};
use super::name::{Names, Origin};
use crate::limits;
use pending::PendingSpans;

/// The class of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    Failed,
    Slow,
    Normal,
}

impl Class {
    pub(crate) const ALL: [Self; 3] = [Self::Failed, Self::Slow, Self::Normal];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Slow => "slow",
            Self::Normal => "normal",
        }
    }
}

/// One request of one component: a part of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) trace_id: u128,
    /// The part of the same trace that was kept before, or 0.
    previous: u64,
    /// The part of the same trace that was kept after this one, or 0.
    next: u64,
    pub(crate) root: u64,
    pub(crate) parent: u64,
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) identity: u32,
    pub(crate) owner: u32,
    pub(crate) route: u32,
    pub(crate) status: u16,
    pub(crate) class: Class,
    /// The number of lists of its route that have it: of the slowest and of the failed requests.
    protected: u8,
    pub(crate) spans: u32,
    pub(crate) cut: u32,
    bytes: Vec<u8>,
}

impl Part {
    /// Returns the spans.
    pub(crate) fn views(&self) -> impl Iterator<Item = SpanView<'_>> {
        read_spans(&self.bytes)
    }

    /// Returns the request's own span.
    pub(crate) fn root_view(&self) -> Option<SpanView<'_>> {
        self.views().find(|span| span.span_id == self.root)
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + limits::PART_OVERHEAD
    }
}

/// The slowest and the latest failed requests of one route.
#[derive(Debug, Default)]
struct RouteTop {
    /// Durations and numbers, the slowest first.
    slowest: Vec<(u64, u64)>,
    failed: VecDeque<u64>,
}

/// The requests of one owner.
#[derive(Debug, Default)]
struct OwnerTraces {
    /// The numbers of normal requests, and of the others, in the order in which they are dropped.
    queues: [VecDeque<u64>; 2],
    /// Those in the lists of their routes, which are dropped last.
    protected: BTreeSet<u64>,
    /// The routes with such lists.
    routes: usize,
    /// The bytes of the requests and of the lists.
    bytes: usize,
}

/// The requests that are kept. Each has the number of its event. When there is no room, the owner
/// that has most loses requests.
#[derive(Debug)]
pub(crate) struct TraceStore {
    limit: usize,
    parts: BTreeMap<u64, Part>,
    by_trace: HashMap<u128, u64>,
    /// By the numbers of the owners.
    owners: Vec<OwnerTraces>,
    top: HashMap<(u32, u32), RouteTop>,
    pending: PendingSpans,
    bytes: usize,
    received: u64,
    dropped: u64,
    dropped_spans: u64,
}

/// A request that has ended and is kept, with its own span as bytes: what is done without a lock.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    span: &'a SpanRecord,
    class: Class,
    route: &'a str,
    status: u16,
    bytes: Vec<u8>,
}

impl<'a> Ended<'a> {
    /// Reads the host's span of a request.
    pub(crate) fn new(identity: &Identity, span: &'a SpanRecord, class: Class) -> Self {
        let value = |key: &str| span.attributes.iter().find(|(known, _)| &**known == key).map(|(_, value)| value);
        let route = match value("http.route") {
            Some(FieldValue::Text(route)) => route,
            _ => "",
        };
        let status = match value("http.response.status_code") {
            Some(FieldValue::Unsigned(status)) => u16::try_from(*status).unwrap_or(0),
            _ => 0,
        };
        let mut bytes = Vec::with_capacity(512);
        put_span(identity, span, &mut bytes);
        Self { span, class, route, status, bytes }
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }
}

impl TraceStore {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            parts: BTreeMap::new(),
            by_trace: HashMap::new(),
            owners: Vec::new(),
            top: HashMap::new(),
            pending: PendingSpans::default(),
            bytes: 0,
            received: 0,
            dropped: 0,
            dropped_spans: 0,
        }
    }

    /// Adds a span of the request whose own span is `request`. Its bytes were written before.
    pub(crate) fn add_span(&mut self, trace_id: u128, request: u64, origin: Origin, bytes: &[u8], drops: &mut Drops) {
        let is_new = !self.pending.has(request);
        let mut parts = self.of_trace(trace_id).take_while(|_| is_new);
        let ended = parts.find(|(_, part)| part.root == request).map(|(event, _)| event);
        drop(parts);
        if let Some(part) = ended.and_then(|event| self.parts.get_mut(&event)) {
            // It has ended after its request.
            if part.bytes.len() + bytes.len() <= limits::TRACE_BYTES {
                let before = part.size();
                part.bytes.extend_from_slice(bytes);
                part.spans += 1;
                let added = part.size() - before;
                self.owners[part.owner as usize].bytes += added;
                self.bytes += added;
                self.make_room(drops);
            } else {
                part.cut += 1;
            }
            return;
        }
        self.pending.add(request, origin, bytes);
        while self.pending.bytes() > self.limit / 4 {
            let Some(owner) = self.pending.largest() else { break };
            if !self.drop_pending(owner, drops) {
                break;
            }
        }
    }

    /// Drops the spans of the request of an owner that has waited for the longest time. Returns
    /// `false` if there is none.
    fn drop_pending(&mut self, owner: u32, drops: &mut Drops) -> bool {
        let Some(pending) = self.pending.take_oldest(owner) else { return false };
        let spans = u64::from(pending.spans) + u64::from(pending.cut);
        self.dropped_spans += spans;
        drops.add(pending.identity(), Signal::Spans, spans);
        true
    }

    /// Drops a span that belongs to no request.
    pub(crate) fn drop_span(&mut self) {
        self.dropped_spans += 1;
    }

    /// Ends a request that is not kept.
    pub(crate) fn reject(&mut self, request: u64) {
        self.received += 1;
        self.pending.take(request);
    }

    /// Keeps a request under the number `event`. Those that leave for it are added to `drops`.
    pub(crate) fn end(&mut self, event: u64, origin: Origin, ended: Ended<'_>, names: &mut Names, drops: &mut Drops) {
        self.received += 1;
        let Origin { identity, owner } = origin;
        let Ended { span, class, route, status, mut bytes } = ended;
        let trace_id = span.context.trace_id.number();
        let root = span.context.span_id.number();
        let pending = self.pending.take(root);
        let (mut spans, mut cut) = (1, 0);
        if let Some(pending) = pending {
            bytes.reserve_exact(pending.bytes.len());
            bytes.extend_from_slice(&pending.bytes);
            (spans, cut) = (pending.spans + 1, pending.cut);
        }
        bytes.shrink_to_fit();
        let (route, duration) = (names.route(route, owner), span.end.saturating_sub(span.start));
        let previous = self.by_trace.insert(trace_id, event).unwrap_or(0);
        if let Some(before) = self.parts.get_mut(&previous) {
            before.next = event;
        }
        let part = Part {
            trace_id,
            previous,
            next: 0,
            root,
            parent: span.parent.map_or(0, |parent| parent.number()),
            start: span.start,
            duration,
            identity,
            owner,
            route,
            status,
            class,
            protected: 0,
            spans,
            cut,
            bytes,
        };
        if self.owners.len() <= owner as usize {
            self.owners.resize_with(owner as usize + 1, OwnerTraces::default);
        }
        self.bytes += part.size();
        self.owners[owner as usize].bytes += part.size();
        self.owners[owner as usize].queues[usize::from(class != Class::Normal)].push_back(event);
        self.parts.insert(event, part);
        self.protect(event, origin, route, duration, class);
        self.make_room(drops);
    }

    /// Puts a request into the lists of its route, and takes out those that it displaces.
    fn protect(&mut self, event: u64, origin: Origin, route: u32, duration: u64, class: Class) {
        let (route, owner) = ((origin.identity, route), origin.owner as usize);
        let free = limits::PROTECTED_ROUTES.checked_sub(self.top.len() + 1);
        let traces = &mut self.owners[owner];
        let top = match self.top.entry(route) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let (has, limit) = (traces.routes as u64 + 1, limits::PROTECTED_ROUTES as u64);
                if !free.is_some_and(|free| is_fair_share(has, free as u64, limit)) {
                    return;
                }
                traces.routes += 1;
                traces.bytes += limits::ROUTE_OVERHEAD;
                place.insert(RouteTop::default())
            }
        };
        let (mut displaced, mut lists) = (Vec::new(), 0);
        if class == Class::Failed {
            top.failed.push_back(event);
            lists += 1;
            if top.failed.len() > limits::PROTECTED_FAILED {
                displaced.extend(top.failed.pop_front());
            }
        }
        let at = top.slowest.partition_point(|(slower, _)| *slower >= duration);
        if at < limits::PROTECTED_SLOWEST {
            top.slowest.insert(at, (duration, event));
            lists += 1;
            if top.slowest.len() > limits::PROTECTED_SLOWEST {
                displaced.extend(top.slowest.pop().map(|(_, event)| event));
            }
        }
        if let Some(part) = self.parts.get_mut(&event).filter(|_| lists > 0) {
            part.protected = lists;
            traces.protected.insert(event);
        }
        for event in displaced {
            if let Some(part) = self.parts.get_mut(&event) {
                part.protected = part.protected.saturating_sub(1);
                if part.protected == 0 {
                    traces.protected.remove(&event);
                    traces.queues[usize::from(part.class != Class::Normal)].push_back(event);
                }
            }
        }
    }

    /// Drops requests until all fit, each of the owner that has most: normal ones first, and those
    /// in the lists of their routes last.
    fn make_room(&mut self, drops: &mut Drops) {
        while self.used() > self.limit {
            let Some(owner) = self.largest() else { return };
            match self.next_to_drop(owner) {
                Some(event) => self.drop_part(event, drops),
                None if self.drop_pending(owner, drops) => {}
                None => return,
            }
        }
    }

    /// Returns the owner that has most.
    fn largest(&self) -> Option<u32> {
        let owners = self.owners.len().max(self.pending.owners()) as u32;
        let bytes = |owner: u32| {
            let ended = self.owners.get(owner as usize).map_or(0, |traces| traces.bytes);
            ended + self.pending.bytes_of(owner)
        };
        (0..owners).map(|owner| (bytes(owner), owner)).max().filter(|(bytes, _)| *bytes > 0).map(|(_, owner)| owner)
    }

    fn next_to_drop(&mut self, owner: u32) -> Option<u64> {
        let traces = self.owners.get_mut(owner as usize)?;
        for queue in &mut traces.queues {
            while let Some(event) = queue.pop_front() {
                // One that is protected comes back to the queue when it is displaced.
                if self.parts.get(&event).is_some_and(|part| part.protected == 0) {
                    return Some(event);
                }
            }
        }
        traces.protected.first().copied()
    }

    fn drop_part(&mut self, event: u64, drops: &mut Drops) {
        let Some(part) = self.parts.remove(&event) else { return };
        self.bytes -= part.size();
        self.dropped += 1;
        drops.add(part.identity, Signal::Traces, 1);
        let traces = &mut self.owners[part.owner as usize];
        traces.bytes -= part.size();
        let route = (part.identity, part.route);
        if part.protected > 0 {
            traces.protected.remove(&event);
            if let Some(top) = self.top.get_mut(&route) {
                top.failed.retain(|known| *known != event);
                top.slowest.retain(|(_, known)| *known != event);
                if top.failed.is_empty() && top.slowest.is_empty() {
                    self.top.remove(&route);
                    traces.routes -= 1;
                    traces.bytes -= limits::ROUTE_OVERHEAD;
                }
            }
        }
        // The others of its trace stay connected.
        if let Some(before) = self.parts.get_mut(&part.previous) {
            before.next = part.next;
        }
        if let Some(after) = self.parts.get_mut(&part.next) {
            after.previous = part.previous;
        } else if part.previous != 0 {
            self.by_trace.insert(part.trace_id, part.previous);
        } else {
            self.by_trace.remove(&part.trace_id);
        }
    }

    fn used(&self) -> usize {
        self.bytes + self.pending.bytes() + self.top.len() * limits::ROUTE_OVERHEAD
    }

    pub(crate) fn bytes(&self) -> usize {
        self.used()
    }

    /// The number of requests that are kept, that were received, and that were dropped after they
    /// had been kept; and the spans that were dropped before their request had ended.
    pub(crate) fn counts(&self) -> [u64; 4] {
        [self.parts.len() as u64, self.received, self.dropped, self.dropped_spans]
    }

    /// The identities of the requests that have not ended.
    pub(crate) fn pending_identities(&self) -> impl Iterator<Item = u32> {
        self.pending.identities()
    }

    /// The start of the oldest request that is kept.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.parts.values().next().map(|part| part.start)
    }

    /// Returns a request by its number.
    pub(crate) fn get(&self, event: u64) -> Option<&Part> {
        self.parts.get(&event)
    }

    /// Returns the requests, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = (u64, &Part)> {
        self.parts.iter().rev().map(|(event, part)| (*event, part))
    }

    /// Returns the requests with a greater number, oldest first.
    pub(crate) fn after(&self, event: u64) -> impl Iterator<Item = (u64, &Part)> {
        self.parts.range(event.saturating_add(1)..).map(|(event, part)| (*event, part))
    }

    /// Returns the requests of a trace, the latest first.
    pub(crate) fn of_trace(&self, trace_id: u128) -> impl Iterator<Item = (u64, &Part)> {
        let mut next = self.by_trace.get(&trace_id).copied();
        std::iter::from_fn(move || {
            let event = next?;
            let part = self.parts.get(&event)?;
            next = Some(part.previous).filter(|previous| *previous != 0);
            Some((event, part))
        })
        .take(limits::TRACE_PARTS)
    }

    /// Returns `true` if a trace is kept.
    pub(crate) fn has(&self, trace_id: u128) -> bool {
        self.by_trace.contains_key(&trace_id)
    }

    /// Returns the route of a trace's latest request.
    pub(crate) fn route_of(&self, trace_id: u128) -> Option<u32> {
        self.by_trace.get(&trace_id).and_then(|event| self.parts.get(event)).map(|part| part.route)
    }

    /// Returns `true` if the parent of a request is a span of another request that is kept: it is
    /// not the first of its trace.
    pub(crate) fn is_inner(&self, event: u64, part: &Part) -> bool {
        if part.parent == 0 || part.previous == 0 && self.by_trace.get(&part.trace_id) == Some(&event) {
            return false;
        }
        let others = self.of_trace(part.trace_id).filter(|(other, _)| *other != event);
        others.take(16).any(|(_, other)| other.views().any(|span| span.span_id == part.parent))
    }
}

#[cfg(test)]
mod tests;

//! The requests that are kept, with their spans.

use std::collections::{BTreeMap, HashMap, VecDeque};

use wasmetry_host::Identity;
use wasmetry_host::record::{FieldValue, SpanRecord};

use super::code::{SpanView, put_span, read_spans};
use super::name::Names;
use crate::limits;

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

/// The spans of a request that has not ended.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    spans: u32,
    cut: u32,
}

/// The slowest and the latest failed requests of one route.
#[derive(Debug, Default)]
struct RouteTop {
    /// Durations and numbers, the slowest first.
    slowest: Vec<(u64, u64)>,
    failed: VecDeque<u64>,
}

/// The requests that are kept. Each has the number of its event.
#[derive(Debug)]
pub(crate) struct TraceStore {
    limit: usize,
    parts: BTreeMap<u64, Part>,
    by_trace: HashMap<u128, u64>,
    /// The numbers of normal requests, and of the others, in the order in which they are dropped.
    queues: [VecDeque<u64>; 2],
    top: HashMap<(u32, u32), RouteTop>,
    /// The spans of requests that have not ended, by the host's span of each.
    pending: HashMap<u64, Pending>,
    pending_order: VecDeque<u64>,
    pending_bytes: usize,
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
}

impl TraceStore {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            parts: BTreeMap::new(),
            by_trace: HashMap::new(),
            queues: Default::default(),
            top: HashMap::new(),
            pending: HashMap::new(),
            pending_order: VecDeque::new(),
            pending_bytes: 0,
            bytes: 0,
            received: 0,
            dropped: 0,
            dropped_spans: 0,
        }
    }

    /// Adds a span of the request whose own span is `request`. Its bytes were written before.
    pub(crate) fn add_span(&mut self, trace_id: u128, request: u64, bytes: &[u8]) {
        let is_new = !self.pending.contains_key(&request);
        let mut parts = self.of_trace(trace_id).take_while(|_| is_new);
        let ended = parts.find(|(_, part)| part.root == request).map(|(event, _)| event);
        drop(parts);
        if let Some(part) = ended.and_then(|event| self.parts.get_mut(&event)) {
            // It has ended after its request.
            if part.bytes.len() + bytes.len() <= limits::TRACE_BYTES {
                self.bytes -= part.size();
                part.bytes.extend_from_slice(bytes);
                part.spans += 1;
                self.bytes += part.size();
                self.make_room();
            } else {
                part.cut += 1;
            }
            return;
        }
        let pending = self.pending.entry(request).or_default();
        if is_new {
            self.pending_order.push_back(request);
            self.pending_bytes += limits::PENDING_OVERHEAD;
        }
        if pending.bytes.len() + bytes.len() <= limits::TRACE_BYTES {
            self.pending_bytes -= pending.bytes.capacity();
            pending.bytes.extend_from_slice(bytes);
            pending.spans += 1;
            self.pending_bytes += pending.bytes.capacity();
        } else {
            pending.cut += 1;
        }
        while self.pending_bytes > self.limit / 4 {
            let Some(oldest) = self.pending_order.pop_front() else { break };
            if let Some(pending) = self.take_pending(oldest) {
                self.dropped_spans += u64::from(pending.spans) + u64::from(pending.cut);
            }
        }
        // The order has requests that have ended, too.
        if self.pending_order.len() > 64 + 2 * self.pending.len() {
            self.pending_order.retain(|request| self.pending.contains_key(request));
        }
    }

    /// Drops a span that belongs to no request.
    pub(crate) fn drop_span(&mut self) {
        self.dropped_spans += 1;
    }

    fn take_pending(&mut self, request: u64) -> Option<Pending> {
        let pending = self.pending.remove(&request)?;
        self.pending_bytes -= pending.bytes.capacity() + limits::PENDING_OVERHEAD;
        Some(pending)
    }

    /// Ends a request that is not kept.
    pub(crate) fn reject(&mut self, request: u64) {
        self.received += 1;
        self.take_pending(request);
    }

    /// Keeps a request under the number `event`.
    pub(crate) fn end(&mut self, event: u64, identity: u32, ended: Ended<'_>, names: &mut Names) {
        self.received += 1;
        let Ended { span, class, route, status, mut bytes } = ended;
        let trace_id = span.context.trace_id.number();
        let root = span.context.span_id.number();
        let pending = self.take_pending(root).unwrap_or_default();
        bytes.reserve_exact(pending.bytes.len());
        bytes.extend_from_slice(&pending.bytes);
        bytes.shrink_to_fit();
        let (route, duration) = (names.route(route), span.end.saturating_sub(span.start));
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
            route,
            status,
            class,
            protected: 0,
            spans: pending.spans + 1,
            cut: pending.cut,
            bytes,
        };
        self.bytes += part.size();
        self.parts.insert(event, part);
        self.queues[usize::from(class != Class::Normal)].push_back(event);
        self.protect(event, (identity, route), duration, class);
        self.make_room();
    }

    /// Puts a request into the lists of its route, and takes out those that it displaces.
    fn protect(&mut self, event: u64, route: (u32, u32), duration: u64, class: Class) {
        if self.top.len() >= limits::PROTECTED_ROUTES && !self.top.contains_key(&route) {
            return;
        }
        let top = self.top.entry(route).or_default();
        let mut displaced = Vec::new();
        if class == Class::Failed {
            top.failed.push_back(event);
            self.parts.entry(event).and_modify(|part| part.protected += 1);
            if top.failed.len() > limits::PROTECTED_FAILED {
                displaced.extend(top.failed.pop_front());
            }
        }
        let at = top.slowest.partition_point(|(slower, _)| *slower >= duration);
        if at < limits::PROTECTED_SLOWEST {
            top.slowest.insert(at, (duration, event));
            self.parts.entry(event).and_modify(|part| part.protected += 1);
            if top.slowest.len() > limits::PROTECTED_SLOWEST {
                displaced.extend(top.slowest.pop().map(|(_, event)| event));
            }
        }
        for event in displaced {
            if let Some(part) = self.parts.get_mut(&event) {
                part.protected = part.protected.saturating_sub(1);
                if part.protected == 0 {
                    self.queues[usize::from(part.class != Class::Normal)].push_back(event);
                }
            }
        }
    }

    /// Drops requests until all fit: normal ones first, and those in the lists of their routes
    /// last.
    fn make_room(&mut self) {
        while self.used() > self.limit {
            let Some(event) = self.next_to_drop() else { return };
            let Some(part) = self.parts.remove(&event) else { continue };
            self.bytes -= part.size();
            self.dropped += 1;
            if part.protected > 0
                && let Some(top) = self.top.get_mut(&(part.identity, part.route))
            {
                top.failed.retain(|known| *known != event);
                top.slowest.retain(|(_, known)| *known != event);
                if top.failed.is_empty() && top.slowest.is_empty() {
                    self.top.remove(&(part.identity, part.route));
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
    }

    fn next_to_drop(&mut self) -> Option<u64> {
        for queue in &mut self.queues {
            while let Some(event) = queue.pop_front() {
                // One that is protected comes back to the queue when it is displaced.
                if self.parts.get(&event).is_some_and(|part| part.protected == 0) {
                    return Some(event);
                }
            }
        }
        self.parts.keys().next().copied()
    }

    fn used(&self) -> usize {
        self.bytes + self.pending_bytes + self.top.len() * limits::ROUTE_OVERHEAD
    }

    pub(crate) fn bytes(&self) -> usize {
        self.used()
    }

    /// The number of requests that are kept, that were received, and that were dropped after they
    /// had been kept; and the spans that were dropped before their request had ended.
    pub(crate) fn counts(&self) -> [u64; 4] {
        [self.parts.len() as u64, self.received, self.dropped, self.dropped_spans]
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

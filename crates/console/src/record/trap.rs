//! The requests whose guests ended early, grouped by reason and place.

use std::collections::HashMap;

use super::drop::{Drops, Signal};
use super::trace::Part;
use crate::limits;

/// Groups of requests whose guests ended early.
#[derive(Debug)]
pub(crate) struct TrapGroups {
    limit: usize,
    groups: HashMap<TrapKey, TrapGroup>,
    bytes: usize,
    /// Requests that found no group.
    pub(crate) dropped: u64,
}

/// The properties that all requests of a group share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrapKey {
    pub(crate) identity: u32,
    pub(crate) reason: String,
    /// The file and line, else the name of a span.
    pub(crate) place: String,
}

/// Requests whose guests ended for one reason at one place.
#[derive(Clone, Debug)]
pub(crate) struct TrapGroup {
    owner: u32,
    pub(crate) route: u32,
    pub(crate) message: String,
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) trace_id: u128,
}

/// The end of a guest in one request, found in its spans.
#[derive(Clone, Debug)]
pub(crate) struct Trap<'a> {
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    /// The file and line of a panic, else the span that was open.
    pub(crate) place: String,
    pub(crate) span_id: u64,
    pub(crate) time: u64,
}

/// Returns the early end of a request's guest, if it has one.
pub(crate) fn trap_of(part: &Part) -> Option<Trap<'_>> {
    let root = part.root_view()?;
    let kind = root.attributes.text("error.type").filter(|reason| !is_status(reason))?;
    // The spans that were open have the reason that the metrics count.
    let reason = part.views().find_map(|span| span.attributes.text("wasm.trap.reason")).unwrap_or(kind);
    let end = root.start + root.duration;
    let panic = part.views().find_map(|span| {
        let event = span.events.iter().rfind(|event| event.name == "exception")?;
        let file = event.attributes.text("code.file.path");
        let line = event.attributes.unsigned("code.line.number");
        let place = file.map(|file| line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}")));
        Some((place, span.span_id, event.time, span.name))
    });
    let open =
        part.views().filter(|span| span.status == "error" && span.span_id != part.root).max_by_key(|span| span.start);
    let (place, span_id, time) = match (panic, open) {
        (Some((Some(place), span_id, time, _)), _) => (place, span_id, time),
        (Some((None, span_id, time, name)), _) => (name.to_owned(), span_id, time),
        (None, Some(open)) => (open.name.to_owned(), open.span_id, open.start + open.duration),
        (None, None) => (root.name.to_owned(), part.root, end),
    };
    Some(Trap { reason, message: root.status_text, place, span_id, time: time.clamp(root.start, end.max(root.start)) })
}

/// Returns `true` if a value of `error.type` is a status, which is no early end.
fn is_status(reason: &str) -> bool {
    reason.parse::<u16>().is_ok()
}

impl TrapGroups {
    /// No groups, for at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, groups: HashMap::new(), bytes: 0, dropped: 0 }
    }

    /// Counts a request that has ended at `now`. Groups that leave for its own are added to
    /// `drops`.
    pub(crate) fn add(&mut self, part: &Part, now: u64, drops: &mut Drops) {
        let Some(trap) = trap_of(part) else { return };
        let cut = |text: &str, bytes: usize| text[..text.floor_char_boundary(bytes)].to_owned();
        let key = TrapKey {
            identity: part.identity,
            reason: cut(trap.reason, limits::ROUTE_BYTES),
            place: cut(&trap.place, limits::ROUTE_BYTES),
        };
        if let Some(group) = self.groups.get_mut(&key) {
            group.count += 1;
            (group.last, group.trace_id, group.route) = (now, part.trace_id, part.route);
            return;
        }
        let message = cut(trap.message, limits::LIST_TEXT);
        let group = TrapGroup {
            owner: part.owner,
            route: part.route,
            message,
            count: 1,
            first: now,
            last: now,
            trace_id: part.trace_id,
        };
        let size_of_new = size(&key, &group);
        while self.groups.len() >= limits::TRAP_GROUPS || self.bytes + size_of_new > self.limit {
            let oldest = self.oldest_of_largest(part.owner, size_of_new);
            let Some((oldest, group)) = oldest.and_then(|key| self.groups.remove_entry(&key)) else {
                self.dropped += 1;
                return drops.add(part.identity, Signal::Traps, 1);
            };
            self.bytes -= size(&oldest, &group);
            self.dropped += group.count;
            drops.add(oldest.identity, Signal::Traps, group.count);
        }
        self.bytes += size_of_new;
        self.groups.insert(key, group);
    }

    /// Returns the group that was seen last the longest time ago, of the owner that has most.
    /// `size_of_new` more bytes of `owner` are to be added.
    fn oldest_of_largest(&self, owner: u32, size_of_new: usize) -> Option<TrapKey> {
        let mut bytes: Vec<usize> = Vec::new();
        for (key, group) in &self.groups {
            let at = group.owner as usize;
            bytes.resize(bytes.len().max(at + 1), 0);
            bytes[at] += size(key, group);
        }
        // One without a group has nothing to lose.
        bytes.get_mut(owner as usize).filter(|bytes| **bytes > 0).into_iter().for_each(|bytes| *bytes += size_of_new);
        let (largest, _) = (0..).zip(bytes).max_by_key(|(_, bytes)| *bytes)?;
        let of_largest = self.groups.iter().filter(|(_, group)| group.owner == largest);
        of_largest.min_by_key(|(_, group)| group.last).map(|(key, _)| key.clone())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the groups, the latest first.
    pub(crate) fn latest_first(&self) -> Vec<(&TrapKey, &TrapGroup)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by(|(a, one), (b, other)| {
            other.last.cmp(&one.last).then_with(|| (&a.reason, &a.place).cmp(&(&b.reason, &b.place)))
        });
        groups
    }
}

fn size(key: &TrapKey, group: &TrapGroup) -> usize {
    size_of::<(TrapKey, TrapGroup)>() * 2 + key.reason.len() + key.place.len() + group.message.len() + 96
}

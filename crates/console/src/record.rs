//! The recent logs and traces, in bounded memory.
//!
//! In come finished logs and spans. Out come the latest logs, and the requests that failed, were
//! slow, or were sampled, with their spans. Both are numbered by one sequence, so that a reader of
//! events resumes exactly. The owners (tenants, and components without one) share the memory: the
//! one that has most loses records when there is no room. The folder does not know requests or
//! formats.

pub(crate) mod code;
pub(crate) mod drop;
pub(crate) mod log;
pub(crate) mod name;
pub(crate) mod sampling;
pub(crate) mod trace;
pub(crate) mod trap;

use std::sync::Arc;

use wasmetry_host::Identity;
use wasmetry_host::record::{LogRecord, SpanId, SpanRecord};

use crate::limits;
use drop::{Dropped, Drops};
use log::LogStore;
use name::Names;
use trace::{Class, Ended, TraceStore};
use trap::TrapGroups;

/// The recent logs and traces.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) names: Names,
    /// The number of the last log or trace.
    pub(crate) last_event: u64,
    pub(crate) logs: LogStore,
    pub(crate) traces: TraceStore,
    pub(crate) traps: TrapGroups,
    /// The drops that are not counted in a registry yet.
    drops: Drops,
    /// Fields of logs that found no room in them.
    pub(crate) dropped_fields: u64,
    /// The event from which names may be swept again.
    sweep_from: u64,
}

impl Records {
    /// Creates empty ones for at most so many bytes of logs, of traces, of names and of groups of
    /// traps.
    pub(crate) fn new([log_bytes, trace_bytes, name_bytes, trap_bytes]: [usize; 4]) -> Self {
        Self {
            names: Names::new(name_bytes),
            last_event: 0,
            logs: LogStore::new(log_bytes),
            traces: TraceStore::new(trace_bytes),
            traps: TrapGroups::new(trap_bytes),
            drops: Drops::default(),
            dropped_fields: 0,
            sweep_from: 0,
        }
    }

    /// Keeps a log, whose body was written by [`code::put_log`], without some of its fields.
    pub(crate) fn add_log(&mut self, identity: &Arc<Identity>, log: &LogRecord, body: &[u8], dropped_fields: u64) {
        self.make_room_for_names();
        self.dropped_fields += dropped_fields;
        let origin = self.names.origin(identity);
        self.last_event += 1;
        self.logs.push(self.last_event, origin, log, body, &mut self.drops);
    }

    /// Adds a span of the request whose own span is `request`. Its bytes were written before.
    pub(crate) fn add_span(&mut self, identity: &Arc<Identity>, trace_id: u128, request: SpanId, bytes: &[u8]) {
        self.make_room_for_names();
        let origin = self.names.origin(identity);
        self.traces.add_span(trace_id, request.number(), origin, bytes, &mut self.drops);
    }

    /// Keeps a request that has ended, with its own span.
    pub(crate) fn end(&mut self, identity: &Arc<Identity>, span: &SpanRecord, ended: Ended<'_>) {
        self.make_room_for_names();
        let (origin, is_failed) = (self.names.origin(identity), ended.class() == Class::Failed);
        self.last_event += 1;
        self.traces.end(self.last_event, origin, ended, &mut self.names, &mut self.drops);
        if is_failed && let Some(part) = self.traces.get(self.last_event) {
            self.traps.add(part, span.end, &mut self.drops);
        }
    }

    /// Takes the drops since the last call, by their owners.
    pub(crate) fn take_drops(&mut self) -> Vec<Dropped> {
        self.drops.take(&self.names)
    }

    /// Forgets the names that no record has any more, if a name has found no room.
    pub(crate) fn make_room_for_names(&mut self) {
        if !self.names.is_full() || self.last_event < self.sweep_from {
            return;
        }
        self.sweep_from = self.last_event + limits::EVENTS_BETWEEN_SWEEPS;
        let mut used = self.names.none_used();
        for log in self.logs.all() {
            used.identity(log.identity);
        }
        self.traces.pending_identities().for_each(|identity| used.identity(identity));
        self.drops.note_used(&mut used);
        for (_, part) in self.traces.newest_first() {
            used.identity(part.identity);
            used.route(part.route);
        }
        for (key, group) in self.traps.latest_first() {
            used.identity(key.identity);
            used.route(group.route);
        }
        self.names.sweep(&used);
    }

    /// The bytes of all that is kept: of logs, of traces, and of what both share.
    pub(crate) fn bytes(&self) -> [usize; 3] {
        [self.logs.bytes(), self.traces.bytes(), self.names.bytes() + self.traps.bytes()]
    }
}

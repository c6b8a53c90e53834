//! The recent logs and traces, in bounded memory.
//!
//! In come finished logs and spans. Out come the latest logs, and the requests that failed, were
//! slow, or were sampled, with their spans. Both are numbered by one sequence, so that a reader of
//! events resumes exactly. The folder does not know requests or formats.

pub(crate) mod code;
pub(crate) mod log;
pub(crate) mod name;
pub(crate) mod sampling;
pub(crate) mod trace;
pub(crate) mod trap;

use std::sync::Arc;

use wasmetry_host::Identity;
use wasmetry_host::record::LogRecord;

use crate::limits;
use log::LogStore;
use name::Names;
use trace::TraceStore;
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
            dropped_fields: 0,
            sweep_from: 0,
        }
    }

    /// Keeps a log, whose body was written by [`code::put_log`], without some of its fields.
    pub(crate) fn add_log(&mut self, identity: &Arc<Identity>, log: &LogRecord, body: &[u8], dropped_fields: u64) {
        self.make_room_for_names();
        self.dropped_fields += dropped_fields;
        let identity = self.names.identity(identity);
        self.last_event += 1;
        self.logs.push(self.last_event, identity, log, body);
    }

    /// Forgets the names that no record has any more, if a name has found no room.
    pub(crate) fn make_room_for_names(&mut self) {
        if !self.names.is_full() || self.last_event < self.sweep_from {
            return;
        }
        self.sweep_from = self.last_event + limits::EVENTS_BETWEEN_SWEEPS;
        let mut used = self.names.none_used();
        for log in self.logs.before(u64::MAX) {
            used.identity(log.identity);
        }
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

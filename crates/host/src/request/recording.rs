//! The settings of recording, and the outcome of a request, which they depend on.

use std::time::Duration;

use wasmetry_abi::Level;

use crate::limits;
use crate::record::Redaction;
use crate::request::access::AccessLog;
use crate::request::filter::Filter;

/// The settings of a component's logs and spans: what guests record, and what is exported.
///
/// Records finer than the export level wait in a buffer until their request ends. They are exported
/// only if the request is kept, because it failed or was slow (tail sampling).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The export level of each target.
    pub export: Filter,
    /// The finest level that guests record. Records between it and `export` are available when a
    /// request is kept.
    pub record: Level,
    /// Keeps each request that failed or whose guest ended in a trap: all of its records are
    /// exported, whatever their level, and whether or not its trace is sampled.
    pub keep_failed: bool,
    /// Keeps each request that took longer than this.
    pub keep_slow: Option<Duration>,
    /// The query parameters that are redacted in the URLs of the host's spans.
    pub redaction: Redaction,
    /// The requests that have a record in the access log.
    pub access_log: AccessLog,
}

impl Default for Recording {
    /// Exports `info`, records `debug`, and keeps failed requests.
    fn default() -> Self {
        let (export, redaction) = (Filter::default(), Redaction::default());
        let access_log = AccessLog::default();
        Self { export, record: Level::Debug, keep_failed: true, keep_slow: None, redaction, access_log }
    }
}

impl Recording {
    /// The level that guests record at.
    pub fn record_level(&self) -> Level {
        if self.may_keep() { self.record.max(self.export.finest()) } else { self.export.finest() }
    }

    /// Returns the duration beyond which a request is slow: to keep it, in the access log, in its
    /// facts, and so in the console.
    pub fn slow(&self) -> Duration {
        self.keep_slow.unwrap_or(limits::SLOW_REQUEST)
    }

    /// Returns `true` if a request may be kept.
    pub(super) fn may_keep(&self) -> bool {
        self.keep_failed || self.keep_slow.is_some()
    }

    /// Returns `true` if a request with this outcome is kept.
    pub(super) fn keeps(&self, outcome: Outcome<'_>, took: Duration) -> bool {
        let is_slow = self.keep_slow.is_some_and(|limit| took > limit);
        is_slow || (self.keep_failed && outcome != Outcome::Ok)
    }
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The request succeeded.
    Ok,
    /// The guest answered with an error.
    Failed,
    /// The guest ended early, for this reason.
    Ended(&'a str),
}

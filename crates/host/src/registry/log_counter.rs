//! The numbers of logs that the guests of a component have recorded.

use once_cell::sync::OnceCell;
use wasmetry_abi::Level;

use crate::Identity;
use crate::registry::instrument::{Counter, Family};

/// The name of the family.
pub(super) const LOG_RECORDS: &str = "wasm_log_records_total";

/// The counters of one component, by level.
pub(super) struct LogCounters {
    family: Family<Counter>,
    by_level: OnceCell<[Counter; Level::ALL.len()]>,
}

impl LogCounters {
    pub(super) fn new(family: Family<Counter>) -> Self {
        Self { family, by_level: OnceCell::new() }
    }

    /// Makes the series, at 0, of a component whose logs are received.
    pub(super) fn expect(&self, identity: &Identity) -> &[Counter; Level::ALL.len()] {
        let [component, version, tenant] = identity.values();
        self.by_level.get_or_init(|| {
            Level::ALL.map(|level| match level {
                // No log has this level, so it has no series.
                Level::Off => Counter::default(),
                level => self.family.with(&[component, version, tenant, level.name()]),
            })
        })
    }

    /// Counts a log.
    pub(super) fn count(&self, identity: &Identity, level: Level) {
        self.expect(identity)[level as usize].inc();
    }
}

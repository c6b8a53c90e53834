//! The numbers of logs that the guests of a component have recorded.

use once_cell::sync::OnceCell;
use wasmetry_abi::Level;

use crate::registry::instrument::Counter;
use crate::{Identity, Registry};

/// The counters of one component, by level.
#[derive(Default)]
pub(super) struct LogCounters {
    by_level: OnceCell<[Counter; Level::ALL.len()]>,
}

impl LogCounters {
    /// Makes the series, at 0, of a component whose logs are received.
    pub(super) fn expect(&self, registry: &Registry, identity: &Identity) {
        self.by_level.get_or_init(|| {
            let keys = [&Identity::KEYS[..], &["level"]].concat();
            let help = "Logs that guests have recorded, exported or not.";
            let family = registry.counter("wasm_log_records_total", help, &keys);
            let [component, version, tenant] = identity.values();
            Level::ALL.map(|level| match level {
                // No log has this level, so it has no series.
                Level::Off => Counter::default(),
                level => family.with(&[component, version, tenant, level.name()]),
            })
        });
    }

    /// Counts a log.
    pub(super) fn count(&self, level: Level) {
        if let Some(counters) = self.by_level.get() {
            counters[level as usize].inc();
        }
    }
}

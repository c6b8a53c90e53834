//! Collection at host calls: a guest that waits in one runs no code, so it is collected before.

use std::time::{Duration, Instant};

use wasmtime::{CallHook, Store};

use super::collection::collect;
use super::state::TelemetryView;

/// The share of time that collection may take: one part in this many.
const SHARE: u32 = 20;

/// The most time that is saved up for collection, in nanoseconds.
const MAX_SAVED: i64 = 1_000_000;

/// Collects the guest at each host call, within a [`Budget`].
pub(super) fn collect_at_host_calls<T: TelemetryView + 'static>(store: &mut Store<T>) {
    let mut budget = Budget::new(Instant::now());
    store.call_hook(move |mut store, hook| {
        let is_host_call = matches!(hook, CallHook::CallingHost);
        if is_host_call && !store.data_mut().telemetry().regions.is_empty() {
            let start = Instant::now();
            if budget.allows(start) {
                collect(store);
                budget.spend(start.elapsed());
            }
        }
        Ok(())
    });
}

/// The time that collection may take, so that it never slows down a guest that makes many host
/// calls.
#[derive(Debug)]
struct Budget {
    /// In nanoseconds; negative after a collection that took more than was saved.
    saved: i64,
    /// The time up to which savings are counted.
    counted: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { saved: MAX_SAVED, counted: now }
    }

    /// Returns `true` if a collection may begin at `now`.
    fn allows(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.counted);
        self.saved = self.saved.saturating_add(nanos(passed / SHARE)).min(MAX_SAVED);
        self.counted = now;
        self.saved > 0
    }

    /// Takes the time of a collection off the savings.
    fn spend(&mut self, took: Duration) {
        self.saved = self.saved.saturating_sub(nanos(took));
    }
}

/// Returns a duration in nanoseconds, at most `i64::MAX`.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_bounds_time_of_collection() {
        let start = Instant::now();
        let cost = Duration::from_micros(100);
        let mut budget = Budget::new(start);
        let calls = 10_000;
        let collections = (0..calls).filter(|call| {
            let may_collect = budget.allows(start + cost * *call);
            if may_collect {
                budget.spend(cost);
            }
            may_collect
        });
        // 10 at once from the savings, then one in twenty.
        assert!((500..=520).contains(&collections.count()));
        assert!(budget.allows(start + cost * calls + Duration::from_secs(1)), "it saves up again");
    }
}

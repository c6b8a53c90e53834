//! The share of the requests that neither failed nor were slow which is kept.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of random values of a trace id: its right-most 7 bytes.
///
/// Source: W3C Trace Context, level 2, Random Trace ID Flag.
const VALUES: u64 = 1 << 56;

/// Selects requests: all of them while there are few, and a bounded number a second of many.
///
/// The selection is by the trace id, so that all requests of one trace have the same one within a
/// second. It takes no lock.
#[derive(Debug)]
pub(crate) struct Sampling {
    /// Requests a second that are selected of many.
    limit: u64,
    second: AtomicU64,
    seen: AtomicU64,
    kept: AtomicU64,
    /// Requests with a smaller random value are selected.
    threshold: AtomicU64,
    /// All requests, and those that were selected.
    all: AtomicU64,
    selected: AtomicU64,
}

impl Sampling {
    /// Creates a selection of all requests, up to about `limit` a second.
    pub(crate) fn new(limit: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            limit,
            second: zero(),
            seen: zero(),
            kept: zero(),
            threshold: AtomicU64::new(VALUES),
            all: zero(),
            selected: zero(),
        }
    }

    /// Returns `true` if a request with this trace is selected. `now` is in nanoseconds.
    pub(crate) fn selects(&self, trace_id: u128, now: u64) -> bool {
        let second = now / 1_000_000_000;
        let last = self.second.load(Relaxed);
        if second != last && self.second.compare_exchange(last, second, Relaxed, Relaxed).is_ok() {
            let (seen, limit) = (self.seen.swap(0, Relaxed), self.limit);
            self.kept.store(0, Relaxed);
            let threshold = if seen <= limit || second != last + 1 {
                VALUES
            } else {
                (u128::from(VALUES) * u128::from(limit) / u128::from(seen)) as u64
            };
            self.threshold.store(threshold, Relaxed);
        }
        self.seen.fetch_add(1, Relaxed);
        self.all.fetch_add(1, Relaxed);
        let is_selected = (trace_id as u64 & (VALUES - 1)) < self.threshold.load(Relaxed)
            // In the first second of a peak the share is too large.
            && self.kept.fetch_add(1, Relaxed) < 2 * self.limit;
        if is_selected {
            self.selected.fetch_add(1, Relaxed);
        }
        is_selected
    }

    /// The share that is selected now.
    pub(crate) fn share(&self) -> f64 {
        self.threshold.load(Relaxed) as f64 / VALUES as f64
    }

    /// All requests that were seen, and those that were selected.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.all.load(Relaxed), self.selected.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_follows_the_rate() {
        let limit = 20;
        let sampling = Sampling::new(limit);
        let mut seed = 1u64;
        let mut run = |second: u64, requests: u64| {
            (0..requests)
                .filter(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let random = u128::from(seed ^ seed >> 29);
                    sampling.selects(random, second * 1_000_000_000)
                })
                .count() as u64
        };
        assert_eq!(run(1, limit), limit);
        // The first second of a peak has a bound of its own.
        assert_eq!(run(2, 10_000), 2 * limit);
        let kept: u64 = (3..23).map(|second| run(second, 10_000)).sum();
        assert!((15 * limit..=25 * limit).contains(&kept), "{kept}");
        assert!(sampling.share() < 0.01);
        // A pause ends the peak.
        assert_eq!(run(60, limit), limit);
        assert_eq!(sampling.share(), 1.0);
    }
}

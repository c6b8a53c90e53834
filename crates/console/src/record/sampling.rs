//! The share of the requests that neither failed nor were slow which is kept.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of random values of a trace id: its right-most 7 bytes.
///
/// Source: W3C Trace Context, level 2, Random Trace ID Flag.
const VALUES: u64 = 1 << 56;

/// Tenants that are distinguished. Of more, some have a budget together.
const CELLS: usize = 64;

/// The number of parts of a request in which budgets are divided.
const PARTS: u64 = 1 << 10;

/// Selects requests: all of them while there are few, and a bounded number a second of many.
///
/// Each tenant has a budget within the whole: an equal part, and of what others do not need. The
/// components without a tenant have one together, so that a trace through several is whole.
///
/// The selection is by the trace id, so that all requests of one trace of a tenant have the same
/// one within a second. It takes no lock.
#[derive(Debug)]
pub(crate) struct Sampling {
    /// Requests a second that are selected of many.
    limit: u64,
    second: AtomicU64,
    /// By the hash of the tenant; the first is that of components without one.
    cells: [Cell; CELLS],
    /// The share of all requests that is selected, in [`VALUES`] parts.
    share: AtomicU64,
    /// The requests of the seconds before, and those that were selected of all.
    before: AtomicU64,
    selected: AtomicU64,
}

/// The requests of a tenant in this second.
#[derive(Debug)]
struct Cell {
    seen: AtomicU64,
    kept: AtomicU64,
    /// The most that are selected. In the first second of a peak the share is too large.
    most: AtomicU64,
    /// Requests with a smaller random value are selected.
    threshold: AtomicU64,
}

impl Sampling {
    /// Creates a selection of all requests, up to about `limit` a second.
    pub(crate) fn new(limit: u64) -> Self {
        let zero = || AtomicU64::new(0);
        let cell =
            |_| Cell { seen: zero(), kept: zero(), most: AtomicU64::new(2 * limit), threshold: AtomicU64::new(VALUES) };
        Self {
            limit,
            second: zero(),
            cells: std::array::from_fn(cell),
            share: AtomicU64::new(VALUES),
            before: zero(),
            selected: zero(),
        }
    }

    /// Returns `true` if a request of a tenant with this trace is selected. `now` is in
    /// nanoseconds.
    pub(crate) fn selects(&self, tenant: &str, trace_id: u128, now: u64) -> bool {
        let second = now / 1_000_000_000;
        let last = self.second.load(Relaxed);
        if second != last && self.second.compare_exchange(last, second, Relaxed, Relaxed).is_ok() {
            self.begin_second(second == last + 1);
        }
        let cell = self.cell(tenant);
        cell.seen.fetch_add(1, Relaxed);
        let is_selected = (trace_id as u64 & (VALUES - 1)) < cell.threshold.load(Relaxed)
            && cell.kept.fetch_add(1, Relaxed) < cell.most.load(Relaxed);
        if is_selected {
            self.selected.fetch_add(1, Relaxed);
        }
        is_selected
    }

    fn cell(&self, tenant: &str) -> &Cell {
        if tenant.is_empty() {
            return &self.cells[0];
        }
        // FNV-1a: it needs to be quick, and the names are the operator's.
        let hash = tenant
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        &self.cells[1 + (hash >> 32) as usize % (CELLS - 1)]
    }

    /// Divides the limit among the tenants that had requests in the second before. Without one, as
    /// after a pause, all requests are selected at first.
    #[cold]
    fn begin_second(&self, has_before: bool) {
        let mut active: Vec<(u64, &Cell)> = Vec::with_capacity(CELLS);
        for cell in &self.cells {
            cell.kept.store(0, Relaxed);
            cell.threshold.store(VALUES, Relaxed);
            let seen = cell.seen.swap(0, Relaxed);
            if seen > 0 {
                active.push((seen, cell));
            }
        }
        let all: u64 = active.iter().map(|(seen, _)| seen).sum();
        self.before.fetch_add(all, Relaxed);
        // A tenant that comes within the second gets as much as if it had been there.
        let most = (2 * self.limit / (active.len() as u64 + 1)).max(1);
        self.cells.iter().for_each(|cell| cell.most.store(most, Relaxed));
        // Those with few requests leave what they do not need to the others.
        active.sort_unstable_by_key(|(seen, _)| *seen);
        let (mut left, count) = (self.limit * PARTS, active.len() as u64);
        for ((seen, cell), others) in active.iter().zip((1..=count).rev()) {
            let budget = (left / others).min(seen * PARTS);
            left -= budget;
            if has_before {
                let threshold = u128::from(VALUES) * u128::from(budget) / u128::from(seen * PARTS);
                cell.threshold.store(threshold as u64, Relaxed);
            }
            let equal = self.limit * PARTS / count;
            cell.most.store((2 * budget.max(equal)).div_ceil(PARTS), Relaxed);
        }
        let share = match all {
            1.. if has_before => u128::from(VALUES) * u128::from(self.limit * PARTS - left) / u128::from(all * PARTS),
            _ => u128::from(VALUES),
        };
        self.share.store(share as u64, Relaxed);
    }

    /// The share of all requests that is selected now.
    pub(crate) fn share(&self) -> f64 {
        self.share.load(Relaxed) as f64 / VALUES as f64
    }

    /// The share of the requests of a tenant that is selected now.
    pub(crate) fn share_of(&self, tenant: &str) -> f64 {
        self.cell(tenant).threshold.load(Relaxed) as f64 / VALUES as f64
    }

    /// All requests that were seen, and those that were selected.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let now: u64 = self.cells.iter().map(|cell| cell.seen.load(Relaxed)).sum();
        (self.before.load(Relaxed) + now, self.selected.load(Relaxed))
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
                    sampling.selects("", random, second * 1_000_000_000)
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
    /// A busy tenant takes nothing from a quiet one; what that does not need is the busy one's.
    #[test]
    fn tenants_have_budgets() {
        let sampling = Sampling::new(20);
        let mut seed = 1u64;
        let mut run = |second: u64, requests: &[(&str, u64)]| -> Vec<u64> {
            let mut kept = vec![0; requests.len()];
            let most = requests.iter().map(|(_, count)| *count).max().unwrap_or(0);
            for number in 0..most {
                for (at, (tenant, count)) in requests.iter().enumerate() {
                    // Those of each tenant are spread over the second.
                    if number * count / most == (number + 1) * count / most {
                        continue;
                    }
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let random = u128::from(seed ^ seed >> 29);
                    kept[at] += u64::from(sampling.selects(tenant, random, second * 1_000_000_000));
                }
            }
            kept
        };
        let mut sum = [0; 3];
        for second in 1..41 {
            let kept = run(second, &[("mallory", 10_000), ("acme", 5), ("", 1000)]);
            assert_eq!(kept[1], 5, "{second}");
            sum.iter_mut().zip(&kept).for_each(|(sum, kept)| *sum += kept);
        }
        // The other two have 7.5 each in the mean.
        assert!((200..400).contains(&sum[0]) && (200..400).contains(&sum[2]), "{sum:?}");
        assert!(sampling.share_of("mallory") < 0.01 && sampling.share_of("acme") == 1.0);
        assert!(sampling.share() < 0.01);
        let (all, selected) = sampling.counts();
        assert_eq!((all, selected), (40 * 11_005, sum.iter().sum()));
        // More tenants than requests a second: each has a part of the whole.
        let names: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
        let many: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 100)).collect();
        let kept: u64 = (41..61).flat_map(|second| run(second, &many)).sum();
        assert!((200..=20 * 40).contains(&kept), "{kept}");
    }
}

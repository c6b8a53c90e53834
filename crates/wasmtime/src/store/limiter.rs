//! The linear memory of one store: its limit, and the gauge that counts it.

use wasmetry_host::{Gauge, Histogram};
use wasmtime::ResourceLimiter;

use crate::component::Own;

/// Counts the linear memory of a store's instances and denies growth beyond the limit.
///
/// Dropping it takes the memory off the gauge and records it in the histograms: memory only grows,
/// so that its last size is the largest.
pub(crate) struct Limiter {
    gauge: Gauge,
    peak: Histogram,
    /// As a share of the limit.
    peak_ratio: Histogram,
    limit: Option<usize>,
    /// The bytes of all memories in the store.
    bytes: usize,
    /// The bytes that the last permitted growth added; subtracted if that growth fails.
    last_growth: usize,
    has_denied: bool,
}

impl Limiter {
    pub(super) fn new(component: &Own, limit: Option<usize>) -> Self {
        let Own { memory, memory_peak, memory_peak_ratio, .. } = component;
        let (gauge, peak, peak_ratio) = (memory.clone(), memory_peak.clone(), memory_peak_ratio.clone());
        Self { gauge, peak, peak_ratio, limit, bytes: 0, last_growth: 0, has_denied: false }
    }

    /// Returns the linear memory of all instances in the store, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns `true` if a growth was denied or failed.
    pub(super) fn has_denied(&self) -> bool {
        self.has_denied
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let bytes = self.bytes.saturating_add(growth);
        if self.limit.is_some_and(|limit| bytes > limit) {
            self.has_denied = true;
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.bytes = bytes;
        self.last_growth = growth;
        self.gauge.add(growth as i64);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Wasmtime also calls this for a growth past the memory's own maximum, which added nothing.
        let growth = std::mem::take(&mut self.last_growth);
        self.bytes = self.bytes.saturating_sub(growth);
        self.gauge.add(-(growth as i64));
        self.has_denied = true;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.gauge.add(-(self.bytes as i64));
        self.peak.observe(self.bytes as f64);
        if let Some(limit) = self.limit {
            self.peak_ratio.observe(self.bytes as f64 / limit as f64);
        }
    }
}

//! The linear memory and the tables of one store: their limit, and the gauge that counts memory.

use wasmetry_host::{Gauge, Histogram, StoreMemory, limits};
use wasmtime::ResourceLimiter;

use crate::component::Own;

/// Bytes of an element of a table.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// Bytes of tables that are not charged to the limit, so that a guest with one page of memory has
/// its functions.
const FREE_TABLE_BYTES: usize = 64 * 1024;

/// Counts the linear memory of a store's instances and denies growth beyond the limit, which it
/// shares with the memory that the host keeps for the store.
///
/// Dropping it takes the memory off the gauge and records it in the histograms: memory only grows,
/// so that its last size is the largest.
pub(crate) struct Limiter {
    gauge: Gauge,
    peak: Histogram,
    /// As a share of the limit.
    peak_ratio: Histogram,
    limit: Option<usize>,
    /// The memory that the host keeps.
    host: StoreMemory,
    /// The bytes that the embedder keeps.
    embedder: usize,
    /// The bytes of all memories in the store.
    bytes: usize,
    /// The bytes that the last permitted growth added; subtracted if that growth fails.
    last_growth: usize,
    /// The bytes of all tables in the store.
    table_bytes: usize,
    has_denied: bool,
}

impl Limiter {
    pub(super) fn new(component: &Own, host: StoreMemory, limit: Option<usize>) -> Self {
        let Own { memory, memory_peak, memory_peak_ratio, .. } = component;
        let (gauge, peak, peak_ratio) = (memory.clone(), memory_peak.clone(), memory_peak_ratio.clone());
        Self {
            gauge,
            peak,
            peak_ratio,
            limit,
            host,
            embedder: 0,
            bytes: 0,
            last_growth: 0,
            table_bytes: 0,
            has_denied: false,
        }
    }

    /// Returns the linear memory of all instances in the store, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes of tables that are charged to the limit.
    fn charged_tables(&self) -> usize {
        self.table_bytes.saturating_sub(FREE_TABLE_BYTES)
    }

    /// Returns `true` if memories and tables of these bytes fit into the limit, with what the host
    /// keeps.
    fn fits(&mut self, memory: usize, tables: usize) -> bool {
        let kept = usize::try_from(self.host.bytes()).unwrap_or(usize::MAX);
        let kept = kept.saturating_add(self.embedder);
        let all = memory.saturating_add(kept).saturating_add(tables.saturating_sub(FREE_TABLE_BYTES));
        let fits = self.limit.is_none_or(|limit| all <= limit);
        self.has_denied |= !fits;
        fits
    }

    /// Returns what neither the guest nor the embedder has of the limit, in bytes.
    fn rest(&self) -> Option<usize> {
        let used = self.bytes.saturating_add(self.charged_tables()).saturating_add(self.embedder);
        self.limit.map(|limit| limit.saturating_sub(used))
    }

    /// Leaves the host what the guest and the embedder do not have.
    fn share(&self) {
        if let Some(rest) = self.rest() {
            self.host.set_limit((rest as u64).max(limits::RESERVED_STORE_MEMORY));
        }
    }

    /// Sets the bytes that the embedder keeps for the guest.
    pub(super) fn set_embedder_bytes(&mut self, bytes: usize) {
        self.embedder = bytes;
        self.share();
    }

    /// Returns what is left of the limit, in bytes, after what the host may keep.
    pub(super) fn free_bytes(&self) -> Option<usize> {
        let may_keep = usize::try_from(self.host.limit()).unwrap_or(usize::MAX);
        self.rest().map(|rest| rest.saturating_sub(may_keep))
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
        if !self.fits(bytes, self.table_bytes) {
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.bytes = bytes;
        self.last_growth = growth;
        self.gauge.add(growth as i64);
        self.share();
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // Wasmtime also calls this for a growth past the memory's own maximum, which added nothing.
        let growth = std::mem::take(&mut self.last_growth);
        self.bytes = self.bytes.saturating_sub(growth);
        self.gauge.add(-(growth as i64));
        self.share();
        self.has_denied = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT);
        let bytes = self.table_bytes.saturating_add(growth);
        if !self.fits(self.bytes, bytes) {
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_bytes = bytes;
        self.share();
        Ok(true)
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

#[cfg(test)]
mod tests {
    use wasmetry_host::handle_api::Descriptor;
    use wasmetry_host::{Declarations, Identity, Merge, Registry};

    use crate::Telemetry;

    /// The memory that the host keeps for a store is a part of the store's limit.
    #[test]
    fn limit_includes_host_memory() {
        const LIMIT: usize = 1 << 20;
        let telemetry = Telemetry::without_engine(Registry::new());
        let component = telemetry.declared_component(Identity::new("shop"), Declarations::default());
        let mut state = component.state_with_memory_limit(LIMIT);
        let mut recorder = component.own.component.recorder_in(&state.memory);
        let queue = Descriptor { name: "queue_jobs", help: "Jobs.", unit: "" };
        for queue_number in 0..100 {
            let labels = [("queue", queue_number.to_string())];
            let labels = labels.each_ref().map(|(key, value)| (*key, value.as_str()));
            recorder.gauge(&queue, Merge::Last, &labels).expect("there is room").set(1.0);
        }
        let kept = usize::try_from(state.telemetry_memory_bytes()).expect("a small number");
        assert!((1..LIMIT / 2).contains(&kept), "{kept}");
        assert!(!state.take_memory(LIMIT - kept + 1) && state.was_denied_memory());
        assert!(state.take_memory(LIMIT - kept));
        assert!(!state.take_memory(1));
        drop(recorder);
        assert_eq!(state.telemetry_memory_bytes(), 0);
        assert!(state.take_memory(kept) && !state.take_memory(1), "the guest has what the host has given back");
    }

    /// The memory that the embedder keeps for a guest is a part of the store's limit too.
    #[test]
    fn limit_includes_embedder_memory() {
        const LIMIT: usize = 64 << 20;
        let telemetry = Telemetry::without_engine(Registry::new());
        let component = telemetry.declared_component(Identity::new("shop"), Declarations::default());
        let mut state = component.state_with_memory_limit(LIMIT);
        let host = usize::try_from(wasmetry_host::limits::STORE_MEMORY).expect("a small number");
        assert_eq!(state.free_bytes(), Some(LIMIT - host));
        state.set_embedder_bytes(24 << 20);
        assert_eq!(state.free_bytes(), Some(LIMIT - host - (24 << 20)));
        assert!(!state.take_memory((40 << 20) + 1) && state.take_memory(40 << 20));
        assert_eq!(state.free_bytes(), Some(0));
        state.set_embedder_bytes(0);
        assert!(state.take_memory(24 << 20) && !state.take_memory(1));
        assert_eq!(component.state().free_bytes(), None, "there is no limit");
    }
}

//! The memory of what WASI keeps for a guest, which counts towards the limit of the guest's memory.

use wasmetry_wasmtime::StoreState;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;

use super::limits::{FREE_RESOURCES, MAX_RESOURCES, RESOURCE};

/// The state of a store whose resources are charged.
pub(crate) trait ChargedState {
    /// Returns the resources of the store, and its telemetry.
    fn charged(&mut self) -> (&mut ResourceTable, &mut StoreState);
}

/// Implements Wasmtime's limiter for a state by [`limited`].
macro_rules! limit_resources {
    ($state:ty) => {
        impl wasmtime::ResourceLimiter for $state {
            fn memory_growing(
                &mut self,
                current: usize,
                desired: usize,
                maximum: Option<usize>,
            ) -> wasmtime::Result<bool> {
                $crate::guest::resources::limited(self, |limiter| limiter.memory_growing(current, desired, maximum))
            }

            fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
                $crate::guest::resources::limited(self, |limiter| limiter.memory_grow_failed(error))
            }

            fn table_growing(
                &mut self,
                current: usize,
                desired: usize,
                maximum: Option<usize>,
            ) -> wasmtime::Result<bool> {
                $crate::guest::resources::limited(self, |limiter| limiter.table_growing(current, desired, maximum))
            }
        }
    };
}
pub(crate) use limit_resources;

/// Lets the store's limiter decide on a growth, with what the resources have now. Leaves them
/// what is free after that.
pub(crate) fn limited<R>(state: &mut impl ChargedState, decide: impl FnOnce(&mut dyn ResourceLimiter) -> R) -> R {
    let (table, telemetry) = state.charged();
    let charged = length(table).saturating_sub(FREE_RESOURCES);
    telemetry.set_embedder_bytes(charged * RESOURCE);
    let decision = decide(telemetry.limiter());
    share(table, telemetry, charged);
    decision
}

/// Returns the length of a table, free entries included: they are used again whatever the capacity
/// is. For 16,384 entries it takes less than a millisecond.
fn length(table: &mut ResourceTable) -> usize {
    // A table does not tell its length. It grows when no entry is free, and then its capacity
    // holds.
    let capacity = table.max_capacity();
    table.set_max_capacity(0);
    let free: Vec<_> = std::iter::from_fn(|| table.push(()).ok()).collect();
    let length = table.iter_mut().count();
    for entry in free {
        let _ = table.delete(entry);
    }
    table.set_max_capacity(capacity);
    length
}

/// Sets the number of resources that a new store may have.
pub(crate) fn bound(table: &mut ResourceTable, telemetry: &StoreState) {
    share(table, telemetry, 0);
}

/// Sets the number of resources of a store, of which so many are charged.
fn share(table: &mut ResourceTable, telemetry: &StoreState, charged: usize) {
    let fitting = telemetry.free_bytes().map_or(usize::MAX, |bytes| bytes / RESOURCE);
    table.set_max_capacity(fitting.saturating_add(charged).saturating_add(FREE_RESOURCES).min(MAX_RESOURCES));
}

#[cfg(test)]
mod tests {
    use wasmetry_host::{Identity, Registry};
    use wasmetry_wasmtime::Telemetry;
    use wasmtime::{Config, Engine};

    use super::*;

    struct State {
        table: ResourceTable,
        telemetry: StoreState,
    }

    impl ChargedState for State {
        fn charged(&mut self) -> (&mut ResourceTable, &mut StoreState) {
            (&mut self.table, &mut self.telemetry)
        }
    }

    limit_resources!(State);

    fn state(memory: usize) -> State {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let telemetry = Telemetry::new(Registry::new(), &engine);
        let component = telemetry.component(Identity::new("shop"), b"\0asm\x0d\0\x01\0").unwrap();
        let telemetry = component.state_with_memory_limit(memory);
        let mut table = ResourceTable::new();
        bound(&mut table, &telemetry);
        State { table, telemetry }
    }

    /// Memory and resources together stay below the limit, but for those that are free.
    #[test]
    fn guest_has_memory_or_resources() {
        const LIMIT: usize = 128 << 20;
        let mut state = state(LIMIT);
        while state.table.push(()).is_ok() {}
        let charged = (state.table.iter_mut().count() - FREE_RESOURCES) * RESOURCE;
        assert!((LIMIT / 2..LIMIT).contains(&charged), "{charged}");
        assert!(!state.memory_growing(0, LIMIT - charged + 1, None).unwrap());
        assert!(state.memory_growing(0, LIMIT - charged, None).unwrap());
    }

    /// Resources that a guest has dropped stay charged: their entries are used again.
    #[test]
    fn dropped_resources_stay_charged() {
        const LIMIT: usize = 128 << 20;
        let mut state = state(LIMIT);
        let resources: Vec<_> = std::iter::from_fn(|| state.table.push(()).ok()).collect();
        let charged = (resources.len() - FREE_RESOURCES) * RESOURCE;
        for resource in resources {
            state.table.delete(resource).unwrap();
        }
        assert!(!state.memory_growing(0, LIMIT - charged + 1, None).unwrap());
        assert!(state.memory_growing(0, LIMIT - charged, None).unwrap());
        while state.table.push(()).is_ok() {}
        assert_eq!(state.table.iter_mut().count(), FREE_RESOURCES + charged / RESOURCE);
    }

    /// A guest that has all of its memory keeps the free resources.
    #[test]
    fn large_guest_has_free_resources() {
        const LIMIT: usize = 64 << 20;
        let mut state = state(LIMIT);
        assert!(state.memory_growing(0, LIMIT, None).unwrap());
        while state.table.push(()).is_ok() {}
        assert_eq!(state.table.iter_mut().count(), FREE_RESOURCES);
    }
}

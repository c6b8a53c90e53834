//! Conflicts: metrics that are not exported because another one has their name.

use wasmetry_host::{Declarations, Identity, Registry, Rejected};
use wasmetry_wasmtime::Telemetry;

/// A registry like that of `wasmetry serve`, with the metrics of the host, in which components are
/// registered without being run.
pub(crate) struct TrialRegistry {
    telemetry: Telemetry,
}

impl TrialRegistry {
    pub(crate) fn new() -> Self {
        Self { telemetry: Telemetry::without_engine(Registry::new()) }
    }

    /// Registers a component. Returns its metrics that conflict with those of the host, with those
    /// of the components before it, or among themselves.
    pub(crate) fn register(&self, identity: Identity, declarations: &Declarations) -> Vec<Rejected> {
        self.telemetry.declared_component(identity, declarations.clone()).conflicts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmetry_abi::{Descriptor, Kind};

    const LOADED: Descriptor<'static> = Descriptor::new(Kind::CounterU64, "classes_loaded_total", "Loads.");
    const LOADED_NOW: Descriptor<'static> = Descriptor::new(Kind::GaugeI64, "classes_loaded", "Loaded now.");
    static LOADED_RECORD: [u8; LOADED.record_len()] = LOADED.encode();
    static LOADED_NOW_RECORD: [u8; LOADED_NOW.record_len()] = LOADED_NOW.encode();

    fn names(conflicts: &[Rejected]) -> Vec<&str> {
        conflicts.iter().map(|conflict| conflict.name.as_str()).collect()
    }

    #[test]
    fn conflicts_within_and_across_components() {
        let registry = TrialRegistry::new();
        let both = Declarations::from_sections([&LOADED_RECORD[..], &LOADED_NOW_RECORD]);
        let conflicts = registry.register(Identity::new("one"), &both);
        assert_eq!(names(&conflicts), ["classes_loaded_total"]);
        assert!(conflicts[0].reason.starts_with("this component has `classes_loaded`"), "{conflicts:?}");
        let counter = Declarations::from_sections([&LOADED_RECORD[..]]);
        let conflicts = registry.register(Identity::new("two"), &counter);
        assert!(conflicts[0].reason.starts_with("the component `one` has `classes_loaded`"), "{conflicts:?}");
        assert!(TrialRegistry::new().register(Identity::new("two"), &counter).is_empty());
    }
}

//! The components whose recording levels clients of `/recording` can read and change.

use std::sync::{Arc, Mutex, PoisonError};

use wasmetry_export::scrape::Recordings;
use wasmetry_host::{Identity, Recording};
use wasmetry_wasmtime::ObservedComponent;

/// The components in service, whose recording can be changed.
#[derive(Clone, Default)]
pub(crate) struct Components(Arc<Mutex<Vec<ObservedComponent>>>);

impl Components {
    /// Replaces the components.
    pub(crate) fn set(&self, components: Vec<ObservedComponent>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = components;
    }

    fn get(&self) -> Vec<ObservedComponent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Recordings for Components {
    fn all(&self) -> Vec<(Identity, Recording)> {
        let all = self.get();
        all.iter().map(|component| (component.identity().clone(), (*component.recording()).clone())).collect()
    }

    fn update(&self, change: &dyn Fn(&Identity, &Recording) -> Option<Recording>) {
        for component in self.get() {
            if let Some(recording) = change(component.identity(), &component.recording()) {
                component.set_recording(recording);
            }
        }
    }
}

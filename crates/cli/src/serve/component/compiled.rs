//! A binary that is compiled and linked once for all components that are made of it.
//!
//! Its engine has a pool of instances, from which each component reserves as many as it may have at
//! a time or, if the pool is too small for that, a few. Components share the instances that are not
//! reserved. A component that is replaced gives its reservation back when its last request has
//! ended.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::sync::Semaphore;
use wasmetry_host::Declarations;
use wasmtime::Engine;

use super::engine::{self, Limits};
use super::state::Pre;
use crate::binary::{Binary, Digest};
use crate::serve::config::plan::ComponentSpec;

/// A compiled and linked binary, with the pool of its instances.
pub(in crate::serve) struct Compiled {
    pre: Pre,
    declarations: Declarations,
    digest: Digest,
    limits: Limits,
    /// Bytes of linear memory that an instance has at its start.
    initial_memory: u64,
    /// The instances in the pool that are neither reserved nor in use.
    shared: Arc<Semaphore>,
}

impl Compiled {
    /// Compiles and links a binary, which takes seconds for a large one.
    ///
    /// `limits` has the number of instances of all components together, and the largest of their
    /// memory limits.
    pub(in crate::serve) fn new(binary: &Binary, digest: Digest, limits: Limits) -> Result<Self> {
        let (engine, component) = engine::compile(binary, limits)?;
        let declarations =
            Declarations::from_wasm(&binary.bytes).map_err(|error| anyhow!("{}: {error}", binary.path.display()))?;
        Ok(Self {
            pre: engine::link(binary, &engine, &component)?,
            declarations,
            digest,
            limits,
            initial_memory: engine::initial_memory(&component),
            shared: Arc::new(Semaphore::new(limits.instances as usize)),
        })
    }

    /// The engine, whose epoch must be advanced.
    pub(in crate::serve) fn engine(&self) -> &Engine {
        self.pre.engine()
    }

    /// Reserves the instances of a component. Returns `None` if it is made of another binary, or if
    /// the pool has too few or too small instances left.
    pub(in crate::serve) fn reserve(self: &Arc<Self>, spec: &ComponentSpec) -> Option<Reservation> {
        let limits = self.limits;
        if self.digest != spec.digest || limits.memory < spec.memory || limits.instances < spec.instances {
            return None;
        }
        let instances = spec.instances.min(limits.reserved);
        let taken = self.shared.forget_permits(instances as usize);
        // What it took goes back if it is too little.
        let reservation = Reservation { compiled: Arc::clone(self), instances: taken };
        (taken == instances as usize).then_some(reservation)
    }
}

/// A component's share of the instances of a compiled binary, which it gives back when it is
/// dropped.
pub(in crate::serve) struct Reservation {
    compiled: Arc<Compiled>,
    instances: usize,
}

impl Reservation {
    pub(super) fn pre(&self) -> &Pre {
        &self.compiled.pre
    }

    /// The number of instances that the component has for itself.
    pub(super) fn instances(&self) -> usize {
        self.instances
    }

    /// The instances that no component has for itself.
    pub(super) fn shared(&self) -> &Arc<Semaphore> {
        &self.compiled.shared
    }

    pub(super) fn declarations(&self) -> &Declarations {
        &self.compiled.declarations
    }

    /// The compiled binary.
    pub(in crate::serve) fn compiled(&self) -> &Arc<Compiled> {
        &self.compiled
    }

    /// Returns an error if an instance needs more than `memory` bytes to start.
    pub(in crate::serve) fn check_memory(&self, binary: &Binary, memory: u64) -> Result<()> {
        if self.compiled.initial_memory > memory { Err(engine::too_little_memory(binary, memory)) } else { Ok(()) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.compiled.shared.add_permits(self.instances);
    }
}

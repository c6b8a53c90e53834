//! A component that is served: compiled, linked, and registered with the telemetry.
//!
//! In come the component's plan and its binary; out come stores for its requests. It does not know
//! where the component is mounted.

pub(super) mod admission;
mod engine;
mod report;
mod state;

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use wasmetry_host::Recording;
use wasmetry_wasmtime::{ObservedComponent, ObservedStore, ServerSpan, Telemetry, Ticker};
use wasmtime::{Engine, Store};
use wasmtime_wasi::WasiCtx;

use super::config::plan::{ComponentPlan, ComponentSpec};
use super::output::Output;
use crate::text;
use admission::Admission;
use report::Reporter;
pub(super) use state::{Pre, State};

/// A component that is linked but not yet registered with the telemetry.
pub(super) struct Linked {
    engine: Engine,
    pre: Pre,
}

impl Linked {
    /// Compiles and links a component, which takes seconds for a large one.
    pub(super) fn new(plan: &ComponentPlan) -> Result<Self> {
        let limits = engine::Limits { instances: plan.spec.instances, memory: plan.spec.memory };
        let (engine, component) = engine::compile(&plan.binary, limits)?;
        let pre = engine::link(&plan.binary, &engine, &component)?;
        Ok(Self { engine, pre })
    }
}

/// A component that is ready to be instantiated.
pub(super) struct ServedComponent {
    pub(super) spec: ComponentSpec,
    pub(super) pre: Pre,
    pub(super) observed: ObservedComponent,
    pub(super) admission: Admission,
    pub(super) reporter: Reporter,
    /// The recording that the configuration asked for last. A change by `/recording` stays in force
    /// until the configuration asks for another one.
    configured: Mutex<Recording>,
}

impl ServedComponent {
    /// Registers a linked component with the telemetry and the epoch ticker.
    ///
    /// Metrics that conflict with those of other components are reported on `stderr`.
    pub(super) fn register(
        plan: &ComponentPlan,
        linked: Linked,
        recording: Recording,
        telemetry: &Telemetry,
        ticker: &Ticker,
        stderr: &Output,
    ) -> Result<Self> {
        let spec = plan.spec.clone();
        telemetry.add_engine(&linked.engine);
        ticker.add_engine(&linked.engine);
        let observed = telemetry
            .component(spec.identity.clone(), &plan.binary.bytes)
            .map_err(|error| anyhow!("{}: {error}", plan.binary.path.display()))?;
        for rejected in observed.conflicts() {
            let name = text::line(spec.identity.component());
            stderr.line(format!("{name}: {}: its values are dropped", text::line(&rejected.to_string())));
        }
        observed.set_recording(recording.clone());
        Ok(Self {
            admission: Admission::new(spec.instances as usize, spec.waiting, spec.request_timeout),
            reporter: Reporter::new(spec.identity.component(), stderr.clone()),
            configured: Mutex::new(recording),
            pre: linked.pre,
            observed,
            spec,
        })
    }

    /// Applies the recording of the configuration if it differs from the one that was configured
    /// last.
    pub(super) fn set_recording(&self, recording: &Recording) {
        let mut configured = self.configured.lock().unwrap_or_else(PoisonError::into_inner);
        if *configured != *recording {
            configured.clone_from(recording);
            self.observed.set_recording(recording.clone());
        }
    }

    /// Makes the store of one request; its deadline runs from now on.
    pub(super) fn store(&self, stdout: Output, stderr: Output, span: Option<ServerSpan>) -> ObservedStore<State> {
        let spec = &self.spec;
        let mut wasi = WasiCtx::builder();
        // No stdin: concurrent requests would take each other's input.
        wasi.stdout(stdout).stderr(stderr).envs(&spec.variables);
        let memory = usize::try_from(spec.memory).unwrap_or(usize::MAX);
        let mut telemetry = self.observed.state_with_memory_limit(memory);
        if let Some(span) = span {
            telemetry.set_server_span(span);
        }
        let mut store = ObservedStore::new(Store::new(self.pre.engine(), State::new(wasi.build(), telemetry)));
        store.set_deadline(spec.request_timeout);
        store
    }
}

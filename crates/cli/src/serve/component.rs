//! A component that is served: compiled, linked, and registered with the telemetry.
//!
//! In come the component's plan and its binary; out come stores for its requests. It does not know
//! where the component is mounted.

pub(super) mod admission;
mod compiled;
mod engine;
mod report;
mod state;

use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use wasmetry_host::Recording;
use wasmetry_wasmtime::{ObservedComponent, ObservedStore, ServerSpan, Telemetry};
use wasmtime::Store;
use wasmtime_wasi::WasiCtx;

use super::config::plan::{ComponentPlan, ComponentSpec};
use super::output::Output;
use crate::guest::output;
use crate::text;
use admission::{Admission, Instances};
pub(super) use compiled::{Compiled, Reservation};
pub(super) use engine::Limits;
use report::Reporter;
pub(super) use state::{Pre, State};

/// The destination of guests' stdout and stderr.
pub(super) enum GuestOutput {
    /// Log records, one for each line.
    Records,
    /// Outputs of the process.
    Raw { stdout: Output, stderr: Output },
}

/// A component that is ready to be instantiated.
pub(super) struct ServedComponent {
    pub(super) spec: ComponentSpec,
    pub(super) pre: Pre,
    pub(super) reservation: Reservation,
    pub(super) observed: ObservedComponent,
    pub(super) admission: Admission,
    pub(super) reporter: Reporter,
    /// The recording that the configuration asked for last. A change by `/recording` stays in force
    /// until the configuration asks for another one.
    configured: Mutex<Recording>,
}

impl ServedComponent {
    /// Registers a component with the telemetry.
    ///
    /// Metrics that conflict with those of other components are reported on `stderr`.
    pub(super) fn register(
        plan: &ComponentPlan,
        reservation: Reservation,
        recording: Recording,
        telemetry: &Telemetry,
        stderr: &Output,
    ) -> Self {
        let spec = plan.spec.clone();
        let observed = telemetry.declared_component(spec.identity.clone(), reservation.declarations().clone());
        for rejected in observed.conflicts() {
            let name = text::line(spec.identity.component());
            stderr.line(format!("{name}: {}: its values are dropped", text::line(&rejected.to_string())));
        }
        observed.set_recording(recording.clone());
        observed.set_instances_limit(spec.instances);
        Self {
            admission: Admission::new(
                Instances {
                    limit: spec.instances as usize,
                    reserved: reservation.instances(),
                    shared: Arc::clone(reservation.shared()),
                },
                spec.waiting,
                spec.request_timeout,
                observed.requests_waiting().clone(),
            ),
            reporter: Reporter::new(spec.identity.component(), stderr.clone()),
            configured: Mutex::new(recording),
            pre: reservation.pre().clone(),
            reservation,
            observed,
            spec,
        }
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

    /// Makes the store of one request, whose deadline runs from now on.
    ///
    /// Without a server span, its telemetry is in the trace that the request names.
    pub(super) fn store<B>(
        &self,
        request: &Request<B>,
        span: Option<ServerSpan>,
        destination: &GuestOutput,
    ) -> ObservedStore<State> {
        let spec = &self.spec;
        let memory = usize::try_from(spec.memory).unwrap_or(usize::MAX);
        let mut telemetry = self.observed.state_with_memory_limit(memory);
        match span {
            Some(span) => telemetry.set_server_span(span),
            None => telemetry.set_caller(request),
        }
        // No stdin: concurrent requests would take each other's input.
        let mut wasi = WasiCtx::builder();
        wasi.envs(&spec.variables);
        match (destination, telemetry.printed_lines()) {
            (GuestOutput::Raw { stdout, stderr }, _) => {
                wasi.stdout(stdout.clone()).stderr(stderr.clone());
            }
            (GuestOutput::Records, Some(lines)) => {
                let [stdout, stderr] = output::streams(lines);
                wasi.stdout(stdout).stderr(stderr);
            }
            (GuestOutput::Records, None) => {}
        }
        let mut store = ObservedStore::new(Store::new(self.pre.engine(), State::new(wasi.build(), telemetry)));
        let deadline = store.set_deadline(spec.request_timeout);
        debug_assert!(deadline.is_ok(), "the engine checks the epoch: {deadline:?}");
        store
    }
}

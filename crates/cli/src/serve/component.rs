//! A component that is served: compiled, linked, and registered with the telemetry.
//!
//! In come the component's plan and its binary; out come stores for its requests. It does not know
//! where the component is mounted.

pub(super) mod admission;
mod compiled;
mod compiler;
mod engine;
mod report;
mod state;

use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use wasmetry_host::{Identity, Recording};
use wasmetry_wasmtime::{ObservedComponent, ObservedStore, ServerSpan, Telemetry};
use wasmtime::Store;
use wasmtime_wasi::WasiCtx;

use super::config::plan::{ComponentPlan, ComponentSpec};
use super::output::Output;
use crate::guest::outgoing::{Access, Network};
use crate::guest::{drop_report, limits, link, output};
use crate::text;
use admission::{Admission, Instances};
pub(super) use compiled::{Compiled, Reservation};
pub(super) use compiler::{Compilation, Compiler, Owner};
pub(super) use engine::Limits;
use report::Reporter;
pub(super) use state::{Pre, State};

/// The destination of guests' stdout and stderr.
#[derive(Clone)]
pub(super) enum GuestOutput {
    /// Log records, one for each line.
    Records,
    /// Outputs of the process.
    Raw { stdout: Output, stderr: Output },
}

impl GuestOutput {
    /// Returns the destination for the guests of a component.
    fn of(&self, identity: &Arc<Identity>) -> Self {
        match self {
            Self::Records => Self::Records,
            Self::Raw { stdout, stderr } => Self::Raw { stdout: stdout.of(identity), stderr: stderr.of(identity) },
        }
    }
}

/// A component that is ready to be instantiated.
pub(super) struct ServedComponent {
    pub(super) spec: ComponentSpec,
    pub(super) pre: Pre,
    pub(super) reservation: Reservation,
    pub(super) observed: ObservedComponent,
    /// The owner of what its requests have.
    pub(super) owner: Owner,
    pub(super) admission: Admission,
    pub(super) reporter: Reporter,
    output: GuestOutput,
    /// The guests' access to other services.
    outgoing: Arc<Access>,
    /// The recording that the configuration asked for last. A change by `/recording` stays in force
    /// until the configuration asks for another one.
    configured: Mutex<Recording>,
}

impl ServedComponent {
    /// Registers a component with the telemetry.
    ///
    /// Declarations that are rejected, and metrics that conflict with those of other components,
    /// are reported on `stderr`. `output` is the destination of what guests print.
    pub(super) fn register(
        plan: &ComponentPlan,
        reservation: Reservation,
        recording: Recording,
        telemetry: &Telemetry,
        network: &Network,
        stderr: &Output,
        output: &GuestOutput,
    ) -> Self {
        let spec = plan.spec.clone();
        let identity = Arc::new(spec.identity.clone());
        let stderr = stderr.of(&identity);
        let observed = telemetry.declared_component(spec.identity.clone(), reservation.declarations().clone());
        if let Some(line) = drop_report::rejected_declarations(&identity, reservation.declarations()) {
            stderr.line(line);
        }
        let (name, conflicts) = (text::line(spec.identity.component()), observed.conflicts());
        for rejected in conflicts.iter().take(limits::NAMED_DECLARATIONS) {
            stderr.line(format!("{name}: {}: its values are dropped", text::line(&rejected.to_string())));
        }
        match conflicts.len().saturating_sub(limits::NAMED_DECLARATIONS) {
            0 => {}
            more => {
                _ = stderr.line(format!("{name}: further metrics whose values are dropped, for such reasons: {more}"))
            }
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
            outgoing: Arc::new(network.access(&spec.outgoing, observed.clone())),
            reporter: Reporter::new(spec.identity.component(), stderr),
            owner: Owner::of(&identity),
            output: output.of(&identity),
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
    pub(super) fn store<B>(&self, request: &Request<B>, span: Option<ServerSpan>) -> ObservedStore<State> {
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
        link::restrict(&mut wasi);
        match (&self.output, telemetry.printed_lines()) {
            (GuestOutput::Raw { stdout, stderr }, _) => {
                wasi.stdout(stdout.clone()).stderr(stderr.clone());
            }
            (GuestOutput::Records, Some(lines)) => {
                let [stdout, stderr] = output::streams(lines);
                wasi.stdout(stdout).stderr(stderr);
            }
            (GuestOutput::Records, None) => {}
        }
        let state = State::new(wasi.build(), telemetry, Arc::clone(&self.outgoing));
        let mut store = ObservedStore::new(Store::new(self.pre.engine(), state));
        store.limiter(|state| state);
        store.set_hostcall_fuel(limits::HOST_CALL);
        let deadline = store.set_deadline(spec.request_timeout);
        debug_assert!(deadline.is_ok(), "the engine checks the epoch: {deadline:?}");
        store
    }
}

//! One instance of a program, from its start to its end.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::oneshot;
use wasmetry_wasmtime::{DeadlineExceeded, Killed, ObservedStore, StoreState, TelemetryView};
use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{I32Exit, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::limits;
use super::outcome::Outcome;
use super::program::{Completion, NotStarted, Program};
use crate::guest::outgoing::{Access, Outgoing};
use crate::guest::resources::{self, ChargedState};
use crate::process::signal::Signal;

/// The state of the program's store.
pub(super) struct State {
    /// The context of WASI 0.1, which is implemented by that of WASI 0.2 in it.
    pub(super) wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    telemetry: StoreState,
}

impl State {
    pub(super) fn new(mut wasi: WasiP1Ctx, telemetry: StoreState, access: Arc<Access>) -> Self {
        resources::bound(wasi.ctx().table, &telemetry);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits::RESOURCE);
        Self { wasi, http, outgoing: Outgoing::new(telemetry.client_spans(), access), telemetry }
    }
}

impl ChargedState for State {
    fn charged(&mut self) -> (&mut ResourceTable, &mut StoreState) {
        (self.wasi.ctx().table, &mut self.telemetry)
    }
}

resources::limit_resources!(State);

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: self.wasi.ctx().table, hooks: &mut self.outgoing }
    }
}

impl TelemetryView for State {
    fn telemetry(&mut self) -> &mut StoreState {
        &mut self.telemetry
    }
}

/// The results of a program that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// The results of the invoked function, one per line.
    pub(super) returned: String,
    /// The time that it ran.
    pub(super) duration: Duration,
    /// Bytes of its linear memory at the end, which never shrinks.
    pub(super) memory: usize,
}

/// Runs a program to its end, or ends it after `timeout` or when a signal comes from `kill`. Its
/// telemetry has been collected when this returns.
pub(super) async fn run(
    program: Program,
    state: State,
    timeout: Option<Duration>,
    kill: oneshot::Receiver<Signal>,
) -> Result<Ended> {
    let mut store = ObservedStore::new(Store::new(program.engine(), state));
    store.limiter(|state| state);
    store.set_hostcall_fuel(limits::HOST_CALL);
    if let Some(timeout) = timeout {
        store.set_deadline(timeout)?;
    }
    // A program may wait for long, and a core module waits in functions that are not replaced.
    store.collect_at_host_calls();
    let busy_timer = store.busy_timer();
    let begin = Instant::now();
    let late = async {
        match timeout {
            // For a program that waits in a host call. One that runs is ended by its epoch
            // callback.
            Some(timeout) => tokio::time::sleep(timeout + limits::DEADLINE_GRACE).await,
            None => pending().await,
        }
    };
    let result = tokio::select! {
        result = busy_timer.measure(program.call(&mut store)) => Ok(result),
        () = late => Ok(Err(wasmtime::Error::new(DeadlineExceeded))),
        Ok(signal) = kill => Err(signal),
    };
    let duration = begin.elapsed();
    let (outcome, returned) = match result {
        Ok(result) => finish(&program, &mut store, &result)?,
        Err(signal) => {
            store.finish::<()>(&Err(wasmtime::Error::new(Killed)));
            (Outcome::Killed(signal), String::new())
        }
    };
    if !matches!(outcome, Outcome::Exited(0)) {
        store.data_mut().telemetry().set_failed();
    }
    let memory = store.data_mut().telemetry().memory_bytes();
    Ok(Ended { outcome, returned, duration, memory })
}

/// Counts the end of a program. Returns its outcome, and the results of an invoked function.
fn finish(
    program: &Program,
    store: &mut ObservedStore<State>,
    result: &wasmtime::Result<Completion>,
) -> Result<(Outcome, String)> {
    let error = match result {
        Ok(Completion::Exited(code)) => return Ok((Outcome::Exited(*code), String::new())),
        Ok(Completion::Returned(values)) => return Ok((Outcome::Exited(0), values.clone())),
        Err(error) => error,
    };
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Ok((Outcome::Exited(*code), String::new()));
    }
    if error.is::<NotStarted>() {
        return Err(program.explain_start(error, store.data_mut().telemetry().was_denied_memory()));
    }
    let reason = store.finish(result).unwrap_or("other");
    let outcome = if error.is::<DeadlineExceeded>() { Outcome::TimedOut } else { Outcome::trapped(reason, error) };
    Ok((outcome, String::new()))
}

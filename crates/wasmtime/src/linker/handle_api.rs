//! The handle API: guests in other languages than Rust resolve a series or start a span once, and
//! call the host by its handle.
//!
//! It converts the guest's arguments and finds what a handle stands for. What is recorded, and what
//! is refused, is decided in [`wasmetry_host::handle_api`].

mod attribute;
mod handles;
pub(super) mod log;
pub(super) mod metric;
pub(super) mod request;
pub(super) mod span;
mod table;

use wasmetry_host::RequestTelemetry;
use wasmtime::StoreContextMut;

use crate::store::TelemetryView;
pub(crate) use handles::LazyHandles;

/// Calls a function with the telemetry of the store's request; returns `None` if no sink is set.
///
/// The telemetry is taken out while the guest's strings are borrowed from the store.
fn with_telemetry<T: TelemetryView + 'static, R>(
    store: &mut StoreContextMut<'_, T>,
    call: impl FnOnce(&mut StoreContextMut<'_, T>, &mut RequestTelemetry) -> wasmtime::Result<R>,
) -> wasmtime::Result<Option<R>> {
    let Some(mut telemetry) = store.data_mut().telemetry().request.telemetry.take() else { return Ok(None) };
    let result = call(store, &mut telemetry);
    store.data_mut().telemetry().request.telemetry = Some(telemetry);
    result.map(Some)
}

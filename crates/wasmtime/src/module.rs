//! Core modules: their regions are found by exports, which also update observed metrics.

use wasmtime::{AsContextMut, Extern, Func, Instance, Memory, Val, ValType};

use crate::store::{TelemetryView, Window, attach_region};

/// The prefix of the exports that return the address of a region's header. See
/// `crates/abi/FORMAT.md`, section 4.
const PREFIX: &str = "wasmetry_region_";

/// Finds the regions of a core module's instance, whose guest is called by blocking functions.
///
/// Call it once, right after instantiation: it calls the exports that return the regions'
/// addresses. It returns the number of regions, 0 for a module that does not use wasmetry.
///
/// # Errors
///
/// Returns the guest's trap, since it calls the guest.
pub fn attach_module<T: TelemetryView + 'static>(
    mut store: impl AsContextMut<Data = T>,
    instance: &Instance,
) -> wasmtime::Result<usize> {
    let mut regions = 0;
    for (function, memory) in regions_of(&mut store, instance) {
        let mut header = [Val::I32(0)];
        function.call(&mut store, &[], &mut header)?;
        regions += attach(&mut store, function, memory, &header[0]);
    }
    Ok(regions)
}

/// Finds the regions of a core module's instance, whose guest is called by `*_async` functions; see
/// [`attach_module`].
///
/// # Errors
///
/// Returns the guest's trap, since it calls the guest.
pub async fn attach_module_async<T: TelemetryView + 'static>(
    mut store: impl AsContextMut<Data = T>,
    instance: &Instance,
) -> wasmtime::Result<usize> {
    let mut regions = 0;
    for (function, memory) in regions_of(&mut store, instance) {
        let mut header = [Val::I32(0)];
        function.call_async(&mut store, &[], &mut header).await?;
        regions += attach(&mut store, function, memory, &header[0]);
    }
    Ok(regions)
}

/// Updates the metrics that the core modules of a store observe (`observable_gauge!`), before the
/// next collection.
///
/// A core module cannot call its host, so the host calls it. Call this when no function of the
/// guest runs, and only if none has trapped or been dropped: for example before
/// [`ObservedStore::collect`](crate::ObservedStore::collect) and before the store is dropped. It
/// calls the exports that [`attach_module`] has found; in a module that observes nothing, they do
/// nothing else. Components observe by themselves and need no such call.
///
/// # Errors
///
/// Returns the guest's trap, since it calls the guest. Pass it to
/// [`ObservedStore::finish`](crate::ObservedStore::finish).
pub fn observe_modules<T: TelemetryView + 'static>(mut store: impl AsContextMut<Data = T>) -> wasmtime::Result<()> {
    for function in exports_of(&mut store) {
        function.call(&mut store, &[], &mut [Val::I32(0)])?;
    }
    Ok(())
}

/// Updates observed metrics as [`observe_modules`] does, in a store whose guest is called by
/// `*_async` functions.
///
/// # Errors
///
/// Returns the guest's trap, since it calls the guest.
pub async fn observe_modules_async<T: TelemetryView + 'static>(
    mut store: impl AsContextMut<Data = T>,
) -> wasmtime::Result<()> {
    for function in exports_of(&mut store) {
        function.call_async(&mut store, &[], &mut [Val::I32(0)]).await?;
    }
    Ok(())
}

/// Returns the exports in which the host found the regions of a store's core modules.
fn exports_of<T: TelemetryView + 'static>(mut store: impl AsContextMut<Data = T>) -> Vec<Func> {
    store.as_context_mut().data_mut().telemetry().module_exports().collect()
}

/// Returns the exports that return a header's address, each with the memory that the header lies
/// in.
fn regions_of<T: TelemetryView + 'static>(
    mut store: impl AsContextMut<Data = T>,
    instance: &Instance,
) -> Vec<(Func, Memory)> {
    let Some(memory) = instance.get_memory(&mut store, "memory") else { return Vec::new() };
    let exports = instance.exports(store.as_context_mut());
    let candidates: Vec<Func> = exports
        .filter(|export| export.name().starts_with(PREFIX))
        .filter_map(|export| match export.into_extern() {
            Extern::Func(function) => Some(function),
            _ => None,
        })
        .collect();
    candidates.into_iter().filter(|function| returns_address(&mut store, function)).map(|f| (f, memory)).collect()
}

/// Returns `true` if a function has no parameters and returns one integer.
fn returns_address(store: impl AsContextMut, function: &Func) -> bool {
    let ty = function.ty(store);
    let mut results = ty.results();
    ty.params().len() == 0 && matches!((results.next(), results.next()), (Some(ValType::I32 | ValType::I64), None))
}

fn attach<T: TelemetryView + 'static>(
    mut store: impl AsContextMut<Data = T>,
    export: Func,
    memory: Memory,
    header: &Val,
) -> usize {
    let header = match header {
        Val::I32(address) => u64::from(address.cast_unsigned()),
        Val::I64(address) => address.cast_unsigned(),
        _ => return 0,
    };
    attach_region(store.as_context_mut(), Window::Memory(memory, export), header);
    1
}

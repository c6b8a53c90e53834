//! Collection: reading what a store's guest has recorded, from its regions or from the batches that
//! it sends.

use std::time::Duration;

use wasmetry_host::record::TraceContext;
use wasmetry_host::{RegionRefusal, RequestTelemetry};
use wasmtime::component::WasmList;
use wasmtime::{AsContextMut, Store, StoreContextMut};

use super::region::{Region, Window};
use super::state::TelemetryView;

/// Reads every region of a store.
///
/// Returns the number of records that were read of a store with one region, for the field
/// `consumed` of an answer.
pub(crate) fn collect<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>) -> u64 {
    let state = store.data_mut().telemetry();
    let request = state.component.shared.activities.begin_answer();
    // The regions are taken out while the store's memory is borrowed.
    let mut regions = std::mem::take(&mut state.regions);
    let mut telemetry = state.request.telemetry.take();
    if !regions.is_empty() {
        let now = state.component.timestamp(telemetry.is_some());
        let mut budget = state.component.read_budget();
        for region in regions.iter_mut() {
            let view = region.window.view(&store, region.header);
            region.instance.read_within(view, now, &mut budget, telemetry.as_mut());
        }
    }
    let consumed = regions.consumed();
    let state = store.data_mut().telemetry();
    (state.regions, state.request.telemetry) = (regions, telemetry);
    state.component.shared.activities.answer(&state.activity, request);
    consumed
}

/// Collects a store from within a host function in which its guest is about to wait.
///
/// A guest that waits runs no code, so it would be shown as of its last collection; see
/// [`Telemetry::snapshot`](crate::Telemetry::snapshot). A [large](crate::StoreState::is_large)
/// guest keeps the thread busy for up to [`limits::READ_TIME`](wasmetry_host::limits::READ_TIME).
pub fn collect_waiting<T: TelemetryView + 'static>(mut store: impl AsContextMut<Data = T>) {
    let mut store = store.as_context_mut();
    if !store.data_mut().telemetry().regions.is_empty() {
        collect(store);
    }
}

/// Reads the route that the guest has set for the request.
///
/// Of a component without declared routes, nothing is read. Of several regions, the last one in
/// which a route was set since the last read counts.
pub(crate) fn collect_route<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>) {
    let state = store.data_mut().telemetry();
    if !state.component.own.component.has_declared_routes() {
        return;
    }
    let key = state.request.key();
    if let Some(receiver) = &mut state.batch_receiver
        && let Some(route) = receiver.read_route(key)
    {
        state.request.route = Some(route);
    }
    // They are taken out while the store's memory is borrowed.
    let mut regions = std::mem::take(&mut state.regions);
    let mut found = None;
    for region in regions.iter_mut() {
        found = region.instance.read_route(region.window.view(&store, region.header), key).or(found);
    }
    let state = store.data_mut().telemetry();
    state.regions = regions;
    if found.is_some() {
        state.request.route = found;
    }
}

/// Adds the region whose header is at this address of the guest's memory. One that the store has,
/// or one too many, is counted as dropped.
pub(crate) fn attach_region<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    window: Window,
    header: u64,
) {
    // They are taken out while the store's memory is borrowed.
    let mut regions = std::mem::take(&mut store.data_mut().telemetry().regions);
    let place = window.place(&store, header);
    let is_repeated = regions.iter_mut().any(|region| region.window.place(&store, region.header) == place);
    let state = store.data_mut().telemetry();
    let component = &state.component.own.component;
    if is_repeated {
        component.refuse_region(RegionRefusal::Repeated);
    } else if regions.len() as u64 >= component.limits().regions {
        component.refuse_region(RegionRefusal::Limit);
    } else {
        let instance = component.instance_in(&state.memory);
        regions.push(Region { window, header, instance });
    }
    state.regions = regions;
}

/// Reads every region of a store for the last time, and ends its request. The read ends at a time
/// of [`monotonic`](crate::clock::monotonic), by default after the time of the component's limits.
/// Returns the request's span if it is exported.
pub(crate) fn collect_last<T: TelemetryView + 'static>(
    store: &mut Store<T>,
    end: Option<Duration>,
) -> Option<TraceContext> {
    if store.data_mut().telemetry().request.telemetry.is_some() {
        collect_route(store.as_context_mut());
    }
    let state = store.data_mut().telemetry();
    let mut regions = std::mem::take(&mut state.regions);
    let component = state.component.clone();
    let mut budget = end.map_or_else(|| component.read_budget(), |end| component.read_budget_until(end));
    if let Some(mut telemetry) = state.request.telemetry.take() {
        let now = component.timestamp(true);
        for region in regions.iter_mut() {
            let view = region.window.view(&*store, region.header);
            region.instance.read_records_within(view, now, &mut budget, &mut telemetry);
        }
        store.data_mut().telemetry().request.telemetry = Some(telemetry);
    }
    // Logs and spans come first: they decide whether the trace is exported, and exemplars may lead
    // there.
    let state = store.data_mut().telemetry();
    let mut telemetry = state.request.finish();
    let exported = telemetry.as_ref().and_then(RequestTelemetry::exported_context);
    let now = state.component.timestamp(exported.is_some());
    for region in regions {
        let view = region.window.view(&*store, region.header);
        region.instance.read_last_within(view, now, &mut budget, telemetry.as_mut());
    }
    exported
}

/// Receives the batch of a guest that flushes; reads the regions of a guest that sends none.
///
/// Returns the number of records that were read, for the field `consumed` of the answer.
pub(crate) fn receive_batch<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    batch: &WasmList<u8>,
) -> u64 {
    let state = store.data_mut().telemetry();
    let now = state.component.timestamp(state.request.telemetry.is_some());
    // They are taken out while the store's memory is borrowed.
    let Some(mut receiver) = state.batch_receiver.take() else { return collect(store) };
    let mut telemetry = state.request.telemetry.take();
    let batch = batch.as_le_slice(&store);
    let consumed = receiver.receive(batch, now, telemetry.as_mut());
    let state = store.data_mut().telemetry();
    (state.batch_receiver, state.request.telemetry) = (Some(receiver), telemetry);
    consumed
}

/// Applies the component's current [`Recording`](wasmetry_host::Recording) to a reused instance,
/// for its next request.
///
/// Records of the time before are collected first, by the old settings.
pub(crate) fn refresh_recording<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>) {
    let state = store.data_mut().telemetry();
    let recording = state.component.recording();
    if state.request.telemetry.as_ref().is_none_or(|telemetry| std::ptr::eq(telemetry.recording(), &*recording)) {
        return;
    }
    collect(store.as_context_mut());
    if let Some(telemetry) = &mut store.data_mut().telemetry().request.telemetry {
        telemetry.set_recording(recording);
    }
}

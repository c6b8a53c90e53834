//! The interface `requests`.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::attribute::{WitAttribute, attribute};
use super::with_telemetry;
use crate::store::TelemetryView;

/// The functions of the interface.
pub(crate) const FUNCTIONS: [&str; 2] = ["set-route", "set-attribute"];

/// Adds the interface to a linker.
pub(crate) fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut requests = linker.instance(&crate::linker::interface("requests"))?;
    requests.func_wrap("set-route", set_route)?;
    requests.func_wrap("set-attribute", set_attribute)
}

/// Sets the route of the request that the store serves.
fn set_route<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (route,): (WasmStr,),
) -> wasmtime::Result<()> {
    let component = store.data_mut().telemetry().component.clone();
    let route = component.own.component.named_route(&route.to_str(&store)?);
    store.data_mut().telemetry().set_route(route);
    Ok(())
}

/// Sets an attribute of the request's own span.
fn set_attribute<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (value,): (WitAttribute,),
) -> wasmtime::Result<()> {
    with_telemetry(&mut store, |store, telemetry| {
        telemetry.set_request_attributes(attribute(store, &value)?);
        Ok(())
    })?;
    Ok(())
}

//! Linking a component with the interfaces of this host.

use anyhow::{Context, Result};
use wasmetry_wasmtime::TelemetryView;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi::{WasiCtxBuilder, WasiView};
use wasmtime_wasi_http::WasiHttpView;

use super::{limits, wait};
use crate::binary::Binary;

/// Returns an error if a component imports a part of wasmetry:telemetry that this host lacks.
pub(crate) fn check_imports(binary: &Binary, engine: &Engine, component: &Component) -> Result<()> {
    let shown = binary.path.display();
    wasmetry_wasmtime::check_imports(component, engine).map_err(|error| anyhow::anyhow!("{shown}: {error}"))
}

/// Links a component with WASI, wasi:http and wasmetry:telemetry.
pub(crate) fn instantiate_pre<T>(binary: &Binary, engine: &Engine, component: &Component) -> Result<InstancePre<T>>
where
    T: WasiView + WasiHttpView + TelemetryView + 'static,
{
    let mut linker = Linker::new(engine);
    add_interfaces(&mut linker).map_err(anyhow::Error::from).context("cannot link the host's interfaces")?;
    linker.instantiate_pre(component).map_err(|error| unknown_import(binary, &error))
}

fn add_interfaces<T>(linker: &mut Linker<T>) -> wasmtime::Result<()>
where
    T: WasiView + WasiHttpView + TelemetryView + 'static,
{
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    wasmetry_wasmtime::add_to_linker(linker)?;
    wait::replace_in_linker(linker)
}

/// Bounds what WASI does for a guest: it has no sockets, which would take descriptors, and gets a
/// bounded number of random bytes by one call.
pub(crate) fn restrict(wasi: &mut WasiCtxBuilder) {
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false).max_random_size(limits::RANDOM_BYTES);
}

/// Returns the names of a component's exports, without types.
pub(crate) fn exports(engine: &Engine, component: &Component) -> Vec<String> {
    let ty = component.component_type();
    let exports = ty.exports(engine).filter(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)));
    exports.map(|(name, _)| name.to_owned()).collect()
}

/// Formats the first few of some names, for an error.
pub(crate) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") + more
}

fn unknown_import(binary: &Binary, error: &wasmtime::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    // Wasmtime names the import in the first pair of backticks.
    let import = text.split('`').nth(1).unwrap_or_default().to_owned();
    let remedy = if import.starts_with("wasi:") {
        "rebuild it with bindings of a WASI 0.2 release that this host has (0.2.0 to 0.2.12)"
    } else {
        "remove the import, or compose the component with one that exports it (`wac plug`)"
    };
    let shown = binary.path.display();
    if import.is_empty() {
        return anyhow::anyhow!("{shown} cannot be linked: {text}; {remedy}");
    }
    anyhow::anyhow!(
        "{shown} imports `{import}`, which this host does not offer ({text}); it offers WASI 0.2, wasi:http 0.2 and \
         wasmetry:telemetry {}: {remedy}",
        wasmetry_abi::WIT_VERSION
    )
}

//! The interface `logs`.

use wasmetry_host::handle_api::Log;
use wasmetry_host::record::Level;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Resource, WasmList, WasmStr};

use super::attribute::{WitAttribute, attributes};
use super::handles::Span;
use super::with_telemetry;
use crate::clock::wall_clock;
use crate::store::TelemetryView;

/// The functions of the interface.
pub(crate) const FUNCTIONS: [&str; 3] = ["enabled", "emit", "audit"];

/// The WIT enum `level` of this interface, which has no `off`.
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "derived code constructs the cases from the guest's number")]
enum WitLevel {
    #[component(name = "error")]
    Error,
    #[component(name = "warn")]
    Warn,
    #[component(name = "info")]
    Info,
    #[component(name = "debug")]
    Debug,
    #[component(name = "trace")]
    Trace,
}

impl From<WitLevel> for Level {
    fn from(level: WitLevel) -> Self {
        match level {
            WitLevel::Error => Self::Error,
            WitLevel::Warn => Self::Warn,
            WitLevel::Info => Self::Info,
            WitLevel::Debug => Self::Debug,
            WitLevel::Trace => Self::Trace,
        }
    }
}

/// The WIT record `log-record`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct WitLog {
    level: WitLevel,
    target: Option<WasmStr>,
    message: WasmStr,
    attributes: WasmList<WitAttribute>,
}

/// Adds the interface to a linker.
pub(crate) fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut logs = linker.instance(&crate::linker::interface("logs"))?;
    logs.func_wrap("enabled", enabled)?;
    logs.func_wrap("emit", |store, arguments: (WitLog, Option<Resource<Span>>)| emit(store, arguments, false))?;
    logs.func_wrap("audit", |store, arguments: (WitLog, Option<Resource<Span>>)| emit(store, arguments, true))
}

/// Returns `true` if a log of this level and target is recorded.
fn enabled<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (level, target): (WitLevel, Option<WasmStr>),
) -> wasmtime::Result<(bool,)> {
    let enabled = with_telemetry(&mut store, |store, telemetry| {
        let target = target.as_ref().map(|target| target.to_str(&*store)).transpose()?;
        Ok(telemetry.is_enabled(level.into(), target.as_deref()))
    })?;
    Ok((enabled.unwrap_or(false),))
}

/// Records a log, which belongs to the given span, else to the request's.
fn emit<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (log, span): (WitLog, Option<Resource<Span>>),
    is_audit: bool,
) -> wasmtime::Result<()> {
    let state = store.data_mut().telemetry();
    let trace = match span {
        Some(span) => state.handles.get().spans.get(span.rep()).map(|span| span.context),
        None => state.request.span(),
    };
    with_telemetry(&mut store, |store, telemetry| {
        let level = log.level.into();
        {
            let target = log.target.as_ref().map(|target| target.to_str(&*store)).transpose()?;
            if !is_audit && !telemetry.is_enabled(level, target.as_deref()) {
                return Ok(());
            }
        }
        let attributes = attributes(store, &log.attributes)?;
        let target = log.target.as_ref().map(|target| target.to_str(&*store)).transpose()?;
        let message = log.message.to_str(&*store)?;
        let log = Log { level, target: target.as_deref(), message: &message, attributes, trace, is_audit };
        telemetry.log(log, wall_clock());
        Ok(())
    })?;
    Ok(())
}

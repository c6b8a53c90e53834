//! The interface `logs`.

use wasmetry_host::RequestTelemetry;
use wasmetry_host::handle_api::Log;
use wasmetry_host::record::{Level, TraceContext};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Resource, WasmList, WasmStr};

use super::attribute::{WitAttribute, attributes};
use crate::state::TelemetryView;
use crate::trace::wall_clock;
use crate::typed::Span;

/// The functions of the interface.
pub(super) const FUNCTIONS: [&str; 3] = ["enabled", "emit", "audit"];

/// The WIT enum `level`, which has no `off`.
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the derived code makes them of the guest's number")]
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
pub(super) fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut logs = linker.instance(&super::interface("logs"))?;
    logs.func_wrap("enabled", |mut store: StoreContextMut<'_, T>, (level, target): (WitLevel, Option<WasmStr>)| {
        let enabled = with_trail(&mut store, |store, trail| {
            let target = target.as_ref().map(|target| target.to_str(&*store)).transpose()?;
            Ok(trail.is_enabled(level.into(), target.as_deref()))
        })?;
        Ok((enabled.unwrap_or(false),))
    })?;
    for (name, is_audit) in [("emit", false), ("audit", true)] {
        logs.func_wrap(
            name,
            move |mut store: StoreContextMut<'_, T>, (log, span): (WitLog, Option<Resource<Span>>)| {
                let state = store.data_mut().telemetry();
                let trace = match span {
                    Some(span) => state.typed().spans.get(span.rep()).map(|span| span.context),
                    None => state.request_span(),
                };
                with_trail(&mut store, |store, trail| take(store, trail, &log, trace, is_audit))?;
                Ok(())
            },
        )?;
    }
    Ok(())
}

fn take<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    trail: &mut RequestTelemetry,
    log: &WitLog,
    trace: Option<TraceContext>,
    is_audit: bool,
) -> wasmtime::Result<()> {
    let level = log.level.into();
    {
        let target = log.target.as_ref().map(|target| target.to_str(&*store)).transpose()?;
        if !is_audit && !trail.is_enabled(level, target.as_deref()) {
            return Ok(());
        }
    }
    let attributes = attributes(store, &log.attributes)?;
    let target = log.target.as_ref().map(|target| target.to_str(&*store)).transpose()?;
    let message = log.message.to_str(&*store)?;
    trail.log(Log { level, target: target.as_deref(), message: &message, attributes, trace, is_audit }, wall_clock());
    Ok(())
}

/// Calls a function with the store's trail, if somebody takes logs and spans.
///
/// The trail is taken out while the guest's texts are borrowed from the store.
pub(super) fn with_trail<T: TelemetryView + 'static, R>(
    store: &mut StoreContextMut<'_, T>,
    call: impl FnOnce(&mut StoreContextMut<'_, T>, &mut RequestTelemetry) -> wasmtime::Result<R>,
) -> wasmtime::Result<Option<R>> {
    let Some(mut trail) = store.data_mut().telemetry().trail.take() else { return Ok(None) };
    let result = call(store, &mut trail);
    store.data_mut().telemetry().trail = Some(trail);
    result.map(Some)
}

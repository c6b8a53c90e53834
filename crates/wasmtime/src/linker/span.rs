//! The interface `spans`.

use wasmetry_host::RequestTelemetry;
use wasmetry_host::handle_api::{Attributes, NewSpan};
use wasmetry_host::record::{SpanId, SpanKind, TraceContext};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};

use super::attribute::{WitAttribute, attribute, attributes};
use super::log::with_trail;
use crate::state::TelemetryView;
use crate::trace::wall_clock;
use crate::typed::{self, Span, TooManyHandles};

/// The functions of the interface.
pub(super) const FUNCTIONS: [&str; 10] = [
    "[static]span.start",
    "[method]span.child",
    "[method]span.set-attribute",
    "[method]span.add-event",
    "[method]span.add-link",
    "[method]span.set-status",
    "[method]span.end",
    "[method]span.context",
    "[method]span.traceparent",
    "current",
];

/// The WIT enum `span-kind`.
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the derived code makes them of the guest's number")]
enum WitKind {
    #[component(name = "internal")]
    Internal,
    #[component(name = "server")]
    Server,
    #[component(name = "client")]
    Client,
    #[component(name = "producer")]
    Producer,
    #[component(name = "consumer")]
    Consumer,
}

impl From<WitKind> for SpanKind {
    fn from(kind: WitKind) -> Self {
        match kind {
            WitKind::Internal => Self::Internal,
            WitKind::Server => Self::Server,
            WitKind::Client => Self::Client,
            WitKind::Producer => Self::Producer,
            WitKind::Consumer => Self::Consumer,
        }
    }
}

/// The WIT record `span-context`, from a guest.
#[derive(ComponentType, Lift)]
#[component(record)]
struct WitContext {
    #[component(name = "trace-id")]
    trace_id: WasmStr,
    #[component(name = "span-id")]
    span_id: WasmStr,
    #[component(name = "trace-flags")]
    trace_flags: u8,
}

impl WitContext {
    /// The span, unless none is named.
    fn read<T: 'static>(&self, store: &StoreContextMut<'_, T>) -> wasmtime::Result<Option<TraceContext>> {
        let (trace, span) = (self.trace_id.to_str(store)?, self.span_id.to_str(store)?);
        Ok(wasmetry_host::handle_api::span_context(&trace, &span, self.trace_flags))
    }
}

/// The WIT record `span-context`, for a guest.
#[derive(ComponentType, Lower)]
#[component(record)]
struct WitOwnContext {
    #[component(name = "trace-id")]
    trace_id: String,
    #[component(name = "span-id")]
    span_id: String,
    #[component(name = "trace-flags")]
    trace_flags: u8,
}

impl From<TraceContext> for WitOwnContext {
    fn from(context: TraceContext) -> Self {
        let TraceContext { trace_id, span_id, flags } = context;
        Self { trace_id: trace_id.to_string(), span_id: span_id.to_string(), trace_flags: flags }
    }
}

/// The WIT variant `status`.
#[derive(ComponentType, Lift)]
#[component(variant)]
enum WitStatus {
    #[component(name = "ok")]
    Ok,
    #[component(name = "error")]
    Error(WasmStr),
}

/// Adds the interface to a linker.
pub(super) fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut spans = linker.instance(&super::interface("spans"))?;
    spans.resource("span", ResourceType::host::<Span>(), |mut store, number| {
        let state = store.data_mut().telemetry();
        if let (Some(span), Some(trail)) = (state.typed().spans.remove(number), &mut state.trail)
            && span.is_recorded
        {
            trail.end_if_open(span.context.span_id, wall_clock());
        }
        Ok(())
    })?;
    spans.func_wrap(
        "[static]span.start",
        |mut store: StoreContextMut<'_, T>,
         (name, kind, parent, list): (WasmStr, WitKind, Option<WitContext>, WasmList<WitAttribute>)| {
            let named = match &parent {
                Some(parent) => parent.read(&store)?,
                None => None,
            };
            let state = store.data_mut().telemetry();
            if let (Some(_), None, Some(trail)) = (&parent, named, &state.trail) {
                trail.refuse_parent();
            }
            let below = named.or(state.request_span());
            let is_remote = named.is_some() || state.is_request_span_remote();
            start(&mut store, &name, kind, below, is_remote, &list)
        },
    )?;
    spans.func_wrap(
        "[method]span.child",
        |mut store: StoreContextMut<'_, T>,
         (this, name, kind, list): (Resource<Span>, WasmStr, WitKind, WasmList<WitAttribute>)| {
            let parent = store.data_mut().telemetry().typed().spans.get(this.rep()).map(|span| span.context);
            start(&mut store, &name, kind, parent, false, &list)
        },
    )?;
    spans.func_wrap(
        "[method]span.set-attribute",
        |mut store: StoreContextMut<'_, T>, (this, value): (Resource<Span>, WitAttribute)| {
            with_span(&mut store, &this, |store, trail, span| {
                trail.set_attribute(span, attribute(store, &value)?);
                Ok(())
            })
        },
    )?;
    spans.func_wrap(
        "[method]span.add-event",
        |mut store: StoreContextMut<'_, T>, (this, name, list): (Resource<Span>, WasmStr, WasmList<WitAttribute>)| {
            with_span(&mut store, &this, |store, trail, span| {
                let attributes = attributes(store, &list)?;
                trail.add_event(span, &name.to_str(&*store)?, attributes, wall_clock());
                Ok(())
            })
        },
    )?;
    spans.func_wrap(
        "[method]span.add-link",
        |mut store: StoreContextMut<'_, T>, (this, to, list): (Resource<Span>, WitContext, WasmList<WitAttribute>)| {
            with_span(&mut store, &this, |store, trail, span| {
                trail.add_link(span, to.read(store)?, attributes(store, &list)?);
                Ok(())
            })
        },
    )?;
    spans.func_wrap(
        "[method]span.set-status",
        |mut store: StoreContextMut<'_, T>, (this, status): (Resource<Span>, WitStatus)| {
            with_span(&mut store, &this, |store, trail, span| {
                match &status {
                    WitStatus::Ok => trail.set_status(span, None),
                    WitStatus::Error(reason) => trail.set_status(span, Some(&reason.to_str(&*store)?)),
                }
                Ok(())
            })
        },
    )?;
    spans.func_wrap("[method]span.end", |mut store: StoreContextMut<'_, T>, (this,): (Resource<Span>,)| {
        with_span(&mut store, &this, |_, trail, span| {
            trail.end(span, wall_clock());
            Ok(())
        })
    })?;
    spans.func_wrap("[method]span.context", |mut store: StoreContextMut<'_, T>, (this,): (Resource<Span>,)| {
        Ok((WitOwnContext::from(context(&mut store, &this)),))
    })?;
    spans.func_wrap("[method]span.traceparent", |mut store: StoreContextMut<'_, T>, (this,): (Resource<Span>,)| {
        let header = context(&mut store, &this).traceparent();
        Ok((String::from_utf8_lossy(&header).into_owned(),))
    })?;
    spans.func_wrap("current", |mut store: StoreContextMut<'_, T>, (): ()| {
        Ok((store.data_mut().telemetry().request_span().map(WitOwnContext::from),))
    })
}

/// Begins a span below another one and gives the guest a handle of it.
fn start<T: TelemetryView + 'static>(
    store: &mut StoreContextMut<'_, T>,
    name: &WasmStr,
    kind: WitKind,
    parent: Option<TraceContext>,
    is_parent_remote: bool,
    list: &WasmList<WitAttribute>,
) -> wasmtime::Result<(Resource<Span>,)> {
    if !store.data_mut().telemetry().typed().has_room() {
        return Err(wasmtime::Error::new(TooManyHandles));
    }
    let recorded = with_trail(store, |store, trail| {
        let attributes: Attributes = attributes(store, list)?;
        let name = name.to_str(&*store)?;
        let context = typed::begin(parent);
        let parent = parent.map(|parent| parent.span_id);
        let new = NewSpan { name: &name, kind: kind.into(), context, parent, is_parent_remote, attributes };
        Ok(trail.start(new, wall_clock()).then_some(Span { context, is_recorded: true }))
    })?;
    let span = recorded.flatten().unwrap_or_else(|| Span::unrecorded(parent));
    Ok((Resource::new_own(store.data_mut().telemetry().typed().spans.insert(span)),))
}

/// Calls a function about a span that is recorded.
fn with_span<T: TelemetryView + 'static>(
    store: &mut StoreContextMut<'_, T>,
    this: &Resource<Span>,
    call: impl FnOnce(&mut StoreContextMut<'_, T>, &mut RequestTelemetry, SpanId) -> wasmtime::Result<()>,
) -> wasmtime::Result<()> {
    let span = store.data_mut().telemetry().typed().spans.get(this.rep()).copied();
    let Some(Span { context, is_recorded: true }) = span else { return Ok(()) };
    with_trail(store, |store, trail| call(store, trail, context.span_id)).map(|_| ())
}

/// The span as it is propagated.
fn context<T: TelemetryView + 'static>(store: &mut StoreContextMut<'_, T>, this: &Resource<Span>) -> TraceContext {
    let state = store.data_mut().telemetry();
    let span = state.typed().spans.get(this.rep()).copied();
    span.unwrap_or_else(|| Span::unrecorded(state.request_span())).context
}

//! The interface `spans`.

use wasmetry_host::RequestTelemetry;
use wasmetry_host::handle_api::{Attributes, NewSpan};
use wasmetry_host::record::{SpanId, SpanKind, TraceContext};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};

use super::attribute::{WitAttribute, attribute, attributes};
use super::handles::{self, Span, TooManyHandles};
use super::with_telemetry;
use crate::clock::wall_clock;
use crate::store::TelemetryView;

/// The functions of the interface.
pub(crate) const FUNCTIONS: [&str; 10] = [
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
#[allow(dead_code, reason = "derived code constructs the cases from the guest's number")]
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
    /// Returns the span, or `None` if the ids are not valid.
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

/// The arguments of `span.start`: name, kind, parent and attributes.
type Start = (WasmStr, WitKind, Option<WitContext>, WasmList<WitAttribute>);

/// Adds the interface to a linker.
pub(crate) fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut spans = linker.instance(&crate::linker::interface("spans"))?;
    spans.resource("span", ResourceType::host::<Span>(), drop_span)?;
    spans.func_wrap("[static]span.start", start_span)?;
    spans.func_wrap("[method]span.child", start_child)?;
    spans.func_wrap("[method]span.set-attribute", set_attribute)?;
    spans.func_wrap("[method]span.add-event", add_event)?;
    spans.func_wrap("[method]span.add-link", add_link)?;
    spans.func_wrap("[method]span.set-status", set_status)?;
    spans.func_wrap("[method]span.end", end)?;
    spans.func_wrap("[method]span.context", context)?;
    spans.func_wrap("[method]span.traceparent", traceparent)?;
    spans.func_wrap("current", current)
}

/// Drops the guest's handle of a span, and ends the span if it is open.
fn drop_span<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>, handle: u32) -> wasmtime::Result<()> {
    let state = store.data_mut().telemetry();
    if let (Some(span), Some(telemetry)) = (state.handles.get().spans.remove(handle), &mut state.request.telemetry)
        && span.is_recorded
    {
        telemetry.end_if_open(span.context.span_id, wall_clock());
    }
    Ok(())
}

/// Starts a span below the named parent, else below the request's span.
fn start_span<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (name, kind, parent, list): Start,
) -> wasmtime::Result<(Resource<Span>,)> {
    let named = match &parent {
        Some(parent) => parent.read(&store)?,
        None => None,
    };
    let request = &store.data_mut().telemetry().request;
    if let (Some(_), None, Some(telemetry)) = (&parent, named, &request.telemetry) {
        telemetry.refuse_parent();
    }
    let parent = named.or(request.span());
    let is_remote = named.is_some() || request.is_span_remote();
    start(&mut store, &name, kind, parent, is_remote, &list)
}

/// Starts a span below another span of the guest.
fn start_child<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, name, kind, list): (Resource<Span>, WasmStr, WitKind, WasmList<WitAttribute>),
) -> wasmtime::Result<(Resource<Span>,)> {
    let parent = store.data_mut().telemetry().handles.get().spans.get(this.rep()).map(|span| span.context);
    start(&mut store, &name, kind, parent, false, &list)
}

/// Sets an attribute of a span.
fn set_attribute<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, value): (Resource<Span>, WitAttribute),
) -> wasmtime::Result<()> {
    with_span(&mut store, &this, |store, telemetry, span| {
        telemetry.set_attribute(span, attribute(store, &value)?);
        Ok(())
    })
}

/// Adds an event to a span.
fn add_event<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, name, list): (Resource<Span>, WasmStr, WasmList<WitAttribute>),
) -> wasmtime::Result<()> {
    with_span(&mut store, &this, |store, telemetry, span| {
        let attributes = attributes(store, &list)?;
        telemetry.add_event(span, &name.to_str(&*store)?, attributes, wall_clock());
        Ok(())
    })
}

/// Adds a link to a span.
fn add_link<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, to, list): (Resource<Span>, WitContext, WasmList<WitAttribute>),
) -> wasmtime::Result<()> {
    with_span(&mut store, &this, |store, telemetry, span| {
        telemetry.add_link(span, to.read(store)?, attributes(store, &list)?);
        Ok(())
    })
}

/// Sets the status of a span.
fn set_status<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, status): (Resource<Span>, WitStatus),
) -> wasmtime::Result<()> {
    with_span(&mut store, &this, |store, telemetry, span| {
        match &status {
            WitStatus::Ok => telemetry.set_status(span, None),
            WitStatus::Error(reason) => telemetry.set_status(span, Some(&reason.to_str(&*store)?)),
        }
        Ok(())
    })
}

/// Ends a span.
fn end<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this,): (Resource<Span>,),
) -> wasmtime::Result<()> {
    with_span(&mut store, &this, |_, telemetry, span| {
        telemetry.end(span, wall_clock());
        Ok(())
    })
}

/// Returns the context that a span propagates.
fn context<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this,): (Resource<Span>,),
) -> wasmtime::Result<(WitOwnContext,)> {
    Ok((WitOwnContext::from(propagated(&mut store, &this)),))
}

/// Returns the header `traceparent` that a span propagates.
fn traceparent<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this,): (Resource<Span>,),
) -> wasmtime::Result<(String,)> {
    let header = propagated(&mut store, &this).traceparent();
    Ok((String::from_utf8_lossy(&header).into_owned(),))
}

/// Returns the request's span.
fn current<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (): (),
) -> wasmtime::Result<(Option<WitOwnContext>,)> {
    Ok((store.data_mut().telemetry().request.span().map(WitOwnContext::from),))
}

/// Starts a span below `parent`, and returns the guest's handle of it.
fn start<T: TelemetryView + 'static>(
    store: &mut StoreContextMut<'_, T>,
    name: &WasmStr,
    kind: WitKind,
    parent: Option<TraceContext>,
    is_parent_remote: bool,
    list: &WasmList<WitAttribute>,
) -> wasmtime::Result<(Resource<Span>,)> {
    if !store.data_mut().telemetry().handles.get().has_room() {
        return Err(wasmtime::Error::new(TooManyHandles));
    }
    let component = store.data_mut().telemetry().component.clone();
    let sampler = component.shared.sampler();
    let recorded = with_telemetry(store, |store, telemetry| {
        let attributes: Attributes = attributes(store, list)?;
        let name = name.to_str(&*store)?;
        let context = handles::begin(parent, is_parent_remote, Some(&sampler));
        let parent = parent.map(|parent| parent.span_id);
        let new = NewSpan { name: &name, kind: kind.into(), context, parent, is_parent_remote, attributes };
        Ok(telemetry.start(new, wall_clock()).then_some(Span { context, is_recorded: true }))
    })?;
    let span = recorded.flatten().unwrap_or_else(|| Span::unrecorded(parent));
    Ok((Resource::new_own(store.data_mut().telemetry().handles.get().spans.insert(span)),))
}

/// Calls a function with a span and its telemetry, if the span is recorded.
fn with_span<T: TelemetryView + 'static>(
    store: &mut StoreContextMut<'_, T>,
    this: &Resource<Span>,
    call: impl FnOnce(&mut StoreContextMut<'_, T>, &mut RequestTelemetry, SpanId) -> wasmtime::Result<()>,
) -> wasmtime::Result<()> {
    let span = store.data_mut().telemetry().handles.get().spans.get(this.rep()).copied();
    let Some(Span { context, is_recorded: true }) = span else { return Ok(()) };
    with_telemetry(store, |store, telemetry| call(store, telemetry, context.span_id)).map(|_| ())
}

/// Returns the context that a span propagates.
fn propagated<T: TelemetryView + 'static>(store: &mut StoreContextMut<'_, T>, this: &Resource<Span>) -> TraceContext {
    let state = store.data_mut().telemetry();
    let span = state.handles.get().spans.get(this.rep()).copied();
    span.unwrap_or_else(|| Span::unrecorded(state.request.span())).context
}

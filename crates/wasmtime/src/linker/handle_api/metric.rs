//! The interface `metrics`.

use std::borrow::Cow;

use wasmetry_abi::name::{MAX_BUCKETS, MAX_NAME};
use wasmetry_host::handle_api::{Counter, Descriptor, Gauge, Histogram, Recorder, ResolveError, UpDownCounter};
use wasmetry_host::{Merge, limits};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};

use super::handles::Handles;
use super::table::Table;
use crate::store::{StoreState, TelemetryView};

/// The functions of the interface.
pub(crate) const FUNCTIONS: [&str; 10] = [
    "[static]counter.resolve",
    "[method]counter.inc",
    "[method]counter.add",
    "[static]up-down-counter.resolve",
    "[method]up-down-counter.add",
    "[static]gauge.resolve",
    "[method]gauge.set",
    "[static]histogram.resolve",
    "[method]histogram.observe",
    "[method]histogram.observe-all",
];

/// The WIT record `descriptor`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct WitDescriptor {
    name: WasmStr,
    help: WasmStr,
    unit: Option<WasmStr>,
}

/// The WIT record `label`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct WitLabel {
    key: WasmStr,
    value: WasmStr,
}

/// The WIT enum `merge`.
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "derived code constructs the cases from the guest's number")]
enum WitMerge {
    #[component(name = "sum")]
    Sum,
    #[component(name = "max")]
    Max,
    #[component(name = "min")]
    Min,
    #[component(name = "last")]
    Last,
}

impl From<WitMerge> for Merge {
    fn from(merge: WitMerge) -> Self {
        match merge {
            WitMerge::Sum => Self::Sum,
            WitMerge::Max => Self::Max,
            WitMerge::Min => Self::Min,
            WitMerge::Last => Self::Last,
        }
    }
}

/// The WIT variant `error`.
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(variant)]
enum WitError {
    #[component(name = "invalid")]
    Invalid(String),
    #[component(name = "conflict")]
    Conflict(String),
    #[component(name = "limit")]
    Limit(String),
}

impl From<ResolveError> for WitError {
    fn from(refused: ResolveError) -> Self {
        let text = refused.to_string();
        match refused {
            ResolveError::Conflict { .. } => Self::Conflict(text),
            ResolveError::Metrics { .. } | ResolveError::Handles => Self::Limit(text),
            _ => Self::Invalid(text),
        }
    }
}

/// The result of a function `resolve`.
type Resolved<H> = (Result<Resource<H>, WitError>,);

/// Adds the interface to a linker.
pub(crate) fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut metrics = linker.instance(&crate::linker::interface("metrics"))?;
    metrics.resource("counter", ResourceType::host::<Counter>(), drop_counter)?;
    metrics.func_wrap("[static]counter.resolve", resolve_counter)?;
    metrics.func_wrap("[method]counter.inc", counter_inc)?;
    metrics.func_wrap("[method]counter.add", counter_add)?;
    metrics.resource("up-down-counter", ResourceType::host::<UpDownCounter>(), drop_up_down_counter)?;
    metrics.func_wrap("[static]up-down-counter.resolve", resolve_up_down_counter)?;
    metrics.func_wrap("[method]up-down-counter.add", up_down_counter_add)?;
    metrics.resource("gauge", ResourceType::host::<Gauge>(), drop_gauge)?;
    metrics.func_wrap("[static]gauge.resolve", resolve_gauge)?;
    metrics.func_wrap("[method]gauge.set", gauge_set)?;
    metrics.resource("histogram", ResourceType::host::<Histogram>(), drop_histogram)?;
    metrics.func_wrap("[static]histogram.resolve", resolve_histogram)?;
    metrics.func_wrap("[method]histogram.observe", histogram_observe)?;
    metrics.func_wrap("[method]histogram.observe-all", histogram_observe_all)
}

/// Resolves a series of a counter.
fn resolve_counter<T: TelemetryView + 'static>(
    store: StoreContextMut<'_, T>,
    (metric, labels): (WitDescriptor, WasmList<WitLabel>),
) -> wasmtime::Result<Resolved<Counter>> {
    let create =
        |recorder: &mut Recorder, metric: &Descriptor<'_>, labels: &Labels<'_>| recorder.counter(metric, labels);
    resolve(store, &metric, &labels, |handles| &mut handles.counters, create)
}

/// Adds 1 to a counter.
fn counter_inc<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this,): (Resource<Counter>,),
) -> wasmtime::Result<()> {
    if let Some(counter) = store.data_mut().telemetry().handles.get().counters.get(this.rep()) {
        counter.inc();
    }
    Ok(())
}

/// Adds an amount to a counter.
fn counter_add<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, amount): (Resource<Counter>, f64),
) -> wasmtime::Result<()> {
    if let Some(counter) = store.data_mut().telemetry().handles.get().counters.get(this.rep()) {
        counter.add(amount);
    }
    Ok(())
}

/// Drops the guest's handle of a counter.
fn drop_counter<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>, handle: u32) -> wasmtime::Result<()> {
    store.data_mut().telemetry().handles.get().counters.remove(handle);
    Ok(())
}

/// Resolves a series of an up-down counter.
fn resolve_up_down_counter<T: TelemetryView + 'static>(
    store: StoreContextMut<'_, T>,
    (metric, labels): (WitDescriptor, WasmList<WitLabel>),
) -> wasmtime::Result<Resolved<UpDownCounter>> {
    let create = |recorder: &mut Recorder, metric: &Descriptor<'_>, labels: &Labels<'_>| {
        recorder.up_down_counter(metric, labels)
    };
    resolve(store, &metric, &labels, |handles| &mut handles.up_down_counters, create)
}

/// Adds a difference to an up-down counter.
fn up_down_counter_add<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, difference): (Resource<UpDownCounter>, f64),
) -> wasmtime::Result<()> {
    if let Some(counter) = store.data_mut().telemetry().handles.get().up_down_counters.get(this.rep()) {
        counter.add(difference);
    }
    Ok(())
}

/// Drops the guest's handle of an up-down counter.
fn drop_up_down_counter<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    handle: u32,
) -> wasmtime::Result<()> {
    store.data_mut().telemetry().handles.get().up_down_counters.remove(handle);
    Ok(())
}

/// Resolves a series of a gauge.
fn resolve_gauge<T: TelemetryView + 'static>(
    store: StoreContextMut<'_, T>,
    (metric, merge, labels): (WitDescriptor, WitMerge, WasmList<WitLabel>),
) -> wasmtime::Result<Resolved<Gauge>> {
    let create = |recorder: &mut Recorder, metric: &Descriptor<'_>, labels: &Labels<'_>| {
        recorder.gauge(metric, merge.into(), labels)
    };
    resolve(store, &metric, &labels, |handles| &mut handles.gauges, create)
}

/// Sets a gauge.
fn gauge_set<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, value): (Resource<Gauge>, f64),
) -> wasmtime::Result<()> {
    if let Some(gauge) = store.data_mut().telemetry().handles.get().gauges.get(this.rep()) {
        gauge.set(value);
    }
    Ok(())
}

/// Drops the guest's handle of a gauge.
fn drop_gauge<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>, handle: u32) -> wasmtime::Result<()> {
    store.data_mut().telemetry().handles.get().gauges.remove(handle);
    Ok(())
}

/// Resolves a series of a histogram.
fn resolve_histogram<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (metric, buckets, labels): (WitDescriptor, WasmList<f64>, WasmList<WitLabel>),
) -> wasmtime::Result<Resolved<Histogram>> {
    // One more than the limit is read, so that too many are refused.
    let bounds = buckets.iter(&mut store)?.take(MAX_BUCKETS + 1).collect::<wasmtime::Result<Vec<f64>>>()?;
    let create = |recorder: &mut Recorder, metric: &Descriptor<'_>, labels: &Labels<'_>| {
        recorder.histogram(metric, &bounds, labels)
    };
    resolve(store, &metric, &labels, |handles| &mut handles.histograms, create)
}

/// Records a value in a histogram.
fn histogram_observe<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, value): (Resource<Histogram>, f64),
) -> wasmtime::Result<()> {
    let StoreState { handles, request, .. } = store.data_mut().telemetry();
    match (handles.get().histograms.get(this.rep()), &mut request.telemetry) {
        (Some(histogram), Some(telemetry)) => histogram.observe_in(value, telemetry),
        (Some(histogram), None) => histogram.observe(value),
        (None, _) => {}
    }
    Ok(())
}

/// Records a list of values in a histogram.
fn histogram_observe_all<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (this, values): (Resource<Histogram>, WasmList<f64>),
) -> wasmtime::Result<()> {
    let histogram = store.data_mut().telemetry().handles.get().histograms.get(this.rep()).cloned();
    if let Some(histogram) = histogram {
        // Any eight bytes are a number, so no element is an error. NaN is counted as dropped.
        histogram.observe_all(values.iter(&mut store)?.map(|value| value.unwrap_or(f64::NAN)));
    }
    Ok(())
}

/// Drops the guest's handle of a histogram.
fn drop_histogram<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>, handle: u32) -> wasmtime::Result<()> {
    store.data_mut().telemetry().handles.get().histograms.remove(handle);
    Ok(())
}

/// The labels of a series: key and value.
type Labels<'a> = [(&'a str, &'a str)];

/// Resolves a series, and returns the guest's handle of it.
fn resolve<T: TelemetryView + 'static, H: 'static>(
    mut store: StoreContextMut<'_, T>,
    metric: &WitDescriptor,
    labels: &WasmList<WitLabel>,
    table: fn(&mut Handles) -> &mut Table<H>,
    create: impl FnOnce(&mut Recorder, &Descriptor<'_>, &Labels<'_>) -> Result<H, ResolveError>,
) -> wasmtime::Result<Resolved<H>> {
    // One more than the limit is read, so that too many are refused.
    let labels = labels.iter(&mut store)?.take(limits::LABELS + 1).collect::<wasmtime::Result<Vec<_>>>()?;
    // They are taken out while the guest's strings are borrowed from the store.
    let mut handles = store.data_mut().telemetry().handles.take();
    let resolved = if handles.has_room() {
        with_texts(&store, metric, &labels, |metric, labels| create(&mut handles.recorder, metric, labels))
    } else {
        Ok(Err(handles.recorder.refuse_handle()))
    };
    let resolved = resolved.map(|resolved| match resolved {
        Ok(series) => Ok(Resource::new_own(table(&mut handles).insert(series))),
        Err(refused) => Err(refused.into()),
    });
    store.data_mut().telemetry().handles.put(handles);
    Ok((resolved?,))
}

/// Calls a function with the strings of a descriptor and its labels, each cut a little after its
/// limit, so that it is refused as too long without a copy of all of it.
fn with_texts<T: 'static, R>(
    store: &StoreContextMut<'_, T>,
    metric: &WitDescriptor,
    labels: &[WitLabel],
    call: impl FnOnce(&Descriptor<'_>, &Labels<'_>) -> R,
) -> wasmtime::Result<R> {
    let name = text(store, &metric.name, MAX_NAME)?;
    let help = text(store, &metric.help, limits::HELP)?;
    let unit = metric.unit.as_ref().map(|unit| text(store, unit, MAX_NAME)).transpose()?.unwrap_or_default();
    let texts = labels
        .iter()
        .map(|label| Ok((text(store, &label.key, MAX_NAME)?, text(store, &label.value, limits::LABEL_VALUE)?)))
        .collect::<wasmtime::Result<Vec<(Cow<'_, str>, Cow<'_, str>)>>>()?;
    let labels: Vec<_> = texts.iter().map(|(key, value)| (&**key, &**value)).collect();
    Ok(call(&Descriptor { name: &name, help: &help, unit: &unit }, &labels))
}

/// Returns a string of the guest, cut up to four bytes after the limit `most`.
fn text<'a, T: 'static>(
    store: &'a StoreContextMut<'_, T>,
    text: &WasmStr,
    most: usize,
) -> wasmtime::Result<Cow<'a, str>> {
    // A character has up to four bytes.
    let cut = |text: &str| text.floor_char_boundary(most + 4);
    Ok(match text.to_str(store)? {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..cut(text)]),
        Cow::Owned(text) if text.len() > most => Cow::Owned(text[..cut(&text)].to_owned()),
        text => text,
    })
}

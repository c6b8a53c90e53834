//! The interface `metrics`.

use std::borrow::Cow;

use wasmetry_abi::name::{MAX_BUCKETS, MAX_NAME};
use wasmetry_host::handle_api::{Counter, Descriptor, Gauge, Histogram, Recorder, ResolveError, UpDownCounter};
use wasmetry_host::{Merge, limits};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};

use crate::handle::Handles;
use crate::state::TelemetryView;
use crate::typed::Typed;

/// The functions of the interface.
pub(super) const FUNCTIONS: [&str; 10] = [
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
#[allow(dead_code, reason = "the derived code makes them of the guest's number")]
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

/// What a function `resolve` returns.
type Resolved<H> = (Result<Resource<H>, WitError>,);

/// Adds the interface to a linker.
pub(super) fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut metrics = linker.instance(&super::interface("metrics"))?;

    metrics.resource("counter", ResourceType::host::<Counter>(), |mut store, number| {
        store.data_mut().telemetry().typed().counters.remove(number);
        Ok(())
    })?;
    metrics.func_wrap("[static]counter.resolve", |store, (metric, labels): (WitDescriptor, WasmList<WitLabel>)| {
        let make =
            |recorder: &mut Recorder, metric: &Descriptor<'_>, labels: &Labels<'_>| recorder.counter(metric, labels);
        resolve(store, &metric, &labels, |typed| &mut typed.counters, make)
    })?;
    metrics.func_wrap("[method]counter.inc", |mut store: StoreContextMut<'_, T>, (this,): (Resource<Counter>,)| {
        if let Some(counter) = store.data_mut().telemetry().typed().counters.get(this.rep()) {
            counter.inc();
        }
        Ok(())
    })?;
    metrics.func_wrap(
        "[method]counter.add",
        |mut store: StoreContextMut<'_, T>, (this, amount): (Resource<Counter>, f64)| {
            if let Some(counter) = store.data_mut().telemetry().typed().counters.get(this.rep()) {
                counter.add(amount);
            }
            Ok(())
        },
    )?;

    metrics.resource("up-down-counter", ResourceType::host::<UpDownCounter>(), |mut store, number| {
        store.data_mut().telemetry().typed().up_down_counters.remove(number);
        Ok(())
    })?;
    metrics.func_wrap(
        "[static]up-down-counter.resolve",
        |store, (metric, labels): (WitDescriptor, WasmList<WitLabel>)| {
            let make = |recorder: &mut Recorder, metric: &Descriptor<'_>, labels: &Labels<'_>| {
                recorder.up_down_counter(metric, labels)
            };
            resolve(store, &metric, &labels, |typed| &mut typed.up_down_counters, make)
        },
    )?;
    metrics.func_wrap(
        "[method]up-down-counter.add",
        |mut store: StoreContextMut<'_, T>, (this, difference): (Resource<UpDownCounter>, f64)| {
            if let Some(counter) = store.data_mut().telemetry().typed().up_down_counters.get(this.rep()) {
                counter.add(difference);
            }
            Ok(())
        },
    )?;

    metrics.resource("gauge", ResourceType::host::<Gauge>(), |mut store, number| {
        store.data_mut().telemetry().typed().gauges.remove(number);
        Ok(())
    })?;
    metrics.func_wrap(
        "[static]gauge.resolve",
        |store, (metric, merge, labels): (WitDescriptor, WitMerge, WasmList<WitLabel>)| {
            let make = |recorder: &mut Recorder, metric: &Descriptor<'_>, labels: &Labels<'_>| {
                recorder.gauge(metric, merge.into(), labels)
            };
            resolve(store, &metric, &labels, |typed| &mut typed.gauges, make)
        },
    )?;
    metrics.func_wrap(
        "[method]gauge.set",
        |mut store: StoreContextMut<'_, T>, (this, value): (Resource<Gauge>, f64)| {
            if let Some(gauge) = store.data_mut().telemetry().typed().gauges.get(this.rep()) {
                gauge.set(value);
            }
            Ok(())
        },
    )?;

    metrics.resource("histogram", ResourceType::host::<Histogram>(), |mut store, number| {
        store.data_mut().telemetry().typed().histograms.remove(number);
        Ok(())
    })?;
    metrics.func_wrap(
        "[static]histogram.resolve",
        |mut store: StoreContextMut<'_, T>,
         (metric, buckets, labels): (WitDescriptor, WasmList<f64>, WasmList<WitLabel>)| {
            // One more than there may be, so that it is refused.
            let bounds = buckets.iter(&mut store)?.take(MAX_BUCKETS + 1).collect::<wasmtime::Result<Vec<f64>>>()?;
            let make = |recorder: &mut Recorder, metric: &Descriptor<'_>, labels: &Labels<'_>| {
                recorder.histogram(metric, &bounds, labels)
            };
            resolve(store, &metric, &labels, |typed| &mut typed.histograms, make)
        },
    )?;
    metrics.func_wrap(
        "[method]histogram.observe",
        |mut store: StoreContextMut<'_, T>, (this, value): (Resource<Histogram>, f64)| {
            store.data_mut().telemetry().observe(this.rep(), value);
            Ok(())
        },
    )?;
    metrics.func_wrap(
        "[method]histogram.observe-all",
        |mut store: StoreContextMut<'_, T>, (this, values): (Resource<Histogram>, WasmList<f64>)| {
            let histogram = store.data_mut().telemetry().typed().histograms.get(this.rep()).cloned();
            if let Some(histogram) = histogram {
                // Every eight bytes are a number; NaN is counted as lost.
                histogram.observe_all(values.iter(&mut store)?.map(|value| value.unwrap_or(f64::NAN)));
            }
            Ok(())
        },
    )
}

/// The labels of a series: key and value.
type Labels<'a> = [(&'a str, &'a str)];

/// Resolves a series and gives the guest a handle of it.
fn resolve<T: TelemetryView + 'static, H: 'static>(
    mut store: StoreContextMut<'_, T>,
    metric: &WitDescriptor,
    labels: &WasmList<WitLabel>,
    handles: fn(&mut Typed) -> &mut Handles<H>,
    make: impl FnOnce(&mut Recorder, &Descriptor<'_>, &Labels<'_>) -> Result<H, ResolveError>,
) -> wasmtime::Result<Resolved<H>> {
    // One more than there may be, so that it is refused.
    let labels = labels.iter(&mut store)?.take(limits::LABELS + 1).collect::<wasmtime::Result<Vec<_>>>()?;
    // It is taken out while the guest's texts are borrowed from the store.
    let mut typed = store.data_mut().telemetry().take_typed();
    let resolved = if typed.has_room() {
        with_texts(&store, metric, &labels, |metric, labels| make(&mut typed.recorder, metric, labels))
    } else {
        Ok(Err(typed.recorder.refuse_handle()))
    };
    let resolved = resolved.map(|resolved| match resolved {
        Ok(series) => Ok(Resource::new_own(handles(&mut typed).insert(series))),
        Err(refused) => Err(refused.into()),
    });
    store.data_mut().telemetry().put_typed(typed);
    Ok((resolved?,))
}

/// Calls a function with the texts of a descriptor and of labels. Of one that is longer than it may be, only so much is kept at
/// a time that it is seen to be too long.
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

/// A text of a guest's, cut a little behind the most bytes that it may have.
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

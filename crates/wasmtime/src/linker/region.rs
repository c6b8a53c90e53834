//! The interface `region`: a guest opens regions in its memory, and gets its settings.

use wasmetry_abi::Level;
use wasmetry_host::RegionRefusal;
use wasmtime::component::{ComponentType, Linker, Lower, WasmList};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::clock::{random, wall_clock};
use crate::store::{StoreState, TelemetryView, Window, attach_region, receive_batch, refresh_recording};

/// The functions of the interface.
pub(super) const FUNCTIONS: [&str; 4] = ["open", "attach", "flush", "refresh"];

/// Adds the interface to a linker.
pub(super) fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut region = linker.instance(&super::interface("region"))?;
    region.func_wrap("open", open)?;
    region.func_wrap("attach", attach)?;
    region.func_wrap("flush", flush)?;
    region.func_wrap("refresh", refresh)
}

/// Answers the guest's first call, with the version of its format.
fn open<T: TelemetryView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (abi,): (u32,),
) -> wasmtime::Result<(Settings,)> {
    let state = store.data_mut().telemetry();
    if abi != wasmetry_abi::VERSION {
        state.component.own.component.refuse_region(RegionRefusal::FormatVersion);
        return Ok((Settings::OFF,));
    }
    let settings = Settings::of(state);
    Ok((match &mut state.batch_receiver {
        None => settings,
        Some(receiver) => receiver.open().map_or(Settings::OFF, |region| Settings { region, ..settings }),
    },))
}

/// Keeps the window that the guest lends, with its base address and the address of the region's
/// header.
fn attach<T: TelemetryView + 'static>(
    store: StoreContextMut<'_, T>,
    (window, base, header): (WasmList<u8>, u64, u64),
) -> wasmtime::Result<()> {
    attach_region(store, Window::Lent(window, base), header);
    Ok(())
}

/// Receives a batch, or collects the guest.
fn flush<T: TelemetryView + 'static>(
    store: StoreContextMut<'_, T>,
    (batch,): (WasmList<u8>,),
) -> wasmtime::Result<(Settings,)> {
    Ok(answer_flush(store, &batch))
}

fn answer_flush<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>, batch: &WasmList<u8>) -> (Settings,) {
    let settings = Settings::of(store.data_mut().telemetry());
    let consumed = receive_batch(store, batch);
    (Settings { consumed, ..settings },)
}

/// Receives the batch of a guest that calls `flush`, or collects the guest; returns the answer.
///
/// A linker has this function already. A host with asynchronous guests may replace it by one of its
/// own that calls this: a [large](StoreState::is_large) guest keeps the thread busy for up to
/// [`limits::READ_TIME`](wasmetry_host::limits::READ_TIME), which is best spent on a thread that
/// no other guest waits for.
///
/// ```no_run
/// # async fn turn() {}
/// use wasmetry_wasmtime::{TelemetryView, flush_batch};
/// use wasmtime::component::{Linker, WasmList};
///
/// fn replace<T: TelemetryView + Send + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
///     linker.allow_shadowing(true);
///     let mut region = linker.instance(&wasmetry_wasmtime::interface("region"))?;
///     region.func_wrap_async("flush", |store, (batch,): (WasmList<u8>,)| {
///         Box::new(async move {
///             turn().await;
///             Ok(flush_batch(store, &batch))
///         })
///     })?;
///     linker.allow_shadowing(false);
///     Ok(())
/// }
/// ```
pub fn flush_batch<T: TelemetryView + 'static>(
    store: StoreContextMut<'_, T>,
    batch: &WasmList<u8>,
) -> (impl Lower + 'static + use<T>,) {
    answer_flush(store, batch)
}

/// Answers with the settings of the instance's next request.
fn refresh<T: TelemetryView + 'static>(mut store: StoreContextMut<'_, T>, (): ()) -> wasmtime::Result<(Settings,)> {
    refresh_recording(store.as_context_mut());
    Ok((Settings::of(store.data_mut().telemetry()),))
}

/// The WIT record `settings`, for the canonical ABI.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
struct Settings {
    collection: WitCollection,
    #[component(name = "record-level")]
    record_level: WitLevel,
    #[component(name = "export-level")]
    export_level: WitLevel,
    timestamps: WitTimestampSource,
    region: u32,
    #[component(name = "sample-ratio")]
    sample_ratio: f64,
    consumed: u64,
    seed: u64,
    time: u64,
}

/// The WIT enum `collection`.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the WIT enum has cases that the host does not use")]
enum WitCollection {
    #[component(name = "off")]
    Off,
    #[component(name = "mapped")]
    Mapped,
    #[component(name = "pushed")]
    Pushed,
}

/// The WIT enum `level`.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
enum WitLevel {
    #[component(name = "off")]
    Off,
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

impl From<Level> for WitLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::Off,
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

/// The WIT enum `timestamp-source`.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the WIT enum has cases that the host does not use")]
enum WitTimestampSource {
    #[component(name = "cached")]
    Cached,
    #[component(name = "fresh")]
    Fresh,
}

impl Settings {
    /// The host reads metrics from the guest's memory.
    const MAPPED: Self = Self {
        collection: WitCollection::Mapped,
        record_level: WitLevel::Off,
        export_level: WitLevel::Off,
        timestamps: WitTimestampSource::Cached,
        region: 0,
        sample_ratio: 0.0,
        consumed: 0,
        seed: 0,
        time: 0,
    };

    /// Nothing is collected.
    const OFF: Self = Self { collection: WitCollection::Off, ..Self::MAPPED };

    /// The guest sends what it records, as the region of this number.
    const fn pushed(region: u32) -> Self {
        Self { collection: WitCollection::Pushed, region, ..Self::MAPPED }
    }

    /// Returns the settings of a store's guest. Logs and spans are off if no sink is set.
    fn of(state: &StoreState) -> Self {
        let settings = if state.batch_receiver.is_some() { Self::pushed(0) } else { Self::MAPPED };
        let request = &state.request;
        if request.telemetry.is_none() {
            return settings;
        }
        Self {
            record_level: request.record_level().into(),
            export_level: request.export_level().into(),
            sample_ratio: state.component.shared.sampler().sampled_share(),
            seed: random(),
            time: wall_clock(),
            ..settings
        }
    }
}

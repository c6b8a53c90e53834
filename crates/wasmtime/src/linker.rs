mod attribute;
mod log;
mod metric;
mod span;

use wasmetry_abi::{Level, WIT_PACKAGE, WIT_VERSION};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentType, Linker, Lower, WasmList};
use wasmtime::{AsContextMut, Engine, StoreContextMut};

use crate::error::Error;
use crate::state::{StoreState, TelemetryView, Window, renew, take};
use crate::trace::{random, wall_clock};

/// The functions of each interface.
const INTERFACES: [(&str, &[&str]); 5] = [
    ("region", &["open", "attach", "flush", "refresh"]),
    ("attributes", &[]),
    ("metrics", &metric::FUNCTIONS),
    ("logs", &log::FUNCTIONS),
    ("spans", &span::FUNCTIONS),
];

/// The full name of an interface.
fn interface(name: &str) -> String {
    format!("{WIT_PACKAGE}/{name}@{WIT_VERSION}")
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
#[allow(dead_code, reason = "the enum has all cases of the WIT enum; the host does not use all of them")]
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
#[allow(dead_code, reason = "the enum has all cases of the WIT enum; the host does not use all of them")]
enum WitTimestampSource {
    #[component(name = "cached")]
    Cached,
    #[component(name = "fresh")]
    Fresh,
}

impl Settings {
    /// Metrics are read from memory.
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

    /// The guest of a region with this number sends what it records.
    const fn pushed(region: u32) -> Self {
        Self { collection: WitCollection::Pushed, region, ..Self::MAPPED }
    }

    /// What a guest is told: of logs and spans nothing unless somebody takes them.
    fn of(state: &StoreState) -> Self {
        let settings = if state.receiver.is_some() { Self::pushed(0) } else { Self::MAPPED };
        if state.trail.is_none() {
            return settings;
        }
        Self {
            record_level: state.record_level().into(),
            export_level: state.export_level().into(),
            seed: random(),
            time: wall_clock(),
            ..settings
        }
    }
}

/// Adds the interfaces of `wasmetry:telemetry` to a linker.
///
/// # Errors
///
/// Returns Wasmtime's error if the linker has one of them already.
pub fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    metric::add_to_linker(linker)?;
    log::add_to_linker(linker)?;
    span::add_to_linker(linker)?;
    let mut region = linker.instance(&interface("region"))?;
    region.func_wrap("open", |mut store: StoreContextMut<'_, T>, (abi,): (u32,)| {
        let state = store.data_mut().telemetry();
        if abi != wasmetry_abi::VERSION {
            state.component.dropped("format_version");
            return Ok((Settings::OFF,));
        }
        let settings = Settings::of(state);
        Ok((match &mut state.receiver {
            None => settings,
            Some(receiver) => receiver.open().map_or(Settings::OFF, |region| Settings { region, ..settings }),
        },))
    })?;
    region.func_wrap(
        "attach",
        |mut store: StoreContextMut<'_, T>, (window, base, header): (WasmList<u8>, u64, u64)| {
            store.data_mut().telemetry().attach(Window::Lent(window, base), header);
            Ok(())
        },
    )?;
    region.func_wrap("flush", |mut store: StoreContextMut<'_, T>, (batch,): (WasmList<u8>,)| {
        let settings = Settings::of(store.data_mut().telemetry());
        let consumed = take(store, &batch);
        Ok((Settings { consumed, ..settings },))
    })?;
    region.func_wrap("refresh", |mut store: StoreContextMut<'_, T>, (): ()| {
        renew(store.as_context_mut());
        Ok((Settings::of(store.data_mut().telemetry()),))
    })?;
    Ok(())
}

/// Checks that this host has what a component imports of `wasmetry:telemetry`.
///
/// Wasmtime would refuse to link it as well, but could not say what to do.
///
/// # Errors
///
/// Returns [`Error::Version`] or [`Error::Missing`] for the first import that this host does not have.
pub fn check_imports(component: &Component, engine: &Engine) -> Result<(), Error> {
    for (name, item) in component.component_type().imports(engine) {
        let Some(path) = name.strip_prefix(WIT_PACKAGE).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let (interface, version) = path.split_once('@').unwrap_or((path, ""));
        let (import, host) = (name.to_owned(), WIT_VERSION);
        if !is_compatible(version) {
            return Err(Error::Version { import, host });
        }
        let Some((_, functions)) = INTERFACES.into_iter().find(|(name, _)| *name == interface) else {
            return Err(Error::Missing { import, function: None, host });
        };
        if let ComponentItem::ComponentInstance(instance) = item.ty {
            let unknown = instance.exports(engine).find(|(function, item)| {
                matches!(item.ty, ComponentItem::ComponentFunc(_)) && !functions.contains(function)
            });
            if let Some((function, _)) = unknown {
                return Err(Error::Missing { import, function: Some(function.to_owned()), host });
            }
        }
    }
    Ok(())
}

/// Whether an import of this version links to [`WIT_VERSION`]: the same major version, and before 1.0 the same minor one.
fn is_compatible(version: &str) -> bool {
    let track = |version: &str| {
        let mut parts = version.split(['.', '-', '+']);
        let (major, minor) = (parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?);
        Some(if major == 0 { (0, minor) } else { (major, 0) })
    };
    track(version).is_some_and(|found| track(WIT_VERSION) == Some(found))
}

#[cfg(test)]
mod tests {
    use super::is_compatible;

    #[test]
    fn versions_are_compatible_within_their_track() {
        assert!(is_compatible("0.1.0"));
        assert!(is_compatible("0.1.5"));
        for other in ["0.2.0", "1.1.0", "", "x", "9.9.9"] {
            assert!(!is_compatible(other), "{other}");
        }
    }
}

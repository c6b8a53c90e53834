//! The imports of `wasmetry:telemetry`, in a component's linker.

mod handle_api;
mod region;

use wasmetry_abi::{WIT_PACKAGE, WIT_VERSION};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker};

use crate::error::Error;
use crate::store::TelemetryView;
pub(crate) use handle_api::LazyHandles;
use handle_api::{log, metric, request, span};
pub use region::flush_batch;

/// The functions of each interface.
const INTERFACES: [(&str, &[&str]); 6] = [
    ("region", &region::FUNCTIONS),
    ("attributes", &[]),
    ("metrics", &metric::FUNCTIONS),
    ("logs", &log::FUNCTIONS),
    ("spans", &span::FUNCTIONS),
    ("requests", &request::FUNCTIONS),
];

/// Returns the full name of an interface of `wasmetry:telemetry` in this version, such as
/// `wasmetry:telemetry/region@0.1.0` for `region`.
pub fn interface(name: &str) -> String {
    format!("{WIT_PACKAGE}/{name}@{WIT_VERSION}")
}

/// Adds the interfaces of `wasmetry:telemetry` to a linker.
///
/// # Errors
///
/// Returns Wasmtime's error if the linker has one of them already.
pub fn add_to_linker<T: TelemetryView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    region::add_to_linker(linker)?;
    metric::add_to_linker(linker)?;
    log::add_to_linker(linker)?;
    span::add_to_linker(linker)?;
    request::add_to_linker(linker)
}

/// Checks that this host has what a component imports of `wasmetry:telemetry`.
///
/// Wasmtime refuses to link such a component as well, but its error names no remedy.
///
/// # Errors
///
/// Returns [`Error::Version`] or [`Error::Missing`] for the first import that this host does not
/// have.
pub fn check_imports(component: &Component, engine: &Engine) -> Result<(), Error> {
    for (name, item) in component.component_type().imports(engine) {
        let Some(functions) = check_import(name)? else { continue };
        if let ComponentItem::ComponentInstance(instance) = item.ty {
            let unknown = instance.exports(engine).find(|(function, item)| {
                matches!(item.ty, ComponentItem::ComponentFunc(_)) && !functions.contains(function)
            });
            if let Some((function, _)) = unknown {
                let (import, function) = (name.to_owned(), Some(function.to_owned()));
                return Err(Error::Missing { import, function, host: WIT_VERSION });
            }
        }
    }
    Ok(())
}

/// Returns the functions of an interface of `wasmetry:telemetry` that a component imports. Returns
/// `None` for an import of another package.
///
/// # Errors
///
/// Returns [`Error::Version`] or [`Error::Missing`] if this host does not have the interface.
pub(crate) fn check_import(name: &str) -> Result<Option<&'static [&'static str]>, Error> {
    let Some(path) = name.strip_prefix(WIT_PACKAGE).and_then(|rest| rest.strip_prefix('/')) else { return Ok(None) };
    let (interface, version) = path.split_once('@').unwrap_or((path, ""));
    let (import, host) = (name.to_owned(), WIT_VERSION);
    if !is_compatible(version) {
        return Err(Error::Version { import, host });
    }
    match INTERFACES.into_iter().find(|(name, _)| *name == interface) {
        Some((_, functions)) => Ok(Some(functions)),
        None => Err(Error::Missing { import, function: None, host }),
    }
}

/// Returns `true` if an import of this version links to [`WIT_VERSION`]: it has the same major
/// version, and before 1.0 the same minor version.
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
    fn versions_of_one_track_are_compatible() {
        assert!(is_compatible("0.1.0"));
        assert!(is_compatible("0.1.5"));
        for other in ["0.2.0", "1.1.0", "", "x", "9.9.9"] {
            assert!(!is_compatible(other), "{other}");
        }
    }
}

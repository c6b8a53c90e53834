//! Sets a `cfg` for each way in which a guest is connected to its host, and the name of a core
//! module's export.

use std::env;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(wasmetry_component, wasmetry_module, wasmetry_wasip1)");
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| env::var(key).as_deref() == Ok(value);
    let is_wasm = is("CARGO_CFG_TARGET_FAMILY", "wasm");
    let is_component =
        is("CARGO_CFG_TARGET_ENV", "p2") || (is_wasm && env::var_os("CARGO_FEATURE_COMPONENT").is_some());
    if is_component {
        // The guest imports `wasmetry:telemetry`.
        println!("cargo::rustc-cfg=wasmetry_component");
    } else if is_wasm {
        // The guest exports the header's address, and imports nothing of wasmetry's.
        println!("cargo::rustc-cfg=wasmetry_module");
        if is("CARGO_CFG_TARGET_ENV", "p1") {
            // The guest has the clocks and the random numbers of WASI's first release.
            println!("cargo::rustc-cfg=wasmetry_wasip1");
        }
    }
    println!("cargo::rustc-env=WASMETRY_REGION_EXPORT={}", region_export());
}

/// The export's name. Releases that Cargo takes for compatible share it, since a module contains
/// one of them only.
///
/// The 1 is the format's version. See `crates/abi/FORMAT.md`, section 4.
fn region_export() -> String {
    let part = |key: &str| env::var(key).unwrap_or_else(|error| panic!("cargo sets {key}: {error}"));
    let (major, minor) = (part("CARGO_PKG_VERSION_MAJOR"), part("CARGO_PKG_VERSION_MINOR"));
    match (major.as_str(), minor.as_str()) {
        ("0", "1") => "wasmetry_region_1".to_owned(),
        ("0", minor) => format!("wasmetry_region_1_0_{minor}"),
        (major, _) => format!("wasmetry_region_1_{major}"),
    }
}

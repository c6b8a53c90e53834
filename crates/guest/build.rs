//! Names the ways in which a guest meets its host, so that each condition is written once, and the export by which a
//! core module is found.

use std::env;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(wasmetry_component, wasmetry_module, wasmetry_wasip1)");
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| env::var(key).as_deref() == Ok(value);
    let is_wasm = is("CARGO_CFG_TARGET_FAMILY", "wasm");
    let is_component =
        is("CARGO_CFG_TARGET_ENV", "p2") || (is_wasm && env::var_os("CARGO_FEATURE_COMPONENT").is_some());
    if is_component {
        // It imports `wasmetry:telemetry`.
        println!("cargo::rustc-cfg=wasmetry_component");
    } else if is_wasm {
        // It imports nothing of wasmetry's, and exports the header's address.
        println!("cargo::rustc-cfg=wasmetry_module");
        if is("CARGO_CFG_TARGET_ENV", "p1") {
            // It has the clocks and the random numbers of WASI's first release.
            println!("cargo::rustc-cfg=wasmetry_wasip1");
        }
    }
    println!("cargo::rustc-env=WASMETRY_REGION_EXPORT={}", region_export());
}

/// The export's name, one for all releases that Cargo takes for compatible: of those, one module has only one.
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

//! Names the two ways in which a guest meets its host, so that each condition is written once.

use std::env;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(wasmetry_component, wasmetry_module)");
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| env::var(key).as_deref() == Ok(value);
    let is_wasm = is("CARGO_CFG_TARGET_FAMILY", "wasm");
    let is_component =
        is("CARGO_CFG_TARGET_ENV", "p2") || (is_wasm && env::var_os("CARGO_FEATURE_COMPONENT").is_some());
    if is_component {
        // It imports `wasmetry:telemetry`.
        println!("cargo::rustc-cfg=wasmetry_component");
    } else if is_wasm {
        // It imports nothing, and exports the header's address.
        println!("cargo::rustc-cfg=wasmetry_module");
    }
}

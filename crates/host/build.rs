//! Names the one target for which the encoders have messages of their own, so that the condition is
//! written once.

use std::env;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bare_wasm)");
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| env::var(key).as_deref() == Ok(value);
    if is("CARGO_CFG_TARGET_FAMILY", "wasm") && is("CARGO_CFG_TARGET_OS", "unknown") {
        // OpenTelemetry's own types take it for a browser.
        println!("cargo::rustc-cfg=bare_wasm");
    }
}

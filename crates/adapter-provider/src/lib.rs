//! The components that `wasmetry adapt` puts around an app, so that it runs on hosts that know nothing of wasmetry.
//!
//! ```
//! // A component, of layer 1 of the binary format.
//! assert!(wasmetry_adapter_provider::COLLECTOR.starts_with(b"\0asm\x0d\0\x01\0"));
//! ```
//!
//! `cargo xtask adapter` makes them from `crates/adapter`; a test builds them again and says when they are out of date. What
//! this crate deliberately does not do: anything else. How they are composed is in `crates/cli/src/adapt.rs`.

#![forbid(unsafe_code)]

/// Takes what the app pushes and tells of it; the world `collector` of `crates/adapter/wit`.
pub const COLLECTOR: &[u8] = include_bytes!("../collector.wasm");

/// The same, and sends the metrics to an OpenTelemetry collector; the world `otlp-collector`.
pub const OTLP_COLLECTOR: &[u8] = include_bytes!("../otlp-collector.wasm");

/// Stands before an app that serves HTTP; the world `http`.
pub const HTTP: &[u8] = include_bytes!("../http.wasm");

/// Stands before an app that is a command; the world `command`.
pub const COMMAND: &[u8] = include_bytes!("../command.wasm");

/// Stands behind an app that is a command; the world `exit`.
pub const EXIT: &[u8] = include_bytes!("../exit.wasm");

//! The components that `wasmetry adapt` puts around an app, so that it runs on hosts without
//! wasmetry.
//!
//! ```
//! // A component, of layer 1 of the binary format.
//! assert!(wasmetry_adapter_provider::COLLECTOR.starts_with(b"\0asm\x0d\0\x01\0"));
//! ```
//!
//! `cargo xtask adapter` builds them from `crates/adapter`; a test builds them again and fails if
//! they are out of date. This crate deliberately does nothing else; `crates/cli/src/adapt.rs`
//! composes them.

#![forbid(unsafe_code)]

/// Receives the app's batches and reports them; the world `collector` of `crates/adapter/wit`.
pub const COLLECTOR: &[u8] = include_bytes!("../collector.wasm");

/// Also sends the metrics to an OpenTelemetry collector; the world `otlp-collector`.
pub const OTLP_COLLECTOR: &[u8] = include_bytes!("../otlp-collector.wasm");

/// Stands before an app that serves HTTP; the world `http`.
pub const HTTP: &[u8] = include_bytes!("../http.wasm");

/// Stands before an app that is a command; the world `command`.
pub const COMMAND: &[u8] = include_bytes!("../command.wasm");

/// Stands behind an app that is a command; the world `exit`.
pub const EXIT: &[u8] = include_bytes!("../exit.wasm");
